"""Extractor ``mel-statistics``: what a spectrum analyser would show of each window."""

from __future__ import annotations

from typing import Any

import numpy as np

from asd.errors import AsdError
from asd.plugin import Extractor, Float32, Representation


class MelStatistics(Extractor):
    """The mean of each mel band over the window, and its standard deviation: the simplest embedding there is.

    No network learned anything for it, so what it reaches is what a pretrained network has to beat.
    """

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

    def embed(self, values: Any) -> Float32:
        """Return the means, then the standard deviations, float32[n_windows, 2 * bands].

        Parameters
        ----------
        values : float32 array of shape (n_windows, bands, frames)
            From front end ``mel-patch``.

        Raises
        ------
        AsdError
            If the windows have another shape.
        """
        array = np.asarray(values if isinstance(values, np.ndarray) else np.from_dlpack(values), dtype=np.float32)
        if array.ndim != 3:
            raise AsdError(f"mel-statistics takes windows of shape (bands, frames), got {array.shape[1:]}")
        return np.concatenate([array.mean(axis=2), array.std(axis=2)], axis=1)
