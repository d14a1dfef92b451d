"""What people tell a listener, which may be running: it reads these remarks from its history."""

from __future__ import annotations

import json
import sqlite3
import time as clock
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from asd_listen.reader import Reader
from asd_listen.schema import HistoryError, explained, located, open_to_write

Kind = Literal["normal", "undo", "acknowledge"]


def remark(path: str | Path, machine: str, kind: Kind, data: Mapping[str, Any]) -> int:
    """Write a remark for the listener, and return its number; the listener heeds it within seconds.

    Parameters
    ----------
    path : str or Path
        The history, or the listener's folder.
    machine : str
        Name of the machine.
    kind : {"normal", "undo", "acknowledge"}
        As for `asd_listen.history.History.feedback_pending`.
    data : mapping of str to Any
        The same.

    Raises
    ------
    HistoryError
        If the history does not know the machine, or cannot be written.
    """
    with Reader(path) as reader:
        known = reader.machines()
    if machine not in known:
        raise HistoryError(
            f"{located(Path(path))}: knows no machine {machine!r}; it knows {', '.join(known) or 'none'}"
        )
    connection = open_to_write(located(Path(path)))
    try:
        done = connection.execute(
            "INSERT INTO feedback (machine, time, kind, data) VALUES (?, ?, ?, ?)",
            (machine, clock.time(), kind, json.dumps(dict(data))),
        )
    except sqlite3.Error as error:
        raise explained(error, located(Path(path))) from error
    finally:
        connection.close()
    return int(done.lastrowid or 0)


def acknowledge(path: str | Path, event: str, by: str = "") -> dict[str, Any]:
    """Say that somebody has seen an event and takes care of it; return the event.

    Parameters
    ----------
    path : str or Path
        The history, or the listener's folder.
    event : str
        The event's id, or the beginning of it.
    by : str
        Who.

    Raises
    ------
    HistoryError
        If there is no such event, it was acknowledged before, or the history cannot be written.
    """
    with Reader(path) as reader:
        found = reader.find_event(event)
        if found["acknowledged"] is not None or any(
            row["data"].get("event") == found["id"] for row in reader.rows("feedback") if row["kind"] == "acknowledge"
        ):
            raise HistoryError(f"{reader.path}: event {found['id']} was acknowledged before; nothing to do")
    remark(path, found["machine"], "acknowledge", {"event": found["id"], "by": by, "text": found["text"]})
    return found


def is_listening(path: str | Path) -> bool:
    """Return whether a listener has the history open."""
    import filelock

    file = located(Path(path))
    lock = filelock.FileLock(file.with_name(f".{file.name}.lock"), timeout=0)
    try:
        with lock:
            return False
    except (filelock.Timeout, OSError):
        return True


def back_up(path: str | Path, target: Path) -> None:
    """Copy a history, while a listener may be writing it, to a new file.

    Raises
    ------
    HistoryError
        If the target is there already, or cannot be written; nothing is left of it then.
    """
    if target.exists():
        raise HistoryError(f"{target}: is there already; name a new file")
    part = target.with_name(f".{target.name}.part")
    with Reader(path) as reader:
        try:
            part.unlink(missing_ok=True)
            copy = sqlite3.connect(part)
            try:
                with reader.connection() as connection:
                    connection.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, that can be read anywhere
            finally:
                copy.close()
            part.replace(target)
        except (sqlite3.Error, OSError) as error:
            part.unlink(missing_ok=True)
            raise explained(error, target) from error
