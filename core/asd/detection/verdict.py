"""What a model says about a clip, and what each of its branches says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from asd.contract.interfaces import Reason
from asd.records import Clip, Float64


@dataclass(frozen=True)
class BranchVerdict:
    """What one branch says about a clip.

    Parameters
    ----------
    name : str
        The branch's name.
    score : float
        Its anomaly score, the mean over its members; higher = more anomalous.
    z : float
        The score in standard deviations above the mean of healthy clips that training did not see.
    p_value : float
        Its own p-value: about the chance that a healthy clip looks at least as unusual to this branch.
    reasons : tuple of (str, float)
        Why the clip is unusual, with what each reason contributes to the score, the largest first; only of a branch
        that is unusual, or of a clip that is anomalous, and where the detector can say.
    """

    name: str
    score: float
    z: float
    p_value: float
    reasons: tuple[Reason, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON output says of it."""
        reasons = [{"text": text, "contribution": value} for text, value in self.reasons]
        return {"name": self.name, "score": self.score, "z": self.z, "p_value": self.p_value, "reasons": reasons}

    as_dict = to_dict
    """Its former name."""


@dataclass(frozen=True)
class Verdict:
    """What the model says about a clip.

    Parameters
    ----------
    clip : Clip
        The clip.
    score : float
        Anomaly score, the mean over the model's members; higher = more anomalous; comparable within one model only.
        Of several branches, what their normalised scores fuse to.
    p_value : float
        Cross-conformal p-value: about the chance that a healthy clip looks at least as unusual.
    anomalous : bool
        Whether the p-value is at most the decision's level.
    window_scores : float64 array of shape (n_windows,)
        Score of each window, the mean over the members; of several branches, by the one that adds most to the score
        among those that have several windows.
    window_start : float64 array of shape (n_windows,)
        Start of each window in seconds.
    notes : tuple of str
        What the user should know about the clip.
    branches : tuple of BranchVerdict
        What each branch says; the only branch, too. A branch that cannot judge the clip is left out, with a note.
    unusual : tuple of str
        Of an anomalous clip, the branches whose own p-value is at most the decision's level, the smallest first; if
        none is, the one with the highest z. Empty for other clips, and for models of one branch.
    state : str or None
        Operating state of the machine (`asd.detection.states`); None: the model knows none.
    state_p_value : float or None
        As `p_value`, among the held-out clips of that state alone.
    machine : str or None
        The machine whose model judged it; None: there was one model.
    """

    clip: Clip
    score: float
    p_value: float
    anomalous: bool
    window_scores: Float64 = field(repr=False, compare=False)
    window_start: Float64 = field(repr=False, compare=False)
    notes: tuple[str, ...] = ()
    branches: tuple[BranchVerdict, ...] = ()
    unusual: tuple[str, ...] = ()
    state: str | None = None
    state_p_value: float | None = None
    machine: str | None = None

    @property
    def peak(self) -> float:
        """Start in seconds of the window that sounds most anomalous; 0 if it begins in the silence before the clip."""
        return max(0.0, float(self.window_start[int(np.argmax(self.window_scores))]))

    @property
    def ok(self) -> bool:
        """True: the clip was judged. Of a `Failure` it is False."""
        return True

    @property
    def error(self) -> None:
        """None: there was none. A `Failure` has one."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON output says of it."""
        own = {} if self.machine is None else {"machine": self.machine}
        return {
            **own,
            "clip": str(self.clip),
            "score": self.score,
            "p_value": self.p_value,
            "anomalous": self.anomalous,
            "peak_seconds": self.peak,
            "notes": list(self.notes),
            "unusual_in": list(self.unusual),
            "branches": [branch.to_dict() for branch in self.branches],
            "error": None,
        } | ({} if self.state is None else {"state": self.state, "state_p_value": self.state_p_value})

    as_dict = to_dict
    """Its former name."""

    def __repr__(self) -> str:
        said = "ANOMALOUS" if self.anomalous else "normal"
        unusual = f", unusual in {', '.join(self.unusual)}" if self.unusual else ""
        return (
            f"<Verdict {said}: {self.clip}, p = {self.p_value:.3f}, score {self.score:.4g}, "
            f"most unusual at {self.peak:.1f} s{unusual}>"
        )

    def _repr_html_(self) -> str:
        from asd.detection.notebook import verdict_html

        return verdict_html(self)


def unusual_branches(branches: tuple[BranchVerdict, ...], level: float) -> tuple[str, ...]:
    """Return the names of the branches that made a clip anomalous, the most unusual first."""
    ranked = sorted(branches, key=lambda branch: (branch.p_value, -branch.z))
    return tuple(branch.name for branch in ranked if branch.p_value <= level) or (
        max(branches, key=lambda branch: branch.z).name,
    )
