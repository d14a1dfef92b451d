"""Measures of detection quality.

Everywhere: `normal` and `anomalous` are float arrays of shape (n,) of clip scores, higher = more anomalous.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asd.errors import DataError
from asd.records import Float64


def auc(normal: npt.ArrayLike, anomalous: npt.ArrayLike) -> float:
    """Return the area under the ROC curve: the chance that an anomalous clip scores above a normal one, ties half."""
    healthy, faulty = _checked(normal, anomalous)
    ordered = np.sort(healthy)
    below = np.searchsorted(ordered, faulty, side="left")
    up_to = np.searchsorted(ordered, faulty, side="right")
    return float((below + up_to).mean() / (2 * len(healthy)))


def partial_auc(normal: npt.ArrayLike, anomalous: npt.ArrayLike, *, max_fpr: float = 0.1) -> float:
    """Return the area under the ROC curve up to a false positive rate, McClish-standardised.

    0.5 is chance and 1 perfect, as scikit-learn's ``roc_auc_score(max_fpr=...)`` and the DCASE Task 2 evaluators have
    it (McClish 1989, Analyzing a portion of the ROC curve).
    """
    healthy, faulty = _checked(normal, anomalous)
    if not 0 < max_fpr <= 1:
        raise ValueError(f"max_fpr must be above 0 and at most 1, got {max_fpr}")
    fpr, tpr = _roc(healthy, faulty)
    stop = int(np.searchsorted(fpr, max_fpr, side="right"))
    edge = np.interp(max_fpr, fpr[stop - 1 : stop + 1], tpr[stop - 1 : stop + 1]) if stop < len(fpr) else tpr[-1]
    area = float(np.trapezoid(np.append(tpr[:stop], edge), np.append(fpr[:stop], max_fpr)))
    if max_fpr == 1:
        return area
    chance = 0.5 * max_fpr**2
    return 0.5 * (1 + (area - chance) / (max_fpr - chance))


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
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _roc(healthy: Float64, faulty: Float64) -> tuple[Float64, Float64]:
    """Return false and true positive rates at every distinct threshold, from (0, 0) to (1, 1)."""
    thresholds = np.unique(np.concatenate([healthy, faulty]))[::-1]
    fpr = 1 - np.searchsorted(np.sort(healthy), thresholds, side="left") / len(healthy)
    tpr = 1 - np.searchsorted(np.sort(faulty), thresholds, side="left") / len(faulty)
    return np.append(0.0, fpr), np.append(0.0, tpr)


def _checked(normal: npt.ArrayLike, anomalous: npt.ArrayLike) -> tuple[Float64, Float64]:
    healthy, faulty = np.asarray(normal, dtype=np.float64), np.asarray(anomalous, dtype=np.float64)
    for name, values in (("normal", healthy), ("anomalous", faulty)):
        if values.ndim != 1 or not len(values):
            raise DataError(f"AUC needs at least one {name} clip, got {values.size}")
        if np.isnan(values).any():
            raise DataError(f"AUC needs numbers, got NaN among the {name} scores")
    return healthy, faulty
