"""What the last clips say together: whether they are like those of the fit, and whether they change slowly.

A fault sets in, a drift creeps. Two things tell a drift: that growth which goes on explains the order of the scores
better than a change at one moment does, or that the moment which explains it best is long ago.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from asd.detection.bag import BINS
from asd.detection.dependence import FEWEST
from asd.records import Float64, Int64

if TYPE_CHECKING:
    from asd.detection.monitor_state import State

_UNLIKE = 0.35
"""Mean of the model's p-values, 0.5 for sound like that of the fit, below which a difference matters."""
_ERRORS = 3.0
"""Standard errors of that mean from which it is taken for one."""
_SLOW = 120
"""Clips, times those to a bet, for which the evidence of a slow change rises; that of nine in ten faults of 0.7
deviations rises for fewer."""
_LONG = 350
"""Clips, times the same, after which a change is slow, whatever its course: so long did it take to show."""
_SLOWLY_ON = 100
"""Clips, times the same, for which the evidence rises while a drift goes on, whose beginning is known."""

_CLEARLY = 1 / 6
"""Squares of ranks between 0 and 1, of variance 1/12, that make a likelihood e times as high: growth must be that much
likelier, since a fault matters more than a drift."""


def is_unlike(of_fit: Float64, calibration: int, step: int) -> bool:
    """Return whether clips with these p-values by the model are unlike those of the fit: a rank-sum test.

    Parameters
    ----------
    of_fit : float64 array of shape (n,)
        The p-values.
    calibration : int
        Clips that calibrate the model; 0: they promise nothing.
    step : int
        Neighbouring clips that tell as much as one.
    """
    if not (calibration and len(of_fit) >= FEWEST) or of_fit.mean() > _UNLIKE:
        return False
    error = math.sqrt((1 / calibration + step / len(of_fit)) / 12)
    return bool(of_fit.mean() < 0.5 - _ERRORS * error)


def is_slow(state: State, risen: int) -> bool:
    """Return whether the evidence of a monitor, which rose for so many clips, is of a drift, not of a fault."""
    if state.evidence.drifting:
        return risen > _SLOWLY_ON * state.step
    if risen <= _SLOW * state.step:
        return False
    rows = state.recent.rows
    rows = rows[rows["counted"]]
    numbers = rows["number"][rows["sound"] == rows["sound"][-1:]]  # others have their own level
    grown, since = course(numbers % BINS, numbers // BINS)
    return grown or since > _LONG * state.step


def course(numbers: Int64, states: Int64) -> tuple[bool, int]:
    """Return whether scores have been growing rather than changed once, and how many clips ago they changed if once.

    Growth that goes on, and a change at one moment after which scores stay, both have a moment and a size: the better
    one leaves the smaller squares of what it does not explain. The scores are replaced by their ranks within a state,
    so that no single clip decides.

    Parameters
    ----------
    numbers : int64 array of shape (n,)
        Scores of clips in the order of time, or anything in their order.
    states : int64 array of shape (n,)
        Operating state of each clip.
    """
    ranks = np.zeros(len(numbers))
    for state in np.unique(states):
        own = states == state
        _, place, counts = np.unique(numbers[own], return_inverse=True, return_counts=True)
        middle = np.cumsum(counts) - counts / 2
        ranks[own] = (middle / counts.sum() - 0.5)[place]
    if len(ranks) < 2:
        return False, 0
    once, growing = _explained(ranks, growing=False), _explained(ranks, growing=True)
    return bool(growing.max() > once.max() + _CLEARLY), len(ranks) - 1 - int(once.argmax())


def _explained(values: Float64, *, growing: bool) -> Float64:
    """Return the squares that a rise since each moment explains of values whose mean is 0, float64[n - 1]."""
    count = len(values)
    left = np.arange(count - 1, 0, -1.0)  # values after each moment
    since = np.cumsum(values[::-1])[::-1]  # their sum
    if growing:  # by 1, 2, 3 … after the moment
        product = np.cumsum(since[:0:-1])[::-1]
        total, squares = left * (left + 1) / 2, left * (left + 1) * (2 * left + 1) / 6
    else:
        product, total, squares = since[1:], left, left
    return np.asarray(np.maximum(product, 0.0) ** 2 / (squares - total**2 / count))
