"""The distance to the nearest normal windows."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from asd.errors import ConfigError, DataError
from asd.plugin import Float64
from asd_sklearn import checks
from asd_sklearn.base import FeatureDetector
from asd_sklearn.checks import Features
from asd_sklearn.distances import Directions, Points

_REFERENCES: dict[str, type[Points] | type[Directions]] = {"euclidean": Points, "cosine": Directions}

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
    neighbours : int
        Nearest training windows k that the distance is averaged over.
    metric : {"euclidean", "cosine"}
        Cosine distance is 1 - cos, and 1 for a window whose features are all zero.
    local_density : bool
        Divide by the neighbours' own radii.
    density_neighbours : int
        Nearest training windows that a radius is averaged over.

    Notes
    -----
    Every training window is part of the state. With ``local_density`` fitting takes the square of their number.
    Source: Ramaswamy et al. 2000, Efficient algorithms for mining outliers, SIGMOD; the normalisation follows the idea
    of Wilkinghoff et al. 2025, arXiv:2509.10951.
    """

    name = "knn"
    windows_: Any
    radii_: Any

    def __init__(
        self,
        *,
        neighbours: int = 1,
        metric: Literal["euclidean", "cosine"] = "euclidean",
        local_density: bool = False,
        density_neighbours: int = 4,
    ) -> None:
        self.neighbours = checks.whole_number(self.name, "neighbours", neighbours, 1)
        if metric not in ("euclidean", "cosine"):
            raise ConfigError(
                f"{self.name}: metric must be euclidean or cosine, got {metric!r}; change --detector.metric"
            )
        self.metric = metric
        self.local_density = local_density
        self.density_neighbours = checks.whole_number(self.name, "density_neighbours", density_neighbours, 1)

    def _learn(self, features: Features) -> None:
        self._check_count(len(features))
        self.windows_ = features.copy()
        self.radii_ = np.ones(len(features))
        if self.local_density:
            self.radii_ = self._radii()

    def _check_count(self, windows: int) -> None:
        needed = {"neighbours": self.neighbours}
        if self.local_density:  # a window is no neighbour of its own
            needed["density_neighbours"] = self.density_neighbours + 1
        for parameter, count in needed.items():
            if windows < count:
                raise DataError(
                    f"{self.name}: {windows} windows for {getattr(self, parameter)} {parameter}; "
                    f"record more or use --detector.{parameter} {windows // 2}"
                )

    def _radii(self) -> Float64:
        radii = np.empty(len(self.windows_))
        for block in self._blocks(len(radii)):
            themselves = np.arange(block.start, block.stop)
            _, distances = self._nearest(self.windows_[block], self.density_neighbours, themselves)
            radii[block] = distances.mean(axis=1)
        if not radii.any():
            raise DataError(
                f"{self.name}: every training window has {self.density_neighbours} or more copies, which makes the "
                f"local density infinite; check for repeated recordings or use --detector.local_density false"
            )
        return np.asarray(np.maximum(radii, _SMALLEST_RADIUS * radii.mean()))

    def _score(self, features: Features) -> Float64:
        indices, distances = self._nearest(features, self.neighbours)
        return np.asarray(distances.mean(axis=1) / self.radii_[indices].mean(axis=1))

    def _nearest(
        self, features: Features, count: int, themselves: npt.NDArray[np.intp] | None = None
    ) -> tuple[npt.NDArray[np.intp], Float64]:
        """Return indices and distances, [n_windows, count], of the nearest training windows but `themselves`."""
        reference = self._prepared(lambda: _REFERENCES[self.metric](self.windows_))
        distances = reference.rough(features)
        if themselves is not None:
            distances[np.arange(len(distances)), themselves] = np.inf
        indices = np.argpartition(distances, count - 1, axis=1)[:, :count]
        return indices, reference.exact(features, indices, distances)

    def _values_per_row(self) -> int:
        windows, dimension = self.windows_.shape
        return int(windows + (self.neighbours + self.density_neighbours) * dimension)
