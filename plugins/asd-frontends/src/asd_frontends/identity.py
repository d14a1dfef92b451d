"""Extractor ``identity``: what the front end gives, as it is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from asd.plugin import Extractor, Float32, OnnxGraph, Representation


class Identity(Extractor):
    """Pass the windows to the detector, each as one row; autoencoders and simple baselines work on these."""

    def __init__(self) -> None:
        pass

    @property
    def consumes(self) -> Representation:
        """Every representation."""
        return Representation("any", ())

    @property
    def dimension(self) -> None:
        """None: it follows the input."""
        return

    def embed(self, values: Any) -> Float32:
        """Return float32[n_windows, the product of a window's sizes]."""
        array = np.asarray(values if isinstance(values, np.ndarray) else np.from_dlpack(values), dtype=np.float32)
        return array.reshape(len(array), math.prod(array.shape[1:]))

    def to_onnx(self, graph: OnnxGraph, windows: str) -> str:
        """Add the embeddings to `graph`; see `asd.plugin.OnnxGraph`."""
        return graph.op("Flatten", windows)
