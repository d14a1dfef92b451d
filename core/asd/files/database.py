"""SQLite files that several processes use at once and that a kill leaves whole."""

from __future__ import annotations

import sqlite3
from pathlib import Path

_PATIENCE = 60.0
"""Seconds to wait for another process that is writing."""


def open_database(path: Path, tables: str) -> sqlite3.Connection:
    """Open a database in WAL mode, making it and its folder if they are not there; each statement commits by itself.

    Parameters
    ----------
    path : Path
        The file.
    tables : str
        ``CREATE … IF NOT EXISTS`` statements.

    Raises
    ------
    OSError, sqlite3.Error
        If it cannot be opened or written to.
    """
    import filelock

    path.parent.mkdir(parents=True, exist_ok=True)
    # SQLite waits for others that write, but not for others that are turning a new file to WAL mode.
    with filelock.FileLock(path.with_name(f"{path.name}.lock"), timeout=_PATIENCE):
        connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(tables)
    return connection
