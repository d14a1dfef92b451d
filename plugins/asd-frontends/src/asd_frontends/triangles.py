"""Mel filters as the networks of AudioSet have them: triangles that are linear in mel, not in Hz."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from asd.plugin import Float32, Float64


@lru_cache(maxsize=4)
def mel_triangles(*, sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float) -> Float32:
    """Return triangles of height one.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_fft : int
        Samples per frame.
    n_mels : int
        Number of bands.
    f_min, f_max : float
        Lowest and highest frequency in Hz.

    Returns
    -------
    read-only float32 array of shape (n_mels, n_fft // 2 + 1)

    References
    ----------
    As in Kaldi, torchaudio.compliance.kaldi and tensorflow/models, research/audioset.
    """
    bins = _mel(np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1))
    lowest, highest = _mel(np.array([f_min, f_max]))
    edges = np.linspace(lowest, highest, n_mels + 2)[:, np.newaxis]
    width = edges[1] - edges[0]
    triangles = np.maximum(0.0, np.minimum((bins - edges[:-2]) / width, (edges[2:] - bins) / width))
    bank: Float32 = triangles.astype(np.float32)
    bank.flags.writeable = False
    return bank


def _mel(frequency: Float64) -> Float64:
    """Return frequencies in Hz on HTK's mel scale, as Kaldi spells it."""
    return 1127.0 * np.log1p(frequency / 700.0)
