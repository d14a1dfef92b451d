"""Measures against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from asd.detection.metrics import auc, bootstrap_interval, partial_auc
from asd.errors import DataError


def test_by_hand() -> None:
    assert auc([1, 2, 3], [4, 5]) == 1.0
    assert auc([1, 2, 3], [0, 0]) == 0.0
    assert auc([1, 1], [1, 1]) == 0.5
    assert auc([1, 3], [2, 3]) == pytest.approx((1 + 0 + 1 + 0.5) / 4)
    assert partial_auc([1, 2, 3], [4, 5]) == 1.0
    # ROC (0, 0), (0, 1/2), (1/2, 1/2), (1/2, 1), (1, 1): area 1/4 up to 1/2, where chance has 1/8 and the best 1/2.
    assert partial_auc([1, 2], [1.5, 3], max_fpr=0.5) == pytest.approx(0.5 * (1 + (1 / 4 - 1 / 8) / (1 / 2 - 1 / 8)))
    # With ties a slope: (0, 0), (1/2, 1), (1, 1). Up to 1/4 the area is 1/16.
    assert partial_auc([1, 2], [2, 2], max_fpr=0.25) == pytest.approx(0.5 * (1 + (1 / 16 - 1 / 32) / (1 / 4 - 1 / 32)))


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("max_fpr", [0.1, 0.37, 1.0])
def test_equals_scikit_learn_with_and_without_ties(seed: int, max_fpr: float) -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(seed)
    decimals = 0 if seed % 2 else 6
    normal = np.round(rng.normal(0, 2, 37), decimals)
    anomalous = np.round(rng.normal(1, 2, 23), decimals)
    truth = np.r_[np.zeros(37), np.ones(23)]
    scores = np.r_[normal, anomalous]
    assert auc(normal, anomalous) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    expected = roc_auc_score(truth, scores, max_fpr=max_fpr)
    assert partial_auc(normal, anomalous, max_fpr=max_fpr) == pytest.approx(expected, abs=1e-12)


def test_interval_is_seeded_and_covers() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(60):
        normal, anomalous = rng.normal(0, 1, 40), rng.normal(1, 1, 40)
        low, high = bootstrap_interval(normal, anomalous, draws=300, seed=seed)
        covered += low <= 0.7602 <= high  # Phi(1 / sqrt 2)
    assert 50 <= covered <= 60
    first = bootstrap_interval(normal, anomalous, draws=50, seed=3)
    assert first == bootstrap_interval(normal, anomalous, draws=50, seed=3)
    assert first != bootstrap_interval(normal, anomalous, draws=50, seed=4)


def test_a_class_without_clips_or_nan_is_said() -> None:
    with pytest.raises(DataError, match="AUC needs at least one anomalous clip, got 0"):
        auc([1.0], [])
    with pytest.raises(DataError, match="got NaN among the normal scores"):
        auc([np.nan], [1.0])
    with pytest.raises(ValueError, match="max_fpr must be above 0"):
        partial_auc([1.0], [2.0], max_fpr=0)
