"""The spool: whole copies of files elsewhere that cannot be read in parts, few and for as long as a process lives.

It is a folder of bounded size, ``ASD_SPOOL`` or ``spool`` below the cache folder, that several processes share. Where
the next copy has no room, the one that was not used for longest goes; who has it open reads on. A copy is named by its
address and version, so that it is never taken for another.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from asd.files.folders import cache_folder, size_in

_DEFAULT_SIZE = "2GB"
_SUFFIX, _PART = ".copy", ".part"
_FORGOTTEN = 86400.0
"""Seconds after which what was begun is no longer being written."""
_PATIENCE = 60.0


class TooLargeError(Exception):
    """A file that the spool may not hold."""


def spool_folder() -> Path:
    """Return the folder of the copies."""
    chosen = os.environ.get("ASD_SPOOL")
    return Path(chosen).expanduser().absolute() if chosen else cache_folder() / "spool"


def spool_size() -> int:
    """Return how many bytes the copies may take, by ``ASD_SPOOL_SIZE``; 0: none is made.

    Raises
    ------
    ConfigError
        If the variable is no size.
    """
    return size_in("ASD_SPOOL_SIZE", _DEFAULT_SIZE, "no copies")


def kept(key: str) -> BinaryIO | None:
    """Return a copy, open; None: there is none. It counts as used now."""
    place = spool_folder() / f"{key}{_SUFFIX}"
    try:
        file = place.open("rb")
    except OSError:
        return None
    with contextlib.suppress(OSError):
        os.utime(place)
    return file


def spooled(key: str, size: int | None, fill: Callable[[BinaryIO, int], Any]) -> BinaryIO:
    """Return a new copy, open.

    Parameters
    ----------
    key : str
        Its name: letters and digits.
    size : int or None
        Its bytes; None: not known before all are there.
    fill : callable
        Writes it into an open file; gets how many bytes it may write at most.

    Raises
    ------
    TooLargeError
        If it is larger than the whole spool.
    OSError
        If it cannot be written.
    """
    most = spool_size()
    if not most or (size or 0) > most:
        raise TooLargeError
    folder = spool_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(folder):
        _make_room(folder, most - (size or 0))
        descriptor, name = tempfile.mkstemp(suffix=_PART, prefix=f"{key[:16]}.", dir=folder)
        if size:
            os.truncate(name, size)  # others see what it is going to take
    part = Path(name)
    try:
        with os.fdopen(descriptor, "r+b") as file:
            fill(file, most)
            file.truncate()
            length = file.tell()
        if size is None:
            with _locked(folder):
                _make_room(folder, most - length, part)
        place = folder / f"{key}{_SUFFIX}"
        _remember(place)
        opened = part.open("rb")
        try:
            part.replace(place)
        except OSError:  # Windows, where another process has the same copy open
            if os.name != "nt":
                opened.close()
                raise
        return opened
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def bounded(file: BinaryIO, most: int) -> Callable[[bytes], None]:
    """Return what writes to a file until `most` bytes are there, and raises TooLargeError beyond."""

    def write(data: bytes) -> None:
        if file.tell() + len(data) > most:
            raise TooLargeError
        file.write(data)

    return write


def _make_room(folder: Path, left: int, besides: Path | None = None) -> None:
    """Remove what was not used for longest until `left` bytes are taken at most."""
    found: list[tuple[float, int, Path]] = []
    taken = 0
    for path in folder.iterdir():
        if path.suffix not in (_SUFFIX, _PART) or path == besides:
            continue
        with contextlib.suppress(OSError):
            status = path.stat()
            is_part = path.suffix == _PART
            if is_part and time.time() - status.st_mtime > _FORGOTTEN:
                path.unlink()
                continue
            taken += status.st_size
            if not is_part:
                found.append((status.st_mtime, status.st_size, path))
    for _, size, path in sorted(found, key=lambda each: each[:2]):
        if taken <= left:
            return
        with contextlib.suppress(OSError):
            path.unlink()
            taken -= size
    if taken > left:
        raise OSError(errno.ENOSPC, "the spool is full of what is being copied now; raise ASD_SPOOL_SIZE")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    import filelock

    with filelock.FileLock(folder / "lock", timeout=_PATIENCE):
        yield


_own: set[tuple[int, Path]] = set()


def _remember(place: Path) -> None:
    """Remove a copy at the end of the process that made it."""
    _clean_at_end()
    _own.add((os.getpid(), place))


@functools.cache
def _clean_at_end() -> None:
    atexit.register(_remove_own)


def _remove_own() -> None:
    for owner, place in _own:
        if owner == os.getpid():
            with contextlib.suppress(OSError):
                place.unlink()
