"""What a component needs to write itself as an ONNX graph, without importing anything for it.

A component that can be part of one graph from samples to a score offers a method ``to_onnx``; exporters look for it::

    class Loudest(CheckedDetector):
        def to_onnx(self, graph, features):      # features: float32 (rows, dimension)
            return graph.op("ReduceMax", features, graph.constant([1]), keepdims=0)

A front end gets windows of samples, float32 (windows, `Frontend.window_length`), and returns windows (windows, *shape);
an extractor gets those and returns embeddings (windows, dimension); a detector returns scores (rows,), float32 or
float64. Each row must be computed by itself. Operators: onnx.ai/onnx/operators, opset 17.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt


class OnnxGraph(Protocol):
    """A graph that grows operator by operator; values are known by their names."""

    def constant(self, value: npt.ArrayLike) -> str:
        """Return the name of a constant; floats become float32, whole numbers int64, arrays keep their type."""
        ...

    def op(self, kind: str, *inputs: str, output: int = 0, **attributes: Any) -> str:
        """Add an operator and return the name of one of its outputs; a NumPy type as an attribute is its ONNX number.

        An input that is left out is the empty text.
        """
        ...

    def network(self, model: Path | bytes, output: str, windows: str) -> str:
        """Add a whole ONNX model with one input, `windows`, and return the name of its `output` here."""
        ...

    def shape(self, windows: str) -> tuple[int | None, ...]:
        """Return the shape of a window, as the front end states it."""
        ...
