"""What people say of machines and events: remarks in the history, where a listener reads what it must heed."""

from __future__ import annotations

import json
import sqlite3
import time as clock
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from asd_listen.pages import Said, said_of
from asd_listen.reader import Reader
from asd_listen.schema import HistoryError, explained, located

Kind = Literal["normal", "fault", "undo", "acknowledge", "unacknowledge", "note", "withdraw"]
Judgement = Literal["normal", "fault"]
_KEPT = ("fault", "note", "withdraw")
"""Kinds that are for people alone: the listener has nothing to do."""
_JUDGED = ("alarm", "unlike", "drift")
"""Kinds of events that people judge."""
_LONGEST = 2000
_BY = 100


class RemarkError(HistoryError):
    """A remark that does not fit what was said before, or what it is about."""


def remark(path: str | Path, machine: str, kind: Kind, data: Mapping[str, Any]) -> int:
    """Write a remark into the history, and return its number; a listener heeds it within seconds.

    Parameters
    ----------
    path : str or Path
        The history, or the listener's folder.
    machine : str
        Name of the machine.
    kind : {"normal", "fault", "undo", "acknowledge", "unacknowledge", "note", "withdraw"}
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
    return _write(path, [(machine, kind, data)])[0]


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
        if found["acknowledged"] is not None or _said(reader, found["id"]).acknowledged is not None:
            raise RemarkError(f"{reader.path}: event {found['id']} was acknowledged before; nothing to do")
    _write(path, [(found["machine"], "acknowledge", {"event": found["id"], "by": _by(by), "text": found["text"]})])
    return found


def unacknowledge(path: str | Path, event: str, by: str = "") -> dict[str, Any]:
    """Take an acknowledgement back; return the event. Parameters and errors as for `acknowledge`."""
    with Reader(path) as reader:
        found = reader.find_event(event)
        if found["acknowledged"] is None and _said(reader, found["id"]).acknowledged is None:
            raise RemarkError(f"{reader.path}: event {found['id']} was not acknowledged; nothing to take back")
    cleared = "UPDATE events SET acknowledged = NULL, acknowledged_by = NULL WHERE id = ?"
    heeded = (
        "UPDATE feedback SET done = ?, answer = 'taken back' WHERE done IS NULL AND kind = 'acknowledge' "
        "AND json_extract(data, '$.event') = ?"
    )
    remarks: list[_Remark] = [(found["machine"], "unacknowledge", {"event": found["id"], "by": _by(by)})]
    _write(path, remarks, [(cleared, (found["id"],)), (heeded, (clock.time(), found["id"]))])
    return found


def note(path: str | Path, event: str, text: str, by: str = "") -> int:
    """Write a note on an event, and return its number.

    Parameters
    ----------
    path : str or Path
        The history, or the listener's folder.
    event : str
        The event's id, or the beginning of it.
    text : str
        What is noted, up to 2,000 characters.
    by : str
        Who.

    Raises
    ------
    HistoryError
        If there is no such event, the text is empty or too long, or the history cannot be written.
    """
    kept = text.strip()
    if not kept or len(kept) > _LONGEST:
        raise RemarkError(
            f"a note of {len(kept)} characters; write from 1 to {_LONGEST:,}, and put longer texts into a file of yours"
        )
    with Reader(path) as reader:
        found = reader.find_event(event)
    return _write(path, [(found["machine"], "note", {"event": found["id"], "by": _by(by), "text": kept})])[0]


def withdraw(path: str | Path, event: str, number: int, by: str = "") -> dict[str, Any]:
    """Take a note back; return the event. It stays in the table ``feedback``.

    Parameters
    ----------
    path, event, by
        As for `note`.
    number : int
        As `note` returned it.

    Raises
    ------
    HistoryError
        If the event has no such note, or the history cannot be written.
    """
    with Reader(path) as reader:
        found = reader.find_event(event)
        known = [each["id"] for each in _said(reader, found["id"]).notes]
    if number not in known:
        raise RemarkError(f"event {found['id']} has no note {number}; it has {', '.join(map(str, known)) or 'none'}")
    _write(path, [(found["machine"], "withdraw", {"event": found["id"], "by": _by(by), "remark": number})])
    return found


def judge(path: str | Path, event: str, judgement: Judgement, by: str = "") -> dict[str, Any]:
    """Say whether an alarm was a fault, or normal: the listener then takes its clips for healthy.

    Parameters
    ----------
    path : str or Path
        The history, or the listener's folder.
    event : str
        Id of an event of kind ``"alarm"``, ``"unlike"`` or ``"drift"``, or the beginning of it.
    judgement : {"normal", "fault"}
        What it was; a former judgement is taken back with it.
    by : str
        Who says so.

    Returns
    -------
    dict
        The event.

    Raises
    ------
    HistoryError
        If there is no such event, it is of another kind or was judged so before, or the history cannot be written.
    """
    with Reader(path) as reader:
        found = _judged(reader, event)
        former = _said(reader, found["id"]).judgement
        if former == judgement:
            raise RemarkError(f"event {found['id']} was judged {former!r} before; nothing to do")
        about = clips_of(reader, found) if judgement == "normal" else {}
    who = {"event": found["id"], "by": _by(by)}
    taken_back: list[_Remark] = [(found["machine"], "undo", who)] if former == "normal" else []
    _write(path, [*taken_back, (found["machine"], judgement, {**who, **about})])
    return found


def unjudge(path: str | Path, event: str, by: str = "") -> dict[str, Any]:
    """Take the judgement of an event back; return the event. Parameters as for `judge`.

    Raises
    ------
    HistoryError
        If there is no such event, it was not judged, or the history cannot be written.
    """
    with Reader(path) as reader:
        found = _judged(reader, event)
        former = _said(reader, found["id"]).judgement
    if former is None:
        raise RemarkError(f"event {found['id']} was not judged; nothing to take back")
    _write(path, [(found["machine"], "undo", {"event": found["id"], "by": _by(by), "of": former})])
    return found


def clips_of(reader: Reader, event: Mapping[str, Any]) -> dict[str, float]:
    """Return which clips an alarm is about, as data of a remark; nothing: those of the last alarm.

    Parameters
    ----------
    reader : Reader
        The history.
    event : mapping
        One of its events, of a kind that is judged.
    """
    marks = ", ".join("?" * len(_JUDGED))
    later = reader.ask(
        f"SELECT count(*) FROM events WHERE machine = ? AND time > ? AND kind IN ({marks}) "
        "AND json_extract(data, '$.alarm') IS NULL",
        (event["machine"], event["time"], *_JUDGED),
    )
    if not later[0][0]:
        return {}
    over = "SELECT {} FROM events WHERE machine = ? AND kind = 'cleared' AND time {} ?"
    since = reader.ask(over.format("max(time)", "<"), (event["machine"], event["time"]))[0][0]
    until = reader.ask(over.format("min(time)", ">"), (event["machine"], event["time"]))[0][0]
    return {"since": since or 0.0, "until": event["time"] if until is None else until}


def _judged(reader: Reader, event: str) -> dict[str, Any]:
    """Return an event that can be judged; a reminder of an alarm stands for it."""
    found = reader.find_event(event)
    if found["kind"] == "alarm" and found["data"].get("alarm"):
        found = reader.find_event(str(found["data"]["alarm"]))
    if found["kind"] not in _JUDGED:
        raise RemarkError(f"event {found['id']} is of the kind {found['kind']!r}; only {', '.join(_JUDGED)} are judged")
    return found


def _said(reader: Reader, event: str) -> Said:
    return said_of(reader, [event])[event]


def _by(name: str) -> str:
    return name.strip()[:_BY]


_Remark = tuple[str, Kind, Mapping[str, Any]]


def _write(
    path: str | Path, remarks: Sequence[_Remark], changes: Sequence[tuple[str, tuple[Any, ...]]] = ()
) -> list[int]:
    """Write remarks and changes in one transaction, and return the numbers of the remarks."""
    file = located(Path(path))
    now, numbers = clock.time(), []
    try:  # a reader has seen that it is a history of the present version
        connection = sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode=rw", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise explained(error, file) from error
    try:
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.execute("BEGIN IMMEDIATE")
        for machine, kind, data in remarks:
            is_kept = kind in _KEPT or (kind == "undo" and data.get("of") == "fault")
            done = connection.execute(
                "INSERT INTO feedback (machine, time, kind, data, done, answer) VALUES (?, ?, ?, ?, ?, ?)",
                (machine, now, kind, json.dumps(dict(data)), *((now, "kept") if is_kept else (None, None))),
            )
            numbers.append(int(done.lastrowid or 0))
        for statement, values in changes:
            connection.execute(statement, values)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise explained(error, file) from error
    finally:
        connection.close()
    return numbers


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
