"""Record clips of a healthy machine for ``asd fit``, and check them while they are recorded."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from asd.errors import AsdError, ConfigError
from asd.plugin import Block, Float32
from asd_listen.conditions import Conditions
from asd_listen.feed import Arrived, Feed
from asd_listen.levels import LevelMeter, Second
from asd_listen.settings import SourceSettings, source_of
from asd_listen.times import utc

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)")
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_QUIET = -60.0
"""dB of full scale below which a recording is told to be too quiet."""


def seconds_of(text: str) -> float:
    """Return the seconds that a text such as ``30min`` names.

    Raises
    ------
    ConfigError
        If it names none.
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None or not float(match[1]) > 0:
        raise ConfigError(f"--record-healthy takes a duration such as 90s, 30min or 8h, got {text!r}")
    return float(match[1]) * _UNITS[match[2]]


class ClipWriter:
    """Cuts healthy sound into clips in a folder, checks it, and leaves out what is spoiled.

    Parameters
    ----------
    name : str
        Of the machine or microphone; the files are called so.
    folder : Path
        Where clips are written; it must be there.
    clip_seconds : float
        Length of a clip.
    say : callable
        Takes a line for people, with its severity.

    Attributes
    ----------
    written, left_out : int
        Clips written, and clips left out because something was wrong with them.
    second : Second or None
        Levels of the latest second.
    levels : list of float
        Level of each clip written, in dB of full scale.
    """

    def __init__(self, name: str, folder: Path, clip_seconds: float, say: Callable[[str, str], None]) -> None:
        self.folder, self.clip_seconds = folder, clip_seconds
        self.written = self.left_out = 0
        self.second: Second | None = None
        self.levels: list[float] = []
        self.conditions = Conditions()
        self._name, self._say = name, say
        self._meter = LevelMeter()
        self._parts: list[Float32] = []
        self._held = 0
        self._spoiled = False
        self._began = 0.0
        self._file: str | None = None

    def take(self, block: Block, arrived: float, *, paced: bool) -> None:
        """Take in a block of sound.

        Parameters
        ----------
        block : Block
            What came.
        arrived : float
            When, by a clock that nobody sets.
        paced : bool
            Whether sound comes as fast as it is played.

        Raises
        ------
        AsdError
            If a clip cannot be written.
        """
        changes, broken = self.conditions.block(block, arrived, paced=paced)
        samples = block.samples
        if "garbage" not in self.conditions.standing:
            mixed = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
            for second in self._meter.add(mixed, block.sample_rate, block.time):
                self.second = second
                changes += self.conditions.second(second)
        for change in changes:
            if not change.over:
                self._say(f"{self._name}: {change.text}", "warning")
        if broken or block.name != self._file:
            self._restart()
            self._file = block.name
        if "garbage" in self.conditions.standing or "format" in self.conditions.standing:
            return
        rate = block.sample_rate
        wanted = round(self.clip_seconds * rate)
        moment = block.time
        while len(samples):
            if not self._held:
                self._began, self._spoiled = moment, False
            self._spoiled = (
                self._spoiled or self.conditions.spoiled or self.conditions.suspect or self.conditions.clips_now
            )
            part = samples[: wanted - self._held]
            self._parts.append(part)
            self._held += len(part)
            samples, moment = samples[len(part) :], moment + len(part) / rate
            if self._held == wanted:
                self._write(np.concatenate(self._parts), rate)
                self._parts, self._held = [], 0

    def _restart(self) -> None:
        self._parts, self._held = [], 0

    def _write(self, samples: Float32, rate: int) -> None:
        import soundfile

        level = float(10 * np.log10(max(float(np.mean(samples**2)), 1e-20)))
        if self._spoiled:
            self.left_out += 1
            return
        safe = re.sub(r"[^\w.-]+", "_", self._name)
        path = self.folder / f"{safe}_{utc(self._began)}.flac"
        number = 1
        while path.exists():  # of the same second, or of an earlier recording
            number += 1
            path = self.folder / f"{safe}_{utc(self._began)}_{number:02d}.flac"  # sorts after the first
        part = path.with_name(f".{path.name}.part")
        try:
            soundfile.write(part, samples, rate, subtype="PCM_24", format="FLAC")
            part.replace(path)
        except (OSError, soundfile.LibsndfileError) as error:
            part.unlink(missing_ok=True)
            raise AsdError(f"{path}: cannot be written ({error}); free some space, or choose another folder") from error
        self.written += 1
        self.levels.append(level)

    def summary(self) -> list[str]:
        """Return what is to be said at the end."""
        found = [f"{self.written} clips of {self.clip_seconds:.3g} s in {self.folder}, {self.left_out} left out."]
        if self.levels:
            found.append(f"Levels from {min(self.levels):.0f} to {max(self.levels):.0f} dB of full scale.")
            if float(np.median(self.levels)) < _QUIET:
                found.append("That is quiet: move the microphone closer, or turn the gain up, and record again.")
        return found


