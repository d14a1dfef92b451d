"""Components that are given as classes and objects: own ones, estimators of scikit-learn, networks of PyTorch."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, RobustScaler, StandardScaler
from sklearn.svm import OneClassSVM

import asd
from asd.contract.installed import registry
from asd.contract.own import OwnSpec
from asd.detection import modelfile

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import own_components as own  # noqa: E402  # it stands beside this file, as a user's module beside a notebook

RATE = 16000


@pytest.fixture(autouse=True)
def leave_no_components(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("ASD_SETTINGS", str(tmp_path / "settings"))
    yield
    registry().components[:] = [each for each in registry().components if not isinstance(each.spec, OwnSpec)]


@pytest.fixture(scope="module")
def healthy() -> list[Any]:
    return [np.random.default_rng(seed).normal(0, 0.05, 2 * RATE).astype(np.float32) for seed in range(20)]


@pytest.fixture(scope="module")
def faulty(healthy: list[Any]) -> Any:
    return healthy[0] + 0.2 * np.sin(np.arange(2 * RATE) * 0.5)


def fit(healthy: list[Any], **chosen: Any) -> asd.Model:
    return asd.fit(healthy, rate=RATE, cache=False, **({"extractor": "mel-statistics"} | chosen))


def scores(model: asd.Model, samples: Any) -> list[float]:
    return [verdict.score for verdict in model.score(samples, rate=RATE, cache=False)]


ESTIMATORS = {
    "neighbours": LocalOutlierFactor(novelty=True, n_neighbors=7),
    "forest": IsolationForest(n_estimators=10),
    "class": IsolationForest,
    "table": {"name": IsolationForest, "n_estimators": 5},
    "mixture": GaussianMixture(2, random_state=3),
    "steps": make_pipeline(StandardScaler(), QuantileTransformer(n_quantiles=10), OneClassSVM(nu=0.1)),
    "nested": make_pipeline(make_pipeline(RobustScaler(quantile_range=(10.0, 90.0))), OneClassSVM(nu=0.1)),
}


@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
def test_an_outlier_estimator_is_a_detector_whose_model_is_saved(
    estimator: Any, healthy: list[Any], faulty: Any, tmp_path: Path
) -> None:
    model = fit(healthy, detector=estimator)
    quiet, loud = scores(model, [healthy[0], faulty])
    assert loud > quiet
    assert scores(fit(healthy, detector=estimator), [healthy[0], faulty]) == [quiet, loud]  # nothing is left to chance
    model.save(tmp_path / "model.asd")
    registry().components[:] = [each for each in registry().components if not isinstance(each.spec, OwnSpec)]
    loaded = asd.load(tmp_path / "model.asd")
    assert scores(loaded, [healthy[0], faulty]) == [quiet, loud]
    loaded.save(tmp_path / "again.asd")
    assert not hasattr(estimator, "n_features_in_"), "the user's own object was fitted"


def test_a_model_that_imports_a_class_needs_consent_elsewhere(
    healthy: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(healthy, detector=LocalOutlierFactor(novelty=True)).save(tmp_path / "model.asd")
    monkeypatch.setenv("ASD_SETTINGS", str(tmp_path / "another machine"))
    with pytest.raises(asd.AsdError) as refusal:
        asd.load(tmp_path / "model.asd")
    assert str(refusal.value) == (
        f"{tmp_path}/model.asd: imports sklearn.neighbors:LocalOutlierFactor, which no plugin offers: if you trust "
        "whoever made this file, add trust=True, which is remembered for its very content"
    )
    assert asd.load(tmp_path / "model.asd", trust=True).clips == 20
    assert asd.load(tmp_path / "model.asd").clips == 20


@pytest.mark.parametrize("named", [True, False])
def test_nothing_is_imported_without_consent(
    named: bool, healthy: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(healthy, detector=own.Distance).save(tmp_path / "model.asd")
    manifest, arrays = modelfile.read(tmp_path / "model.asd")
    (tmp_path / "stranger.py").write_text("open('was here', 'w').close()\nfrom own_components import Distance\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    name = "stranger:Distance" if named else "own_components:Distance"  # this class is known to the process already
    manifest["config"]["detector"]["name"] = name
    del manifest["classes"]
    if named:
        manifest["classes"] = {name: "1"}
    modelfile.write(tmp_path / "forged.asd", manifest, arrays)
    said = "imports stranger:Distance, which no" if named else "asks for detector own_components:Distance, which no"
    with pytest.raises(asd.AsdError, match=said):
        asd.load(tmp_path / "forged.asd")
    assert not (tmp_path / "was here").exists()


@pytest.mark.parametrize("forged", ["subprocess:Popen", "sklearn.neighbors:LocalOutlierFactor"])
def test_consent_names_the_classes_of_parameters_too_and_nothing_but_estimators_is_called(
    forged: str, healthy: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(healthy, detector=ESTIMATORS["steps"]).save(tmp_path / "model.asd")
    manifest, arrays = modelfile.read(tmp_path / "model.asd")
    steps = manifest["config"]["detector"]["steps"]
    parameters = {"args": ["touch", f"{tmp_path}/was here"]} if forged == "subprocess:Popen" else {}
    steps[0]["tuple"][1] = {"estimator": forged, "parameters": parameters}
    modelfile.write(tmp_path / "forged.asd", manifest, arrays)
    with pytest.raises(asd.AsdError, match=f"imports sklearn.pipeline:Pipeline, {forged}, sklearn.preprocessing"):
        asd.load(tmp_path / "forged.asd")
    if forged == "subprocess:Popen":
        with pytest.raises(asd.AsdError, match="subprocess:Popen is no class of estimators"):
            asd.load(tmp_path / "forged.asd", trust=True)
        assert not (tmp_path / "was here").exists()


OWN = {
    "class": {"detector": own.Distance},
    "object": {"detector": own.Distance(power=3)},
    "table": {"detector": {"name": own.Distance, "power": "3"}},
    "extractor": {"extractor": own.Means},
    "used": {"extractor": own.Means(gain=2.0)},
    "all": {"frontend": own.Half(), "extractor": "identity", "detector": own.Distance},
}


@pytest.mark.parametrize("chosen", OWN.values(), ids=OWN)
def test_a_model_of_own_classes_is_saved_and_loaded_in_another_process(
    chosen: dict[str, Any], healthy: list[Any], tmp_path: Path
) -> None:
    model = fit(healthy, **chosen)
    assert model.unsaveable is None
    model.save(tmp_path / "model.asd")
    np.save(tmp_path / "clip.npy", healthy[3])
    code = f"import asd, numpy\nmodel = asd.load({str(tmp_path / 'model.asd')!r})\n"
    code += f"print(next(model.score(numpy.load({str(tmp_path / 'clip.npy')!r}), rate={RATE})).score)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=HERE)
    assert done.stdout.strip() == repr(scores(model, healthy[3])[0]), done.stderr


def test_a_model_whose_class_is_not_there_says_so(healthy: list[Any], tmp_path: Path) -> None:
    fit(healthy, detector=own.Distance).save(tmp_path / "model.asd")
    code = f"import asd\ntry: asd.load({str(tmp_path / 'model.asd')!r})\nexcept asd.AsdError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.strip() == (
        "the detector own_components:Distance cannot be imported (ModuleNotFoundError: No module named "
        "'own_components'): install it, or run Python where own_components is"
    )


def test_a_class_of_a_plugin_is_that_plugins_component(healthy: list[Any], tmp_path: Path) -> None:
    from asd_sklearn.neighbours import NearestNeighbours

    by_object = fit(healthy, detector=NearestNeighbours(n_neighbors=2))
    assert by_object.config.detector.name == "asd-sklearn:knn"
    assert scores(by_object, healthy[1]) == scores(fit(healthy, detector={"name": "knn", "n_neighbors": 2}), healthy[1])


NOTEBOOK = """
import asd, numpy as np, sys
sys.path.insert(0, {here!r})
class Distance(asd.Detector):
    def fit(self, features):
        self.centre_ = features.mean(axis=0) + {shift}
        return self
    def score(self, features):
        return abs(features - self.centre_).sum(axis=1)
