"""The scores of all healthy clips watched so far, in the memory of a histogram for each operating state."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from asd.detection.calibration import Calibration

STEPS = 256
"""Bins per deviation where healthy scores are dense; further out they widen, to a 256th of the distance."""
_REACH = 20
"""The bins end at sinh(20) = 240 million deviations."""
BINS = 2 * STEPS * _REACH + 1


class Bag:
    """Counts of scores in bins that were laid before the first score came.

    Whatever the bins, ranks among binned scores are ranks of a score: ties are split at random, and exchangeable clips
    stay exchangeable. Months of clips take the memory of a day's.

    Parameters
    ----------
    centre : float
        A usual score.
    width : float
        Its usual deviation, above 0.
    states : int
        Operating states; each has bins of its own, and its scores are ranked among themselves.

    Attributes
    ----------
    counts : int64 array of shape (states * BINS,)
        Counts by bin, state after state.
    totals : list of int
        Scores of each state.
    """

    def __init__(self, centre: float, width: float, states: int = 1) -> None:
        self.centre = centre
        self.width = width
        self.counts: npt.NDArray[np.int64] = np.zeros(states * BINS, np.int64)
        self.totals = [0] * states

    @property
    def total(self) -> int:
        """Scores of all states."""
        return sum(self.totals)

    def bin_of(self, score: float, state: int = 0) -> int:
        """Return the number of the bin that takes a finite score of a state."""
        place = math.asinh((score - self.centre) / self.width)
        return round(STEPS * min(max(place, -_REACH), _REACH)) + STEPS * _REACH + state * BINS

    def score_of(self, number: int) -> float:
        """Return the score in the middle of a bin."""
        return self.centre + self.width * math.sinh((number % BINS - STEPS * _REACH) / STEPS)

    def rank(self, number: int) -> tuple[int, int, int]:
        """Return how many scores of the bin's state are in higher bins, in this one, and in all."""
        state = number // BINS
        higher = self.counts[number + 1 : (state + 1) * BINS]
        return int(higher.sum()), int(self.counts[number]), self.totals[state]

    def clear(self, state: int) -> None:
        """Forget the scores of a state."""
        self.counts[state * BINS : (state + 1) * BINS] = 0
        self.totals[state] = 0

    def add(self, number: int, count: int = 1) -> None:
        """Add `count` scores to a bin; a negative number takes them out."""
        self.counts[number] += count
        self.totals[number // BINS] += count


def usual(calibration: Calibration) -> tuple[float, float]:
    """Return a usual score of the model and its deviation, judged by the calibration clips.

    A clip's score is the mean over the members, each of which has a scale of its own: so is the centre.
    """
    centres = {k: float(np.median(calibration.scores[calibration.member == k])) for k in set(calibration.member)}
    centre = float(np.mean(list(centres.values())))
    away = np.abs(calibration.scores - np.array([centres[k] for k in calibration.member]))
    spread = 1.4826 * float(np.median(away)) or float(away.mean())  # the deviation, if scores are normal
    return centre, spread or max(abs(centre), 1.0) * 1e-6
