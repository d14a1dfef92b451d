"""Extractor ``mel-statistics``: mean and standard deviation of each mel band."""

from __future__ import annotations

import numpy as np

from asd.plugin import CheckedExtractor, Float32, Representation


class MelStatistics(CheckedExtractor):
    """The mean of each mel band over the window, and its standard deviation: the simplest embedding there is.

    No network learned anything for it, so what it reaches is what a pretrained network has to beat.
    """

    name = "mel-statistics"

    def __init__(self) -> None:
        pass

    @property
    def consumes(self) -> Representation:
        """Mel patches (bands, frames) of any size."""
        return Representation("patch", (None, None))

    @property
    def dimension(self) -> None:
        """None: twice the number of bands, whatever it is."""
        return

    def _embed(self, windows: Float32) -> Float32:
        """Return the means, then the standard deviations, float32[n_windows, 2 * bands]."""
        return np.concatenate([windows.mean(axis=2), windows.std(axis=2)], axis=1)
