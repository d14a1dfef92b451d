"""The server's own database: keys and sessions. Machines, events and sound are in the history of a listener."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from asd.errors import ConfigError
from asd.plugin import open_database
from asd_serve.request_error import RequestError

_VERSION = 1
_PATIENCE = 250
"""Milliseconds to wait for another process that writes: a request waits as long."""
_TABLES = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, hash BLOB NOT NULL, made REAL NOT NULL, used REAL,
    revoked REAL
);
CREATE TABLE IF NOT EXISTS sessions (
    hash BLOB PRIMARY KEY, key TEXT NOT NULL REFERENCES keys (id), made REAL NOT NULL, used REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@contextmanager
def only_server(folder: Path) -> Iterator[None]:
    """Hold the folder of a server; commands that manage keys may use it meanwhile.

    Raises
    ------
    ConfigError
        If another server holds it, or it cannot be used.
    """
    import filelock

    lock = filelock.FileLock(folder / ".serve.sqlite.lock", timeout=0, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock.acquire()
    except filelock.Timeout as error:
        raise ConfigError(f"{folder}: another 'asd serve' uses this folder; stop it, or give --folder") from error
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be used ({error.strerror}); choose another --folder") from error
    try:
        yield
    finally:
        lock.release()


class Database:
    """A SQLite file that the server and its commands share. Several threads may use it.

    Parameters
    ----------
    path : Path
        The file; it and its folder are made if they are not there, readable by their owner only.

    Raises
    ------
    ConfigError
        If it cannot be used: read-only, damaged, of another program or a newer version, locked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if path.exists():
                self._look()
            else:
                path.touch(0o600)
            self._connection = open_database(path, "")
        except (OSError, NotImplementedError, sqlite3.Error) as error:
            raise ConfigError(self._told(error)) from error
        try:
            self._begin()
        except sqlite3.Error as error:
            self.close()
            raise ConfigError(self._told(error)) from error
        except BaseException:
            self.close()
            raise

    def _look(self) -> None:
        """Refuse what is none of ours, before anything is changed in it."""
        with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            (version,) = file.execute("PRAGMA user_version").fetchone()
            (others,) = file.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if version > _VERSION:
            raise ConfigError(
                f"{self.path}: written by a newer version of asd-serve (format {version}, this one reads up to "
                f"{_VERSION}); upgrade with 'pip install -U asd-serve'"
            )
        if version == 0 and others:
            raise ConfigError(f"{self.path}: a database of another program; give the server a folder of its own")

    def _begin(self) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {_PATIENCE}")
        self._connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT")
        self._connection.execute("INSERT OR IGNORE INTO facts VALUES ('id', ?)", (secrets.token_hex(4),))

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._connection.close()

    @property
    def identity(self) -> str:
        """Eight characters that tell this server from others on the same host."""
        return str(self.rows("SELECT value FROM facts WHERE name = 'id'")[0][0])

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """Return what a query finds.

        Raises
        ------
        RequestError
            If the file cannot be read now: 503.
        """
        with self._usable(), self._lock:
            return self._connection.execute(sql, values).fetchall()

    def change(self, sql: str, *values: Any) -> int:
        """Write, and return how many rows changed.

        Raises
        ------
        RequestError
            If the file cannot be written now: 503, or 507 if the disk is full.
        """
        with self._usable(), self._lock:
            return self._connection.execute(sql, values).rowcount

    def note(self, sql: str, *values: Any) -> None:
        """Write what may be lost: nothing happens if the file cannot be written now."""
        with suppress(RequestError):
            self.change(sql, *values)

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            is_full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
            raise RequestError(507 if is_full else 503, self._told(error), {"Retry-After": "5"}) from error

    def _told(self, error: Exception) -> str:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        reason, mend = {
            sqlite3.SQLITE_BUSY: ("locked by another program", "try again when that has ended"),
            sqlite3.SQLITE_LOCKED: ("locked by another program", "try again when that has ended"),
            sqlite3.SQLITE_READONLY: ("cannot be written", "give its owner the right to write"),
            sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "give its owner the right to read and write"),
            sqlite3.SQLITE_FULL: ("the disk is full", "free some space"),
            sqlite3.SQLITE_NOTADB: ("no database of asd-serve", "choose another --folder, or put back a copy"),
            sqlite3.SQLITE_CORRUPT: ("damaged", "put back a copy, or move it away: new keys are then needed"),
        }.get(code, (getattr(error, "strerror", None) or str(error), "choose another --folder"))
        return f"{self.path}: {reason}; {mend}"
