"""`asd.fit_features` and `asd.score_features`: the same calibration on features that somebody else computed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import asd
from asd.detection import modelfile
from asd.errors import CalibrationError, ConfigError, DataError, ModelFileError

pytestmark = pytest.mark.usefixtures("embedding_cache")

ASD = Path(os.environ["ASD_COMMAND"])
SAMPLES = Path(__file__).resolve().parent.parent / "examples" / "data"
TRAIN, TEST = SAMPLES / "train", SAMPLES / "test"
QUICK = {"extractor": "mel-statistics"}
Features = npt.NDArray[np.float64]


def cloud(count: int, dimension: int = 6, *, seed: int = 0, shift: float = 0.0) -> Features:
    return np.random.default_rng(seed).normal(shift, 1, (count, dimension))


def verdicts(model: asd.Model | Path, features: Any) -> list[asd.Verdict]:
    found = list(asd.score_features(model, features))
    assert all(isinstance(each, asd.Verdict) for each in found)
    return found  # type: ignore[return-value]


def said(each: asd.Verdict) -> dict[str, Any]:
    """Return what a verdict says, without the name that the branch has; numbers to what rounding leaves."""
    told = each.as_dict()
    for branch in told["branches"]:
        del branch["name"]
        branch |= {name: pytest.approx(branch[name], rel=1e-9, abs=1e-9) for name in ("score", "z")}
    return {**told, "score": pytest.approx(told["score"], rel=1e-9)}


@pytest.fixture(scope="module")
def model() -> asd.Model:
    return asd.fit_features(cloud(60), seconds=10)


@pytest.fixture(scope="module")
def of_embeddings(embedding_cache: None) -> asd.Model:
    return asd.fit_features(asd.embed(TRAIN, **QUICK))


@pytest.mark.parametrize(
    ("windows", "steps"),
    [
        (False, {"detector": "knn"}),
        (False, {"detector": {"name": "gmm", "n_components": 2}, "pca": 0.9, "folds": 3, "seed": 5}),
        (True, {"detector": "mahalanobis", "pooling": "max"}),
        (True, {"detector": "knn", "embedding_pooling": "mean-std"}),
    ],
)
@pytest.mark.parametrize("suffix", [None, "npz"])
def test_it_is_the_model_that_a_fit_on_the_recordings_gives(
    windows: bool, steps: dict[str, Any], suffix: str | None, tmp_path: Path
) -> None:
    learned, new = (asd.embed(data, windows=windows, **QUICK) for data in (TRAIN, TEST))
    if suffix:
        for name, embeddings in (("learned", learned), ("new", new)):
            embeddings.save(tmp_path / f"{name}.{suffix}")
        model = asd.fit_features(tmp_path / f"learned.{suffix}", **steps)
        own = verdicts(model, tmp_path / f"new.{suffix}")
    else:
        model = asd.fit_features(learned, **steps)
        own = verdicts(model, new)
    of_clips = {} if windows else {"embedding_pooling": "mean"}
    expected = asd.fit(TRAIN, **QUICK, **of_clips, **steps)
    # Matrix products round by where arrays lie in memory: the vectors are equal to the bit, scores to the last digits.
    np.testing.assert_allclose(model.calibration.scores, expected.calibration.scores, rtol=1e-9)
    assert np.array_equal(model.calibration.member, expected.calibration.member)
    assert model.decision == expected.decision
    assert model.training == expected.training
    for one, other in zip(own, asd.score(expected, TEST), strict=True):
        told, wanted = one.as_dict(), said(other)  # type: ignore[arg-type]
        del told["branches"][0]["name"]
        if not windows:  # what a fit on recordings knows besides: which window it was
            told["peak_seconds"] = wanted["peak_seconds"]
        assert told == wanted


def test_a_saved_model_gives_the_same_verdicts(model: asd.Model, tmp_path: Path) -> None:
    new = cloud(20, seed=1, shift=1)
    model.save(tmp_path / "m.asd")
    assert [each.score for each in verdicts(tmp_path / "m.asd", new)] == pytest.approx(
        [each.score for each in verdicts(model, new)], rel=1e-9
    )
    assert [each.p_value for each in verdicts(tmp_path / "m.asd", new)] == [
        each.p_value for each in verdicts(model, new)
    ]
    loaded = asd.load(tmp_path / "m.asd")
    assert loaded.decision == model.decision
    assert loaded.known_features == model.known_features
    loaded.save(tmp_path / "again.asd")
    assert asd.load(tmp_path / "again.asd").known_features == model.known_features


def test_the_recordings_of_embeddings_are_not_read_again(of_embeddings: asd.Model) -> None:
    assert of_embeddings.training
    assert of_embeddings.reference is None


def test_a_saved_model_of_embeddings_still_knows_their_kind(of_embeddings: asd.Model, tmp_path: Path) -> None:
    of_embeddings.save(tmp_path / "m.asd")
    with pytest.raises(DataError, match="not of the kind that the model was fitted on: channel 1, not 'mix'"):
        asd.score_features(tmp_path / "m.asd", asd.embed(TEST, channel=1, **QUICK))


def test_healthy_features_raise_as_many_alarms_as_promised() -> None:
    """Cross-conformal p-values of exchangeable features: as often at most a as a says, measured."""
    alarms, count = 0, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        model = asd.fit_features(rng.normal(size=(40, 5)), seconds=10, detector="mahalanobis", false_alarms_per_hour=36)
        found = verdicts(model, rng.normal(size=(100, 5)))
        assert model.decision.level == pytest.approx(4 / 41)
        alarms += sum(each.anomalous for each in found)
        count += len(found)
    assert 0.05 < alarms / count < 0.15  # level 0.0976; 2,000 clips, 20 fits
    assert np.mean([each.anomalous for each in verdicts(model, cloud(50, 5, seed=99, shift=6))]) == 1


@pytest.mark.parametrize("dimension", [1, 2, 10, 100])
def test_repeated_rows_do_not_calibrate_and_others_do(dimension: int, caplog: pytest.LogCaptureFixture) -> None:
    rows = cloud(200, dimension)
    assert asd.fit_features(rows, seconds=10).duplicates == []
    repeated = np.concatenate([rows, rows[:3]])
    model = asd.fit_features(repeated, seconds=10)
    assert sorted(len({str(each.clip), str(each.original)} & {f"features[{i}]" for i in range(200, 203)})
                  for each in model.duplicates) == [1, 1, 1]  # fmt: skip
    assert len(model.calibration.scores) == 200
    assert "3 of 203 clips repeat others" in caplog.text


def test_groups_are_states_of_the_machine(tmp_path: Path) -> None:
    rows = np.concatenate([cloud(30), cloud(30, seed=1, shift=8)])
    groups = ["slow"] * 30 + ["fast"] * 30
    model = asd.fit_features(rows, groups=groups, seconds=10)
    assert model.calibration.states is not None
    assert model.calibration.states.names == ("fast", "slow")
    assert [each.state for each in verdicts(model, [[0] * 6, [8] * 6])] == ["slow", "fast"]
    model.save(tmp_path / "m.asd")
    assert [each.state for each in verdicts(tmp_path / "m.asd", [[0] * 6, [8] * 6])] == ["slow", "fast"]
    embedded = asd.embed(SAMPLES, group="folder", **QUICK)
    states = asd.fit_features(embedded).calibration.states
    assert states is not None
    assert states.names == ("anomalous", "normal", "train")


def test_the_length_of_a_clip_counts_for_alarms_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    rows = cloud(59)
    model = asd.fit_features(rows)
    assert "arrays do not say how long a clip lasts: 10 s is assumed (seconds=…)" in caplog.text
    assert model.calibration.lowest_rate == pytest.approx(6.0)
    caplog.clear()
    assert asd.fit_features(rows, seconds=60).calibration.lowest_rate == pytest.approx(1.0)
    assert caplog.text == ""
    with pytest.raises(CalibrationError, match="cannot be promised from 59 held-out clips of 10 s"):
        asd.fit_features(rows, seconds=10, false_alarms_per_hour=1)


def test_silent_clips_are_left_out_as_by_a_fit(tmp_path: Path, of_embeddings: asd.Model) -> None:
    embedded = asd.embed([*(clip.path for clip in asd.embed(TRAIN, **QUICK).clips), silence(tmp_path)], **QUICK)
    model = asd.fit_features(embedded)
    assert [str(failure.clip) for failure in model.failures] == [str(tmp_path / "silent.wav")]
    np.testing.assert_allclose(model.calibration.scores, of_embeddings.calibration.scores, rtol=1e-9)


def silence(folder: Path) -> Path:
    import soundfile

    soundfile.write(folder / "silent.wav", np.zeros(16000), 16000)
    return folder / "silent.wav"


@pytest.mark.parametrize("make", ["list", "float32", "integers", "pandas", "polars", "torch", "big-endian", "strided"])
def test_whatever_numpy_reads_is_taken(make: str, model: asd.Model) -> None:
    rows = np.rint(10 * cloud(20, seed=3)) / 1
    expected = [each.score for each in verdicts(model, rows)]
    made: Any = {
        "list": lambda: rows.tolist(),
        "float32": lambda: rows.astype(np.float32),
        "integers": lambda: rows.astype(np.int16),
        "pandas": lambda: pytest.importorskip("pandas").DataFrame(rows),
        "polars": lambda: pytest.importorskip("polars").DataFrame(rows),
        "torch": lambda: pytest.importorskip("torch").tensor(rows),
        "big-endian": lambda: rows.astype(">f8"),
        "strided": lambda: np.repeat(rows, 2, axis=1)[:, ::2],
    }[make]()
    assert [each.score for each in verdicts(model, made)] == pytest.approx(expected, rel=1e-6)


def holed() -> Features:
    rows = cloud(20)
    rows[3, 2] = np.nan
    return rows


class Tracked:
    """Refuses to be an array, as a tensor with a gradient does."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("cannot be read:\ncall detach() first")