"""
USE = """
healthy = [np.random.default_rng(seed).normal(0, 0.05, 32000) for seed in range(20)]
model = asd.fit(healthy, rate=16000, extractor="mel-statistics", detector=Distance, pca=None)
print(round(next(model.score(healthy[0], rate=16000)).score))
try:
    model.save("model.asd")
except asd.AsdError as error:
    print(error)
"""


def test_a_class_of_a_notebook_fits_and_scores_and_says_that_it_cannot_be_saved(tmp_path: Path) -> None:
    # the second cell defines the class anew, as a notebook's cell that is run again does
    code = NOTEBOOK.format(here=str(HERE), shift=0) + USE + NOTEBOOK.format(here=str(HERE), shift=1000) + USE
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    small, why, large, _ = done.stdout.splitlines()
    text = (
        "this model cannot be saved: detector Distance is defined in a notebook or script (__main__): put it into a "
        "module"
    )
    assert why == text
    assert text in done.stderr.splitlines()
    assert int(large) > 1000 > int(small)
    assert not list(tmp_path.iterdir())


UNSAVEABLE = {
    "name": (own.Forgetful, "detector own_components:Forgetful: its attribute 'centre' was learned, but only names "
             "that end in an underscore are kept: centre_"),
    "object": (own.Holding(), "detector own_components:Holding: its attribute 'helper_' is of type object; a model "
               "file keeps numbers and arrays of them"),
    "estimator": (make_pipeline(StandardScaler(), OneClassSVM(kernel=lambda a, b: a @ b.T)), "detector Pipeline: its "
                  "parameter 'steps' holds a function, which a model file cannot keep"),
    "step": (make_pipeline(type("Step", (StandardScaler,), {})(), OneClassSVM(nu=0.1)), "detector Pipeline: its "
             "parameter 'steps' holds a Step, whose class cannot be imported: put it at the top of a module"),
}  # fmt: skip


@pytest.mark.parametrize(("detector", "reason"), UNSAVEABLE.values(), ids=UNSAVEABLE)
def test_what_cannot_be_saved_is_said_at_the_fit(
    detector: Any, reason: str, healthy: list[Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = fit(healthy, detector=detector)
    assert f"this model cannot be saved: {reason}" in caplog.messages
    assert len(scores(model, healthy[:2])) == 2
    (tmp_path / "model.asd").write_text("the model of last week")
    with pytest.raises(asd.AsdError) as refusal:
        model.save(tmp_path / "model.asd")
    assert str(refusal.value) == f"this model cannot be saved: {reason}"
    assert (tmp_path / "model.asd").read_text() == "the model of last week"


def test_weights_that_no_parameter_says_are_named(healthy: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    reason = "its attribute 'weights' holds what no parameter says; make it of parameters at the first use"
    assert fit(healthy, extractor=own.Weighted()).unsaveable == f"extractor Weighted: {reason}"
    assert fit(healthy, extractor=own.Weighted).unsaveable == f"extractor Weighted: {reason}"


def test_the_object_itself_embeds(healthy: list[Any]) -> None:
    extractor = own.Weighted()
    assert fit(healthy, extractor=extractor).pipeline.extractor is extractor


REFUSED = [
    ({"detector": KMeans(2)}, "detector KMeans: an estimator without scores: it has neither score_samples nor deci"),
    ({"detector": LocalOutlierFactor()}, "detector LocalOutlierFactor: an estimator without scores: it has neither "
     "score_samples nor decision_function; LocalOutlierFactor needs novelty=True"),
    ({"detector": own.Means}, "detector takes a subclass of asd.Detector, Means is none"),
    ({"detector": asd.Detector}, "detector Detector lacks fit, score: define it in the class"),
    ({"detector": 5}, "detector takes a name, a table with 'name' and parameters, a class or an object of asd.Detec"),
    ({"extractor": object}, "extractor takes a name, a table with 'name' and parameters, a class or an object of asd."),
    ({"frontend": StandardScaler()}, "frontend takes a name, a table with 'name' and parameters, a class or an objec"),
    ({"detector": own.Silent}, "detector Silent (given in Python, of own_components): fit returned NoneType, expected "
     "the fitted detector; end it with 'return self'"),
    ({"detector": own.Frozen}, "detector Frozen (given in Python, of own_components): its attributes cannot be set"),
    ({"detector": own.Unreadable()}, "Unreadable: its parameters cannot be read (ZeroDivisionError: division by zero)"),
    ({"detector": {"name": own.Distance(), "power": 3}}, "detector is given as an object, Distance, and with 'power'"),
    ({"detector": {"name": own.Distance, "powr": 3}}, "detector 'own_components:Distance' has no parameter 'powr'; d"),
    ({"detector": {"name": own.Distance, "power": "x"}}, "detector 'own_components:Distance': parameter 'power' takes"),
]  # fmt: skip


@pytest.mark.parametrize(("chosen", "text"), REFUSED)
def test_what_is_no_component_is_refused_in_one_line(chosen: Any, text: str, healthy: list[Any]) -> None:
    with pytest.raises(asd.AsdError) as refusal:
        fit(healthy, **chosen)
    assert str(refusal.value).startswith(text)
    assert "\n" not in str(refusal.value)


def test_a_class_may_raise_for_attributes_that_it_has_not(healthy: list[Any], tmp_path: Path) -> None:
    model = fit(healthy, detector=own.Evasive())
    model.save(tmp_path / "m.asd")
    assert asd.load(tmp_path / "m.asd", trust=True).full_config() == model.full_config()


def test_a_component_as_a_parameter_is_said_to_be_unsaveable(healthy: list[Any]) -> None:
    model = fit(healthy, detector={"name": own.Helped, "helper": own.Distance()})
    assert (
        model.unsaveable == "detector Helped: its parameter 'helper' holds a Distance, which a model file cannot keep"
    )


def test_a_library_whose_scores_have_the_other_sign_is_refused(healthy: list[Any]) -> None:
    pyod = type("ECOD", (IsolationForest,), {"__module__": "pyod.models.ecod"})
    with pytest.raises(asd.AsdError, match=r"^detector ECOD: PyOD's scores are higher for what is less normal"):
        fit(healthy, detector=pyod)


def test_a_mistake_in_an_own_class_is_reported_as_the_users(healthy: list[Any]) -> None:
    with pytest.raises(asd.AsdError) as refusal:
        fit(healthy, detector=own.Failing)
    lines = Path(own.__file__).read_text().splitlines()
    line = 1 + next(number for number, text in enumerate(lines) if "len(features[:0])" in text)
    assert f"({own.__file__}, line {line}); correct it there" in str(refusal.value)
    assert str(refusal.value).startswith("detector Failing (given in Python, of own_components): ")


FAILING_PLUGIN = """
from asd.plugin import Detector, Extractor, Representation
from asd_registry import ComponentSpec, hookimpl

