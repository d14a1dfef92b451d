"""The distance to the nearest normal windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from asd.errors import DataError
from asd.plugin import Features, Float64, one_of, whole_number
from asd_sklearn.base import FeatureDetector
from asd_sklearn.distances import Directions, Points

Metric = Literal["euclidean", "cosine"]

_REFERENCES: dict[Metric, Callable[[Features], Points | Directions]] = {"euclidean": Points, "cosine": Directions}

_SMALLEST_RADIUS = 1e-3
"""Smallest local radius, relative to the mean one: copies among the training windows must not divide by zero."""


class NearestNeighbours(FeatureDetector):
    """Mean distance to the nearest training windows, if wanted relative to how densely those lie.

    With ``local_density`` the distance to the nearest training windows y is divided by their radius, which is the mean
    distance from y to its own nearest training windows (at least 0.001 of the mean radius of all)::

        score(x) = mean of distance(x, y) over the k nearest y / mean of radius(y) over the same y

    so that windows of a rarely recorded condition, whose neighbours lie far apart, are not alarms for that alone.

    Parameters
    ----------
    n_neighbors : int
        Nearest training windows k that the distance is averaged over.
    metric : {"euclidean", "cosine"}
        Cosine distance is 1 - cos, and 1 for a window whose features are all zero.
    local_density : bool
        Divide by the neighbours' own radii.
    n_density_neighbors : int
        Nearest training windows that a radius is averaged over.

    Notes
    -----
    Every training window is part of the state. With ``local_density`` fitting takes the square of their number.
    Source: Ramaswamy et al. 2000, Efficient algorithms for mining outliers, SIGMOD; the normalisation follows the idea
    of Wilkinghoff et al. 2025, arXiv:2509.10951.
    """

    name = "knn"
    renamed: ClassVar[Mapping[str, str]] = {"neighbours": "n_neighbors", "density_neighbours": "n_density_neighbors"}
    windows_: Any
    radii_: Any

    def __init__(
        self,
        *,
        n_neighbors: int = 1,
        metric: Metric = "euclidean",
        local_density: bool = False,
        n_density_neighbors: int = 4,
    ) -> None:
        self.n_neighbors = whole_number(self, "n_neighbors", n_neighbors, 1)
        self.metric = one_of(self, "metric", metric, get_args(Metric))
        self.local_density = local_density
        self.n_density_neighbors = whole_number(self, "n_density_neighbors", n_density_neighbors, 1)

    def _learn(self, features: Features) -> None:
        self._check_count(len(features))
        self.windows_ = features.copy()
        self.radii_ = np.ones(len(features))
        if self.local_density:
            self.radii_ = self._radii()

    def _check_count(self, windows: int) -> None:
        needed = {"n_neighbors": self.n_neighbors}
        if self.local_density:  # a window is no neighbour of its own
            needed["n_density_neighbors"] = self.n_density_neighbors + 1
        for parameter, count in needed.items():
            if windows < count:
                raise DataError(
                    f"{self.name}: {windows} windows for {getattr(self, parameter)} neighbours; "
                    f"record more or use --detector.{parameter} {windows // 2}"
                )

    def _radii(self) -> Float64:
        radii = np.empty(len(self.windows_))
        for block in self._blocks(len(radii)):
            themselves = np.arange(block.start, block.stop)
            _, distances = self._nearest(self.windows_[block], self.n_density_neighbors, themselves)
            radii[block] = distances.mean(axis=1)
        if not radii.any():
            raise DataError(
                f"{self.name}: every training window has {self.n_density_neighbors} or more copies, which makes the "
                f"local density infinite; check for repeated recordings or use --detector.local_density false"
            )
        return np.asarray(np.maximum(radii, _SMALLEST_RADIUS * radii.mean()))

    def _score_block(self, features: Features) -> Float64:
        indices, distances = self._nearest(features, self.n_neighbors)
        return np.asarray(distances.mean(axis=1) / self.radii_[indices].mean(axis=1))

    def _nearest(
        self, features: Features, count: int, themselves: npt.NDArray[np.intp] | None = None
    ) -> tuple[npt.NDArray[np.intp], Float64]:
        """Return indices and distances, [n_windows, count], of the nearest training windows but `themselves`."""
        reference = self._derive(self.windows_, _REFERENCES[self.metric])
        distances = reference.rough(features)
        if themselves is not None:
            distances[np.arange(len(distances)), themselves] = np.inf
        indices = np.argpartition(distances, count - 1, axis=1)[:, :count]
        return indices, reference.exact(features, indices, distances)

    def _values_per_row(self) -> int:
        windows, dimension = self.windows_.shape
        return int(windows + (self.n_neighbors + self.n_density_neighbors) * dimension)
