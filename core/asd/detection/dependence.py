"""How long neighbouring clips resemble each other: a promise for independent clips must count them as fewer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asd.records import Float64, Int64

FEWEST = 32
"""Clips below which nothing can be said."""
_WINDOW = 5
"""Lags that are added up, as a multiple of the time that they give (Sokal 1997, Monte Carlo methods in statistical
mechanics: foundations and new algorithms)."""
_ERRORS = 3.0
"""Standard errors above 1 from which a correlation time is taken for one."""
_MARGIN = 2.0
"""Clips of a step as a multiple of the correlation time: steps of one time are not yet independent; measured by
tests/benchmarks/bench_monitor.py."""
_NOTABLE = 1.5
"""Steps differ if one is so many times the other."""
_STEPS = 10
"""Steps that clips must fill before they can show that neighbours resemble each other for a shorter time; or `_ENOUGH`
clips: resemblance over half of what is remembered has few steps there."""
_ENOUGH = 1000


def correlation_time(values: Float64) -> float:
    """Return how many clips in time order tell as much as one independent clip, at least 1.

    It is the integrated autocorrelation time, 1 plus twice the sum of the autocorrelations.

    Parameters
    ----------
    values : float64 array of shape (n,)
        Scores or p-values of neighbouring clips.
    """
    away = values - values.mean()
    count = len(values)
    spectrum = np.fft.rfft(away, 2 * count)
    correlation = np.fft.irfft(spectrum * spectrum.conj())[:count]
    if not correlation[0] > 0:
        return 1.0
    time = 2 * np.cumsum(correlation / correlation[0]) - 1
    enough = np.arange(count) >= _WINDOW * time
    return max(1.0, float(time[enough.argmax() if enough.any() else -1]))


def clips_to_a_bet(values: Float64) -> int:
    """Return how many clips in time order to bet on at once, so that bets are nearly independent; 1: no correlation.

    Parameters
    ----------
    values : float64 array of shape (n,)
        p-values of healthy clips.
    """
    count = len(values)
    if count < FEWEST:
        return 1
    time = correlation_time(values)
    error = math.sqrt(2 * (2 * _WINDOW + 1) / count)  # of the time of independent clips; Sokal 1997
    return math.ceil(_MARGIN * time) if time > 1 + _ERRORS * error else 1


def next_step(outside: Float64, values: Float64, step: int) -> int:
    """Return how many clips in time order to bet on at once from now on.

    Clips outside the present rise of the evidence widen the step: a fault makes neighbours alike, too. They do not
    narrow it, since a rise may leave few of them, and few clips look independent whatever they are. For that, all
    clips must be many, and agree.

    Parameters
    ----------
    outside : float64 array of shape (n,)
        p-values of healthy clips without those of the present rise.
    values : float64 array of shape (m,)
        Those of all healthy clips.
    step : int
        Clips to a bet until now.
    """
    found = clips_to_a_bet(outside)
    if found <= _NOTABLE * step and len(values) >= min(_STEPS * step, _ENOUGH):
        found = max(found, clips_to_a_bet(values))
        return found if step > _NOTABLE * found else step
    return found if found > _NOTABLE * step else step


FEWEST_IN_ORDER = 10
"""Calibration clips below which the test in time order says nothing."""
_STRONG = 0.001
"""p-value of that test from which neighbours resemble each other."""


@dataclass(frozen=True)
class SerialDependence:
    """How much neighbours in time resemble each other among the calibration clips.

    Parameters
    ----------
    correlation : float
        Correlation of the ranks of neighbouring scores.
    clips : float
        Clips that tell as much as one independent clip, at least 1 (`correlation_time`).
    p_value : float
        Of exchangeable scores, the chance of so much resemblance.
    """

    correlation: float
    clips: float
    p_value: float

    @property
    def strong(self) -> bool:
        """Whether that is beyond chance."""
        return self.p_value <= _STRONG


def serial_dependence(scores: Float64, member: Int64, order: Sequence[int]) -> SerialDependence:
    """Test whether scores in the order of time are exchangeable, by the ranks of neighbours.

    The rank version of von Neumann's ratio (Bartels 1982, The rank version of von Neumann's ratio test for randomness,
    Journal of the American Statistical Association 77), one-sided.

    Parameters
    ----------
    scores : float64 array of shape (n,)
        Of calibration clips, `FEWEST_IN_ORDER` or more.
    member : int64 array of shape (n,)
        Which member gave each score: ranks are among scores of one member.
    order : sequence of int
        Their indices in the order of time.
    """
    ranks = np.empty(len(scores))
    for each in np.unique(member):
        own = member == each
        ranks[own] = _ranks(scores[own]) / np.count_nonzero(own)
    ranks = _ranks(ranks)[np.asarray(order)]
    spread = float(np.sum((ranks - ranks.mean()) ** 2))
    if not spread:
        return SerialDependence(0.0, 1.0, 1.0)
    ratio = float(np.sum(np.diff(ranks) ** 2)) / spread
    beyond = (2 - ratio) / (2 / math.sqrt(len(ranks)))
    return SerialDependence(1 - ratio / 2, correlation_time(ranks), 0.5 * math.erfc(beyond / math.sqrt(2)))


def _ranks(values: Float64) -> Float64:
    """Return the ranks of values from a half upwards, the mean rank for equal ones."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - counts / 2)[place])
