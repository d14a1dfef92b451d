"""What is known of files: digest and length of a version, so that an unchanged one is not fetched, or read, again.

It is one small SQLite file below the cache folder. A key is the digest of an address and a version, or of what a file
here shows at a glance; neither addresses nor names can be read from it. It costs time, never a result, where it cannot
be used.
"""

from __future__ import annotations

import atexit
import functools
import logging
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
_lock = threading.Lock()


def known(key: str, what: str) -> Any:
    """Return the ``"sha256"`` or the ``"seconds"`` of a version; None: not known."""
    query = f"SELECT {what} FROM known WHERE key = ?"  # one of two names of our own
    row = _try(lambda connection: connection.execute(query, (key,)).fetchone())
    return row and row[0]


def remember(key: str, what: str, value: Any) -> None:
    """Keep the ``"sha256"`` or the ``"seconds"`` of a version."""
    insert = (
        f"INSERT INTO known (key, {what}, used) VALUES (?, ?, ?) "  # one of two names of our own
        f"ON CONFLICT (key) DO UPDATE SET {what} = excluded.{what}, used = excluded.used"
    )

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(insert, (key, value, time.time()))
        (last,) = connection.execute("SELECT MAX(rowid) FROM known").fetchone()
        if last % 1000 == 0:
            connection.execute(
                "DELETE FROM known WHERE key IN (SELECT key FROM known ORDER BY used DESC LIMIT -1 OFFSET ?)", (_MOST,)
            )

    _try(write)


def remove_all() -> None:
    """Forget everything."""
    _try(lambda connection: connection.execute("DELETE FROM known"))


def _try(action: Callable[[sqlite3.Connection], T]) -> T | None:
    try:
        with _lock:
            return action(_opened(os.getpid(), cache_folder()))
    except (sqlite3.Error, OSError, NotImplementedError) as error:
        _log.debug("what is known of files cannot be kept: %s", error)
        return None


@functools.lru_cache(maxsize=4)
def _opened(owner: int, folder: Path) -> sqlite3.Connection:
    connection = open_database(folder / _FILE, _TABLES)
    atexit.register(lambda: connection.close() if os.getpid() == owner else None)
    return connection
