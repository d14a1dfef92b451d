"""A model file whose digest is right may still not hold a model: what is checked, and what is said."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import asd
from asd.detection import modelfile
from asd.detection.manifest import checked
from asd.errors import ModelFileError
from asd.plugin import Detector

GOLDEN = sorted((Path(__file__).resolve().parent / "golden").glob("*.asd"))
MANIFEST, ARRAYS = modelfile.read(next(path for path in GOLDEN if path.stem == "mel-stack-gmm"))
Change = Callable[[dict[str, Any], modelfile.Arrays], object]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_golden_model_passes_whole(path: Path) -> None:
    manifest, arrays = modelfile.read(path)
    known = json.loads(json.dumps(checked("m.asd", manifest, arrays)))
    decision = {name: value for name, value in manifest["decision"].items() if name in known["decision"]}
    assert known == {**manifest, "decision": decision}


def test_what_a_later_version_adds_is_passed_over() -> None:
    assert checked("m.asd", {**MANIFEST, "more": {"a": [1]}}, ARRAYS) == checked("m.asd", MANIFEST, ARRAYS)


def test_the_later_name_of_the_rate_is_known() -> None:
    decision = {"false_alarms_per_hour": 400.0, "level": 0.2}
    assert checked("m.asd", {**MANIFEST, "decision": decision}, ARRAYS)["decision"] == decision


def test_a_file_name_may_hold_anything() -> None:
    """Line breaks, and bytes that are no text, are allowed in file names."""
    training = [{"name": "a\n\udce9.wav", "sha256": "0" * 64}]
    assert checked("m.asd", {**MANIFEST, "training": training}, ARRAYS)["training"] == training


def put(value: Any, *keys: Any) -> Change:
    def change(manifest: dict[str, Any], _: modelfile.Arrays) -> None:
        for key in keys[:-1]:
            manifest = manifest[key]
        manifest[keys[-1]] = value

    return change


def put_array(name: str, array: Any) -> Change:
    return lambda _, arrays: arrays.update({name: np.asarray(array)})


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth else []


CHANGES: dict[str, Change] = {
    "Object missing required field members": lambda manifest, _: manifest.pop("members"),
    "Object missing required field level - at decision": lambda manifest, _: manifest["decision"].pop("level"),
    "Expected int, got str - at members": put("3", "members"),
    "Expected int <= 1000 - at members": put(300_000, "members"),
    "Expected int >= 1 - at members": put(0, "members"),
    "it has 4 members, which does not fit the arrays '3'": put(4, "members"),
    "it has 2 members, which does not fit the arrays '2'": put(2, "members"),
    "Expected float > 0.0 - at calibration.clip_seconds": put(0, "calibration", "clip_seconds"),
    "Expected float <= 1.0 - at decision.level": put(1.5, "decision", "level"),
    "Expected float > 0.0 - at decision.false_alarm_rate": put(-1, "decision", "false_alarm_rate"),
    "decision must have false_alarms_per_hour": put({"level": 0.5}, "decision"),
    "Expected object, got array - at config": put([], "config"),
    "config is nested more than 16 deep": put(nested(20), "config", "detector", "seed"),
    "config takes more than 100,000 characters": put("x" * 130_000, "config", "detector", "name"),
    "at plugins[...]": put("0.1\x1b[31m", "plugins", "asd-sklearn"),
    "at key in plugins": put("1", "plugins", "x\nasd: error"),
    "at weights[...]": put("c86e", "weights", "a.safetensors"),
    "at training[0].sha256": put("", "training", 0, "sha256"),
    "Expected int >= 0 - at clips": put(-1, "clips"),
    "calibration.scores are of 8 clips, the model learned from 5": put(5, "clips"),
    "rates must ascend, got 16000 and 8000": put([16000, 8000], "rates"),
    "Expected array of length 2, got 1 - at rates": put([16000], "rates"),
    "calibration must have the arrays scores and member": put_array("calibration.more", [1.0]),
    "which does not fit the arrays 'more'": put_array("more", [1.0]),
    "member 0 must have arrays of transform and detector, got 'more'": put_array("0.more", [1.0]),
    "calibration.member must be from 0 to 3, got 0 to 4": put_array("calibration.member", [0, 1, 2, 0, 1, 2, 0, 4]),
    "calibration.member must be from 0 to 3, got -1 to 2": put_array("calibration.member", [0, 1, 2, 0, 1, 2, 0, -1]),
    "calibration.member must be an int64 number for each score": put_array("calibration.member", [0.0] * 8),
    "calibration.scores must be one or more finite numbers": put_array("calibration.scores", [*range(7), np.nan]),
}


@pytest.mark.parametrize("reason", CHANGES)
def test_what_is_not_a_model_is_refused_with_the_reason(tmp_path: Path, reason: str) -> None:
    manifest, arrays = copy.deepcopy(MANIFEST), dict(ARRAYS)
    CHANGES[reason](manifest, arrays)
    path = tmp_path / "m.asd"
    modelfile.write(path, manifest, arrays)
    with pytest.raises(ModelFileError) as caught:
        asd.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: does not hold a model (")
    assert reason in text
    assert text.endswith("); copy it again or fit anew")
    assert text.isprintable()


TRANSFORMS: dict[str, Change] = {
    "must have the arrays mean and scale, got components, scale": lambda _, arrays: arrays.pop("0.transform.mean"),
    "must have the arrays mean and scale, got": put_array("0.transform.more", [1.0]),
    "must be finite float64 numbers, its scale not 0": put_array("0.transform.scale", np.zeros(320)),
    "must be finite float64 numbers": put_array("0.transform.mean", np.full(320, np.inf)),
    "arrays do not fit each other ((320,), (320,), (319, 36))": put_array("0.transform.components", np.ones((319, 36))),
    "arrays do not fit each other ((10,), (320,), (320, 36))": put_array("0.transform.mean", np.ones(10)),
}


@pytest.mark.parametrize("reason", TRANSFORMS)
def test_a_transform_that_cannot_be_computed_with(tmp_path: Path, reason: str) -> None:
    manifest, arrays = copy.deepcopy(MANIFEST), dict(ARRAYS)
    TRANSFORMS[reason](manifest, arrays)
    modelfile.write(tmp_path / "m.asd", manifest, arrays)
    with pytest.raises(ModelFileError) as caught:
        asd.load(tmp_path / "m.asd")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("parameter", "value", "reason"),
    [
        ("more", 1, "has no parameter 'more'"),
        ("n_mels", [[]] * 1000, "takes a whole number, got"),
        ("n_mels", "many", "takes a whole number, got 'many'"),
    ],
)
def test_parameters_that_a_component_refuses_name_the_file(
    tmp_path: Path, parameter: str, value: Any, reason: str
) -> None:
    manifest = copy.deepcopy(MANIFEST)
    manifest["config"]["frontend"][parameter] = value
    modelfile.write(tmp_path / "m.asd", manifest, ARRAYS)
    with pytest.raises(ModelFileError, match=rf"m\.asd: its components cannot be made from it \(.*{reason}") as caught:
        asd.load(tmp_path / "m.asd")
    assert len(str(caught.value)) < 1000


def test_what_a_component_raises_itself_names_the_file(tmp_path: Path) -> None:
    """A detector's arrays are its own affair: what it says of others is passed on."""
    arrays = {**ARRAYS, "0.detector.dimension_": np.zeros((2, 2), np.int64)}
    manifest = copy.deepcopy(MANIFEST)
    manifest["config"]["detector"] = {"name": "asd-sklearn:ensemble", "detectors": ["gmm", "knn"]}
    modelfile.write(tmp_path / "m.asd", manifest, arrays)
    with pytest.raises(ModelFileError, match="the model lacks"):
        asd.load(tmp_path / "m.asd")


@pytest.mark.parametrize("name", ["score", "__class__", "_hidden_", "runtime"])
def test_an_array_replaces_no_method(name: str) -> None:
    class Mean(Detector):
        def fit(self, features: Any) -> Mean:
            self.mean_ = features.mean(axis=0)
            return self

        def score(self, features: Any) -> Any:
            return np.abs(features - self.mean_).sum(axis=1)

    state = Mean().fit(np.ones((3, 2))).get_state()
    with pytest.raises(ModelFileError, match=f"Mean: the model has an array '{name}', which no fit leaves"):
        Mean().set_state({**state, name: np.ones(1)})


def test_a_model_is_not_saved_that_could_not_be_loaded(tmp_path: Path) -> None:
    model = asd.load(next(path for path in GOLDEN if path.stem == "mel-stack-gmm"))
    model.calibration.scores[0] = np.nan
    with pytest.raises(ModelFileError, match=r"m\.asd: does not hold a model \(calibration.scores must be"):
        model.save(tmp_path / "m.asd")
    assert not list(tmp_path.iterdir())
