"""Source ``folder``: a folder into which a recorder drops clips; only files that are complete are read."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from asd.errors import AudioError, SourceError
from asd.plugin import AUDIO_SUFFIXES, Block, Clip, ClipReader, Source, number, time_in_name
from asd_listen.sources.example import example

_log = logging.getLogger("asd")
_LONGEST = 1.0
_TICK = 200
"""Milliseconds between looks at files that are being written."""
_REMEMBERED = 50
"""Intervals between recordings by which it is told that none has come for too long, …"""
_LEARNED = 5
"""… so many at least; …"""
_UNKNOWN = 86400.0
"""… with fewer, seconds after which it is told that none has come; …"""
_LEAST = 60.0
"""… and the least such time: recorders write with delay."""
_PATIENCE = 60.0
"""Seconds without a change after which a file that cannot be read is given up."""


class Folder(Source):
    """Watch a folder, and read each new recording once it is complete.

    A file is complete when nothing has changed it for `settle` seconds, and it holds as much as its header states.

    Parameters
    ----------
    path : str
        The folder; folders below it are watched, too.
    settle : float
        Seconds without a change after which a file is taken for complete.
    existing : bool
        Whether recordings that are there already are read, too; those that a monitor has watched are left out.
    poll : bool
        Look at the folder again and again, for network drives that tell of no changes.
    every : float
        Seconds from one recording to the next at most; after twice as long without one it is told that the recorder may
        be dead. 0: learned from the times of the last recordings, those that are there at the start too; then it is
        told after three times as long as nine tenths of them needed, at least a minute; a day while fewer than six are
        known. For recorders that rest at night give the length of the night.
    """

    paced = False
    """Recordings come whole."""

    def __init__(
        self, *, path: str, settle: float = 2.0, existing: bool = False, poll: bool = False, every: float = 0.0
    ) -> None:
        self.path = path
        self.settle = number(self, "settle", settle, at_least=0)
        self.existing = existing
        self.poll = poll
        self.every = number(self, "every", every, at_least=0)
        self._rhythm = _Rhythm()
        self._done: dict[Path, tuple[int, int]] | None = None

    @property
    def patience(self) -> float:  # type: ignore[override]
        """Seconds without a recording after which something is wrong; see `asd.plugin.Source.patience`."""
        return 2 * self.every if self.every else self._rhythm.patience

    def blocks(self) -> Iterator[Block]:
        """Yield the recordings as they come; see `asd.plugin.Source.blocks`."""
        folder = Path(self.path)
        if not folder.is_dir():
            if folder.exists():
                raise SourceError(
                    f"folder {folder}: is a file; name its folder, or use the source file", permanent=True
                )
            raise SourceError(f"folder {folder}: no such folder; make it, or check whether the drive is there")
        present = _found(folder)
        if self._done is None:
            for began in sorted(_begin(each, form, 0.0) for each, form in present.items())[-_REMEMBERED:]:
                self._rhythm.add(began)
            self._done = {} if self.existing else present
        waiting = {each: _Waiting() for each in present if self._done.get(each) != present[each]}
        for changed in self._changes(folder):
            for each in changed:
                waiting.setdefault(each, _Waiting())
            ready = sorted(each for each in waiting if waiting[each].is_still(each, self.settle))
            for each in ready:
                yield from self._read(each, waiting)
            yield Block(np.zeros((0, 1), np.float32), 1, time.time())
            if not folder.is_dir():
                raise SourceError(f"folder {folder}: is gone; is the drive still there?")

    @classmethod
    def example_parameters(cls, folder: Path) -> dict[str, object]:
        """Return parameters for a trial, with a second of a tone in `folder`."""
        return {"path": str(example(folder).parent), "existing": True, "settle": 0.0}

    @classmethod
    def unreachable_parameters(cls, folder: Path) -> dict[str, object]:
        """Return parameters of what cannot be reached."""
        return {"path": str(folder / "none")}

    def _changes(self, folder: Path) -> Iterator[set[Path]]:
        """Yield recordings that were made or changed, often enough for whoever waits."""
        from watchfiles import Change, watch

        try:
            for changes in watch(
                folder,
                debounce=_TICK,
                step=50,
                rust_timeout=_TICK,
                yield_on_timeout=True,
                force_polling=self.poll or None,
                raise_interrupt=False,
            ):
                for change, name in changes:
                    if change is Change.deleted and self._done:
                        self._done.pop(Path(name), None)  # in a year, millions
                yield {
                    Path(name)
                    for change, name in changes
                    if change is not Change.deleted and Path(name).suffix.lower() in AUDIO_SUFFIXES
                }
        except (OSError, RuntimeError) as error:
            raise SourceError(f"folder {folder}: cannot be watched ({error}); try poll = true") from error

    def _read(self, path: Path, waiting: dict[Path, _Waiting]) -> Iterator[Block]:
        assert self._done is not None
        form = _form(path)
        if form is None or self._done.get(path) == form:
            del waiting[path]
            return
        reader = ClipReader(Clip(path))
        try:
            for _ in reader.frames():  # only the end shows whether a file is whole; it may be longer than memory
                pass
        except AudioError as error:
            if waiting[path].seconds < _PATIENCE:
                return
            _log.warning("left out: %s", error)
        else:
            began = _begin(path, form, reader.seconds)
            self._rhythm.add(began)
            yield from _parts(path, began)
        self._done[path] = form
        waiting.pop(path, None)


class _Rhythm:
    """How often recordings come, by the times at which they began: many may be dropped at once."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._intervals: deque[float] = deque(maxlen=_REMEMBERED)

    def add(self, began: float) -> None:
        """Take when a recording began."""
        if self._last is not None and began > self._last:
            self._intervals.append(began - self._last)
        self._last = began if self._last is None else max(began, self._last)

    @property
    def patience(self) -> float:
        """Seconds after which the next should have come."""
        known = list(self._intervals)
        if len(known) < _LEARNED:
            return _UNKNOWN
        return max(_LEAST, 3 * float(np.quantile(known, 0.9)))


class _Waiting:
    """A file that may be being written."""

    def __init__(self) -> None:
        self._form: tuple[int, int] | None = None
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the last change."""
        return time.monotonic() - self._since

    def is_still(self, path: Path, settle: float) -> bool:
        """Return whether the file has not changed for so many seconds; gone is still."""
        form = _form(path)
        if form != self._form:
            self._form, self._since = form, time.monotonic()
        return form is None or (form[0] > 0 and self.seconds >= settle)


def _form(path: Path) -> tuple[int, int] | None:
    """Return size and time of the last change; None: it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _found(folder: Path) -> dict[Path, tuple[int, int]]:
    found = {each: _form(each) for each in folder.rglob("*") if each.suffix.lower() in AUDIO_SUFFIXES}
    return {each: form for each, form in found.items() if form is not None}


def _begin(path: Path, form: tuple[int, int], seconds: float) -> float:
    """Return when a recording began: by its name, or by the time of its last change."""
    stated = time_in_name(path.name)
    return form[1] / 1e9 - seconds if stated is None else stated


def _parts(path: Path, began: float) -> Iterator[Block]:
    reader, read = ClipReader(Clip(path)), 0
    for block in reader.frames():
        rate = reader.file_rate
        step = round(_LONGEST * rate)
        for first in range(0, len(block), step):
            part = block[first : first + step]
            yield Block(part, rate, began + read / rate, path.name)
            read += len(part)
