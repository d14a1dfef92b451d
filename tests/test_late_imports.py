"""Scoring needs no scikit-learn: what a detector learned is arrays, and scores are computed by NumPy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile

import asd
from asd.contract.installed import registry

SAMPLES = Path(__file__).resolve().parent.parent / "examples" / "data"
FITTING_ONLY = ("sklearn", "scipy", "joblib", "skops", "pandas", "matplotlib")

SMALL: dict[str, dict[str, Any]] = {
    "gmm": {"n_components": 2},
    "bayesian-gmm": {"n_components": 2},
    "ensemble": {"detectors": "gmm n_components=2,kde,isolation-forest"},
    "dense-ae": {"epochs": 1, "train_batch": 4},
    "lenet-dcae": {"epochs": 1, "train_batch": 4},
    "small-dcae": {"epochs": 1, "train_batch": 4},
}
"""Parameters that make fitting a few clips possible and quick."""

DETECTORS = [c for c in registry().of_kind("detector") if c.plugin.is_ours]

SCORE = """
import json, sys
import asd
(verdict,) = asd.score(sys.argv[1], sys.argv[2], cache=False)
assert 0 < verdict.p_value <= 1, verdict
print(json.dumps([name for name in json.loads(sys.argv[3]) if name in sys.modules]))
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two seconds of each of ten recordings: enough to fit anything, and quickly."""
    folder = tmp_path_factory.mktemp("clips")
    for recording in sorted((SAMPLES / "train").iterdir())[:10]:
        samples, rate = soundfile.read(recording, stop=2 * 16000)
        soundfile.write(folder / f"{recording.stem}.wav", samples, rate)
    return folder


@pytest.mark.parametrize("component", DETECTORS, ids=lambda component: component.spec.name)
def test_a_model_is_loaded_and_scores_without_what_fitting_needs(component: Any, clips: Path, tmp_path: Path) -> None:
    spec = component.spec
    if component.problem:
        pytest.skip(f"{spec.name} {component.problem}")
    features = {} if spec.frontend else {"frontend": "mel-patch", "extractor": "mel-statistics"}
    model = asd.fit(clips, detector={"name": spec.name, **SMALL.get(spec.name, {})}, folds=1, **features, cache=False)
    model.save(tmp_path / "fan.asd")
    needs_torch = any(requirement.startswith("torch") for requirement in spec.requires)
    refused = FITTING_ONLY if needs_torch else (*FITTING_ONLY, "torch", "onnxruntime")
    clip = next(clips.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", SCORE, tmp_path / "fan.asd", clip, json.dumps(refused)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_every_first_party_detector_is_tried() -> None:
    assert {"gmm", "knn", "ocsvm", "isolation-forest", "mahalanobis"} <= {c.spec.name for c in DETECTORS}
