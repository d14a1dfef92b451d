"""Measures of detection quality.

Everywhere: `normal` and `anomalous` are float arrays of shape (n,) of clip scores, higher = more anomalous.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from asd.errors import DataError
from asd.records import Float64

_BLOCK = 2**21
"""Most numbers in an array of `resampled_auc`: 16 MiB."""


def auc(normal: npt.ArrayLike, anomalous: npt.ArrayLike) -> float:
    """Return the area under the ROC curve: the chance that an anomalous clip scores above a normal one, ties half."""
    return float(_auc(*_positives(*_checked(normal, anomalous)))[0])


def partial_auc(normal: npt.ArrayLike, anomalous: npt.ArrayLike, *, max_fpr: float = 0.1) -> float:
    """Return the area under the ROC curve up to the false positive rate `max_fpr`, McClish-standardised.

    0.5 is chance and 1 perfect, as scikit-learn's ``roc_auc_score(max_fpr=...)`` and the DCASE Task 2 evaluators have
    it (McClish 1989, Analyzing a portion of the ROC curve).
    """
    return float(_partial_auc(*_positives(*_checked(normal, anomalous)), max_fpr)[0])


def roc_curve(normal: npt.ArrayLike, anomalous: npt.ArrayLike) -> tuple[Float64, Float64]:
    """Return the false and the true positive rates at every distinct threshold, from (0, 0) to (1, 1)."""
    false, true = _positives(*_checked(normal, anomalous))
    return false[:, 0] / false[-1, 0], true[:, 0] / true[-1, 0]


def resampled_auc(
    normal: npt.ArrayLike,
    anomalous: npt.ArrayLike,
    normal_counts: npt.ArrayLike,
    anomalous_counts: npt.ArrayLike,
    *,
    max_fpr: float | None = None,
) -> Float64:
    """Return the AUC, or the partial AUC, of bootstrap samples of the clips.

    Parameters
    ----------
    normal, anomalous : array of shape (n,) and (m,)
        Clip scores.
    normal_counts, anomalous_counts : array of shape (samples, n) and (samples, m)
        How often each sample holds each clip. A sample needs at least one clip of each class.
    max_fpr : float or None
        Return the partial AUC up to this false positive rate, above 0 and at most 1; None: the AUC.

    Returns
    -------
    float64 array of shape (samples,)
        As `auc` and `partial_auc` give it for the clips of each sample.

    Raises
    ------
    DataError
        If a class has no clips, or a score is NaN.
    ValueError
        If the counts have another shape, or `max_fpr` is out of its range.
    """
    scores = _checked(normal, anomalous)
    counts = [np.asarray(rows, dtype=np.float64) for rows in (normal_counts, anomalous_counts)]
    if [rows.shape for rows in counts] != [(len(counts[0]), len(clips)) for clips in scores]:
        expected = f"(samples, {len(scores[0])}) and (samples, {len(scores[1])})"
        raise ValueError(f"counts must have the shapes {expected}, got {counts[0].shape} and {counts[1].shape}")
    # Blocks bound the memory: a sample needs some arrays as long as both classes together.
    block = max(1, _BLOCK // sum(map(len, scores)))
    areas = []
    for start in range(0, len(counts[0]), block):
        false, true = _positives(*scores, *(rows[start : start + block] for rows in counts))
        areas.append(_auc(false, true) if max_fpr is None else _partial_auc(false, true, max_fpr))
    return np.concatenate(areas)


def bootstrap_interval(
    normal: npt.ArrayLike, anomalous: npt.ArrayLike, *, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the AUC, clips drawn with replacement within each class.

    Parameters
    ----------
    normal, anomalous : array of shape (n,)
        Clip scores.
    level : float
        Coverage.
    draws : int
        Bootstrap samples.
    seed : int
        Seed of the drawing.
    """
    healthy, faulty = _checked(normal, anomalous)
    rng = np.random.default_rng(seed)
    values = [auc(rng.choice(healthy, len(healthy)), rng.choice(faulty, len(faulty))) for _ in range(draws)]
    return percentile_interval(np.array(values), level)


