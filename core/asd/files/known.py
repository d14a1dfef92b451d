"""What is known of files: digest and length of a version, so that an unchanged one is not fetched, or read, again.

It is one small SQLite file below the cache folder. A key is the digest of an address and a version, or of what a file
here shows at a glance; neither addresses nor names can be read from it. What was found out within half a second is
written together: a kill costs as much. It costs time, never a result, where it cannot be used.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from asd.files.database import open_database
from asd.files.folders import cache_folder

T = TypeVar("T")

_log = logging.getLogger("asd.files")
_FILE = "known-1.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS known (key TEXT PRIMARY KEY, sha256 TEXT, seconds REAL, used REAL NOT NULL);
CREATE INDEX IF NOT EXISTS known_used ON known (used);
"""
_MOST = 500_000
"""Rows; about 80 MB."""
_TRIMMED = 1000
"""New rows after which it is looked whether there are too many."""
_COMMIT_SECONDS = 0.5
"""What is new waits until it is so long ago that others were written: a commit takes as long as ten further rows."""
_lock = threading.Lock()


def known(key: str, what: str) -> Any:
    """Return the ``"sha256"`` or the ``"seconds"`` of a version; None: not known."""
    return _try(lambda file: file.look_up(key, what))


def remember(key: str, what: str, value: Any) -> None:
    """Keep the ``"sha256"`` or the ``"seconds"`` of a version."""
    _try(lambda file: file.keep(key, what, value))


def flush() -> None:
    """Write down what waits to be, as the end of the program does: for processes that end without further ado."""
    _try(_File.commit)


def remove_all() -> None:
    """Forget everything."""
    _try(_File.clear)


class _File:
    """The database, made at first use, and what waits to be written to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: dict[tuple[str, str], tuple[Any, float]] = {}
        self._committed = -math.inf

    @functools.cached_property
    def _connection(self) -> sqlite3.Connection:
        return open_database(self._path, _TABLES)

    def look_up(self, key: str, what: str) -> Any:
        if (key, what) in self._waiting:
            return self._waiting[key, what][0]
        row = self._connection.execute(f"SELECT {what} FROM known WHERE key = ?", (key,)).fetchone()
        return row and row[0]

    def keep(self, key: str, what: str, value: Any) -> None:
        self._waiting[key, what] = value, time.time()
        if time.monotonic() - self._committed >= _COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}  # what cannot be written is not tried again
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            before = self._last_row()
            for (key, what), (value, used) in waiting.items():
                self._connection.execute(
                    f"INSERT INTO known (key, {what}, used) VALUES (?, ?, ?) "  # one of two names of our own
                    f"ON CONFLICT (key) DO UPDATE SET {what} = excluded.{what}, used = excluded.used",
                    (key, value, used),
                )
            if self._last_row() // _TRIMMED > before // _TRIMMED:
                self._connection.execute(
                    "DELETE FROM known WHERE key IN (SELECT key FROM known ORDER BY used DESC LIMIT -1 OFFSET ?)",
                    (_MOST,),
                )
        self._committed = time.monotonic()

    def clear(self) -> None:
        self._waiting.clear()
        self._connection.execute("DELETE FROM known")

    def close(self) -> None:
        try:
            self.commit()
        finally:
            if "_connection" in vars(self):
                self._connection.close()

    def _last_row(self) -> int:
        (last,) = self._connection.execute("SELECT MAX(rowid) FROM known").fetchone()
        return last or 0


def _try(action: Callable[[_File], T]) -> T | None:
    try:
        with _lock:
            return action(_opened(os.getpid(), cache_folder()))
    except (sqlite3.Error, OSError, NotImplementedError) as error:
        _log.debug("what is known of files cannot be kept: %s", error)
        return None


@functools.lru_cache(maxsize=4)
def _opened(owner: int, folder: Path) -> _File:
    file = _File(folder / _FILE)
    atexit.register(_end, file, owner)
    return file


def _end(file: _File, owner: int) -> None:
    if os.getpid() == owner:
        with _lock, contextlib.suppress(sqlite3.Error, OSError):
            file.close()
