"""How long neighbouring clips resemble each other: a promise for independent clips must count them as fewer."""

from __future__ import annotations

import math

import numpy as np

from asd.records import Float64

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
