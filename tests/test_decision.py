"""The decision: what a number of clips can promise, and what it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from asd.decision import Calibration, round_up
from asd.errors import CalibrationError


def calibration(n: int = 20, seconds: float = 10.0) -> Calibration:
    return Calibration(np.random.default_rng(0).permutation(np.arange(1.0, n + 1)), seconds)


def test_p_values_by_hand() -> None:
    # scores 1…4: a score of 5 is above all (1/5), 4 ties with one (2/5), 0 is below all (5/5)
    assert calibration(4).p_values(np.array([5.0, 4.0, 3.5, 0.0])).tolist() == [0.2, 0.4, 0.4, 1.0]


def test_an_alarm_is_a_p_value_at_most_the_level() -> None:
    calibrated = calibration(99)
    decision = calibrated.decide(3600 / 10 * 0.05)
    assert decision.level == pytest.approx(0.05)
    scores = np.linspace(0, 110, 1101)
    by_p = calibrated.p_values(scores) <= decision.level
    assert (by_p == (scores > decision.threshold)).all()
    assert 0 < by_p.sum() < len(by_p)


def test_the_promise_holds_on_fresh_normal_scores() -> None:
    rng = np.random.default_rng(1)
    alarms = []
    for _ in range(400):
        calibrated = Calibration(rng.normal(size=39), 10.0)
        alarms.append((rng.normal(size=50) > calibrated.decide(18.0).threshold).mean())
    assert np.mean(alarms) <= 0.05 * 1.1  # 18 an hour of 10 s clips is one in twenty


def test_a_rate_too_low_for_the_clips_is_refused_with_the_lowest_that_is_not() -> None:
    calibrated = calibration(20)
    with pytest.raises(
        CalibrationError,
        match=r"^1 false alarms per hour cannot be promised from 20 clips of 10 s: the lowest rate they support is "
        r"17\.15; fit on 359 clips or more, or raise --false-alarm-rate$",
    ):
        calibrated.decide(1.0)
    assert calibrated.decide(17.15).threshold == 20.0
    assert calibration(359).decide(1.0).threshold == 359.0


def test_a_rate_that_alarms_always_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"would be an alarm on every clip of 10 s; lower --false-alarm-rate"):
        calibration().decide(400.0)


@pytest.mark.parametrize(("n", "rate"), [(20, 360 / 21), (359, 1.0), (5000, 1.0)])
def test_the_default_is_one_an_hour_or_the_lowest_supported(n: int, rate: float) -> None:
    assert calibration(n).decide().false_alarm_rate == pytest.approx(rate)


@pytest.mark.parametrize("n", range(5, 60))
@pytest.mark.parametrize("seconds", [10.0, 9.37, 0.7, 1800.0, 7200.0])
def test_the_lowest_rate_and_the_default_are_always_granted(n: int, seconds: float) -> None:
    calibrated = calibration(n, seconds)
    assert calibrated.decide(calibrated.lowest_rate).threshold == n
    assert calibrated.decide(float(round_up(calibrated.lowest_rate))).threshold == n
    assert calibrated.decide().threshold <= n
