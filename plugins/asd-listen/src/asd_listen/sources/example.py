"""A second of sound for trials of sources by `asd.testing`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_RATE = 16000


def example(folder: Path, *, raw: bool = False) -> Path:
    """Write a second of a tone at 16 kHz into `folder`, as WAV or as raw samples, and return the file."""
    import soundfile

    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(_RATE) / _RATE)
    path = folder / ("tone.raw" if raw else "tone.wav")
    if raw:
        path.write_bytes((tone * 32768).astype("<i2").tobytes())
    else:
        soundfile.write(path, tone, _RATE)
    return path
