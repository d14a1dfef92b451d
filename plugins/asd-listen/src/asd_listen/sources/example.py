"""A recording for trials of sources by ``asd check``."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

RATE = 16000


def example(folder: Path) -> Path:
    """Write two seconds of noise as a WAV file, 16 bit, one channel, and return its path."""
    path = folder / "noise.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.random.default_rng(0).normal(0, 1000, 2 * RATE).astype("<i2").tobytes())
    return path
