"""SQLite files that several processes use at once and that a kill leaves whole."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

_PATIENCE = 60.0
"""Seconds to wait for another process that is writing."""
_in_wal_mode: set[tuple[int, int]] = set()
"""Device and inode of the files that are known to be in WAL mode."""


def open_database(path: Path, tables: str) -> sqlite3.Connection:
    """Open a database, making it and its folder if they are not there; each statement commits by itself.

    It is in WAL mode where the file system allows that; elsewhere SQLite stays in its usual mode, which is slower.
    Several threads may use the connection, one at a time.

    Parameters
    ----------
    path : Path
        The file.
    tables : str
        ``CREATE … IF NOT EXISTS`` statements.

    Raises
    ------
    OSError, NotImplementedError, sqlite3.Error
        If it cannot be opened, locked or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with nullcontext() if _is_in_wal_mode(path) else _lock(path):
        connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(tables)
        except BaseException:
            connection.close()
            raise
        if mode == "wal":
            status = path.stat()
            _in_wal_mode.add((status.st_dev, status.st_ino))
    return connection


def _is_in_wal_mode(path: Path) -> bool:
    """Return whether the header of a database says that it is in WAL mode (sqlite.org/fileformat.html, 1.3.3).

    A file is looked into once a process: closing it would drop the locks of connections that are open by then, and
    another process would take the log away from under them (sqlite.org/howtocorrupt.html, 2.2).
    """
    try:
        status = path.stat()
        place = (status.st_dev, status.st_ino)
        if place not in _in_wal_mode:
            with path.open("rb") as file:
                if file.read(20)[18:] != b"\2\2":
                    return False
            _in_wal_mode.add(place)
    except FileNotFoundError:
        return False
    return True


def _lock(path: Path) -> AbstractContextManager[Any]:
    """Return a lock beside `path`: SQLite waits for others that write, but not for others that turn to WAL mode."""
    import filelock

    return filelock.FileLock(path.with_name(f"{path.name}.lock"), timeout=_PATIENCE)
