"""The noise floor of a microphone: what it is like while nothing changes, and how far it has moved since.

A minute of sound tells it surest: its quiet moments are the room and the microphone. Shorter windows tell a change
sooner. They follow the machine, too, so that they count only where the whole of a window has moved, and by more than it
ever did while the floor was learned.

What has changed it is told by what stood out of it: tones above their neighbours in frequency, loud moments above
quiet ones. A microphone or a gain multiplies all sound, so that all of it stands out as before. Sound that is added, by
a fault or the place, fills what lay between; sound that is gone takes with it what stood out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from asd.plugin import Float64

LONGEST = 60
"""Seconds whose quiet moments are the noise floor."""
SHORTER = (10, 20)
"""Seconds of the windows that tell a change sooner."""
_LOW, _HIGH = 0.1, 0.9
"""Quantiles of a window's seconds that both must move."""
_STANDS_OUT = 2.0
"""dB, as a root mean square, by which something must stand out to tell anything."""
_NOISE_SPREAD = 13.6
"""dB Hz^(1/2) between the two quantiles of steady noise, whose seconds are measured through a Hann window: in a band
of B Hz, 2.56 standard deviations of 4.34 (1.5 / B)^(1/2) dB."""
_WIDTH = 10**0.05 - 10**-0.05
"""Width of a 1/3-octave band by its centre."""


@dataclass
class Usual:
    """What windows of some seconds are like.

    Parameters
    ----------
    low, high : float64 array of shape (n_bands,)
        Level in dB of each band that a tenth, and nine tenths, of a window's seconds have at most.
    together : float
        dB by which all bands together have moved while the floor was learned, at one end or the other: of a machine
        that works and idles so much that its short windows tell nothing.
    apart : float64 array of shape (n_bands,)
        dB by which each band has.
    """

    low: Float64
    high: Float64
    together: float
    apart: Float64

    def shift(self, low: Float64, high: Float64) -> Float64:
        """Return by how many dB the whole of a window has moved in each band: 0 where its two ends disagree."""
        of_low, of_high = low - self.low, high - self.high
        least: Float64 = np.where(np.abs(of_low) < np.abs(of_high), of_low, of_high)
        return np.where(of_low * of_high > 0, least, 0.0)


@dataclass
class Floor:
    """The usual noise floor.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    bands : float64 array of shape (n_bands,)
        Level in dB of each 1/3-octave band in the quiet moments of a minute.
    windows : dict of int to Usual
        What windows are like, by their seconds; floors that were kept by earlier versions have none.
    """

    sample_rate: int
    bands: Float64
    windows: dict[int, Usual] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return what is kept in a file."""
        windows = {
            str(seconds): {
                "low": _rounded(usual.low),
                "high": _rounded(usual.high),
                "together": round(usual.together, 2),
                "apart": _rounded(usual.apart),
            }
            for seconds, usual in self.windows.items()
        }
        return {"sample_rate": self.sample_rate, "bands": _rounded(self.bands), "windows": windows}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Floor:
        """Return the floor that `as_dict` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is none.
        """
        bands = np.array(kept["bands"], np.float64)
        windows = {
            int(seconds): Usual(
                low=np.array(own["low"], np.float64).reshape(bands.shape),
                high=np.array(own["high"], np.float64).reshape(bands.shape),
                together=float(own["together"]),
                apart=np.array(own["apart"], np.float64).reshape(bands.shape),
            )
            for seconds, own in kept.get("windows", {}).items()
        }
        return cls(int(kept["sample_rate"]), bands, windows)


@dataclass
class FloorLearner:
    """Learns what windows are like."""

    _ends: dict[int, list[tuple[Float64, Float64]]] = field(default_factory=dict)

    def add(self, seconds: int, low: Float64, high: Float64) -> None:
        """Take what a window of so many seconds is like."""
        self._ends.setdefault(seconds, []).append((low, high))

    def floor(self, sample_rate: int) -> Floor:
        """Return what is usual."""
        windows: dict[int, Usual] = {}
        for seconds, own in self._ends.items():
            low, high = (np.array([each[i] for each in own]) for i in (0, 1))
            usual = Usual(np.median(low, axis=0), np.median(high, axis=0), 0.0, np.zeros(low.shape[1]))
            moved = np.abs(np.concatenate([low - usual.low, high - usual.high]))
            usual.apart = moved.max(axis=0)
            if seconds != LONGEST:  # a minute has seen what a machine does
                usual.together = float(np.median(moved, axis=1).max())
            windows[seconds] = usual
        return Floor(sample_rate, windows[LONGEST].low, windows)


def share_lost(
    before: tuple[Float64, Float64], now: tuple[Float64, Float64], hertz: Float64, *, moments: bool = True
) -> float | None:
    """Return which share of what stood out no longer does: 0 if all was multiplied, 1 if it was filled up or is gone.

    Steady sound that lifts a band by so many dB takes nearly as many from what stands out by more, and nearly all of
    what does by less. Of tones, and of loud moments, the larger share counts: what is added may itself have either.

    Parameters
    ----------
    before, now : tuple of float64 arrays of shape (n_bands,)
        Low and high quantile in dB of a window's seconds.
    hertz : float64 array of shape (n_bands,)
        Centres of the bands.
    moments : bool
        Whether loud moments count: in a window of seconds, one from before a change, or after it, is as loud as many.

    Returns
    -------
    float or None
        The share; None: so little stood out that nothing can be said.
    """
    moved = abs(float(np.median(np.concatenate([now[0] - before[0], now[1] - before[1]]))))
    spread = np.maximum(before[1] - before[0] - _NOISE_SPREAD / np.sqrt(_WIDTH * hertz), 0.0)
    tones = [_above(was) - _above(own) for was, own in zip(before, now, strict=True)]
    pairs = [
        (np.concatenate([_above(each) for each in before]), np.concatenate(tones)),
        (spread, (before[1] - before[0]) - (now[1] - now[0])),
    ]
    shares: list[float] = []
    for stood, less in pairs if moments else pairs[:1]:
        stood = np.clip(stood, 0.0, moved)
        if len(stood) and float(np.mean(stood**2)) >= _STANDS_OUT**2:
            shares.append(float(np.dot(stood, less) / np.dot(stood, stood)))
    return max(shares, default=None)


def _above(levels: Float64) -> Float64:
    """Return by how many dB each band is above the mean of its neighbours."""
    above: Float64 = levels[1:-1] - (levels[:-2] + levels[2:]) / 2
    return above


def ends_of(seconds: Float64) -> tuple[Float64, Float64]:
    """Return the low and the high quantile in each band of a window's seconds, (n_seconds, n_bands)."""
    ordered = np.sort(seconds, axis=0)
    return _quantile(ordered, _LOW), _quantile(ordered, _HIGH)


def _quantile(ordered: Float64, share: float) -> Float64:
    at = share * (len(ordered) - 1)
    below = int(at)
    found: Float64 = ordered[below] + (at - below) * (ordered[min(below + 1, len(ordered) - 1)] - ordered[below])
    return found


def _rounded(levels: Float64) -> list[float]:
    return [round(each, 2) for each in levels.tolist()]