BAD: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (np.zeros(5), {}, DataError, "features takes float[n_clips, dimension], a row for each clip, got shape (5,)"),
    (np.zeros((20, 3, 4)), {}, DataError, "got shape (20, 3, 4); of windows give what asd.embed returns"),
    (np.zeros((0, 4)), {}, DataError, "got shape (0, 4)"),
    ([[1, 2], [3]], {}, DataError, "a row for each clip: setting an array element"),
    ([["a", "b"]], {}, DataError, "features takes numbers, got <U1"),
    (np.zeros((20, 2), complex), {}, DataError, "features takes numbers, got complex128"),
    (None, {}, DataError, "got shape ()"),
    (Tracked(), {}, DataError, "a row for each clip: cannot be read: call detach() first"),
    (holed(), {}, DataError, "features takes finite numbers, got nan in row 3, column 2; leave such rows out"),
    (np.full((20, 2), 1e300), {}, DataError, "features takes finite numbers, got 1e+300 in row 0, column 0"),
    (cloud(4), {}, CalibrationError, "4 clips: at least 5 clips of the healthy machine are needed"),
    (np.ones((20, 3)), {}, CalibrationError, "1 of 20 clips differ from all others"),
    (cloud(20), {"groups": ["a"]}, DataError, "groups takes a label for each of the 20 clips, got 1"),
    (cloud(20), {"seconds": 0}, ConfigError, "seconds takes the length of a clip, above 0, got 0"),
    (cloud(20), {"seconds": float("nan")}, ConfigError, "seconds takes the length of a clip, above 0, got nan"),
    (cloud(20), {"extractor": "yamnet"}, ConfigError, "extractor: features are computed already; fit_features takes"),
    (cloud(20), {"n_folds": 3}, ConfigError, "n_folds: features are computed already; fit_features takes groups"),
    (cloud(20), {"embedding_pooling": "mean"}, ConfigError, "embedding_pooling is for windows; these features have"),
    (cloud(20), {"detector": "knnn"}, asd.AsdError, "knn"),
    (cloud(20), {"detector": {"name": "knn", "k": 3}}, ConfigError, "n_neighbors"),
    ("absent.npz", {}, DataError, "absent.npz: no such file of embeddings"),
    ("absent.csv", {}, ConfigError, "absent.csv: embeddings are kept in *.npz or *.parquet; got '.csv'"),
]


