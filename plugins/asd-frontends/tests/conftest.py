"""What the tests of the front ends share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from asd.experiment import read
from asd.plugin import Clip

if TYPE_CHECKING:
    from asd.plugin import Audio, Float32


@pytest.fixture(scope="session")
def sweep() -> Float32:
    """Ten seconds of a rising tone in noise at 16 kHz, read-only."""
    time = np.arange(160_000) / 16000
    tone = 0.2 * np.sin(2 * np.pi * (200 + 300 * time) * time)
    samples = (tone + np.random.default_rng(0).normal(scale=0.003, size=len(time))).astype(np.float32)
    samples.flags.writeable = False
    return samples


@pytest.fixture(scope="session")
def machines(shared: Path) -> dict[str, list[Audio]]:
    """A few real recordings of each machine."""
    patterns = {"fan": "fan_id_00/normal/*.flac", "toycar": "toycar/train/*normal*.flac"}
    return {
        machine: [read(Clip(path), sample_rate=16000) for path in sorted((shared / "data").glob(pattern))[::4][:5]]
        for machine, pattern in patterns.items()
    }
