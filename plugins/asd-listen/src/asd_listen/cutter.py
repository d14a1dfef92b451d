"""From a source's blocks to clips with times: cut with overlap, never over a gap or from one file into the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asd.plugin import Block


@dataclass(frozen=True)
class TimedClip:
    """A clip, and when it began, in seconds since 1970."""

    live: Any
    time: float


class Cutter:
    """Cuts the sound of one source.

    Parameters
    ----------
    stream : asd.LiveStream
        What cuts.
    name : str
        Name of the machine, after which clips are named.
    """

    def __init__(self, stream: Any, name: str) -> None:
        self._stream = stream
        self._name = stream.name = name.replace("/", "_").replace("\\", "_") or "machine"
        self._file: str | None = None
        self._zero = 0.0

    def add(self, block: Block) -> list[TimedClip]:
        """Take in a block, and return the clips that are complete now; errors as for `asd.LiveStream.push`."""
        ended = self.finish() if block.name != self._file else []
        if block.name is not None:
            self._stream.name = block.name
        self._file = block.name
        if self._stream.heard == 0.0:
            self._zero = block.time
        # Clocks and sample clocks drift apart: the newest block tells best when its sound was.
        zero = block.time - self._stream.heard
        clips = self._stream.push(block.samples, block.sample_rate)
        if block.name is None and abs(zero - self._zero) < 1.0:
            self._zero = zero
        return [*ended, *(TimedClip(clip, self._zero + clip.offset) for clip in clips)]

    def finish(self) -> list[TimedClip]:
        """Return what a file that has ended is as a clip, if none was cut of it; a stream starts again."""
        clips = self._stream.finish() if self._file is not None else []
        self.restart()
        return [TimedClip(clip, self._zero + clip.offset) for clip in clips]

    def restart(self) -> None:
        """Forget the sound so far."""
        self._stream.restart()
        self._stream.name, self._file = self._name, None
