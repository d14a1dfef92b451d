"""The spectrogram of a machine as it sounds now: columns that are computed once, for all who look."""

from __future__ import annotations

import base64
import sys
import threading
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from asd.plugin import Block, Float32, Float64, hz_to_mel, mel_to_hz, power_spectrogram

BANDS = 96
STEP = 0.05
"""Seconds from one column to the next."""
FLOOR, CEILING = -120.0, 0.0
"""dB of full scale of the values 0 and 255."""
_LOWEST = 40.0
_WINDOW = 0.064
_MOST = 40
"""Columns that are computed at a time: sound that is played faster than real time is shown with gaps."""
_HELD = 32
"""Blocks that wait; older ones are dropped."""


class LiveSpectrum:
    """Takes blocks from the thread that judges, and makes columns of them in another.

    Parameters
    ----------
    most : int
        Columns that are computed at a time; of more, the last ones.
    held : int or None
        Blocks that wait; None: all of them.
    """

    def __init__(self, *, most: int = _MOST, held: int | None = _HELD) -> None:
        self._most = most
        self._blocks: deque[tuple[float, int, Float32]] = deque(maxlen=held)
        self._rest = np.zeros(0, np.float32)
        self._time = 0.0
        self._rate = 0

    @property
    def position(self) -> float | None:
        """Time at which the next column begins; None: no sound has come."""
        return self._time if self._rate else None

    def hear(self, block: Block) -> None:
        """Keep a copy of a block, mixed; cheap."""
        if len(block.samples):
            self._blocks.append((block.time, block.sample_rate, _mixed(block)))

    def message(self) -> dict[str, Any] | None:
        """Return the columns that are complete since the last time, as they are sent; None: there are none."""
        rest, held = [self._rest], len(self._rest)
        while self._blocks:
            time, rate, samples = self._blocks.popleft()
            if rate != self._rate or abs(self._time + held / max(self._rate, 1) - time) > STEP:
                rest, held, self._time, self._rate = [], 0, time, rate  # after a gap, the columns begin anew
            rest.append(samples)
            held += len(samples)
        self._rest = np.concatenate(rest)
        if not self._rate:
            return None
        hop, window = max(1, round(STEP * self._rate)), _window(self._rate)
        count = (len(self._rest) - window) // hop + 1
        if count <= 0:
            return None
        skipped = max(0, count - self._most)
        begin = self._time + skipped * hop / self._rate
        used = self._rest[skipped * hop : (count - 1) * hop + window]
        levels = _levels(used, self._rate, window, hop)
        self._rest = self._rest[count * hop :]
        self._time += count * hop / self._rate
        values = np.clip(np.round((levels - FLOOR) * (255 / (CEILING - FLOOR))), 0, 255).astype(np.uint8)
        return {
            "type": "spectrum",
            "time": begin,
            "step": hop / self._rate,
            "low": min(_LOWEST, self._rate / 8),
            "high": self._rate / 2,
            "scale": "mel",
            "bands": BANDS,
            "floor": FLOOR,
            "ceiling": CEILING,
            "data": base64.b64encode(values.tobytes()).decode(),
        }


class LastMinute:
    """The sound of all machines from the last minute, for those who come to look: 16 bits a sample, one channel.

    Parameters
    ----------
    seconds : float
        How much of each is kept.
    most : int
        Bytes of all machines together; beyond, less than that is kept of those that take most.
    """

    def __init__(self, *, seconds: float = 60.0, most: int = 64_000_000) -> None:
        self._seconds, self._most = seconds, most
        self._lock = threading.Lock()
        self._kept: dict[str, deque[tuple[float, int, npt.NDArray[np.int16]]]] = {}
        self._bytes: dict[str, int] = {}

    def hear(self, machine: str, block: Block) -> None:
        """Keep a copy of a block, mixed; cheap."""
        if not len(block.samples):
            return
        mixed = _mixed(block)
        np.clip(mixed, -1, 1, out=mixed)
        if np.isnan(mixed.sum()):
            mixed = np.nan_to_num(mixed)
        samples = (mixed * np.float32(32767)).astype(np.int16)
        with self._lock:
            kept = self._kept.setdefault(machine, deque())
            if kept and block.time < kept[-1][0]:  # the clock was set back
                kept.clear()
                self._bytes[machine] = 0
            kept.append((block.time, block.sample_rate, samples))
            self._bytes[machine] = self._bytes.get(machine, 0) + samples.nbytes
            while kept[0][0] < block.time - self._seconds:
                self._drop(machine)
            while sum(self._bytes.values()) > self._most:
                self._drop(max(self._bytes, key=self._bytes.__getitem__))

    def _drop(self, machine: str) -> None:
        self._bytes[machine] -= self._kept[machine].popleft()[2].nbytes

    def messages(self, machine: str, until: float | None) -> list[dict[str, Any]]:
        """Return the columns of what was heard before a time (None: of all of it), as `LiveSpectrum.message`."""
        with self._lock:
            blocks = list(self._kept.get(machine, ()))
        found: list[dict[str, Any] | None] = []
        spectrum = LiveSpectrum(most=sys.maxsize, held=None)
        expected = None
        for time, rate, samples in blocks:
            if until is not None:
                samples = samples[: max(0, round((until - time) * rate))]
            if expected is not None and abs(time - expected) > STEP:
                found.append(spectrum.message())
            spectrum.hear(Block(np.asarray(samples / 32767, np.float32)[:, np.newaxis], rate, time))
            expected = time + len(samples) / rate
        found.append(spectrum.message())
        return [each for each in found if each is not None]


def _mixed(block: Block) -> Float32:
    """Return a block's channels as one; a copy."""
    channels = block.samples.shape[1]
    if channels == 1:
        return np.array(block.samples[:, 0], np.float32)
    return np.asarray(block.samples @ np.full(channels, 1 / channels, np.float32))


def _window(rate: int) -> int:
    return int(1 << max(6, round(np.log2(_WINDOW * rate))))


def _levels(samples: Float32, rate: int, window: int, hop: int) -> Float64:
    """Return dB of full scale, (columns, BANDS): the mean power between the edges of each band."""
    power = power_spectrogram(np.nan_to_num(samples), n_fft=window, hop_length=hop).astype(np.float64)
    power /= (window / 4) ** 2  # a Hann window makes of a sine of full scale window / 4
    low, high = (float(each) for each in hz_to_mel(np.array([min(_LOWEST, rate / 8), rate / 2])))
    edges = np.clip(mel_to_hz(np.linspace(low, high, BANDS + 1)) * window / rate + 0.5, 0, len(power))
    total = np.concatenate([np.zeros((1, power.shape[1])), np.cumsum(power, axis=0)])
    below = np.minimum(edges.astype(int), len(power) - 1)
    share = (edges - below)[:, np.newaxis]
    summed = total[below] * (1 - share) + total[below + 1] * share
    mean = np.diff(summed, axis=0) / np.diff(edges)[:, np.newaxis]
    return np.asarray(10 * np.log10(np.maximum(mean, 1e-14)).T)
