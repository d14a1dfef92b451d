"""`asd.sklearn.AnomalousSoundDetector`: what scikit-learn expects of an estimator, as far as clips allow."""

from __future__ import annotations

import copy
import logging
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

sklearn = pytest.importorskip("sklearn", minversion="1.6")

from sklearn.base import clone, is_outlier_detector  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

import asd  # noqa: E402
from asd.sklearn import AnomalousSoundDetector  # noqa: E402

pytestmark = pytest.mark.usefixtures("embedding_cache")

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "examples" / "data"
HEALTHY = [str(path) for path in sorted((SAMPLES / "train").iterdir())]
NORMAL = [str(path) for path in sorted((SAMPLES / "test" / "normal").iterdir())]
FAULTY = [str(path) for path in sorted((SAMPLES / "test" / "anomalous").iterdir())]
QUICK: dict[str, Any] = {"extractor": "mel-statistics", "detector": "knn"}


def reasons() -> dict[str, str]:
    """Return the checks that fail, with the reason, by the table in the documentation."""
    page = (ROOT / "docs" / "how-to" / "embeddings.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `(check_\w+)` \| (.+) \|$", page, re.MULTILINE))


@pytest.fixture(scope="module")
def fitted(embedding_cache: None) -> AnomalousSoundDetector:
    return AnomalousSoundDetector(**QUICK).fit(HEALTHY)


@pytest.mark.slow
def test_the_checks_of_scikit_learn_pass_but_for_those_that_are_named() -> None:
    estimator = AnomalousSoundDetector(
        frontend="mel-stack", extractor="identity", detector="mahalanobis", pca=0.9, rate=8000, cache=False
    )
    logging.disable(logging.CRITICAL)  # clips of few samples have much to be said of them
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = check_estimator(estimator, expected_failed_checks=reasons(), on_fail=None, on_skip=None)
    finally:
        logging.disable(logging.NOTSET)
    by_status: dict[str, set[str]] = {}
    for result in results:
        by_status.setdefault(result["status"], set()).add(result["check_name"])
    assert by_status.get("failed", set()) == set()
    assert by_status["xfail"] == set(reasons())  # none is excused that passes
    assert len(by_status["passed"]) >= 30


def test_predictions_are_the_verdicts(fitted: AnomalousSoundDetector) -> None:
    clips = NORMAL + FAULTY
    verdicts = list(asd.score(fitted.model_, clips))
    assert all(isinstance(each, asd.Verdict) for each in verdicts)
    assert fitted.predict(clips).tolist() == [-1 if each.anomalous else 1 for each in verdicts]  # type: ignore[union-attr]
    scores = fitted.score_samples(clips)
    assert scores.dtype == np.float64
    assert ((scores > 0) & (scores < 1)).all()
    p_values = np.array([each.p_value for each in verdicts])  # type: ignore[union-attr]
    step = 1 / (len(fitted.model_.calibration.scores) + 1)
    assert ((scores < p_values) & (scores > p_values - step)).all()
    np.testing.assert_array_equal(fitted.decision_function(clips), scores - fitted.offset_)
    assert fitted.offset_ == fitted.model_.decision.level
    assert is_outlier_detector(fitted)


def test_scores_rank_clips_as_the_model_does() -> None:
    fitted = AnomalousSoundDetector(**QUICK, folds=1).fit(HEALTHY)
    clips = NORMAL + FAULTY
    scores = np.array([each.score for each in asd.score(fitted.model_, clips)])  # type: ignore[union-attr]
    assert np.argsort(fitted.score_samples(clips)).tolist() == np.argsort(-scores).tolist()  # one member: one order


def test_it_is_the_model_of_fit(fitted: AnomalousSoundDetector) -> None:
    model = asd.fit(SAMPLES / "train", **QUICK)
    np.testing.assert_allclose(fitted.model_.calibration.scores, model.calibration.scores, rtol=1e-9)
    assert fitted.model_.training == model.training


def test_the_default_is_the_default_pipeline() -> None:
    fitted = AnomalousSoundDetector().fit(HEALTHY)
    assert fitted.model_.config.names == ("timbre", "level", "spectrum", "tonality", "pulsation")
    assert (fitted.predict(FAULTY) == -1).mean() > 0.5


