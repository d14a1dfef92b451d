"""The decision: from clip scores to p-values and alarms, calibrated on normal clips that training did not see.

Every normal clip is scored by a detector that was trained without it: clips are dealt into folds, and fold k's clips
are scored by member k, trained on the other folds. A new clip is scored by every member; its p-value is the
cross-conformal one (Vovk 2015, Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74)::

    p = (1 + number of held-out clips whose score is at least the new clip's by the same member) / (n + 1)

Clips that no member has learned from (`asd.detection.renewal.recalibrated`) are scored by the mean over the members, as
the new clip is: one score, whose p-value is that of split conformal prediction.

Scores of different members are never compared: each has its own scale. The scores of several branches are fused before
they are compared (`asd.detection.fusion`). If healthy clips are exchangeable, a p-value of
at most ``a`` comes with probability

- at most ``a`` with one branch and a single member, or the mean over all, which is proven (Vovk et al. 2005,
  Algorithmic Learning in a Random World);
- at most ``2a + 2(1 - a)(K - 1) / (n + K)`` with K members of equal folds: more is not proven (Vovk et al. 2018,
  Cross-conformal predictive distributions, PMLR 91; Barber et al. 2021, Predictive inference with the jackknife+,
  Annals of Statistics 49). With the detectors and sounds of tests/benchmarks/bench_promise.py it is about ``a``:
  measured.

So an alarm at ``p <= a`` on clips of ``s`` seconds gives about ``a * 3600 / s`` false alarms an hour. No ``a`` below
``1 / (n + 1)`` can be had from `n` clips, and clips that are parts of too few recordings promise nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from asd.contract.parameters import accepts_former_names
from asd.detection.config import check_rate
from asd.detection.fusion import BranchScores
from asd.detection.rate import Rate
from asd.detection.states import States
from asd.errors import CalibrationError
from asd.records import Clip, Float64

MINIMUM_RECORDINGS = 10
"""Parts of fewer recordings promise nothing: docs/explanation/calibration.md has the measurement."""

LENGTHS = (0.8, 1.25)
"""Clips so many times as long as those of the calibration raise about as many alarms; measured, as above."""

_LEAST_LEVEL = 1e-9
"""Level of an alarm below which no number of clips is named that would support it: nobody has so many."""

DEFAULT_FALSE_ALARMS_PER_HOUR = 1.0
"""What healthy sound may cause when the user does not say."""


@accepts_former_names
@dataclass(frozen=True)
class Decision:
    """When to raise the alarm.

    Parameters
    ----------
    false_alarms_per_hour : float
        Alarms that an hour of healthy sound may cause.
    level : float
        A clip is anomalous if its p-value is at most this.
    promise : {"calibrated", "guess"}
        Whether the held-out clips support the number of alarms.
    reason : str or None
        Why it is a guess.
    """

    renamed: ClassVar[Mapping[str, str]] = {"false_alarm_rate": "false_alarms_per_hour"}

    false_alarms_per_hour: float
    level: float
    promise: Literal["calibrated", "guess"] = "calibrated"
    reason: str | None = None


@dataclass(frozen=True)
class Calibration:
    """Scores of normal clips, each by a member of the model that was trained without it, or by the mean over all.

    Parameters
    ----------
    scores : float64 array of shape (n_clips,)
        Their clip scores.
    member : int64 array of shape (n_clips,)
        Which member gave each score; the number of members: their mean.
    clip_seconds : float
        Mean length of a clip in seconds.
    recordings : int or None
        Recordings that the clips are parts of; None: unknown, as in the first model files.
    branches : BranchScores or None
        The scores by each branch, where there are several; `scores` are then what they fuse to.
    states : States or None
        The machine's operating states, and which each clip is in; None: none are known.
    clips : tuple of Clip
        The clips (empty after loading).
    """

    scores: Float64
    member: npt.NDArray[np.int64]
    clip_seconds: float
    recordings: int | None = None
    branches: BranchScores | None = None
    states: States | None = None
    clips: tuple[Clip, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def restored(cls, entry: Mapping[str, Any], arrays: Mapping[str, Any]) -> Self:
        """Return the calibration that `as_entry` and `arrays` describe; of several branches, before they are fused."""
        names = entry.get("states")
        states = None if names is None else States.restored(names, arrays)
        return cls(arrays["scores"], arrays["member"], entry["clip_seconds"], entry.get("recordings"), states=states)

    def as_entry(self) -> dict[str, Any]:
        """Return what the manifest of a model file says of it."""
        recordings = {} if self.recordings is None else {"recordings": self.recordings}
        states = {} if self.states is None else {"states": list(self.states.names)}
        return {"clip_seconds": self.clip_seconds, **recordings, **states}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays that a model file holds of it."""
        own: dict[str, npt.NDArray[Any]] = {"scores": self.recorded, "member": self.member}
        return own if self.states is None else own | self.states.arrays()

    def state_of(self, clip: Clip, row: Float64 | None) -> str | None:
        """Return the name of a clip's operating state; None: no states are known. `row`: its embedding, if known."""
        return None if self.states is None else self.states.name(self.states.number(clip.group, row))

    def p_value(self, scores: Float64, state: str | None = None) -> float:
        """Return the p-value of a clip by its scores.

        Parameters
        ----------
        scores : float64 array of shape (n_members,) or (n_members, n_branches)
            The clip's scores by each member; of several branches, NaN stands for a branch that cannot judge the clip.
        state : str, optional
            Compare it with the clips of this state alone.
        """
        own, new = self.scores, with_mean(scores)[self.member]
        if self.branches is not None:
            own, new = self.branches.compared(new)
        if state is not None and self.states is not None:
            same = self.states.of_clips == self.states.number(state, None)
            own, new = own[same], new[same]
        return float((1 + np.count_nonzero(own >= new)) / (len(own) + 1))

    @property
    def recorded(self) -> Float64:
        """The scores as a model file holds them: by each branch, where there are several."""
        return self.scores if self.branches is None else self.branches.scores

    def of_branch(self, branch: int) -> Calibration:
        """Return the calibration of one of several branches by itself."""
        if self.branches is None:
            return self
        return replace(self, scores=self.branches.scores[:, branch], branches=None)

    @property
    def lowest_rate(self) -> float:
        """The fewest false alarms per hour that this many clips can support."""
        return self._rate(1 / (len(self.scores) + 1))

    def decide(self, false_alarms_per_hour: float | None = None) -> Decision:
        """Return the decision for so many false alarms per hour (None: 1, or the fewest that the clips support).

        Raises
        ------
        CalibrationError
            If the clips cannot support the rate (the text names the lowest that they can), or every clip would alarm.
        """
        n, rate = len(self.scores), false_alarms_per_hour
        if rate is None:
            rate = min(max(DEFAULT_FALSE_ALARMS_PER_HOUR, self.lowest_rate), self._rate(n / (n + 1)))
        check_rate(rate)
        # The rate itself may have come from the level: don't let rounding lose a clip.
        each = rate * self.clip_seconds / 3600
        rank = math.floor(min(each * (n + 1) * (1 + 1e-9), n + 1))
        if rank < 1:
            wanted = Rate.from_hourly(max(rate, 1e-300)).words  # a rate has a finite time between its alarms
            mend = f"fit on {math.ceil(1 / each) - 1} clips or more, raise it," if each > _LEAST_LEVEL else "raise it"
            raise CalibrationError(
                f"{wanted} cannot be promised from {n} held-out clips of "
                f"{self.clip_seconds:.3g} s: the lowest rate they support is {round_up(self.lowest_rate)} an hour; "
                f"{mend} or let a monitor add up the evidence of many clips (asd score --monitor STATE)"
            )
        if rank > n:
            raise CalibrationError(
                f"{rate:g} false alarms an hour would be an alarm on every clip of "
                f"{self.clip_seconds:.3g} s; lower --false-alarms-per-hour below {self._rate(1):.4g}"
            )
        return self.judged(Decision(rate, rank / (n + 1)))

    def judged(self, decision: Decision) -> Decision:
        """Return the decision, marked as a guess if the clips are parts of too few recordings to support it."""
        n, recordings = len(self.scores), self.recordings
        if recordings is None or recordings >= min(n, MINIMUM_RECORDINGS):
            return replace(decision, promise="calibrated", reason=None)
        parts = f"the {n} held-out clips are parts of {recordings} recording{'s' if recordings > 1 else ''}"
        reason = f"{parts}; make {MINIMUM_RECORDINGS} recordings or more, on several days"
        return replace(decision, promise="guess", reason=reason)

    def _rate(self, level: float) -> float:
        return level * 3600 / self.clip_seconds


