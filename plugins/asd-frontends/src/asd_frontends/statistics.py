"""Extractor ``mel-statistics``: mean and standard deviation of each mel band."""

from __future__ import annotations

import numpy as np

from asd.plugin import CheckedExtractor, Float32, OnnxGraph, Representation


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

    def to_onnx(self, graph: OnnxGraph, windows: str) -> str:
        """Add the embeddings to `graph`; see `asd.plugin.OnnxGraph`."""
        mean = graph.op("ReduceMean", windows, axes=[2], keepdims=1)
        apart = graph.op("Sub", windows, mean)
        deviation = graph.op("Sqrt", graph.op("ReduceMean", graph.op("Mul", apart, apart), axes=[2], keepdims=0))
        return graph.op("Concat", graph.op("Squeeze", mean, graph.constant([2])), deviation, axis=1)
