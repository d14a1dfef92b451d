"""Check a recording's samples: scale, clipping, dead and cancelling channels, impossible values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from asd.records import Float32, Float64

INTEGER_SCALE = 32768.0
"""Full scale of 16-bit integers; float files of them are common, since programs convert without dividing."""
SCALED_NOTE = "float samples of the scale of 16-bit integers: divided by 32768"
_PLAUSIBLE = 16.0
"""Times full scale: more is no sound. Float recordings and decoders go a little over 1."""
_SEARCHED = 1 << 22
"""Values other than zero that settle the scale."""
_DEAD = 1e-3
"""A channel this much below the loudest (60 dB) is dead."""
_CANCELLED = 0.1
"""Power of the mix, as a share of what independent channels would have, below which the channels cancel."""
_FULL_SCALE = 0.9999
_NEAR_FULL_SCALE = 0.98
_OVERS = 1.25
"""Lossy codecs go this much over full scale at peaks that were clipped; floats that go further were not clipped."""
_FLAT = 3
"""Samples in a row at the top that make a clipped peak."""


def has_integer_scale(blocks: Iterable[Float32]) -> bool:
    """Return whether float samples are those of 16-bit integers: all whole numbers, or most of them far over 1."""
    peak, loud, seen, is_whole = 0.0, 0, 0, True
    for block in blocks:
        values = np.abs(block[np.isfinite(block)])
        values = values[values > 0]
        if not values.size:
            continue
        peak = max(peak, float(values.max()))
        loud += int(np.count_nonzero(values > 1))
        seen += values.size
        is_whole = is_whole and bool((values == np.rint(values)).all())
        if seen >= _SEARCHED:
            break
    return (is_whole and peak >= 2) or (peak > _PLAUSIBLE and loud >= 0.1 * seen)


def first_implausible(block: Float32) -> int | None:
    """Return the position of the first sample (n, channels) that no sound has, None if all are plausible."""
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(block) <= _PLAUSIBLE).all(axis=1)
    return int(wrong.argmax()) if wrong.any() else None


class Levels:
    """Levels of what was read so far.

    Parameters
    ----------
    is_mix : bool
        Whether the channels are mixed: dead and cancelling channels matter only then.

    Attributes
    ----------
    silent : bool
        Whether all samples that are used were zero.
    """

    def __init__(self, is_mix: bool) -> None:
        self.silent = True
        self._is_mix = is_mix
        self._is_clipped = False
        self._frames = 0
        self._mixed = 0.0
        self._power: Float64 = np.zeros(1)

    def add(self, block: Float32, used: Float32) -> None:
        """Take in a block of shape (n, channels) and the samples of shape (n,) that were made of it."""
        self.silent = self.silent and not used.any()
        self._frames += len(block)
        self._mixed += float(np.dot(used, used))
        self._power = self._power + np.einsum("ij,ij->j", block, block, dtype=np.float64)
        self._is_clipped = self._is_clipped or _is_clipped(block)

    @classmethod
    def joined(cls, parts: Sequence[Levels]) -> Levels:
        """Return the levels of parts of one recording as those of the whole."""
        whole = cls(parts[0]._is_mix)
        for each in parts:
            whole.silent = whole.silent and each.silent
            whole._frames += each._frames
            whole._mixed += each._mixed
            whole._power = whole._power + each._power
            whole._is_clipped = whole._is_clipped or each._is_clipped
        return whole

    @property
    def level(self) -> float:
        """Root mean square of the used samples in dB of full scale; minus infinity for silence."""
        with np.errstate(divide="ignore"):
            return float(10 * np.log10(self._mixed / max(self._frames, 1)))

    def notes(self) -> list[str]:
        """Return what the user should know."""
        channels = len(self._power)
        live = self._power > _DEAD**2 * self._power.max()
        found = []
        if self._is_mix and self._mixed < _CANCELLED * self._power.sum() / channels**2:
            found.append(
                "channels cancel each other in the mix (is one of inverted polarity?): choose one with --channel"
            )
        elif self.silent:
            found.append("digital silence: is the microphone connected?")
        if self._is_clipped:
            found.append("clipped: the level reaches full scale")
        if self._is_mix and live.any() and not live.all():
            dead = ", ".join(str(number) for number in np.flatnonzero(~live) + 1)
            lower = 20 * np.log10(channels / live.sum())
            found.append(
                f"channel {dead} of {channels} is dead: the mix is {lower:.0f} dB lower; choose another with --channel"
            )
        return found


def _is_clipped(block: Float32) -> bool:
    """Return whether samples (n, channels) stay at full scale, or flat close to it (8 bits and µ-law end before it)."""
    level = np.abs(block)
    rows = len(level) - _FLAT + 1
    peak = float(level.max(initial=0.0))
    if rows < 1 or peak < _NEAR_FULL_SCALE:
        return False
    runs = np.stack([level[i : i + rows] for i in range(_FLAT)])
    lowest, highest = runs.min(axis=0), runs.max(axis=0)
    is_flat = (lowest >= _NEAR_FULL_SCALE) & (lowest == highest)
    return bool(is_flat.any()) or (peak <= _OVERS and bool((lowest >= _FULL_SCALE).any()))