def sounds(paths: list[str]) -> list[Any]:
    return [soundfile.read(path, dtype="float32") for path in paths]


@pytest.mark.parametrize(
    "kind", ["paths", "Path", "pairs", "arrays", "table", "array of paths", "frame", "mixture", "stereo"]
)
def test_clips_in_every_form(kind: str) -> None:
    def as_data(clips: Any) -> Any:
        return list(clips) if kind in ("table", "stereo") else clips  # asd.fit takes an array for one clip

    def made(paths: list[str]) -> Any:
        samples = [each for each, _ in sounds(paths)]
        forms: dict[str, Any] = {
            "paths": paths,
            "Path": [Path(path) for path in paths],
            "pairs": sounds(paths),
            "arrays": samples,
            "table": np.stack(samples),
            "array of paths": np.array(paths),
            "frame": {"path": paths},
            "mixture": [paths[0], *samples[1:]],
            "stereo": np.stack([np.stack([each, each], axis=1) for each in samples]),
        }
        return pytest.importorskip("pandas").DataFrame(forms[kind]) if kind == "frame" else forms[kind]

    rate = 16000 if kind in ("arrays", "table", "mixture", "stereo") else None
    own = AnomalousSoundDetector(**QUICK, rate=rate).fit(made(HEALTHY))
    expected = asd.fit(as_data(made(HEALTHY)), rate=rate, **QUICK)
    np.testing.assert_allclose(own.model_.calibration.scores, expected.calibration.scores, rtol=1e-9)
    verdicts = list(asd.score(expected, as_data(made(FAULTY)), rate=rate))
    assert own.predict(made(FAULTY)).tolist() == [-1 if each.anomalous else 1 for each in verdicts]  # type: ignore[union-attr]
    assert hasattr(own, "n_features_in_") == (kind == "table")


def test_a_clip_that_is_named_twice_is_judged_twice(fitted: AnomalousSoundDetector) -> None:
    assert fitted.predict([FAULTY[0], FAULTY[0], NORMAL[0]]).shape == (3,)


def test_clips_labelled_anomalous_are_not_learned_from(
    fitted: AnomalousSoundDetector, caplog: pytest.LogCaptureFixture
) -> None:
    labels = [1] * len(HEALTHY) + [-1] * len(FAULTY)
    own = AnomalousSoundDetector(**QUICK).fit(HEALTHY + FAULTY, labels)
    np.testing.assert_allclose(own.model_.calibration.scores, fitted.model_.calibration.scores, rtol=1e-9)
    assert caplog.text == ""
    AnomalousSoundDetector(**QUICK).fit(HEALTHY, [0, 1] * 7)
    assert "y holds 0 and 1, not +1 and -1: no clip is left out" in caplog.text


def test_in_a_grid_search_scored_by_labels() -> None:
    clips, labels = HEALTHY + NORMAL + FAULTY, [1] * (len(HEALTHY) + len(NORMAL)) + [-1] * len(FAULTY)
    grid = {"detector": ["knn", {"name": "gmm", "n_components": 2}], "pca": [None, 0.9], "embedding_pooling": ["mean"]}
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(AnomalousSoundDetector(extractor="mel-statistics"), grid, scoring="roc_auc", cv=folds,
                          error_score="raise").fit(clips, labels)  # fmt: skip
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(search.cv_results_["params"]) == 4
    best = search.best_estimator_
    assert best.model_.clips == len(HEALTHY) + len(NORMAL)
    assert search.best_score_ == pytest.approx(
        cross_val_score(clone(best), clips, labels, scoring="roc_auc", cv=folds).mean()
    )
    assert roc_auc_score(labels, search.decision_function(clips)) > 0.5  # higher is more normal


def test_in_a_pipeline() -> None:
    loud = FunctionTransformer(lambda clips: [(2 * samples, rate) for samples, rate in clips])
    pipeline = make_pipeline(loud, AnomalousSoundDetector(extractor="sound-level", detector="knn"))
    pipeline.fit(sounds(HEALTHY))
    assert pipeline.predict(sounds(FAULTY)).shape == (len(FAULTY),)
    assert pipeline.score_samples(sounds(NORMAL)).shape == (len(NORMAL),)
    pipeline.set_params(anomaloussounddetector__pca=0.5)
    assert pipeline[-1].pca == 0.5


