"""The tables of a history, how older ones become the present ones, and how a file is opened.

All times are seconds since 1970 in UTC: neither summer time nor a move to another zone makes an hour occur twice.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from asd.errors import AsdError
from asd.plugin import open_database

APPLICATION = 0x41534468
"""What tells a history from other SQLite files (``PRAGMA application_id``): ASDh."""
SLOT = 300
"""Seconds that a row of ``slots`` sums up."""
HOUR = 3600
"""Seconds that a row of ``hours`` sums up: a year is 8,760 rows, read in some hundredths of a second."""
SUMS = {"slots": SLOT, "hours": HOUR}
"""The tables of sums over verdicts, and the seconds of a row of each."""
_SMALL = 64 * 2**20
"""Bytes up to which a file is checked whole when it is opened to be written."""

_DAMAGED = "pages are wrong"

_FIRST = """
CREATE TABLE machines (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, model TEXT, monitor TEXT, alerts TEXT, seen REAL,
    watched_after REAL);
CREATE TABLE verdicts (
    machine INTEGER NOT NULL REFERENCES machines, time REAL NOT NULL, clip TEXT NOT NULL, score REAL NOT NULL,
    p_value REAL NOT NULL, anomalous INTEGER NOT NULL, state TEXT, state_p_value REAL, watched_p_value REAL,
    evidence REAL, threshold REAL, phase TEXT, PRIMARY KEY (machine, time, clip)) WITHOUT ROWID;
CREATE TABLE slots (
    machine INTEGER NOT NULL REFERENCES machines, slot INTEGER NOT NULL, clips INTEGER NOT NULL,
    anomalous INTEGER NOT NULL, score_sum REAL NOT NULL, score_max REAL NOT NULL, p_value_min REAL NOT NULL,
    evidence_max REAL, alarms INTEGER NOT NULL, PRIMARY KEY (machine, slot)) WITHOUT ROWID;
CREATE TABLE levels (
    machine INTEGER NOT NULL REFERENCES machines, time REAL NOT NULL, seconds REAL NOT NULL, level REAL,
    bands TEXT NOT NULL, PRIMARY KEY (machine, time)) WITHOUT ROWID;
CREATE TABLE conditions (
    id INTEGER PRIMARY KEY, machine INTEGER REFERENCES machines, name TEXT NOT NULL, began REAL NOT NULL, over REAL,
    text TEXT NOT NULL);
CREATE INDEX conditions_by_time ON conditions (machine, began);
CREATE INDEX conditions_that_stand ON conditions (machine, name) WHERE over IS NULL;
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, machine TEXT NOT NULL, time REAL NOT NULL,
    kind TEXT NOT NULL, severity TEXT NOT NULL, text TEXT NOT NULL, data TEXT NOT NULL, acknowledged REAL,
    acknowledged_by TEXT);
CREATE INDEX events_by_time ON events (time);
CREATE INDEX events_by_machine ON events (machine, time);
CREATE TABLE deliveries (
    event INTEGER NOT NULL REFERENCES events, sink TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    changed REAL NOT NULL, error TEXT, PRIMARY KEY (event, sink)) WITHOUT ROWID;
CREATE INDEX deliveries_waiting ON deliveries (sink, event) WHERE state IN ('waiting', 'held');
CREATE TABLE feedback (
    id INTEGER PRIMARY KEY AUTOINCREMENT, machine TEXT NOT NULL, time REAL NOT NULL, kind TEXT NOT NULL,
    data TEXT NOT NULL, done REAL, answer TEXT);
CREATE INDEX feedback_pending ON feedback (id) WHERE done IS NULL;
CREATE TABLE evidence (
    id INTEGER PRIMARY KEY, machine TEXT NOT NULL, event TEXT, kind TEXT NOT NULL, began REAL NOT NULL,
    seconds REAL NOT NULL, file TEXT NOT NULL UNIQUE, bytes INTEGER NOT NULL, data TEXT NOT NULL, deleted REAL,
    reason TEXT);
CREATE INDEX evidence_by_time ON evidence (began);
CREATE INDEX evidence_by_event ON evidence (event);
"""

_SECOND = """
CREATE TABLE hours (
    machine INTEGER NOT NULL REFERENCES machines, slot INTEGER NOT NULL, clips INTEGER NOT NULL,
    anomalous INTEGER NOT NULL, score_sum REAL NOT NULL, score_max REAL NOT NULL, p_value_min REAL NOT NULL,
    evidence_max REAL, alarms INTEGER NOT NULL, PRIMARY KEY (machine, slot)) WITHOUT ROWID;
