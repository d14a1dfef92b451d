"""What a front end and an extractor make of a clip, and what it means that they cannot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from asd.errors import AudioError
from asd.records import Clip, Float32, Float64


@dataclass(frozen=True)
class Cost:
    """What a clip's embeddings cost when they were computed.

    Parameters
    ----------
    seconds : float
        Time from file to embeddings.
    peak_memory : int
        Largest resident memory of the process in bytes; 0: unknown.
    """

    seconds: float = 0.0
    peak_memory: int = 0


@dataclass
class ClipFeatures:
    """The embeddings of one clip.

    Parameters
    ----------
    clip : Clip
        The clip.
    values : float32 array of shape (n_windows, dimension)
        One embedding per window.
    start : float64 array of shape (n_windows,)
        Start of each window in seconds from the beginning of the clip.
    seconds : float
        Length of the clip.
    file_rate : int
        The recording's own rate in Hz; 0: there is none, the features are given.
    channels : int
        The recording's number of channels.
    level : float
        Root mean square of the samples in dB of full scale; minus infinity for silence.
    silent : bool
        Whether every sample is zero.
    notes : list of str
        What the user should know about the clip.
    device, precision, engine : str
        What the extractor computed with.
    cost : Cost
        What the embeddings cost when they were computed.
    pooled : bool
        Whether `values` are one vector of the whole clip, pooled as its branch says.
    """

    clip: Clip
    values: Float32
    start: Float64
    seconds: float
    file_rate: int
    silent: bool
    notes: list[str] = field(default_factory=list)
    channels: int = 1
    level: float = -math.inf
    device: str = "auto"
    precision: str = "auto"
    engine: str = "auto"
    cost: Cost = Cost()
    pooled: bool = False


@dataclass
class Failure:
    """A clip that could not be used, and why; where verdicts are expected, it has what a `Verdict` has.

    It is neither normal nor anomalous: `anomalous` is None, the numbers are not a number. ``verdict.ok`` tells the two
    apart.

    Parameters
    ----------
    clip : Clip
        The clip.
    error : AudioError
        Why; the text says how to correct it.
    machine : str or None
        The machine that it is of; None: not known, or there was one model.
    """

    clip: Clip
    error: AudioError
    machine: str | None = None

    ok: ClassVar[bool] = False
    score: ClassVar[float] = math.nan
    p_value: ClassVar[float] = math.nan
    peak: ClassVar[float] = math.nan
    anomalous: ClassVar[None] = None
    branches: ClassVar[tuple[()]] = ()
    unusual: ClassVar[tuple[()]] = ()
    state: ClassVar[None] = None
    state_p_value: ClassVar[None] = None

    @property
    def notes(self) -> tuple[str, ...]:
        """The error's text, without the clip's name."""
        return (str(self.error).removeprefix(f"{self.clip}: "),)

    @property
    def window_scores(self) -> Float64:
        """None: float64 array of shape (0,)."""
        return np.empty(0)

    @property
    def window_start(self) -> Float64:
        """None: float64 array of shape (0,)."""
        return np.empty(0)

    def as_dict(self) -> dict[str, str]:
        """Return what JSON output says of a clip that was left out."""
        own = {} if self.machine is None else {"machine": self.machine}
        return {**own, "clip": str(self.clip), "error": str(self.error)}

    def to_dict(self) -> dict[str, Any]:
        """Return the keys of `Verdict.to_dict`; what is not known is None."""
        unknown = dict.fromkeys(("score", "p_value", "anomalous", "peak_seconds"))
        lists: dict[str, Any] = {"notes": list(self.notes), "unusual_in": [], "branches": []}
        own = {} if self.machine is None else {"machine": self.machine}
        return {**own, "clip": str(self.clip), **unknown, **lists, "error": str(self.error)}

    def __repr__(self) -> str:
        return f"<Failure: {self.clip}: {self.notes[0]}>"

    def _repr_html_(self) -> str:
        from asd.detection.notebook import failure_html

        return failure_html(self)


def silence(clip: Clip) -> Failure:
    """Return why a silent clip cannot be learned from."""
    text = f"{clip}: digital silence: nothing to learn from; is the microphone connected?"
    return Failure(clip, AudioError(text))


PADDED = "padded with its own repetition"
"""How the note ends that a clip is shorter than a window."""


def merge_notes(branches: Sequence[ClipFeatures]) -> ClipFeatures:
    """Return the first of the features that branches have of one clip, with the notes of all.

    That the clip is shorter than a window is worth a note if no branch has shorter windows.
    """
    notes = dict.fromkeys(note for each in branches for note in each.notes)
    padded = [note for note in notes if note.endswith(PADDED)]
    everywhere = all(any(note.endswith(PADDED) for note in each.notes) for each in branches)
    kept = padded[:1] if everywhere else []
    return replace(branches[0], notes=[note for note in notes if note not in padded or note in kept])


def most_telling(clips: Sequence[Sequence[ClipFeatures]]) -> list[ClipFeatures]:
    """Return each clip's features by the branch that has most values: they tell most about its change over time."""
    counts = [min(each.values.size for each in branch) for branch in zip(*clips, strict=True)]
    return [branches[counts.index(max(counts))] for branches in clips]
