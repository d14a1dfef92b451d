"""The same sound gives the same embeddings at whatever rate it was recorded, as far as that rate's band allows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from asd.experiment import Config, Pipeline
from asd.plugin import Clip, Runtime

Rumble = Callable[[int], Any]

RATES = [8000, 11025, 16000, 22050, 44100, 48000, 88200, 96000]


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(Config.from_mapping({"extractor": "efficientat-mn04-torch"}), Runtime(device="cpu"))


def embedded(pipeline: Pipeline, path: Path, samples: Any, rate: int) -> Any:
    soundfile.write(path, samples, rate, subtype="PCM_24")
    return pipeline.embed(Clip(path)).values


def lowest_cosine(a: Any, b: Any) -> float:
    assert a.shape == b.shape
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


@pytest.mark.parametrize("rate", RATES)
def test_a_sound_within_the_band_of_any_rate(rate: int, rumble: Rumble, pipeline: Pipeline, tmp_path: Path) -> None:
    own = embedded(pipeline, tmp_path / "own.wav", rumble(32000), 32000)
    other = embedded(pipeline, tmp_path / "other.wav", rumble(rate), rate)
    assert lowest_cosine(own, other) >= 0.99


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
@pytest.mark.parametrize("name", ["drum_roll", "guitar", "tabla"])
def test_a_recording_at_a_higher_rate(name: str, rate: int, pipeline: Pipeline, tmp_path: Path) -> None:
    samples, own_rate = soundfile.read(Path(__file__).parent / "recordings" / f"{name}.flac")
    assert own_rate == 32000
    own = embedded(pipeline, tmp_path / "own.wav", 0.5 * samples, 32000)
    other = embedded(pipeline, tmp_path / "other.wav", 0.5 * soxr.resample(samples, 32000, rate, "VHQ"), rate)
    assert lowest_cosine(own, other[: len(own)]) >= 0.99
