"""The scores of all healthy clips watched so far, in the memory of a histogram."""

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
    """

    def __init__(self, centre: float, width: float) -> None:
        self.centre = centre
        self.width = width
        self.counts: npt.NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.total = 0

    def bin_of(self, score: float) -> int:
        """Return the number of the bin that takes a finite score."""
        place = math.asinh((score - self.centre) / self.width)
        return round(STEPS * min(max(place, -_REACH), _REACH)) + STEPS * _REACH

    def rank(self, number: int) -> tuple[int, int]:
        """Return how many scores are in higher bins, and how many in this one."""
        return int(self.counts[number + 1 :].sum()), int(self.counts[number])

    def add(self, number: int, count: int = 1) -> None:
        """Add `count` scores to a bin; a negative number takes them out."""
        self.counts[number] += count
        self.total += count


def usual(calibration: Calibration) -> tuple[float, float]:
    """Return a usual score of the model and its deviation, judged by the calibration clips.

    A clip's score is the mean over the members, each of which has a scale of its own: so is the centre.
    """
    centres = {k: float(np.median(calibration.scores[calibration.member == k])) for k in set(calibration.member)}
    centre = float(np.mean(list(centres.values())))
    away = np.abs(calibration.scores - np.array([centres[k] for k in calibration.member]))
    spread = 1.4826 * float(np.median(away)) or float(away.mean())  # the deviation, if scores are normal
    return centre, spread or max(abs(centre), 1.0) * 1e-6
