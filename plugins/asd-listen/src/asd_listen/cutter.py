"""From a source's blocks to clips with times: cut with overlap, never over a gap or from one file into the next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asd.plugin import Block, Clip
from asd_listen.times import utc


@dataclass(frozen=True)
class TimedClip:
    """A clip.

    Parameters
    ----------
    live : asd.LiveClip
        The clip.
    time : float
        When it began, in seconds since 1970.
    of_file : bool
        Whether it is of a file with a name of its own.
    ago : float
        Seconds of sound that came after its end.
    """

    live: Any
    time: float
    of_file: bool
    ago: float


class Cutter:
    """Cuts the sound of one source.

    Parameters
    ----------
    stream : asd.LiveStream
        What cuts.
    name : str
        Name of the machine, after which clips are named.

    Attributes
    ----------
    stream : asd.LiveStream
        What cuts.
    """

    def __init__(self, stream: Any, name: str) -> None:
        self.stream = self._stream = stream
        self._delay = stream.delay
        self.name = stream.name = name.replace("/", "_").replace("\\", "_") or "machine"
        self.file: str | None = None
        self._zero = 0.0

    @property
    def in_file(self) -> bool:
        """Whether sound of a file is being cut."""
        return self.file is not None

    def add(self, block: Block) -> list[TimedClip]:
        """Take in a block, and return the clips that are complete now; errors as for `asd.LiveStream.push`."""
        if block.name is not None:
            self._stream.name = block.name
        self.file = block.name
        if self._stream.heard == 0.0:
            self._zero = block.time
            self._stream.delay = self._delay if block.name is None else 0.0  # a recorder's clips begin with its files
        # Clocks and sample clocks drift apart: the newest block tells best when its sound was.
        zero = block.time - self._stream.heard
        clips = self._stream.push(block.samples, block.sample_rate)
        if block.name is None and abs(zero - self._zero) < 1.0:
            self._zero = zero
        return [self._timed(clip) for clip in clips]

    def finish(self) -> list[TimedClip]:
        """Return what a file that has ended is as a clip, if none was cut of it; a stream starts again."""
        clips = [self._timed(clip) for clip in self._stream.finish()] if self.file is not None else []
        self.restart()
        return clips

    def _timed(self, live: Any) -> TimedClip:
        time = self._zero + live.offset
        if self.file is None:  # seconds since the listening began would name nothing
            live.clip = Clip(Path(f"{self.name} {utc(time)}"))
        ago = max(0.0, self._stream.heard - live.offset - live.seconds)  # nothing, once a stream has finished
        return TimedClip(live, time, self.file is not None, ago)

    def restart(self) -> None:
        """Forget the sound so far."""
        self._stream.restart()
        self._stream.name, self.file = self.name, None
