"""Source ``file``: recordings as if they came now, in real time or faster."""

from __future__ import annotations

import glob
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from asd.errors import AudioError, ConfigError, SourceError
from asd.plugin import (
    AUDIO_SUFFIXES,
    Block,
    Clip,
    ClipReader,
    Float32,
    Source,
    duration_of,
    number,
    time_from,
    whole_number,
)
from asd_listen.sources.example import example

_log = logging.getLogger("asd")
_BLOCK = 0.1
_FAST_BLOCK = 1.0


class File(Source):
    """Play recordings, one after the other, as one endless sound.

    Parameters
    ----------
    path : str
        A recording, a folder of recordings, or a glob pattern.
    speed : float
        Times real time; 0: as fast as they are judged.
    repeat : int
        How often they are played; 0: for ever.
    start : str
        Date of the first sample, such as ``2026-11-26T20:15:00``; empty: so that the last one is of now, for a `speed`
        other than 1, and now otherwise.
    """

    def __init__(self, *, path: str, speed: float = 1.0, repeat: int = 1, start: str = "") -> None:
        self.path = path
        self.speed = number(self, "speed", speed, at_least=0)
        self.repeat = whole_number(self, "repeat", repeat, 0)
        self.start = start
        self.paced = speed != 0  # otherwise it waits for whoever listens
        try:
            self._start = time_from(start) if start else None
        except (ValueError, OverflowError, OSError):
            raise ConfigError(f"file: start takes a date such as 2026-11-26T20:15:00, got {start!r}") from None

    def blocks(self) -> Iterator[Block]:
        """Yield the recordings; see `asd.plugin.Source.blocks`."""
        paths = recordings_of(self.path)
        self._broken: list[str] = []
        yield from self._played(paths)

    @classmethod
    def example_parameters(cls, folder: Path) -> dict[str, object]:
        """Return parameters for a trial, with a second of a tone in `folder`."""
        return {"path": str(example(folder)), "speed": 0.0}

    @classmethod
    def unreachable_parameters(cls, folder: Path) -> dict[str, object]:
        """Return parameters of what cannot be reached."""
        return {"path": str(folder / "none.wav")}

    def _played(self, paths: list[Path]) -> Iterator[Block]:
        moment = self._first_moment(paths)
        began, played, round_ = time.monotonic(), 0.0, 0
        while not self.repeat or round_ < self.repeat:
            round_ += 1
            for path in paths:
                for samples, rate in self._parts(path):
                    played += len(samples) / rate
                    if self.speed:
                        time.sleep(max(0.0, began + played / self.speed - time.monotonic()))
                    yield Block(samples, rate, moment)
                    moment += len(samples) / rate
            if not played:
                raise SourceError(
                    f"file: {self._broken[0]}" if self._broken else f"file: {self.path}: no sound", permanent=True
                )

    def _parts(self, path: Path) -> Iterator[tuple[Float32, int]]:
        """Yield a recording in parts, up to where it cannot be read."""
        reader = ClipReader(Clip(path))
        try:
            for block in reader.frames():
                size = max(1, round((_BLOCK if 0 < self.speed <= 10 else _FAST_BLOCK) * reader.file_rate))
                for first in range(0, len(block), size):
                    yield block[first : first + size], reader.file_rate
        except AudioError as error:
            if str(error) not in self._broken:
                _log.warning("left out: %s", error)
            self._broken.append(str(error))

    def _first_moment(self, paths: list[Path]) -> float:
        if self._start is not None:
            return self._start
        if self.speed == 1 or not self.repeat:
            return time.time()
        return time.time() - self.repeat * sum(map(_seconds, paths))


def _seconds(path: Path) -> float:
    try:
        return duration_of(path)
    except AudioError:  # told when it is read
        return 0.0


def recordings_of(text: str) -> list[Path]:
    """Return the recordings that a text names, in the order of their names.

    Raises
    ------
    SourceError
        If there are none.
    """
    path = Path(text)
    if path.is_dir():
        found = sorted(each for each in path.rglob("*") if each.suffix.lower() in AUDIO_SUFFIXES)
    else:
        found = [path] if path.is_file() else sorted(map(Path, glob.glob(text, recursive=True)))  # noqa: PTH207 - the pattern may be absolute
    if not found:
        raise SourceError(
            f"file: {text}: no such recording, nor a folder of recordings; check the path", permanent=True
        )
    return found
