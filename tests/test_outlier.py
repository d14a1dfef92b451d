"""Estimators of scikit-learn as detectors: the same scores, kept in a model file without pickle, or refused at once."""

from __future__ import annotations

import json
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import OneClassSVM

import asd
from asd.errors import AsdError, ConfigError, DataError, ModelFileError
from asd.experiment import Choice, Clip, Config, Model, read_model_file, write_model_file
from asd.plugin import OutlierDetector
from asd.testing import parametrize_with_checks

CLIPS = Path(__file__).resolve().parent.parent / "examples" / "data"
RNG = np.random.default_rng(0)
TRAIN, TEST = (RNG.normal(size=(count, 6)).astype(np.float32) for count in (120, 30))


class Threshold(OutlierMixin, BaseEstimator):
    """An estimator that learns whatever `learned` gives."""

    def __init__(self, learned: Callable[[], Any] = lambda: 3.0) -> None:
        self.learned = learned

    def fit(self, features: Any, y: Any = None) -> Any:
        self.learned_ = self.learned()
        return self

    def decision_function(self, features: Any) -> Any:
        return -abs(features).sum(axis=1)


class Adapted(OutlierDetector):
    """An adapter around what a test gives."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def make_estimator(self) -> Any:
        return self.make()


class Forest(OutlierDetector):
    def __init__(self, *, n_estimators: int = 20, seed: int = 0) -> None:
        self.n_estimators, self.seed = n_estimators, seed

    def make_estimator(self) -> Any:
        return IsolationForest(n_estimators=self.n_estimators, random_state=self.seed)


PLAIN: dict[str, Callable[[], Any]] = {
    "OneClassSVM": lambda: OneClassSVM(nu=0.1),
    "LocalOutlierFactor": lambda: LocalOutlierFactor(novelty=True, algorithm="brute"),
    "EllipticEnvelope": lambda: EllipticEnvelope(random_state=0),
    "GaussianMixture": lambda: GaussianMixture(3, random_state=0),
    "Pipeline": lambda: make_pipeline(StandardScaler(), PCA(3), OneClassSVM(nu=0.1)),
    "Pipeline of a lambda": lambda: make_pipeline(FunctionTransformer(lambda x: 2 * x), OneClassSVM()),
    "Threshold": Threshold,
}
TREES: dict[str, Callable[[], Any]] = {
    "IsolationForest": lambda: IsolationForest(n_estimators=20, random_state=0),
    "LocalOutlierFactor of a tree": lambda: LocalOutlierFactor(novelty=True, algorithm="kd_tree"),
    "KernelDensity": lambda: KernelDensity(algorithm="ball_tree"),
    "Pipeline of a tree": lambda: make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True)),
}


def refused(error: type[AsdError], text: str) -> Any:
    return pytest.raises(error, match=f"^{re.escape(text)}$")


@pytest.fixture
def without_skops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setitem(sys.modules, "skops.io", None)


@parametrize_with_checks([Forest()])
def test_a_few_lines_keep_the_contract(check: Any) -> None:
    check()


@pytest.mark.parametrize("name", [*PLAIN, *TREES])
def test_scores_are_the_negated_ones_of_the_estimator_and_survive_a_model_file(name: str, tmp_path: Path) -> None:
    make = {**PLAIN, **TREES}[name]
    detector = Adapted(make)
    detector.check_saveable()
    scores = detector.fit(TRAIN).score(TEST)
    fitted = make().fit(TRAIN)
    score = fitted.score_samples if hasattr(fitted, "score_samples") else fitted.decision_function
    np.testing.assert_allclose(scores, -score(TEST), rtol=1e-6)
    write_model_file(tmp_path / "m.asd", {}, detector.get_state())
    restored = Adapted(make)
    restored.set_state(read_model_file(tmp_path / "m.asd")[1])
    np.testing.assert_array_equal(restored.score(TEST), scores)
    assert restored.get_state().keys() == detector.get_state().keys()


@pytest.mark.usefixtures("without_skops")
@pytest.mark.parametrize("name", PLAIN)
def test_numbers_text_and_arrays_need_no_skops(name: str) -> None:
    detector = Adapted(PLAIN[name])
    detector.check_saveable()
    state = detector.fit(TRAIN).get_state()
    restored = Adapted(PLAIN[name])
    restored.set_state(state)
    np.testing.assert_array_equal(restored.score(TEST), detector.score(TEST))


@pytest.mark.parametrize("name", [*PLAIN, *TREES])
def test_nothing_is_pickled_or_unpickled(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make = {**PLAIN, **TREES}[name]
    detector, restored = Adapted(make).fit(TRAIN), Adapted(make)
    detector.get_state()  # skops imports and registers what it needs
    for function in ("dump", "dumps", "load", "loads"):
        monkeypatch.delattr(pickle, function)
    state = detector.get_state()
    restored.set_state(state)
    assert all(array.dtype.kind in "biuf" for array in state.values())


@pytest.mark.parametrize(
    "value",
    [
        None, True, 7, -0.5, float("inf"), "text", np.float32(0.25), np.bool_(True), np.arange(6).reshape(2, 3),
        [1, "a", np.zeros(2)], (1, (2, None)), {"a": np.ones(1), 3: [True]}, [], {}, np.zeros((0, 2)),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("without_skops")
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    detector = Adapted(lambda: Threshold(lambda: value))
    state = detector.fit(TRAIN).get_state()
    restored = Adapted(Threshold)
    restored.set_state(state)
    back = restored._estimator.learned_
    assert type(back) is type(value)
    np.testing.assert_equal(back, value)


@pytest.mark.usefixtures("without_skops")
def test_trees_without_skops_are_refused_with_the_remedy() -> None:
    text = (
        "Adapted: a fitted Pipeline cannot be kept in a model file, as its attribute localoutlierfactor._tree (KDTree) "
        "is more than numbers, text and arrays: pip install skops, or derive the detector from "
        "asd.plugin.CheckedDetector and keep arrays"
    )
    detector = Adapted(lambda: make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True, algorithm="kd_tree")))
    with refused(ConfigError, text):
        detector.check_saveable()
    with refused(ConfigError, text):
        detector.fit(TRAIN).get_state()


def test_a_model_of_trees_asks_for_skops_where_it_is_not_installed(request: pytest.FixtureRequest) -> None:
    state = Forest().fit(TRAIN).get_state()
    request.getfixturevalue("without_skops")
    with refused(ModelFileError, "Forest: the model was stored with the help of skops: pip install skops"):
        Forest().set_state(state)


def test_code_among_what_was_learned_is_refused() -> None:
    with pytest.raises(
        ConfigError,
        match=r"^Adapted: a fitted Threshold cannot be kept in a model file, as its attribute learned_ holds "
        r"\S+\.<lambda>, which must not be loaded from a file: derive the detector from asd\.plugin\.CheckedDetector",
    ):
        Adapted(lambda: Threshold(lambda: [lambda: None])).check_saveable()


def test_what_skops_cannot_store_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"as its attribute learned_ \(generator\) is nothing that skops can store"):
        Adapted(lambda: Threshold(lambda: (number for number in range(3)))).check_saveable()


def test_a_file_that_brings_its_own_types_is_refused() -> None:
    import skops.io

    class Harmful:
        """What an attacker would have built."""

    state = Forest().fit(TRAIN).get_state()
    content = json.loads(state["estimator"].tobytes())
    number = content["parts"][""]["attributes"]["estimators_"]["skops"]
    state[f"estimator.{number}"] = np.frombuffer(skops.io.dumps([Harmful]), np.uint8)
    with pytest.raises(
        ModelFileError, match=r"^Forest: the model holds \S+Harmful, which must not be loaded from a file; ask where"
    ):
        Forest().set_state(state)


@pytest.mark.parametrize("name", ["__class__", "learned"])
def test_a_file_that_sets_more_than_what_was_learned_is_refused(name: str) -> None:
    state = Adapted(Threshold).fit(TRAIN).get_state()
    content = json.loads(state["estimator"].tobytes())
    content["parts"][""]["attributes"][name] = "x"
    state["estimator"] = np.frombuffer(json.dumps(content).encode(), np.uint8)
    with pytest.raises(
        ModelFileError, match=rf"^Adapted: the estimator in the model is damaged \(.*{name} is not lear"
    ):
        Adapted(Threshold).set_state(state)


def test_a_damaged_state_is_refused() -> None:
    state = Adapted(PLAIN["Pipeline"]).fit(TRAIN).get_state()
    for damaged in (
        {key: array for key, array in state.items() if key != "estimator.0"},
        {key: array for key, array in state.items() if key != "estimator"},
        {**state, "estimator": state["estimator"][:-9]},
    ):
        with pytest.raises(
            ModelFileError, match=r"^Adapted: the estimator in the model is damaged \(.*\): fit it again$"
        ):
            Adapted(PLAIN["Pipeline"]).set_state(damaged)
    del state["dimension_"]
    with refused(
        ModelFileError, "Adapted: the model lacks dimension_; it is damaged or of another version: fit it again"
    ):
        Adapted(PLAIN["Pipeline"]).set_state(state)


def test_damaged_trees_are_refused() -> None:
    state = Forest().fit(TRAIN).get_state()
    content = json.loads(state["estimator"].tobytes())
    number = content["parts"][""]["attributes"]["estimators_"]["skops"]
    state[f"estimator.{number}"] = state[f"estimator.{number}"][:-100]
    with pytest.raises(ModelFileError, match=r"^Forest: the estimator in the model is damaged \(.*\): fit it again$"):
        Forest().set_state(state)


def test_the_state_of_another_estimator_is_refused() -> None:
    state = Adapted(PLAIN["OneClassSVM"]).fit(TRAIN).get_state()
    with refused(
        ModelFileError,
        "Adapted: the model holds OneClassSVM, but the plugin now makes EllipticEnvelope: install the version that it "
        "was fitted with, or fit again",
    ):
        Adapted(PLAIN["EllipticEnvelope"]).set_state(state)


def test_another_version_of_the_library_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import sklearn

    state = Adapted(PLAIN["OneClassSVM"]).fit(TRAIN).get_state()
    fitted_with = sklearn.__version__
    monkeypatch.setattr(sklearn, "__version__", "99.0")
    Adapted(PLAIN["OneClassSVM"]).set_state(state)
    assert caplog.messages == [
        f"Adapted: fitted with sklearn {fitted_with}, here is 99.0: scores may differ; fit again"
    ]


@pytest.mark.parametrize("make", [StandardScaler, LocalOutlierFactor, dict])
def test_what_is_no_outlier_estimator_is_refused(make: Any) -> None:
    with refused(
        ConfigError,
        f"Adapted: make_estimator returned {make.__name__}, which lacks fit, or both of score_samples and "
        "decision_function; return an outlier estimator (LocalOutlierFactor with novelty=True)",
    ):
        Adapted(make).check_saveable()


def test_a_trial_that_the_estimator_does_not_suit_shows_nothing() -> None:
    Adapted(lambda: GaussianMixture(900)).check_saveable()
    Adapted(lambda: make_pipeline(PCA(50), OneClassSVM())).check_saveable()


def test_a_complaint_of_the_estimator_is_one_line() -> None:
    with pytest.raises(
        DataError,
        match=r"^Adapted: GaussianMixture cannot learn from 120 windows of 6 features: Expected n_samples >= "
        r"n_components but got n_components = 900, n_samples = 120$",
    ):
        Adapted(lambda: GaussianMixture(900)).fit(TRAIN)


_PLUGIN = """
from asd.plugin import OutlierDetector
from asd_registry import ComponentSpec, hookimpl
from sklearn.mixture import GaussianMixture

