"""Distances from windows to a fixed set of points."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asd.plugin import Features, Float64, OnnxGraph
from asd_sklearn import onnx


class Points:
    """Points that many windows are compared with.

    Parameters
    ----------
    points : array of shape (n, d)
        Float32 or float64; kept in float64 about their centre, where the expanded squares cancel least.
    """

    def __init__(self, points: Features) -> None:
        self.centre = points.mean(axis=0, dtype=np.float64)
        self.points = points - self.centre
        self.squares = np.einsum("ij,ij->i", self.points, self.points)

    def squared_distances(self, windows: Features) -> Float64:
        """Return the squared Euclidean distances, float64[n_windows, n], of `windows` to the points."""
        centred = windows - self.centre
        distances = centred @ self.points.T
        distances *= -2
        distances += self.squares
        distances += np.einsum("ij,ij->i", centred, centred)[:, np.newaxis]
        return np.asarray(np.maximum(distances, 0, out=distances))

    def rough(self, windows: Features) -> Float64:
        """Return the distances, float64[n_windows, n], of `windows` to the points, up to cancellation."""
        squares = self.squared_distances(windows)
        return np.asarray(np.sqrt(squares, out=squares))

    def exact(self, windows: Features, indices: npt.NDArray[np.intp]) -> Float64:
        """Return the distances, float64[n_windows, k], to the points that `indices` name, free of cancellation."""
        differences = self.points[indices] - (windows - self.centre)[:, np.newaxis]
        return np.asarray(np.sqrt(np.einsum("ijk,ijk->ij", differences, differences)))

    def to_onnx(self, graph: OnnxGraph, windows: str) -> str:
        """Return the distances, float64 (windows, n), of float64 windows to the points."""
        return graph.op("Sqrt", onnx.squared_distances(graph, windows, self))


class Directions:
    """Directions that many windows are compared with.

    Parameters
    ----------
    points : array of shape (n, d)
        Float32 or float64; a row of zeros has no direction and is at distance 1 from all.
    """

    def __init__(self, points: Features) -> None:
        self.directions = _normalised(points)

    def rough(self, windows: Features) -> Float64:
        """Return the cosine distances, float64[n_windows, n], of `windows` to the points."""
        distances = 1 - _normalised(windows) @ self.directions.T
        return np.asarray(np.maximum(distances, 0, out=distances))

    def exact(self, windows: Features, indices: npt.NDArray[np.intp]) -> Float64:
        """Return the distances, float64[n_windows, k], to the points that `indices` name."""
        cosines = np.einsum("ijk,ik->ij", self.directions[indices], _normalised(windows))
        return np.asarray(np.maximum(1 - cosines, 0))

    def to_onnx(self, graph: OnnxGraph, windows: str) -> str:
        """Return the distances, float64 (windows, n), of float64 windows to the points."""
        length = graph.op("ReduceL2", windows, axes=[1], keepdims=1)
        least = graph.constant(np.array([[np.finfo(np.float64).tiny]]))
        products = graph.op(
            "MatMul",
            graph.op("Div", windows, graph.op("Max", length, least)),
            graph.constant(onnx.matrix(self.directions.T)),
        )
        return graph.op(
            "Max", graph.op("Sub", graph.constant(np.array([[1.0]])), products), graph.constant(np.array([[0.0]]))
        )


def _normalised(rows: Features) -> Float64:
    values = rows.astype(np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(np.divide(values, lengths, out=values, where=lengths > 0))
