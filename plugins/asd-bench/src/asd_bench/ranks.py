"""Ranks of pipelines over machine sections: Friedman's test and Nemenyi's critical difference.

As Demšar recommends for classifiers on several data sets (Statistical Comparisons of Classifiers over Multiple Data
Sets, JMLR 7:1-30, 2006): each machine section ranks the pipelines, and two of them differ if their mean ranks lie
further apart than the critical difference. Friedman's p-value comes from permutations within the machine sections
instead of from its asymptotic distribution, which needs more than ten of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from asd.plugin import Float64
from asd_bench.results import Results

_PERMUTATIONS = 2000
_LEVEL = 0.05


@dataclass(frozen=True)
class Ranks:
    """Mean ranks of pipelines, the best first.

    Parameters
    ----------
    labels : tuple of str
        The pipelines.
    mean : float64 array of shape (n,)
        Their mean ranks; 1 is the best, equal scores share a rank.
    sections : int
        Number of machine sections.
    p_value : float
        Of Friedman's test that all pipelines are equal.
    critical_difference : float
        Nemenyi's, at 5 %.
    """

    labels: tuple[str, ...]
    mean: Float64
    sections: int
    p_value: float
    critical_difference: float

    @property
    def groups(self) -> list[tuple[int, int]]:
        """First and last of pipelines that lie within the critical difference, as large as possible; none of one."""
        ends = [int(np.searchsorted(self.mean, rank + self.critical_difference, "right")) - 1 for rank in self.mean]
        found = [(start, end) for start, end in enumerate(ends) if end > start]
        return [(start, end) for start, end in found if start == 0 or ends[start - 1] < end]


def ranks_of(results: Results) -> Ranks | None:
    """Return the ranks of the pipelines with a result everywhere; None for fewer than two of them or of sections."""
    labels = [summary.label for summary in results.ranking if summary.complete]
    sections = list(dict.fromkeys(result.trial.section.name for result in results.trials))
    if len(labels) < 2 or len(sections) < 2:
        return None
    scores = section_scores(results)
    return ranked(labels, np.array([[scores[label, section] for label in labels] for section in sections]))


def section_scores(results: Results) -> dict[tuple[str, str], float]:
    """Return the mean score over the seeds of each pipeline on each machine section that has a result."""
    found: dict[tuple[str, str], list[float]] = {}
    for result in results.trials:
        if not result.reason:
            found.setdefault((result.trial.label, result.trial.section.name), []).append(result.record["score"])
    return {key: float(np.mean(values)) for key, values in found.items()}


def ranked(labels: Sequence[str], scores: npt.NDArray[np.float64]) -> Ranks:
    """Return the ranks of pipelines by their scores.

    Parameters
    ----------
    labels : sequence of str
        The pipelines; at least two.
    scores : float64 array of shape (sections, pipelines)
        Higher is better.
    """
    ranks = _ranks(scores)
    sections, count = ranks.shape
    mean = ranks.mean(axis=0)
    rng = np.random.default_rng(0)
    spread = float(np.square(mean - (count + 1) / 2).sum())
    drawn = np.array([_spread(rng.permuted(ranks, axis=1)) for _ in range(_PERMUTATIONS)])
    p_value = float((1 + np.count_nonzero(drawn >= spread - 1e-9)) / (1 + _PERMUTATIONS))
    difference = nemenyi(count) * math.sqrt(count * (count + 1) / (6 * sections))
    order = np.argsort(mean, kind="stable")
    return Ranks(tuple(labels[i] for i in order), mean[order], sections, p_value, difference)


@lru_cache
def nemenyi(count: int, level: float = _LEVEL) -> float:
    """Return the critical value of Nemenyi's test: the studentised range of `count` infinite samples, divided by √2."""
    low, high = 0.0, 20.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if 1 - _range_below(middle, count) < level else (middle, high)
    return high / math.sqrt(2)


def _range_below(value: float, count: int) -> float:
    """Return the probability that the range of `count` standard normal numbers is below a value."""
    points = np.linspace(-8.0, 8.0 + value, 4001)
    density = np.exp(-(points**2) / 2) / math.sqrt(2 * math.pi)
    below = np.array([0.5 * math.erfc(-point / math.sqrt(2)) for point in points])
    further = np.array([0.5 * math.erfc(-(point - value) / math.sqrt(2)) for point in points])
    return float(np.trapezoid(count * density * (below - further) ** (count - 1), points))


def _ranks(scores: npt.NDArray[np.float64]) -> Float64:
    better = (scores[:, np.newaxis, :] > scores[:, :, np.newaxis]).sum(axis=2)
    equal = (scores[:, np.newaxis, :] == scores[:, :, np.newaxis]).sum(axis=2)
    return np.asarray(better + (equal + 1) / 2, np.float64)


def _spread(ranks: Float64) -> float:
    return float(np.square(ranks.mean(axis=0) - (ranks.shape[1] + 1) / 2).sum())
