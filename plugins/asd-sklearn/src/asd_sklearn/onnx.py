"""What the detectors have in common as parts of an ONNX graph; all in float64, as they compute themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from asd.plugin import Features, Float64, OnnxGraph

if TYPE_CHECKING:
    from asd_sklearn.distances import Points


def doubled(graph: OnnxGraph, features: str) -> str:
    """Return features in float64."""
    return graph.op("Cast", features, to=np.float64)


def matrix(values: Features) -> Float64:
    """Return values as a contiguous float64 constant."""
    return np.ascontiguousarray(values, np.float64)


def squared_distances(graph: OnnxGraph, features: str, points: Points) -> str:
    """Return the squared distances, float64 (rows, points), of float64 features to the points."""
    centred = graph.op("Sub", features, graph.constant(matrix(points.centre)))
    products = graph.op("MatMul", centred, graph.constant(matrix(-2 * points.points.T)))
    own = graph.op("ReduceSumSquare", centred, axes=[1], keepdims=1)
    total = graph.op("Add", graph.op("Add", products, graph.constant(matrix(points.squares))), own)
    return graph.op("Max", total, graph.constant(np.zeros((1, 1))))


def logsumexp(graph: OnnxGraph, exponents: str) -> str:
    """Return the logarithm of the sum of exponentials of each row."""
    highest = graph.op("ReduceMax", exponents, axes=[1], keepdims=1)
    sums = graph.op("ReduceSum", graph.op("Exp", graph.op("Sub", exponents, highest)), graph.constant([1]), keepdims=1)
    return graph.op("Squeeze", graph.op("Add", graph.op("Log", sums), highest), graph.constant([1]))
