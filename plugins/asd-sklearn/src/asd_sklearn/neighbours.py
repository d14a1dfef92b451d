"""The distance to the nearest normal windows, relative to how densely those lie."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from asd.errors import DataError
from asd.plugin import Features, Float64, Int64, OnnxGraph, Rows, State, one_of, whole_number
from asd_sklearn import onnx
from asd_sklearn.base import FeatureDetector
from asd_sklearn.distances import Directions, Points
from asd_sklearn.groups import Grouping, bank_numbers, distinct

Metric = Literal["euclidean", "cosine"]
LocalDensity = Literal["ratio", "difference", "nearest", "off"]

_REFERENCES: dict[Metric, Callable[[Features], Points | Directions]] = {"euclidean": Points, "cosine": Directions}

_FORMER: dict[Any, LocalDensity] = {True: "nearest", False: "off"}
"""What `local_density` meant when it was true or false, as model files say it."""

_SMALLEST_RADIUS = 1e-3
"""Smallest local radius, relative to the mean one: near-copies among the references must not divide by zero."""

_LEAST_CLIPS = 4
"""Clips of a group with statistics of its own; fewer say nothing of how their scores vary."""


class NearestNeighbours(FeatureDetector):
    """Distance to the nearest training windows (references), relative to how densely those lie.

    With ``local_density = "ratio"``, the default::

        score(x) = min over all references y of distance(x, y) / radius(y)
        radius(y) = mean distance from y to its K nearest references of other clips
        K = n_density_neighbors, or a quarter of the references if that is less, but at least 1

    so that windows of a rarely recorded condition, whose neighbours lie far apart, are not alarms for that alone.

    Parameters
    ----------
    n_neighbors : int
        How many of the smallest (normalised) distances the score averages.
    metric : {"euclidean", "cosine"}
        Cosine distance is 1 - cos, and 1 for a window whose features are all zero.
    local_density : {"ratio", "difference", "nearest", "off"} or bool
        ``"ratio"``: distance(x, y) / radius(y), least over all y; ``"difference"``: distance(x, y) - radius(y), the
        same; ``"nearest"`` (formerly true): the distance to the nearest y, divided by the radius of that y; ``"off"``
        (formerly false): the distance alone.
    n_density_neighbors : int
        Most references that a radius is averaged over.
    groups : {"none", "labels", "kmeans"}
        Banks of references, such as states of the machine or places of recording. Each bank scores by itself; its
        scores are shifted and scaled by mean and deviation of its own leave-one-out scores; the least counts.
        ``"labels"`` takes the groups that the clips belong to, ``"kmeans"`` finds `n_groups` clusters.
    n_groups : int
        Banks that ``"kmeans"`` finds, but no more than one for four references.
    seed : int
        Of k-means.

    Notes
    -----
    The state is the references and their radii. Exact copies count once with ``"ratio"`` and ``"difference"``; other
    radii are at least 0.001 of the mean one. Windows of one clip are near-copies: where the clips of the windows are
    known, a radius and a leave-one-out score leave out the window's whole clip. A group of fewer than four clips is
    scaled by the radii and leave-one-out scores of all references as one bank. Clips of unknown group are a group.
    Fitting takes the square of the number of references in time, not in memory.
    Source: Wilkinghoff et al. 2025, arXiv:2509.10951 (ratio and difference); Ramaswamy et al. 2000, Efficient
    algorithms for mining outliers, SIGMOD (the distance alone).
    """

    name = "knn"
    renamed: ClassVar[Mapping[str, str]] = {"neighbours": "n_neighbors", "density_neighbours": "n_density_neighbors"}
    takes_rows = True
    half_precision = ("windows_",)
    windows_: Any
    radii_: Any
    banks_: Any
    location_: Any
    scale_: Any

    def __init__(
        self,
        *,
        n_neighbors: int = 1,
        metric: Metric = "euclidean",
        local_density: bool | LocalDensity = "ratio",
        n_density_neighbors: int = 16,
        groups: Grouping = "none",
        n_groups: int = 4,
        seed: int = 0,
    ) -> None:
        form = _FORMER[local_density] if isinstance(local_density, bool) else local_density
        self.n_neighbors = whole_number(self, "n_neighbors", n_neighbors, 1)
        self.metric = one_of(self, "metric", metric, get_args(Metric))
        self.local_density = one_of(self, "local_density", form, get_args(LocalDensity))
        self.n_density_neighbors = whole_number(self, "n_density_neighbors", n_density_neighbors, 1)
        self.groups = one_of(self, "groups", groups, get_args(Grouping))
        self.n_groups = whole_number(self, "n_groups", n_groups, 1)
        self.seed = whole_number(self, "seed", seed, 0)

    def _learn(self, features: Features, rows: Rows | None = None) -> None:
        if len(features) < self.n_neighbors:
            raise DataError(
                f"{self.name}: {len(features)} windows for {self.n_neighbors} neighbours; "
                f"record more or use --detector.n_neighbors {len(features) // 2}"
            )
        clip = np.arange(len(features)) if rows is None else rows.clip
        banks = bank_numbers(self, features, rows)
        kept = np.argsort(banks, kind="stable")  # the references of a bank lie side by side
        if self.local_density in ("ratio", "difference"):
            kept = kept[distinct(features[kept], banks[kept])]
        self.windows_, self.banks_ = features[kept], banks[kept]
        self.radii_ = np.ones(len(kept))
        self.location_, self.scale_ = np.zeros(banks.max() + 1), np.ones(banks.max() + 1)
        clip = clip[kept] if len(np.unique(clip[kept])) > 1 else np.arange(len(kept))
        everything = slice(0, len(kept))
        sizes = [len(np.unique(clip[bank])) for bank in self._banks()]
        if min(sizes) < _LEAST_CLIPS or len(sizes) == 1:
            self._learn_bank(everything, clip, np.arange(len(sizes)))
        for number, bank in enumerate(self._banks()):
            if len(sizes) > 1 and sizes[number] >= _LEAST_CLIPS:
                self._learn_bank(bank, clip, np.array([number]))

    def _learn_bank(self, bank: slice, clip: Int64, numbers: npt.NDArray[np.intp]) -> None:
        """Learn the radii of a bank's references, and the location and scale of its scores for the bank `numbers`."""
        if self.local_density != "off":
            self.radii_[bank] = self._radii(bank, clip)
        if self.groups == "none":
            return  # the scores keep their meaning: distances in radii
        count = min(self.n_neighbors, _least_others(clip[bank]))
        scores = np.concatenate(
            [
                self._bank_scores(self.windows_[part], self._distances(part, bank, clip), bank, count)
                for part in self._parts(bank)
            ]
        )
        self.location_[numbers] = scores.mean()
        self.scale_[numbers] = max(scores.std(), _SMALLEST_RADIUS * np.abs(scores).mean()) or 1.0

    def _radii(self, bank: slice, clip: Int64) -> Float64:
        size = bank.stop - bank.start
        count = max(1, min(self.n_density_neighbors, size // 4, _least_others(clip[bank])))
        radii = np.concatenate(
            [
                self._exact(self.windows_[part], self._distances(part, bank, clip), bank, count)[1].mean(axis=1)
                for part in self._parts(bank)
            ]
        )
        if not radii.any():
            raise DataError(
                f"{self.name}: every training window has {count} or more copies, which makes the local density "
                "infinite; check for repeated recordings or use --detector.local_density off"
            )
        return np.asarray(np.maximum(radii, _SMALLEST_RADIUS * radii.mean()))

    def _parts(self, bank: slice) -> list[slice]:
        return [slice(bank.start + part.start, bank.start + part.stop) for part in self._blocks(bank.stop - bank.start)]

    def _distances(self, part: slice, bank: slice, clip: Int64) -> Float64:
        """Return the distances from the references in `part` to those of the bank, infinite within a clip."""
        distances = self._reference.rough(self.windows_[part])[:, bank]
        distances[clip[part, np.newaxis] == clip[bank]] = np.inf
        return distances

    def _score_block(self, features: Features) -> Float64:
        distances = self._reference.rough(features)
        scores = np.array(
            [
                self._bank_scores(features, distances[:, bank], bank, min(self.n_neighbors, bank.stop - bank.start))
                for bank in self._banks()
            ]
        )
        return np.asarray(((scores - self.location_[:, np.newaxis]) / self.scale_[:, np.newaxis]).min(axis=0))

    def _bank_scores(self, features: Features, distances: Float64, bank: slice, count: int) -> Float64:
        """Return the scores, float64[n_windows], that `count` references of a bank give by themselves."""
        radii = self.radii_[bank]
        if self.local_density == "ratio":
            distances = distances / radii
        elif self.local_density == "difference":
            distances = distances - radii
        indices, exact = self._exact(features, distances, bank, count)
        if self.local_density == "ratio":
            return np.asarray((exact / radii[indices]).mean(axis=1))
        if self.local_density == "difference":
            return np.asarray((exact - radii[indices]).mean(axis=1))
        return np.asarray(exact.mean(axis=1) / radii[indices].mean(axis=1))

    def _exact(
        self, features: Features, order: Float64, bank: slice, count: int
    ) -> tuple[npt.NDArray[np.intp], Float64]:
        """Return which `count` references of the bank are the first in `order`, and the distances to them."""
        indices = np.argpartition(order, count - 1, axis=1)[:, :count] if count > 1 else order.argmin(axis=1)[:, None]
        return indices, self._reference.exact(features, indices + bank.start)

    def to_onnx(self, graph: OnnxGraph, features: str) -> str:
        """Add the scores, float64 (rows,), to `graph`; see `asd.plugin.OnnxGraph`."""
        distances = self._reference.to_onnx(graph, onnx.doubled(graph, features))
        scores = []
        for number, bank in enumerate(self._banks()):
            own = graph.op("Gather", distances, graph.constant(np.arange(bank.start, bank.stop)), axis=1)
            score = self._bank_to_onnx(graph, own, bank, min(self.n_neighbors, bank.stop - bank.start))
            score = graph.op("Sub", score, graph.constant(np.array([[self.location_[number]]], np.float64)))
            scores.append(graph.op("Div", score, graph.constant(np.array([[self.scale_[number]]], np.float64))))
        joined = graph.op("Concat", *scores, axis=1)
        return graph.op("ReduceMin", joined, axes=[1], keepdims=0)

    def _bank_to_onnx(self, graph: OnnxGraph, distances: str, bank: slice, count: int) -> str:
        radii, k = graph.constant(onnx.matrix(self.radii_[bank])), graph.constant([count])
        if self.local_density in ("ratio", "difference"):
            normalised = graph.op("Div" if self.local_density == "ratio" else "Sub", distances, radii)
            return graph.op("ReduceMean", graph.op("TopK", normalised, k, largest=0), axes=[1], keepdims=1)
        nearest, indices = (graph.op("TopK", distances, k, largest=0, output=output) for output in (0, 1))
        mean = graph.op("ReduceMean", nearest, axes=[1], keepdims=1)
        return graph.op("Div", mean, graph.op("ReduceMean", graph.op("Gather", radii, indices), axes=[1], keepdims=1))

    @property
    def _reference(self) -> Points | Directions:
        return self._derive(self.windows_, _REFERENCES[self.metric])

    def _banks(self) -> list[slice]:
        """Return where the references of each bank lie."""
        ends = np.searchsorted(self.banks_, np.arange(len(self.location_) + 1)).tolist()
        return [slice(first, stop) for first, stop in itertools.pairwise(ends)]

    def set_state(self, state: State) -> None:
        """Restore what `get_state` returned, now or when there was one bank."""
        if not {"banks_", "location_", "scale_"} & state.keys() and "windows_" in state:
            one = {"banks_": np.zeros(len(state["windows_"]), np.int64), "location_": np.zeros(1), "scale_": np.ones(1)}
            state = {**state, **one}
        super().set_state(state)

    def _values_per_row(self) -> int:
        windows, dimension = self.windows_.shape
        return int(3 * windows + (self.n_neighbors + self.n_density_neighbors) * dimension)


def _least_others(clip: Int64) -> int:
    """Return how many references of other clips every reference has at least."""
    return int(len(clip) - np.unique(clip, return_counts=True)[1].max())
