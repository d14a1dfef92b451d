"""Source ``pcm``: raw samples from a pipe, such as those of ``ffmpeg … -f s16le -`` or ``arecord -t raw``."""

from __future__ import annotations

import errno
import os
import select
import stat
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
"""Seconds by which samples may come later than their number says: FFmpeg writes 32 kB at a time."""
_FASTEST = 0.01
"""Share by which the times of sound that comes too early fall behind its length until they are right."""
_NEVER = (errno.EACCES, errno.EISDIR, errno.ENOTDIR, errno.EPERM)
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
        A named pipe, a file or a device; ``-``: standard input.
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
        """Yield what is read; see `asd.plugin.Source.blocks`.

        Standard input and files end for good; a named pipe waits for the next program that writes into it.
        """
        if self.path == "-":
            if sys.stdin is None or sys.stdin.isatty():
                raise SourceError(
                    "pcm: standard input is a terminal; pipe samples into it: ffmpeg … -f s16le -ar 48000 -ac 1 - | "
                    "asd listen …",
                    permanent=True,
                )
            yield from self._read(sys.stdin.fileno())
            return
        while True:
            descriptor, again = self._opened()
            try:
                yield from self._read(descriptor)
            finally:
                os.close(descriptor)
            if not again:
                return

    def _opened(self) -> tuple[int, bool]:
        """Return a descriptor, and whether it is a named pipe, which may be opened again after its end."""
        path = Path(self.path)
        try:
            # A pipe that nobody writes into yet would hold up whoever opens it, and with it the end of the listening.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                os.close(descriptor)
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        except OSError as error:
            raise SourceError(
                f"pcm: {self.path}: cannot be opened ({error.strerror}); make it with mkfifo",
                permanent=error.errno in _NEVER,
            ) from error
        return descriptor, stat.S_ISFIFO(mode) and path.is_fifo() and not path.is_symlink()

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
            had_waited = bool(select.select([descriptor], [], [], 0)[0])
            if not had_waited and not select.select([descriptor], [], [], _PATIENCE)[0]:
                yield Block(np.zeros((0, self.channels), np.float32), self.sample_rate, time.time())
                continue
            try:
                data = os.read(descriptor, size)
            except BlockingIOError:  # another reader was faster
                continue
            except OSError as error:
                raise SourceError(f"pcm: {self.path}: cannot be read ({error.strerror})") from error
            if not data:
                return
            rest += data
            whole = len(rest) // frame * frame
            if whole:
                samples = self._samples(rest[:whole])
                rest = rest[whole:]
                yield Block(samples, self.sample_rate, clock.time_of(len(samples) / self.sample_rate, had_waited))

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

    def time_of(self, seconds: float, had_waited: bool) -> float:
        """Return when sound of so many seconds began; `had_waited`: who knows since when it lay in the pipe."""
        began = time.time() - seconds
        if self._next is not None and had_waited:  # late is who reads, early a recording: neither is a gap
            began = self._next
        elif self._next is not None and (late := began - self._next) <= _LATE:
            began = self._next + max(late * min(1.0, seconds / _FOLLOWED), -_FASTEST * seconds)
        self._next = began + seconds
        return began