def percentile_interval(samples: Float64, level: float = 0.95) -> tuple[float, float]:
    """Return the interval that holds the middle fraction `level` of bootstrap samples of a number."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def binomial_interval(hits: int, trials: int, *, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a rate of which `hits` of `trials` were seen.

    It holds the true rate with a probability of at least `level` (Clopper and Pearson 1934, Biometrika 26).

    Parameters
    ----------
    hits, trials : int
        How often it happened, of how many independent times.
    level : float
        Coverage.
    """
    if not 0 <= hits <= trials or trials < 1:
        raise ValueError(f"hits must be from 0 to trials, trials 1 or more, got {hits} of {trials}")
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else _rate_with(1 - tail, hits - 1, trials)
    high = 1.0 if hits == trials else _rate_with(tail, hits, trials)
    return low, high


def _rate_with(probability: float, hits: int, trials: int) -> float:
    """Return the rate at which at most `hits` of `trials` come with this probability, by bisection."""
    counts = np.arange(hits + 1)
    ways = np.array([math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1) for k in counts])
    low, high = 0.0, 1.0
    for _ in range(60):
        rate = (low + high) / 2
        at_most = np.exp(ways + counts * math.log(rate) + (trials - counts) * math.log1p(-rate)).sum()
        low, high = (rate, high) if at_most > probability else (low, rate)
    return (low + high) / 2


def _positives(
    normal: Float64, anomalous: Float64, normal_counts: Float64 | None = None, anomalous_counts: Float64 | None = None
) -> tuple[Float64, Float64]:
    """Return how many normal and how many anomalous clips reach each distinct threshold, in each sample.

    Both arrays have shape (thresholds + 1, samples). The first threshold is above all scores, the last is the lowest
    score. Counts are whole numbers, so their sums are exact. Without counts there is one sample, the clips themselves.
    """
    thresholds = np.unique(np.concatenate([normal, anomalous]))[::-1]
    return _reached(normal, normal_counts, thresholds), _reached(anomalous, anomalous_counts, thresholds)


def _reached(scores: Float64, counts: Float64 | None, thresholds: Float64) -> Float64:
    rows = np.ones((1, len(scores))) if counts is None else counts
    order = np.argsort(-scores)
    above = np.zeros((len(scores) + 1, len(rows)))
    np.cumsum(rows.T[order], axis=0, out=above[1:])
    return np.asarray(above[np.append(0, np.searchsorted(-scores[order], -thresholds, side="right"))])


def _auc(false: Float64, true: Float64) -> Float64:
    pairs = (np.diff(false, axis=0) * (true[1:] + true[:-1])).sum(axis=0)
    return np.asarray(pairs / (2 * false[-1] * true[-1]))


def _partial_auc(false: Float64, true: Float64, max_fpr: float) -> Float64:
    if not 0 < max_fpr <= 1:
        raise ValueError(f"max_fpr must be above 0 and at most 1, got {max_fpr}")
    if max_fpr == 1:
        return _auc(false, true)
    fpr, tpr = false / false[-1], true / true[-1]
    width, kept = np.diff(fpr, axis=0), np.diff(np.minimum(fpr, max_fpr), axis=0)
    share = np.divide(kept, width, out=np.zeros_like(width), where=width > 0)
    # A step that crosses the limit is cut where it does.
    area = (kept * (tpr[:-1] + 0.5 * share * np.diff(tpr, axis=0))).sum(axis=0)
    chance = 0.5 * max_fpr**2
    return np.asarray(0.5 * (1 + (area - chance) / (max_fpr - chance)))


def _checked(normal: npt.ArrayLike, anomalous: npt.ArrayLike) -> tuple[Float64, Float64]:
    healthy, faulty = np.asarray(normal, dtype=np.float64), np.asarray(anomalous, dtype=np.float64)
    for name, values in (("normal", healthy), ("anomalous", faulty)):
        if values.ndim != 1 or not len(values):
            raise DataError(f"AUC needs at least one {name} clip, got {values.size}")
        if np.isnan(values).any():
            raise DataError(f"AUC needs numbers, got NaN among the {name} scores")
    return healthy, faulty
