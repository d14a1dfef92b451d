"""The last seconds of a machine's sound, in memory."""

from __future__ import annotations

import bisect
from collections import deque

import numpy as np

from asd.plugin import Block, Float32

_JUMP = 0.5
"""Seconds by which a block may be early or late; more is a gap, over which no recording goes."""


class Ring:
    """The last seconds of sound without a gap, at one rate and with one number of channels.

    Parameters
    ----------
    seconds : float
        How many are kept.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._blocks: deque[tuple[float, Float32]] = deque()
        self._held = 0
        self.sample_rate = 0
        self.end = 0.0

    def follows(self, block: Block) -> bool:
        """Return whether a block goes on where the last one ended."""
        if not self._blocks:
            return True
        same = block.sample_rate == self.sample_rate and block.samples.shape[1] == self._blocks[-1][1].shape[1]
        return same and abs(block.time - self.end) <= _JUMP

    def add(self, block: Block) -> None:
        """Take a block; after a gap, or a change of rate or channels, what was before is forgotten."""
        if not self.follows(block):
            self._blocks.clear()
            self._held = 0
        samples = np.array(block.samples, dtype=np.float32)  # a source may fill its array anew
        self._blocks.append((block.time, samples))
        self._held += len(samples)
        self.sample_rate = block.sample_rate
        self.end = block.time + len(samples) / block.sample_rate
        while self._held - len(self._blocks[0][1]) >= self._seconds * self.sample_rate:
            self._held -= len(self._blocks.popleft()[1])

    def since(self, begin: float) -> tuple[float, Float32]:
        """Return the sound from `begin` on, and when it begins: later, if older sound is not there."""
        if not self._blocks:
            return begin, np.zeros((0, 1), np.float32)
        held = list(self._blocks)
        place = max(bisect.bisect_right(held, begin, key=lambda each: each[0]) - 1, 0)
        first = held[place][0]
        parts = [samples for _, samples in held[place:]]
        skipped = min(max(0, round((begin - first) * self.sample_rate)), len(parts[0]))
        return first + skipped / self.sample_rate, np.concatenate([parts[0][skipped:], *parts[1:]])
