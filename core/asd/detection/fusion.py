"""From the scores of several branches to one: normalised by healthy clips that training did not see, then fused.

A branch's score s is normalised by mean m and standard deviation d of the branch's held-out scores: z = (s - m) / d.
A held-out clip that had a part in the m and d of its own z would look more usual than a new clip, which has none; with
few clips the promise of the alarm would be broken. So wherever a new clip is compared with a held-out clip, both are
normalised by the *other* held-out clips, and both stand alike.

``"gated"``, the default: the mean of z over the branches without a gate, and of each branch with a gate g what z has
above it, max(z - g, 0). Below its gate such a branch is silent: it costs nothing on machines whose faults it cannot
hear, and speaks where it is beyond what healthy clips show.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asd.detection.config import Fusion
from asd.records import Float64

LEAST_CLIPS = 4
"""A deviation needs two of the other clips at least; three make it a number that means something."""

_SMALLEST_DEVIATION = 1e-6
"""Of the largest score; healthy clips that a branch scores alike must not divide by zero."""

LARGEST = 1e9
"""Of a normalised score, in deviations."""


def fuse(z: Float64, fusion: Fusion, gates: tuple[float | None, ...], used: npt.NDArray[np.bool_]) -> Float64:
    """Return fused scores.

    Parameters
    ----------
    z : float64 array of shape (..., n_branches)
        Normalised scores; those of branches that are not used may be anything.
    fusion : {"gated", "mean", "max"}
        How; see the module.
    gates : tuple of (float or None)
        Each branch's gate.
    used : bool array of shape (n_branches,)
        Which branches count.

    Returns
    -------
    float64 array of shape (...)
    """
    if fusion == "max":
        return np.asarray(z[..., used].max(axis=-1))
    gated = np.array([gate is not None for gate in gates]) & (fusion == "gated")
    plain = z[..., used & ~gated]
    fused = plain.mean(axis=-1) if plain.shape[-1] else np.zeros(z.shape[:-1])
    thresholds = np.array([gate or 0.0 for gate in gates])[used & gated]
    return np.asarray(fused + np.maximum(z[..., used & gated] - thresholds, 0.0).sum(axis=-1))


@dataclass(frozen=True)
class BranchScores:
    """Scores of held-out clips by each branch, and how new scores are normalised and fused by them.

    Parameters
    ----------
    scores : float64 array of shape (n_clips, n_branches)
        Each clip's scores by the member that did not learn from it; `LEAST_CLIPS` clips at least.
    fusion : {"gated", "mean", "max"}
        How normalised scores are fused.
    gates : tuple of (float or None)
        Each branch's gate.
    """

    scores: Float64
    fusion: Fusion
    gates: tuple[float | None, ...]

    def fused(self, scores: Float64) -> Float64:
        """Return the fused score, float64[...], of scores, float64[..., n_branches]; NaN: a branch has none."""
        used = np.asarray(~np.isnan(scores).any(axis=tuple(range(scores.ndim - 1))))
        return fuse(deviations(scores, self.scores), self.fusion, self.gates, used)

    def compared(self, scores: Float64) -> tuple[Float64, Float64]:
        """Return fused scores of the held-out clips and of a new clip, each pair normalised by the other clips.

        Parameters
        ----------
        scores : float64 array of shape (n_clips, n_branches)
            The new clip's scores by the members that scored the held-out clips; NaN: a branch has none.

        Returns
        -------
        tuple of two float64 arrays of shape (n_clips,)
        """
        used = np.asarray(~np.isnan(scores).any(axis=0))
        mean, deviation = self.without_each
        return (
            fuse(_z(self.scores, mean, deviation), self.fusion, self.gates, used),
            fuse(_z(scores, mean, deviation), self.fusion, self.gates, used),
        )

    @property
    def scaling(self) -> tuple[Float64, Float64]:
        """What normalises each branch's scores: mean and deviation of the held-out ones, float64[n_branches] both."""
        return _scaling(self.scores)

    @functools.cached_property
    def held_out(self) -> Float64:
        """Fused scores of the held-out clips, each normalised by the others, float64[n_clips]."""
        return self.compared(self.scores)[0]

    @functools.cached_property
    def without_each(self) -> tuple[Float64, Float64]:
        """Mean and deviation of each branch's scores without each clip, float64[n_clips, n_branches] both."""
        n = len(self.scores)
        centred = self.scores - self.scores.mean(axis=0)
        squares = (centred**2).sum(axis=0) - centred**2 * n / (n - 1)
        deviation = np.sqrt(np.maximum(squares, 0.0) / (n - 2))
        return self.scores.mean(axis=0) - centred / (n - 1), _floored(deviation, self.scores)


def deviations(scores: Float64, held_out: Float64) -> Float64:
    """Return scores in standard deviations above the mean of the held-out clips; axis 0 of `held_out` is the clips."""
    return _z(scores, *_scaling(held_out))


def _scaling(held_out: Float64) -> tuple[Float64, Float64]:
    variance = held_out.var(axis=0, ddof=1) if len(held_out) > 1 else np.zeros(held_out.shape[1:])
    return held_out.mean(axis=0), _floored(np.sqrt(variance), held_out)


def _floored(deviation: Float64, held_out: Float64) -> Float64:
    largest = np.abs(held_out).max(axis=0)
    return np.asarray(np.maximum(deviation, _SMALLEST_DEVIATION * np.where(largest > 0, largest, 1.0)))


def _z(scores: Float64, mean: Float64, deviation: Float64) -> Float64:
    return np.clip((scores - mean) / deviation, -LARGEST, LARGEST)
