"""Measures against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from asd.detection import metrics
from asd.detection.metrics import (
    auc,
    bootstrap_interval,
    partial_auc,
    percentile_interval,
    resampled_auc,
    roc_curve,
)
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


@pytest.mark.parity
@pytest.mark.parametrize("decimals", [0, 6])
def test_the_curve_is_scikit_learns(decimals: int) -> None:
    from sklearn.metrics import roc_curve as expected_curve

    rng = np.random.default_rng(1)
    normal, anomalous = rng.normal(0, 2, 37).round(decimals), rng.normal(1, 2, 23).round(decimals)
    fpr, tpr = roc_curve(normal, anomalous)
    expected = expected_curve(np.r_[np.zeros(37), np.ones(23)], np.r_[normal, anomalous], drop_intermediate=False)
    assert fpr == pytest.approx(expected[0], abs=1e-15)
    assert tpr == pytest.approx(expected[1], abs=1e-15)


@pytest.mark.parametrize("decimals", [0, 6])
@pytest.mark.parametrize("block", [1, 10**9], ids=["sample by sample", "at once"])
def test_a_sample_counts_as_its_clips_do(decimals: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_BLOCK", block)
    rng = np.random.default_rng(2)
    normal, anomalous = rng.normal(0, 2, 19).round(decimals), rng.normal(1, 2, 13).round(decimals)
    counts = [rng.multinomial(len(clips), np.full(len(clips), 1 / len(clips)), 8) for clips in (normal, anomalous)]
    areas, partial_areas = (resampled_auc(normal, anomalous, *counts, max_fpr=limit) for limit in (None, 0.1))
    for i in range(8):
        drawn = np.repeat(normal, counts[0][i]), np.repeat(anomalous, counts[1][i])
        assert areas[i] == pytest.approx(auc(*drawn), abs=1e-12)
        assert partial_areas[i] == pytest.approx(partial_auc(*drawn), abs=1e-12)


def test_counts_of_other_clips_are_refused() -> None:
    message = r"shapes \(samples, 2\) and \(samples, 1\), got \(4, 2\) and \(3, 1\)"
    with pytest.raises(ValueError, match=message):
        resampled_auc([1.0, 2.0], [3.0], np.ones((4, 2)), np.ones((3, 1)))


def test_the_middle_of_the_samples() -> None:
    assert percentile_interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))


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
