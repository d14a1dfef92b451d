"""Reasons name no frequency that a recording does not hold."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

import asd


@pytest.mark.parametrize("extractor", ["envelope", "band-levels"])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_no_reason_is_above_half_the_sample_rate(extractor: str, rate: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    moment = np.arange(4 * rate) / rate

    def write(name: str, pulse: float, level: float) -> Path:
        sound = level * rng.normal(0, 0.02, len(moment)) * (1 + pulse * np.sin(2 * np.pi * 11 * moment))
        path = tmp_path / name
        soundfile.write(path, sound, rate, subtype="FLOAT")
        return path

    healthy = [write(f"{i:02d}.wav", 0.0, 1.0) for i in range(14)]
    model = asd.fit(healthy, extractor=extractor, detector={"name": "deviation", "least": 0.0}, cache=False)
    (verdict,) = model.score([write("faulty.wav", 0.9, 30.0)])
    reasons = verdict.branches[0].reasons
    named = [float(each) * 1000 for text, _ in reasons for each in re.findall(r"([\d.]+) kHz", text)]
    assert reasons
    assert max(named, default=0.0) <= rate / 2