def notes_on_length(seconds: float, usual: float) -> Iterator[str]:
    """Yield what is to be said of a clip that is not as long as is usual for those of the calibration."""
    if not LENGTHS[0] <= seconds / usual <= LENGTHS[1]:
        mend = f", or score with --segment {usual:.3g}" if seconds > usual else ""
        yield (
            f"lasts {seconds:.3g} s, the model was calibrated on clips of {usual:.3g} s: "
            f"the p-value is a guess (record clips of that length{mend})"
        )


def with_mean(scores: Float64) -> Float64:
    """Return the members' scores, float64[n_members, ...], with their mean as one row more."""
    return np.concatenate([scores, scores.mean(axis=0, keepdims=True)])


def round_up(rate: float, digits: int = 4) -> str:
    """Return `rate` with few digits, rounded up, so that a user who gives it gets it."""
    scale = 10.0 ** (digits - 1 - math.floor(math.log10(rate)))
    return f"{math.ceil(rate * scale - 1e-9) / scale:.{digits}g}"


def describe_decision(decision: Decision, clips: int) -> str:
    """Return what the alarm means, in a sentence."""
    rate = Rate.from_hourly(decision.false_alarms_per_hour).words
    if decision.reason:
        return (
            f"No promise: {decision.reason}. Alarm: when a clip's p-value is at most {decision.level:.3g}; that "
            f"healthy sound then causes about {rate} is a guess."
        )
    return (
        f"Alarm: when a clip's p-value is at most {decision.level:.3g}; healthy sound then causes about "
        f"{rate}, judged by {clips} clips held out of training."
    )
