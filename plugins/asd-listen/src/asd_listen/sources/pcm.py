"""Source ``pcm``: raw samples from a pipe, such as those of ``ffmpeg … -f s16le -`` or ``arecord -t raw``."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from asd.errors import SourceError
from asd.plugin import Block, Float32, Source, one_of, whole_number
from asd_listen.sources.example import example

Format = Literal["s16le", "s24le", "s32le", "f32le"]
_BLOCK = 0.1
_BYTES = {"s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4}
_PATIENCE = 1.0
_LATE = 2.0
"""Seconds by which samples may come earlier or later than their number says: FFmpeg writes 32 kB at a time."""
_FOLLOWED = 30.0
"""Seconds in which the times follow such a difference: sample clocks and clocks drift apart."""


class Pcm(Source):
    """Read raw PCM from standard input or a named pipe.

    Nothing in the data tells of lost samples: only where they come more than two seconds late is a gap seen.

    Parameters
    ----------
    sample_rate : int
        In Hz; nothing in the data tells it.
    channels : int
        Channels, interleaved.
    format : {"s16le", "s24le", "s32le", "f32le"}
        Signed integers of 16, 24 or 32 bits, or floats, little-endian; named as in FFmpeg.
    path : str
        A named pipe or a file; ``-``: standard input.
    """

    def __init__(
        self,
        *,
        sample_rate: int = 48000,
        channels: int = 1,
        format: Format = "s16le",  # noqa: A002 - FFmpeg's word
        path: str = "-",
    ) -> None:
        self.sample_rate = whole_number(self, "sample_rate", sample_rate, 1)
        self.channels = whole_number(self, "channels", channels, 1)
        self.format = one_of(self, "format", format, get_args(Format))
        self.path = path

    def blocks(self) -> Iterator[Block]:
        """Yield what is read; see `asd.plugin.Source.blocks`. Standard input ends for good."""
        if self.path == "-":
            if sys.stdin is None or sys.stdin.isatty():
                raise SourceError(
                    "pcm: standard input is a terminal; pipe samples into it: ffmpeg … -f s16le -ar 48000 -ac 1 - | "
                    "asd listen …"
                )
            yield from self._read(sys.stdin.fileno())
            return
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise SourceError(f"pcm: {self.path}: cannot be opened ({error.strerror}); make it with mkfifo") from error
        try:
            yield from self._read(descriptor)
        finally:
            os.close(descriptor)

    @classmethod
    def example_parameters(cls, folder: Path) -> dict[str, object]:
        """Return parameters for a trial, with a second of a tone in `folder`."""
        return {"path": str(example(folder, raw=True)), "sample_rate": 16000}

    @classmethod
    def unreachable_parameters(cls, folder: Path) -> dict[str, object]:
        """Return parameters of what cannot be reached."""
        return {"path": str(folder / "none")}

    def _read(self, descriptor: int) -> Iterator[Block]:
        frame = _BYTES[self.format] * self.channels
        size = max(1, round(_BLOCK * self.sample_rate)) * frame
        rest = b""
        clock = _Clock()
        while True:
            ready, _, _ = select.select([descriptor], [], [], _PATIENCE)
            if not ready:
                yield Block(np.zeros((0, self.channels), np.float32), self.sample_rate, time.time())
                continue
            data = os.read(descriptor, size)
            if not data:
                return
            rest += data
            whole = len(rest) // frame * frame
            if whole:
                samples = self._samples(rest[:whole])
                rest = rest[whole:]
                yield Block(samples, self.sample_rate, clock.time_of(len(samples) / self.sample_rate))

    def _samples(self, data: bytes) -> Float32:
        if self.format == "f32le":
            values: Float32 = np.frombuffer(data, "<f4").astype(np.float32)
        elif self.format == "s24le":
            parts = np.frombuffer(data, np.uint8).reshape(-1, 3)
            wide = np.zeros((len(parts), 4), np.uint8)
            wide[:, 1:] = parts
            values = wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
        else:
            bits = 8 * _BYTES[self.format]
            values = np.frombuffer(data, f"<i{bits // 8}").astype(np.float32) / np.float32(2 ** (bits - 1))
        return values.reshape(-1, self.channels)


class _Clock:
    """Gives samples regular times, although they come in bursts."""

    def __init__(self) -> None:
        self._next: float | None = None

    def time_of(self, seconds: float) -> float:
        """Return when sound of so many seconds, which has just come, began."""
        began = time.time() - seconds
        if self._next is not None and abs(late := began - self._next) <= _LATE:
            began = self._next + late * min(1.0, seconds / _FOLLOWED)
        self._next = began + seconds
        return began
