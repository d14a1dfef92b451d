"""How far each feature is from what the most similar healthy clips have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from asd.plugin import FeatureInfo, Features, Float64, Int64, OnnxGraph, Reason, Rows, number, whole_number
from asd_sklearn import onnx
from asd_sklearn.base import FeatureDetector
from asd_sklearn.distances import Points

_QUANTILE, _NORMAL_QUANTILE = 0.9, 1.645
"""Of the absolute deviations of healthy clips, and of a normal distribution of deviation 1."""

_SIDE = 4
"""Features on each side whose scales are no guide less than a feature's own: bands side by side vary alike."""


class Deviation(FeatureDetector):
    """The largest deviation of a feature from the most similar healthy clips, relative to what is usual for it.

    Of each feature::

        deviation(x) = x - median of the K references most similar to x
        scale = 0.9 quantile of |deviation| of the training windows, each without its own clip, / 1.645
        score(x) = max over features of |deviation(x)| / scale

    so that the score says by itself which feature is unusual, and by how much: see `explain`. Features keep their
    units. Several states of a machine (speeds, loads) may be learned together: a window is compared with its own state.

    Parameters
    ----------
    n_neighbors : int
        Most references K that a window is compared with; a quarter of the clips if that is less, but at least 1.
    floor : float
        Least scale, in the features' unit (dB of ``band-levels``): smaller deviations say nothing.
    least : float
        Least deviation, in scales, that `explain` calls a reason.

    Notes
    -----
    The references are the means of each clip's windows. A scale is at least the median scale of the nine features
    about it: few clips show by chance too little of what a feature does. A feature that never varies in training,
    such as a band above half the recordings' sample rate, is left out.
    """

    name = "deviation"
    takes_rows = True
    takes_units = True
    references_: Any
    weights_: Any

    def __init__(self, *, n_neighbors: int = 5, floor: float = 0.1, least: float = 3.0) -> None:
        self.n_neighbors = whole_number(self, "n_neighbors", n_neighbors, 1)
        self.floor = number(self, "floor", floor, above=0)
        self.least = number(self, "least", least, at_least=0)

    def _learn(self, features: Features, rows: Rows | None = None) -> None:
        clips, clip = np.unique(np.arange(len(features)) if rows is None else rows.clip, return_inverse=True)
        if len(clips) == 1:
            clip = np.arange(len(features))
        self.references_ = _means(features, clip)
        self.weights_ = (np.ptp(features, axis=0) > 0).astype(np.float64)
        deviations = np.concatenate(
            [np.abs(self._deviations(features[block], clip[block])) for block in self._blocks(len(features))]
        )
        scale = np.quantile(deviations, _QUANTILE, axis=0) / _NORMAL_QUANTILE
        scale = np.maximum(np.maximum(scale, _running_median(scale)), self.floor)
        self.weights_ = self.weights_ / scale

    def _deviations(self, features: Features, clip: Int64 | None = None) -> Float64:
        """Return how far each row is from the references most similar to it, without those of its own `clip`."""
        varies = self.weights_ > 0
        distances = self._derive(self.references_, lambda all_: Points(all_[:, varies])).squared_distances(
            features[:, varies]
        )
        if clip is not None:
            distances[np.arange(len(features)), clip] = np.inf
        count = max(1, min(self.n_neighbors, len(self.references_) // 4))
        nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
        return np.asarray(features - np.median(self.references_[nearest].astype(np.float64), axis=1))

    def _score_block(self, features: Features) -> Float64:
        return np.asarray((np.abs(self._deviations(features)) * self.weights_).max(axis=1))

    def to_onnx(self, graph: OnnxGraph, features: str) -> str:
        """Add the scores, float64 (rows,), to `graph`; see `asd.plugin.OnnxGraph`."""
        rows, varies = onnx.doubled(graph, features), np.flatnonzero(self.weights_ > 0)
        own = graph.op("Gather", rows, graph.constant(varies), axis=1)
        references = self.references_[:, varies]
        distances = onnx.squared_distances(graph, own, Points(references))
        count = max(1, min(self.n_neighbors, len(references) // 4))
        nearest = graph.op("TopK", distances, graph.constant([count]), largest=0, output=1)
        alike = graph.op("Gather", graph.constant(onnx.matrix(references)), nearest, axis=0)  # (rows, count, features)
        middle = graph.constant([(count - 1) // 2, count // 2])
        alike = graph.op("Transpose", alike, perm=[0, 2, 1])
        ordered = graph.op("TopK", alike, graph.constant([count]), largest=0)
        median = graph.op("ReduceMean", graph.op("Gather", ordered, middle, axis=2), axes=[2], keepdims=0)
        weighted = graph.op("Mul", graph.op("Sub", own, median), graph.constant(self.weights_[varies]))
        return graph.op("ReduceMax", graph.op("Abs", weighted), axes=[1], keepdims=0)

    def _values_per_row(self) -> int:
        clips, dimension = self.references_.shape
        return int(clips + 3 * (self.n_neighbors + 1) * dimension)

    def explain(self, features: Features, infos: Sequence[FeatureInfo] = ()) -> list[list[Reason]]:
        """Return what is unusual in each row, the largest deviation first, such as ``"14 dB louder at 2.1–2.6 kHz"``.

        The number beside a text is the deviation in scales; the first is the row's score.
        """
        known = list(infos) if len(infos) == features.shape[1] else []
        known = known or [FeatureInfo(f"value {number}") for number in range(1, features.shape[1] + 1)]
        return [self._reasons(row, known) for row in self._deviations(features)]

    def _reasons(self, deviation: Float64, infos: Sequence[FeatureInfo]) -> list[Reason]:
        in_scales = np.abs(deviation) * self.weights_
        alike: dict[tuple[str, bool], list[_Run]] = {}
        for i in sorted(np.flatnonzero(in_scales >= self.least).tolist(), key=lambda i: infos[i].band or (0.0, 0.0)):
            runs = alike.setdefault((_quantity(infos[i]), bool(deviation[i] > 0)), [])
            for run in runs:
                if run.goes_on_at(infos[i].band):
                    run.add(infos[i], deviation[i], in_scales[i])
                    break
            else:
                runs.append(_Run(infos[i], deviation[i], in_scales[i]))
        runs = _located([run for found in alike.values() for run in found])
        runs.sort(key=lambda run: -run.strength)
        return [(run.text, run.strength) for run in runs]


class _Run:
    """A quantity that deviates alike in bands side by side: one reason."""

    def __init__(self, info: FeatureInfo, deviation: float, strength: float) -> None:
        self.info, self.band = info, info.band
        self.deviation, self.strength = float(deviation), float(strength)

    def is_alike(self, other: _Run) -> bool:
        """Return whether another run is of the same quantity in the same direction."""
        return _quantity(other.info) == _quantity(self.info) and (other.deviation > 0) == (self.deviation > 0)

    def goes_on_at(self, band: tuple[float, float] | None) -> bool:
        """Return whether a feature that is alike continues the run: of the same band (another quantile) or the next."""
        if self.band is None or band is None:
            return self.band is band
        return band[0] == self.band[1] or band[1] == self.band[1]

    def add(self, info: FeatureInfo, deviation: float, strength: float) -> None:
        """Let the run reach as far as a feature, and speak of the strongest one."""
        if self.band and info.band:
            self.band = min(self.band[0], info.band[0]), info.band[1]
        if strength > self.strength:
            self.info, self.deviation, self.strength = info, float(deviation), float(strength)

    @property
    def text(self) -> str:
        """What people read, such as ``14 dB louder at 2.1–2.6 kHz``."""
        size = abs(self.deviation)
        amount = f"{size:.0f} {self.info.unit}" if size >= 10 else f"{size:.2g} {self.info.unit}"
        quantity, is_more = _quantity(self.info), self.deviation > 0
        if quantity == "level":
            what = f"{amount.strip()} {'louder' if is_more else 'quieter'}{'' if self.band else ' overall'}"
        else:
            what = f"{amount.strip()} {'more' if is_more else 'less'} {quantity}"
        return what if self.band is None else f"{what} at {_frequencies(*self.band)}"


def _located(runs: list[_Run]) -> list[_Run]:
    """Leave out what all bands show together where a band shows it more: that band is the reason for both."""
    kept = [run for run in runs if run.band is not None]
    for run in runs:
        if run.band is None:
            alike = [other for other in kept if other.band is not None and other.is_alike(run)]
            place = max(alike, key=lambda other: abs(other.deviation), default=run)
            if abs(place.deviation) >= abs(run.deviation) and place is not run:
                place.strength = max(place.strength, run.strength)
            else:
                kept.append(run)
    return kept


def _means(features: Features, clip: npt.NDArray[np.intp]) -> Features:
    """Return the mean of the rows of each clip, the clips counted from 0."""
    sums = np.zeros((clip.max() + 1, features.shape[1]))
    np.add.at(sums, clip, features)
    return np.asarray((sums / np.bincount(clip)[:, np.newaxis]).astype(features.dtype))


def _running_median(scale: Float64) -> Float64:
    side = min(_SIDE, len(scale) - 1)
    padded = np.pad(scale, side, mode="reflect")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * side + 1), axis=1))


def _quantity(info: FeatureInfo) -> str:
    """Return the name without what follows in brackets: quantiles of one quantity are one reason."""
    return info.name.partition(" (")[0]


def _frequencies(low: float, high: float) -> str:
    """Return a band in Hz or kHz, such as ``2.1–2.6 kHz``."""
    if high < 1000:
        return f"{low:.0f}–{high:.0f} Hz"
    above = f"{high / 1000:.2g} kHz"
    return f"{low:.0f} Hz–{above}" if low < 1000 else f"{low / 1000:.2g}–{above}"
