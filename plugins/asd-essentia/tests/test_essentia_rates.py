"""The same sound gives the same embeddings at whatever rate it was recorded, as far as that rate's band allows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asd.experiment import Config, Pipeline
from asd.plugin import Clip

Rumble = Callable[[int], Any]


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 88200, 96000])
def test_a_sound_within_the_band_of_any_rate(rate: int, rumble: Rumble, tmp_path: Path) -> None:
    pipeline = Pipeline(Config.from_mapping({"extractor": "musicnn-mtt-torch"}))

    def embedded(at: int) -> Any:
        path = tmp_path / f"{at}.wav"
        soundfile.write(path, rumble(at), at, subtype="PCM_24")
        return pipeline.embed(Clip(path)).values

    own, other = embedded(16000), embedded(rate)
    assert own.shape == other.shape
    cosine = (own * other).sum(1) / np.linalg.norm(own, axis=1) / np.linalg.norm(other, axis=1)
    assert cosine.min() >= 0.99
