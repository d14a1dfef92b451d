"""The running median of spectra, which lines and tones stand out of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asd.plugin import Features, Float64

STEP = 8
"""Bins from one median to the next; between them it is interpolated."""


def running_median(spectra: Features, side: int) -> Float64:
    """Return the running median over the bins of spectra, float64[n_bins, n], with `side` bins to each side.

    Parameters
    ----------
    spectra : float32 or float64 array of shape (n_bins, n)
        Spectra, mirrored at their ends.
    side : int
        Bins to each side of the centre.
    """
    bins = np.arange(len(spectra))
    padded = np.pad(spectra, ((side, side), (0, 0)), mode="reflect")
    medians = median(np.lib.stride_tricks.sliding_window_view(padded, 2 * side + 1, axis=0)[::STEP])
    return np.stack([np.interp(bins, bins[::STEP], median) for median in medians.T], axis=1)


def median(values: Features) -> Features:
    """Return the median over the last axis; as `np.median`, bit for bit, which takes five times as long.

    Parameters
    ----------
    values : float32 or float64 array
        Numbers, none of them NaN.
    """
    ordered, half = np.sort(values, axis=-1), values.shape[-1] // 2
    if values.shape[-1] % 2:
        return np.asarray(ordered[..., half])
    return np.asarray((ordered[..., half - 1] + ordered[..., half]) / values.dtype.type(2))


def neighbours(count: int, side: int) -> npt.NDArray[np.intp]:
    """Return the bins that each median of `running_median` is taken over, (medians, 2 * side + 1), of `count` bins."""
    around = np.abs(np.arange(0, count, STEP)[:, np.newaxis] + np.arange(-side, side + 1))
    mirrored: npt.NDArray[np.intp] = np.where(around < count, around, 2 * (count - 1) - around)
    return mirrored