INSERT INTO hours SELECT machine, slot / 12, sum(clips), sum(anomalous), sum(score_sum), max(score_max),
    min(p_value_min), max(evidence_max), sum(alarms) FROM slots GROUP BY machine, slot / 12;
CREATE INDEX feedback_by_event ON feedback (json_extract(data, '$.event'));
"""

_THIRD = "ALTER TABLE machines ADD COLUMN model_name TEXT"

MIGRATIONS: tuple[str, ...] = (_FIRST, _SECOND, _THIRD)
"""Statements that bring version i of the schema to version i + 1; a new version is a script at the end."""


class HistoryError(AsdError):
    """A history that cannot be opened, read or written."""


class HistoryFullError(HistoryError):
    """A history on a disk without space."""


def located(path: Path) -> Path:
    """Return the file of a history, of which the listener's folder may have been named."""
    return path / "history.sqlite" if path.is_dir() else path


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open a history, or make one, in the present version.

    Raises
    ------
    HistoryError
        If it is no history, damaged, of a newer version, read-only or in use; the text says how to go on.
    """
    try:
        if path.exists():
            _check(path)
        connection = open_database(path, "")
    except (sqlite3.Error, OSError, NotImplementedError) as error:
        raise explained(error, path) from error
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA busy_timeout = 5000")
        migrate(connection)
    except sqlite3.Error as error:
        connection.close()
        raise explained(error, path) from error
    return connection


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a history to the present version, one transaction for each; other processes see the one or the other."""
    while (version := _version(connection)) < len(MIGRATIONS):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _version(connection) == version:  # no other process was faster
                for statement in MIGRATIONS[version].split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a history that may be in use; errors as for `open_to_write`, and where there is none."""
    path = located(path)
    if not path.is_file():
        raise HistoryError(f"{path}: no such history; 'asd listen' keeps one, in the folder that its settings name")
    try:
        version = _check(path)
        connection = _reading(path)
        connection.execute("PRAGMA busy_timeout = 5000")
    except (sqlite3.Error, OSError) as error:
        raise explained(error, path) from error
    if not version:
        connection.close()
        raise HistoryError(f"{path}: holds nothing yet: 'asd listen' was ended before it had begun")
    if version < len(MIGRATIONS):
        connection.close()
        raise HistoryError(
            f"{path}: of version {version}, this asd reads version {len(MIGRATIONS)}; 'asd listen' brings it up to date"
        )
    return connection


def explained(error: Exception, path: Path) -> HistoryError:
    """Return what a user needs to know of an error with the file of a history."""
    name, text = getattr(error, "sqlite_errorname", ""), getattr(error, "strerror", None) or str(error)
    if isinstance(error, HistoryError):
        return error
    if name == "SQLITE_FULL" or "No space left" in text:
        return HistoryFullError(f"{path}: no space left for the history ({text}); free some on this disk")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or isinstance(error, TimeoutError):
        return HistoryError(f"{path}: another program is writing to the history ({text}); end it, or wait for it")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or text.startswith(_DAMAGED):
        return HistoryError(
            f"{path}: damaged, or no history ({text}); move it away, and put back a copy that "
            f"'asd history {path} backup' made, or let 'asd listen' start a new one"
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")) or isinstance(error, PermissionError):
        return HistoryError(f"{path}: cannot be written here ({text}); choose a folder that you may write to")
    return HistoryError(f"{path}: the history cannot be used ({text})")


def _check(path: Path) -> int:
    """Return the version of a file, which is looked at without a change; refuse what is no history or too new."""
    connection = _reading(path)
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (application, bool(version)) != (APPLICATION, True) and (tables or application or version):
            raise HistoryError(f"{path}: an SQLite file, but no history of asd; name another file")
        if version > len(MIGRATIONS):
            raise HistoryError(
                f"{path}: of version {version}, this asd knows versions up to {len(MIGRATIONS)}: "
                "pip install --upgrade asd-listen"
            )
        if path.stat().st_size <= _SMALL:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(f"{_DAMAGED}: {' '.join(found.split())}"[:200])
        return int(version)
    finally:
        connection.close()


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _reading(path: Path) -> sqlite3.Connection:
    """Open a file to read; in a folder where nothing can be written, as one that does not change."""
    name = f"file:{quote(str(path.absolute()))}"
    log = path.with_name(f"{path.name}-wal")
    still = not os.access(path.parent, os.W_OK) and not (log.exists() and log.stat().st_size)
    return sqlite3.connect(
        f"{name}?{'immutable=1' if still else 'mode=ro'}", uri=True, isolation_level=None, check_same_thread=False
    )