class Unready(Extractor):
    dimension = 1
    @property
    def consumes(self):
        raise KeyError("consumes")
    def embed(self, values): ...

class Unhashed(Extractor):
    dimension, consumes = 1, Representation("any", ())
    def embed(self, values): ...
    def weight_hashes(self):
        raise KeyError("weight_hashes")

class Unsaveable(Detector):
    def fit(self, features): return self
    def score(self, features): return features.sum(axis=1)
    def check_saveable(self):
        raise KeyError("check_saveable")

class Unmakable(Detector):
    def __init__(self):
        raise KeyError("__init__")
    def fit(self, features): ...
    def score(self, features): ...

@hookimpl
def asd_components():
    for cls in Unready, Unhashed, Unsaveable, Unmakable:
        kind = "extractor" if issubclass(cls, Extractor) else "detector"
        yield ComponentSpec(
            kind=kind, name=cls.__name__.lower(), summary="x", target=f"{__name__}:{cls.__name__}", licence="MIT"
        )
"""


def test_a_mistake_in_a_plugin_is_reported_as_the_plugins_in_python_too(tmp_path: Path) -> None:
    (tmp_path / "failing_plugin.py").write_text(FAILING_PLUGIN)
    code = """
import asd, numpy
asd.use_plugin_file("failing_plugin.py")
given = {"frontend": "mel-patch", "extractor": "mel-statistics"}
for chosen in "extractor unready", "extractor unhashed", "detector unsaveable", "detector unmakable":
    try:
        asd.fit(numpy.ones(9999), rate=16000, **(given | dict([chosen.split()])))
    except asd.AsdError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    said = done.stdout.splitlines()
    assert len(said) == 4
    for line, method in zip(said, ("consumes", "weight_hashes", "check_saveable", "__init__"), strict=True):
        number = FAILING_PLUGIN.splitlines().index(f'        raise KeyError("{method}")') + 1
        place = f"{tmp_path}/failing_plugin.py, line {number}"
        assert " of failing_plugin.py sha256:" in line
        assert f"KeyError: '{method}' ({place}); report it to the plugin's author" in line


