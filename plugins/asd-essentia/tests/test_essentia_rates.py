"""The same sound gives the same embeddings at whatever rate it was recorded, as far as that rate's band allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asd.audio import Clip
from asd.config import Config
from asd.pipeline import Pipeline


def rumble(rate: int) -> Any:
    """A throbbing of 300 partials below 3400 Hz, so that all of it can be recorded at 8 kHz; the same at any rate."""
    rng = np.random.default_rng(7)
    time = np.arange(3 * rate) / rate
    partials = zip(rng.uniform(50, 3400, 300), rng.uniform(0, 2 * np.pi, 300), rng.uniform(0.2, 1, 300), strict=True)
    sound = sum(level * np.sin(2 * np.pi * frequency * time + phase) for frequency, phase, level in partials)
    # A hard cut at the ends would be a click, which only the higher rates can hold.
    fade = np.minimum(1, np.minimum(time, 3 - time) / 0.05)
    return 0.005 * fade * (1 + 0.5 * np.sin(2 * np.pi * 7 * time)) * sound


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 88200, 96000])
def test_a_sound_within_the_band_of_any_rate(rate: int, tmp_path: Path) -> None:
    pipeline = Pipeline(Config.from_mapping({"extractor": "musicnn-mtt"}))

    def embedded(at: int) -> Any:
        path = tmp_path / f"{at}.wav"
        soundfile.write(path, rumble(at), at, subtype="PCM_24")
        return pipeline.embed(Clip(path)).values

    own, other = embedded(16000), embedded(rate)
    assert own.shape == other.shape
    cosine = (own * other).sum(1) / np.linalg.norm(own, axis=1) / np.linalg.norm(other, axis=1)
    assert cosine.min() >= 0.99