def test_parameters_are_kept_as_given() -> None:
    detector = {"name": "knn", "n_neighbors": 3}
    estimator = AnomalousSoundDetector(detector=detector, extractor="mel-statistics", folds=3)
    assert estimator.get_params()["detector"] is detector
    assert clone(estimator).get_params() == estimator.get_params()
    assert estimator.set_params(folds=4).folds == 4
    estimator.fit(HEALTHY)
    assert estimator.detector is detector


@pytest.mark.parametrize("copied", [lambda each: pickle.loads(pickle.dumps(each)), copy.deepcopy])  # noqa: S301  # our own
def test_a_copy_of_a_fitted_estimator_scores_the_same(copied: Any, fitted: AnomalousSoundDetector) -> None:
    np.testing.assert_allclose(copied(fitted).score_samples(FAULTY), fitted.score_samples(FAULTY), rtol=1e-9)
    content = fitted.__getstate__()["model_"]
    assert isinstance(content, bytes)  # a model file: no object of ours is pickled


def test_the_model_is_saved_as_any_other(fitted: AnomalousSoundDetector, tmp_path: Path) -> None:
    fitted.model_.save(tmp_path / "m.asd")
    verdicts = list(asd.score(tmp_path / "m.asd", FAULTY))
    assert [each.anomalous for each in verdicts] == (fitted.predict(FAULTY) == -1).tolist()  # type: ignore[union-attr]


class Tracked:
    """Refuses to be an array, as a tensor with a gradient does."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("call detach() first")


BAD: list[tuple[dict[str, Any], Any, Any, str]] = [
    ({}, np.zeros((10, 100), np.float32), None, "its sample rate is not known; give rate=16000 (in Hz)"),
    ({"rate": 8000}, np.zeros((10, 100), np.int64), None, "int64 has no full scale of sound"),
    ({"rate": 8000}, np.zeros((3, 100), np.float32), None, "3 sample(s)"),
    ({"rate": 8000}, np.full((10, 100), np.nan), None, "contains NaN"),
    ({}, HEALTHY[:3], None, "3 clips: at least 5 clips of the healthy machine are needed"),
    ({}, [*HEALTHY, "absent.wav"], None, "absent.wav"),
    ({}, [*HEALTHY, str(ROOT / "README.md")], None, "README.md: not a recording"),
    ({}, [], None, "there are no clips; give paths, arrays or pairs (samples, rate)"),
    ({}, "train", None, "X takes a list with an element for each clip, got the path 'train'; list its files"),
    ({}, 5, None, "the data is int 5"),
    ({"rate": 8000}, Tracked(), None, "NumPy cannot read this Tracked (call detach() first)"),
    ({}, HEALTHY, [1, -1], f"y has 2 labels, X {len(HEALTHY)} clips"),
    ({}, HEALTHY, [-1] * len(HEALTHY), "0 clips: at least 5 clips of the healthy machine are needed"),
    ({"detector": "knnn"}, HEALTHY, None, "knn"),
    ({"folds": 0}, HEALTHY, None, "folds takes 1 or more, got 0"),
    ({"false_alarms_per_hour": 0.001}, HEALTHY, None, "cannot be promised from"),
]


@pytest.mark.parametrize(("parameters", "clips", "labels", "text"), BAD, ids=range(len(BAD)))
def test_what_does_not_fit_is_a_value_error(parameters: dict[str, Any], clips: Any, labels: Any, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        AnomalousSoundDetector(**{**QUICK, **parameters}).fit(clips, labels)


def test_a_clip_that_cannot_be_judged_is_a_value_error(fitted: AnomalousSoundDetector) -> None:
    with pytest.raises(ValueError, match=r"README.md: not a recording"):
        fitted.predict([FAULTY[0], str(ROOT / "README.md")])


def test_without_scikit_learn_the_import_says_what_to_do() -> None:
    script = (
        "import sys; sys.modules['sklearn.base'] = None; sys.modules['sklearn'] = None; import asd; import asd.sklearn"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "ImportError: asd.sklearn needs scikit-learn 1.6 or newer: pip install 'scikit-learn>=1.6'" in done.stderr


def test_asd_itself_imports_no_scikit_learn() -> None:
    script = "import asd, sys; [getattr(asd, name) for name in asd.__all__]; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