class Recorder(ClipWriter):
    """Writes clips of one source into a folder.

    Parameters
    ----------
    settings : SourceSettings
        The source.
    folder : Path
        Where clips are written; made if it is not there.
    seconds : float
        How much good sound is recorded.
    clip_seconds : float
        Length of a clip.
    say : callable
        Takes a line for people, with its severity.
    """

    def __init__(
        self,
        settings: SourceSettings,
        folder: Path,
        seconds: float,
        clip_seconds: float,
        say: Callable[[str, str], None],
    ) -> None:
        super().__init__(settings.name, folder, clip_seconds, say)
        self.seconds = seconds
        self._arrived = threading.Event()
        self._stop = threading.Event()
        self._feed = Feed(settings.name, lambda: source_of(settings), self._arrived)

    @property
    def needed(self) -> int:
        """Clips that are to be written."""
        return max(1, int(self.seconds / self.clip_seconds))

    def stop(self) -> None:
        """Let `run` end."""
        self._stop.set()
        self._arrived.set()

    def run(self) -> None:
        """Record.

        Raises
        ------
        AsdError
            If the source ends, or nothing can be written, before a clip was.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AsdError(f"{self.folder}: cannot be written to ({error.strerror}); choose another folder") from error
        self._feed.start()
        while self.written < self.needed and not (self._stop.is_set() or self._feed.done):
            self._arrived.wait(0.5)
            self._arrived.clear()
            for item in self._feed.take(10.0):
                if not isinstance(item, Arrived):
                    self._restart()
                    self._say(f"{self._name}: {item}", "warning")
                elif len(item.block.samples) and self.written < self.needed:
                    self.take(item.block, item.time, paced=self._feed.paced)
        self._feed.stop()
        if self._feed.refused is not None:
            raise self._feed.refused
        if not self.written:
            raise AsdError(f"{self._name}: no clip was recorded; {self.left_out} were left out")


def show(recorder: Recorder, stop: threading.Event, *, lines: bool) -> None:
    """Show how the recording goes until `stop` is set."""
    import click

    from asd_listen.view import printable

    said = 0.0
    while not stop.wait(0.25):
        now = time.monotonic()
        level = "–" if recorder.second is None else f"{recorder.second.level:.0f} dB, peak {recorder.second.peak:.2f}"
        text = f"{recorder.written} of {recorder.needed} clips, {recorder.left_out} left out, level {level}"
        if not lines:
            click.echo(f"\r\x1b[K{printable(text)}", nl=False)
        elif now - said >= 60:
            said = now
            click.echo(text)
    if not lines:
        click.echo()


def threaded(work: Callable[[], None], finished: threading.Event) -> tuple[threading.Thread, list[BaseException]]:
    """Start `work` in a thread; its error, if any, is in the list once `finished` is set."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # raised again where the thread is awaited
            errors.append(error)
        finally:
            finished.set()

    thread: Any = threading.Thread(target=run, name="asd-listen", daemon=True)
    thread.start()
    return thread, errors
