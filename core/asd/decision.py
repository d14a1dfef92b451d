"""The decision: from clip scores to p-values and alarms, calibrated on normal clips that training did not see.

The p-value of a clip is the conformal one (Vovk, Gammerman and Shafer 2005): the rank of its score among the scores
of `n` normal clips held out of training, ``(1 + #{held-out score >= score}) / (n + 1)``. If the machine still sounds
as it did, a p-value of at most ``a`` comes with probability at most ``a``; so an alarm at ``p <= a`` on clips of ``s``
seconds gives at most ``a * 3600 / s`` false alarms an hour. No ``a`` below ``1 / (n + 1)`` can be had from `n` clips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from asd.errors import CalibrationError
from asd.records import Float64

DEFAULT_FALSE_ALARM_RATE = 1.0
"""Alarms an hour that healthy sound may cause when the user does not say."""


@dataclass(frozen=True)
class Decision:
    """When to raise the alarm.

    Parameters
    ----------
    false_alarm_rate : float
        Alarms in an hour of healthy sound, at most.
    level : float
        A clip is anomalous if its p-value is at most this.
    threshold : float
        The same in scores: a clip is anomalous if its score is above it.
    """

    false_alarm_rate: float
    level: float
    threshold: float


@dataclass(frozen=True)
class Calibration:
    """Scores of normal clips that the detector had not been trained on.

    Parameters
    ----------
    scores : float64 array of shape (n_clips,)
        Their clip scores.
    clip_seconds : float
        Mean length of a clip in seconds.
    """

    scores: Float64
    clip_seconds: float

    def p_values(self, scores: Float64) -> Float64:
        """Return the conformal p-value of each clip score."""
        ordered = np.sort(self.scores)
        at_least = len(ordered) - np.searchsorted(ordered, scores, side="left")
        return np.asarray((1 + at_least) / (len(ordered) + 1), dtype=np.float64)

    @property
    def lowest_rate(self) -> float:
        """The lowest false alarm rate (per hour) that this many clips can support."""
        return self._rate(1 / (len(self.scores) + 1))

    def decide(self, false_alarm_rate: float | None = None) -> Decision:
        """Return the decision for a false alarm rate per hour (None: 1, or the lowest that the clips support).

        Raises
        ------
        CalibrationError
            If the clips cannot support the rate (the text names the lowest that they can), or every clip would alarm.
        """
        n = len(self.scores)
        if false_alarm_rate is None:
            false_alarm_rate = min(max(DEFAULT_FALSE_ALARM_RATE, self.lowest_rate), self._rate(n / (n + 1)))
        level = false_alarm_rate * self.clip_seconds / 3600
        # The rate itself may have come from the level: don't let rounding lose a clip.
        rank = math.floor(level * (n + 1) * (1 + 1e-9))
        if rank < 1:
            needed = math.ceil(3600 / (false_alarm_rate * self.clip_seconds)) - 1
            raise CalibrationError(
                f"{false_alarm_rate:g} false alarms per hour cannot be promised from {n} clips of "
                f"{self.clip_seconds:.3g} s: the lowest rate they support is {round_up(self.lowest_rate)}; "
                f"fit on {needed} clips or more, or raise --false-alarm-rate"
            )
        if rank > n:
            raise CalibrationError(
                f"{false_alarm_rate:g} false alarms per hour would be an alarm on every clip of "
                f"{self.clip_seconds:.3g} s; lower --false-alarm-rate below {self._rate(1):.4g}"
            )
        threshold = float(np.sort(self.scores)[n - rank])
        return Decision(false_alarm_rate, rank / (n + 1), threshold)

    def _rate(self, level: float) -> float:
        return level * 3600 / self.clip_seconds


def round_up(rate: float, digits: int = 4) -> str:
    """Return `rate` with few digits, rounded up, so that a user may type it and be granted it."""
    scale = 10.0 ** (digits - 1 - math.floor(math.log10(rate)))
    return f"{math.ceil(rate * scale - 1e-9) / scale:.{digits}g}"