class Mixture(OutlierDetector):
    def __init__(self, *, n_components: int = 2, seed: int = 0) -> None:
        self.n_components, self.seed = n_components, seed

    def make_estimator(self):
        return GaussianMixture(self.n_components, random_state=self.seed)

class WithCode(Mixture):
    def make_estimator(self):
        estimator = super().make_estimator()
        estimator.callback_ = lambda: None
        return estimator

@hookimpl
def asd_components():
    for name, target in (("my-mixture", "Mixture"), ("with-code", "WithCode")):
        yield ComponentSpec(kind="detector", name=name, summary=name, target=f"{__name__}:{target}", licence="MIT")
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("plugin") / "outlier_plugin.py"
    path.write_text(_PLUGIN)
    asd.use_plugin_file(path)


@pytest.mark.usefixtures("plugin")
def test_a_model_of_a_strangers_estimator(tmp_path: Path) -> None:
    config: dict[str, Any] = {"frontend": "mel-patch", "extractor": "mel-statistics", "folds": 2}
    detector = {"name": "my-mixture", "n_components": 3}
    model = asd.fit(CLIPS / "train", detector=detector, **config)
    model.save(tmp_path / "m.asd")
    loaded = asd.load(tmp_path / "m.asd")
    assert loaded.members[0].detector.get_params() == {"n_components": 3, "seed": 0}
    before, after = (
        [verdict.score for verdict in asd.score(each, CLIPS / "test" / "normal") if isinstance(verdict, asd.Verdict)]
        for each in (model, loaded)
    )
    assert before == after
    assert len(before) == 6


@pytest.mark.usefixtures("plugin")
def test_what_cannot_be_saved_is_refused_before_any_clip_is_read() -> None:
    clips = [Clip(Path(f"no-such-{number}.wav")) for number in range(8)]
    config = Config(detector=Choice("with-code"))
    with pytest.raises(
        ConfigError, match=r"^WithCode: a fitted GaussianMixture cannot be kept .* attribute callback_ "
    ):
        Model.fit(clips, config)
    with pytest.raises(AsdError, match="no-such-0"):
        Model.fit(clips, Config(detector=Choice("my-mixture")), strict=True)


@pytest.mark.usefixtures("plugin")
def test_an_ensemble_asks_its_members() -> None:
    from asd.plugin import create

    with pytest.raises(ConfigError, match=r"^ensemble: member 'with-code': WithCode: a fitted GaussianMixture cannot"):
        create("detector", "ensemble", {"detectors": "knn,with-code"}).check_saveable()