def test_branches_take_objects(healthy: list[Any]) -> None:
    branches = [
        {"extractor": own.Means(), "detector": LocalOutlierFactor(novelty=True)},
        {"extractor": "mel-statistics"},
    ]
    model = asd.fit(healthy, rate=RATE, cache=False, branches=branches)
    assert model.config.names == ("Means", "mel-statistics")
    assert len(scores(model, healthy[:1])) == 1


def test_embeddings_of_an_own_class_are_not_cached(
    healthy: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path))
    monkeypatch.setenv("ASD_CACHE_SIZE", "100MB")
    caplog.set_level(logging.INFO, "asd")
    for _ in range(2):  # its code may change under its name
        asd.fit(healthy, rate=RATE, extractor=own.Means)
    assert "come from the cache" not in caplog.text
    for _ in range(2):  # a detector has no part in them
        asd.fit(healthy, rate=RATE, extractor="mel-statistics", detector=own.Distance)
    assert "the embeddings of 20 of 20 clips come from the cache" in caplog.messages


def lines_of(page: str, first: str) -> list[str]:
    """Return the lines of code of the block of a page that begins with a line; blank lines do not count."""
    text = (HERE.parent / "docs" / "how-to" / page).read_text(encoding="utf-8")
    (block,) = [each.partition("```")[0] for each in text.split("```python\n")[1:] if each.startswith(first)]
    return [line for line in textwrap.dedent(block).splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize(
    ("page", "first", "most"),
    [
        ("arrays.md", "import asd\nmodel = asd.fit(healthy", 3),
        ("estimator.md", "from sklearn.neighbors import LocalOutlierFactor\nmodel", 3),
        ("network.md", "import asd\nimport torch\n\nclass", 12),
    ],
)
def test_from_arrays_to_a_verdict_in_few_lines(page: str, first: str, most: int) -> None:
    """The blocks themselves are run with the documentation."""
    lines = lines_of(page, first)
    assert len(lines) <= most
    assert "model = asd.fit(healthy, rate=16000" in "\n".join(lines)
    assert "model.score(today, rate=16000)" in lines[-1]
