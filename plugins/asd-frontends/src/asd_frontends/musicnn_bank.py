"""The mel filters of MusiCNN's front end, rounded as Essentia rounds them.

The filters are those of `asd.plugin.mel_filter_bank`, but Essentia adds up the mel scale in single precision. That
changes weights by 3e-5: enough for a difference of 1e-3 in the logarithm beside a loud tone, which the network makes
larger.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from asd.plugin import Float32, Float64

SAMPLE_RATE = 16000
"""In Hz."""
FRAME = 512
"""Samples of a frame."""
HOP = 256
"""Samples from one frame to the next."""
BANDS = 96

# Slaney's mel scale: linear up to 1000 Hz in steps of 200/3 Hz, then 27 steps to a factor of 6.4.
_KNEE = np.float32(1000.0)
_LINEAR = np.float32(3.0 / 200.0)
_LOGARITHMIC = np.float32(np.log(6.4) / 27.0)


@lru_cache(maxsize=1)
def mel_bank() -> Float32:
    """Return triangles of equal area, read-only float32 (96, 257)."""
    edges = _edges()
    bins = np.linspace(0.0, SAMPLE_RATE / 2, FRAME // 2 + 1)
    widths = np.diff(edges)[:, np.newaxis]
    slopes = edges[:, np.newaxis] - bins
    triangles = np.maximum(0.0, np.minimum(-slopes[:-2] / widths[:-1], slopes[2:] / widths[1:]))
    bank: Float32 = (triangles * (2.0 / (edges[2:] - edges[:-2]))[:, np.newaxis]).astype(np.float32)
    bank.flags.writeable = False
    return bank


def _edges() -> Float64:
    """Return where the triangles begin, peak and end, in Hz, float64 (98,) of single precision."""
    knee = _KNEE * _LINEAR
    highest = knee + np.float32(np.log(SAMPLE_RATE / 2 / 1000.0)) / _LOGARITHMIC
    step = highest / np.float32(BANDS + 1)
    mel = np.cumsum(np.full(BANDS + 1, step, np.float32), dtype=np.float32)
    mel = np.concatenate([np.zeros(1, np.float32), mel])
    # NumPy's exponential of single precision is not always the nearest number, the C library's is.
    growth = np.exp(np.float64(_LOGARITHMIC * (np.maximum(mel, knee) - knee)))
    above = _KNEE * growth.astype(np.float32)
    return np.where(mel < knee, mel / _LINEAR, above).astype(np.float64)