@pytest.mark.parametrize(("features", "options", "kind", "text"), BAD, ids=range(len(BAD)))
def test_bad_features_are_one_line(features: Any, options: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        asd.fit_features(features, **options)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def other_kinds() -> dict[str, tuple[Callable[[], Any], str]]:
    return {
        "dimension": (lambda: cloud(5, 3), "fitted on features of 128 values, got 3"),
        "windows": (
            lambda: asd.embed(TEST, windows=True, **QUICK),
            "one vector for each clip, got windows; embed with",
        ),
        "pooling": (lambda: asd.embed(TEST, embedding_pooling="max", **QUICK), "pooling 'max', not 'mean'"),
        "extractor": (
            lambda: asd.embed(TEST, extractor="identity", frontend="mel-patch", embedding_pooling="max"),
            "fitted on",
        ),
        "parameter": (
            lambda: asd.embed(TEST, frontend={"name": "mel-patch", "hop_length": 512}, **QUICK),
            "frontend.hop_length 512, not 256",
        ),
    }


@pytest.mark.parametrize("kind", other_kinds())
def test_features_of_another_kind_are_refused(kind: str, of_embeddings: asd.Model) -> None:
    make, text = other_kinds()[kind]
    with pytest.raises(DataError) as caught:
        asd.score_features(of_embeddings, make())
    assert text in str(caught.value)


NO_RECORDINGS = "this model was fitted on features and takes no recordings; give it features of the same kind"


@pytest.mark.parametrize(
    "use",
    [
        lambda model: list(asd.score(model, TEST)),
        lambda model: asd.recalibrate(model, TEST / "normal"),
        lambda model: asd.update(model, TEST / "normal"),
        lambda model: asd.diff(model, model, TEST),
        lambda model: model.pipeline.embedder(0),
    ],
)
def test_a_model_of_features_refuses_recordings(use: Callable[[asd.Model], Any], of_embeddings: asd.Model) -> None:
    with pytest.raises(DataError, match=NO_RECORDINGS):
        use(of_embeddings)


def test_a_model_of_recordings_refuses_features() -> None:
    model = asd.fit(TRAIN, detector="knn", **QUICK)
    with pytest.raises(
        DataError, match="this model was fitted on recordings and takes no features; give it recordings"
    ):
        asd.score_features(model, asd.embed(TEST, **QUICK))


@pytest.mark.parametrize(
    "arguments",
    [
        ("score", "{model}", TEST),
        ("evaluate", "{model}", "--normal", TEST / "normal", "--anomalous", TEST / "anomalous"),
        ("recalibrate", "{model}", TEST / "normal", "-o", "{new}"),
        ("update", "{model}", TEST / "normal", "-o", "{new}"),
        ("export", "{model}", "--onnx", "{new}"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_refuse_it_in_one_line(
    arguments: tuple[str | Path, ...], of_embeddings: asd.Model, tmp_path: Path
) -> None:
    of_embeddings.save(tmp_path / "m.asd")
    given = [str(each).format(model=tmp_path / "m.asd", new=tmp_path / "new") for each in arguments]
    done = subprocess.run([ASD, *given], capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("asd: error: ")]
    assert done.returncode == 2
    assert len(lines) == 1, done.stderr
    assert "fitted on features and takes no recordings" in lines[0]
    assert not (tmp_path / "new").exists()


def test_two_models_of_features_are_compared(of_embeddings: asd.Model, tmp_path: Path) -> None:
    of_embeddings.save(tmp_path / "m.asd")
    asd.fit_features(asd.embed(TRAIN, **QUICK), detector="mahalanobis").save(tmp_path / "other.asd")
    command = [ASD, "diff", tmp_path / "m.asd", tmp_path / "other.asd", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr  # they differ
    assert "detector.name" in json.loads(done.stdout)["settings"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda m: m["features"].update(dimension=0), "dimension"),
        (lambda m: m["features"].update(windows="yes"), "windows"),
        (lambda m: m["features"].update(provenance=nested(20)), "features.provenance is nested more than"),
        (lambda m: m["config"].update(extractor={"name": "identity"}), "must not have extractor"),
        (lambda m: m.pop("features"), ""),
    ],
)
def test_a_forged_model_file_is_refused_or_takes_recordings_only(
    change: Callable[[dict[str, Any]], Any], text: str, model: asd.Model, tmp_path: Path
) -> None:
    model.save(tmp_path / "m.asd")
    manifest, arrays = modelfile.read(tmp_path / "m.asd")
    change(manifest)
    modelfile.write(tmp_path / "forged.asd", manifest, arrays)
    if not text:  # the default extractor's vectors are longer: it cannot pass for a model of recordings
        forged = asd.load(tmp_path / "forged.asd")
        with pytest.raises(DataError, match="takes no features"):
            asd.score_features(forged, cloud(3))
        return
    with pytest.raises(ModelFileError, match=text):
        asd.load(tmp_path / "forged.asd")


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"a": found}
    return found
