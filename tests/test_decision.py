"""The decision: what a number of clips can promise, and what it cannot."""

from __future__ import annotations

import re

import numpy as np
import pytest

from asd.detection.calibration import Calibration, round_up, with_mean
from asd.detection.metrics import binomial_interval
from asd.errors import CalibrationError, RenamedWarning


def calibration(n: int = 20, seconds: float = 10.0) -> Calibration:
    return Calibration(np.random.default_rng(0).permutation(np.arange(1.0, n + 1)), np.zeros(n, np.int64), seconds)


def test_p_values_by_hand() -> None:
    # scores 1…4: a score of 5 is above all (1/5), 4 ties with one (2/5), 0 is below all (5/5)
    assert [calibration(4).p_value(np.array([s])) for s in (5.0, 4.0, 3.5, 0.0)] == [0.2, 0.4, 0.4, 1.0]


def test_members_are_never_compared_with_one_another() -> None:
    calibrated = Calibration(np.array([1.0, 2.0, 1001.0, 1002.0]), np.array([0, 0, 1, 1]), 10.0)
    assert calibrated.p_value(np.array([3.0, 1003.0])) == 1 / 5
    assert calibrated.p_value(np.array([1.5, 1000.0])) == 4 / 5


@pytest.mark.parametrize("folds", [1, 5])
def test_the_promise_holds_for_members_on_different_scales(folds: int) -> None:
    """Healthy sound must alarm as often as promised, even where each member has its own offset and noise."""
    rng = np.random.default_rng(1)
    alarms = []
    for _ in range(400):
        n = 40
        member = np.arange(n) % folds
        offset, common = rng.normal(0, 100, folds), rng.normal(size=n)
        scores = common + offset[member] + 0.1 * rng.normal(size=n)
        calibrated = Calibration(scores, member, 10.0)
        level = calibrated.decide(360 / 41 * 2).level
        fresh = rng.normal(size=(50, 1)) + offset + 0.1 * rng.normal(size=(50, folds))
        alarms.append(np.mean([calibrated.p_value(row) <= level for row in fresh]))
    assert 0.8 * 2 / 41 <= np.mean(alarms) <= 1.15 * 2 / 41


def test_a_rate_too_low_for_the_clips_is_refused_with_the_lowest_that_is_not() -> None:
    calibrated = calibration(20)
    with pytest.raises(
        CalibrationError,
        match=r"^1 false alarm an hour cannot be promised from 20 held-out clips of 10 s: the lowest rate "
        r"they support is 17\.15 an hour; fit on 359 clips or more, raise it, or let a monitor add up the evidence of "
        r"many clips \(asd score --monitor STATE\)$",
    ):
        calibrated.decide(1.0)
    assert calibrated.decide(17.15).level == 1 / 21
    assert calibration(359).decide(1.0).level == 1 / 360


@pytest.mark.parametrize("rate", [1e-320, 5e-324, 1e-12])
def test_a_rate_that_no_number_of_clips_supports_is_refused_without_one(rate: float) -> None:
    text = "the lowest rate they support is 17.15 an hour; raise it or let a monitor add up the evidence of many clips"
    with pytest.raises(CalibrationError, match=re.escape(text)):
        calibration().decide(rate)


def test_a_rate_that_alarms_always_is_refused() -> None:
    with pytest.raises(
        CalibrationError, match=r"would be an alarm on every clip of 10 s; lower --false-alarms-per-hour"
    ):
        calibration().decide(400.0)
    with pytest.raises(CalibrationError, match=r"^1e\+308 false alarms an hour would be an alarm on every clip"):
        calibration().decide(1e308)


@pytest.mark.parametrize(("n", "rate"), [(20, 360 / 21), (359, 1.0), (5000, 1.0)])
def test_the_default_is_one_an_hour_or_the_lowest_supported(n: int, rate: float) -> None:
    assert calibration(n).decide().false_alarms_per_hour == pytest.approx(rate)


@pytest.mark.parametrize("n", range(5, 60))
@pytest.mark.parametrize("seconds", [10.0, 9.37, 0.7, 1800.0, 7200.0])
def test_the_lowest_rate_and_the_default_are_always_granted(n: int, seconds: float) -> None:
    calibrated = calibration(n, seconds)
    assert calibrated.decide(calibrated.lowest_rate).level == 1 / (n + 1)
    assert calibrated.decide(float(round_up(calibrated.lowest_rate))).level == 1 / (n + 1)
    assert calibrated.decide().level < 1


def test_the_former_name_of_the_rate_can_be_read_with_a_warning() -> None:
    with pytest.warns(RenamedWarning, match="^Decision: attribute 'false_alarm_rate' is now called"):
        assert calibration().decide(40.0).false_alarm_rate == 40.0  # type: ignore[attr-defined]


def test_healthy_clips_alarm_at_most_as_often_as_promised() -> None:
    """Members are fixed, new clips are not: the mean over members is one score, and its p-value is valid."""
    rng, alarmed, rounds = np.random.default_rng(1), 0, 4000
    for _ in range(rounds):
        scales = rng.uniform(0.1, 10, 5)
        drawn = rng.normal(size=(10, 5)) * scales + rng.normal(size=(10, 1)) + scales
        calibration = Calibration(drawn[:9].mean(axis=1), np.full(9, 5), 10.0)
        alarmed += calibration.p_value(drawn[9]) <= 0.1
    low, high = binomial_interval(alarmed, rounds)
    assert low <= 0.1 <= high


def test_the_mean_is_a_row_more_and_knows_branches_without_a_score() -> None:
    own = np.array([[1.0, np.nan], [4.0, np.nan]])
    np.testing.assert_array_equal(with_mean(own)[2], [2.5, np.nan])
