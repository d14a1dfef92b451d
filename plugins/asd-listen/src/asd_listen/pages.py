"""Events of a history page by page, with what people said of them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from asd.errors import ConfigError
from asd.plugin import Severity
from asd_listen.reader import Reader, Row

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "alarm")
"""From the least to the most."""
_COLUMNS = ("number", "id", "machine", "time", "kind", "severity", "text", "data", "acknowledged", "acknowledged_by")
_FAR = 1e12


@dataclass
class Said:
    """What people said of an event.

    Parameters
    ----------
    judgement : {"normal", "fault"} or None
        The last judgement that was not taken back.
    judgements, notes : list of dict
        All of them: ``time``, ``by``, and ``judgement`` (``"undo"``: the one before was taken back) with the listener's
        ``answer``, or ``id`` and ``text``. A note that was withdrawn is left out.
    acknowledged : float or None
        When somebody acknowledged it, whether or not a listener has heeded that already.
    acknowledged_by : str or None
        Who.
    """

    judgement: str | None = None
    judgements: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    acknowledged: float | None = None
    acknowledged_by: str | None = None


def event_page(
    reader: Reader,
    *,
    machine: str | None = None,
    kinds: Sequence[str] = (),
    severity: Severity = "info",
    since: float = 0.0,
    until: float = _FAR,
    before: str | None = None,
    limit: int = 50,
) -> tuple[list[Row], str | None]:
    """Return events, the newest first, and the cursor of the next page.

    An event that is written between two pages changes nothing in what the next pages hold, unless it is older than the
    first of them.

    Parameters
    ----------
    reader : Reader
        The history.
    machine : str, optional
        Name of a machine.
    kinds : sequence of str
        Kinds of events, such as ``"alarm"``; empty: all.
    severity : {"info", "warning", "alarm"}
        The least severity.
    since, until : float
        First time, and the time before which it ends, in seconds since 1970.
    before : str, optional
        The cursor that the page before gave.
    limit : int
        How many at most.

    Returns
    -------
    list of dict
        ``id``, ``machine``, ``time``, ``kind``, ``severity``, ``text``, ``data``, ``acknowledged``,
        ``acknowledged_by``, ``judgement``, ``notes`` (their number).
    str or None
        The cursor; None: that was all.

    Raises
    ------
    ConfigError
        If the cursor is none.
    HistoryError
        If the history cannot be read.
    """
    wanted, values = _wanted(machine, kinds, severity, since, until)
    if before is not None:
        wanted.append("(time, number) < (?, ?)")
        values += _place(before)
    chosen = f"SELECT {', '.join(_COLUMNS)} FROM events WHERE {' AND '.join(wanted)}"
    found = reader.ask(f"{chosen} ORDER BY time DESC, number DESC LIMIT ?", (*values, limit + 1))
    rows = [_row(each) for each in found[:limit]]
    _add_what_was_said(reader, rows)
    following = f"{rows[-1]['time']!r}_{rows[-1]['number']}" if len(found) > limit else None
    for row in rows:
        del row["number"]
    return rows, following


def _wanted(
    machine: str | None, kinds: Sequence[str], severity: Severity, since: float, until: float
) -> tuple[list[str], list[Any]]:
    """Return the conditions that events must meet, in SQL, and the values in them."""
    severities = SEVERITIES[SEVERITIES.index(severity) :]
    wanted = ["time >= ?", "time < ?", f"severity IN ({_marks(severities)})"]
    values: list[Any] = [since, until, *severities]
    if machine is not None:
        wanted.append("machine = ?")
        values.append(machine)
    if kinds:
        wanted.append(f"kind IN ({_marks(kinds)})")
        values += kinds
    return wanted, values


def event_with_id(reader: Reader, event: str) -> Row | None:
    """Return an event, as `event_page` does, or None if there is none with exactly this id."""
    found = reader.ask(f"SELECT {', '.join(_COLUMNS)} FROM events WHERE id = ?", (event,))
    rows = [_row(each) for each in found]
    _add_what_was_said(reader, rows)
    for row in rows:
        del row["number"]
    return rows[0] if rows else None


def events_after(reader: Reader, number: int, limit: int = 200) -> tuple[list[Row], int]:
    """Return the events that were written after the one with this number, in that order, and the last one's number."""
    found = reader.ask(
        f"SELECT {', '.join(_COLUMNS)} FROM events WHERE number > ? ORDER BY number LIMIT ?", (number, limit)
    )
    rows = [_row(each) for each in found]
    _add_what_was_said(reader, rows)
    for row in rows:
        number = row.pop("number")
    return rows, number


def said_of(reader: Reader, events: Sequence[str]) -> dict[str, Said]:
    """Return what people said of events, by id; all of `events` are keys."""
    said = {event: Said() for event in events}
    found = reader.ask(
        "SELECT json_extract(data, '$.event'), id, time, kind, data, answer FROM feedback "
        f"WHERE json_extract(data, '$.event') IN ({_marks(events)}) ORDER BY id",
        tuple(events),
    )
    for event, number, time, kind, text, answer in found:
        _take(said[event], number, time, kind, json.loads(text), answer)
    return said


def _take(said: Said, number: int, time: float, kind: str, data: dict[str, Any], answer: str | None) -> None:
    by = str(data.get("by", ""))
    if kind in ("normal", "fault", "undo"):
        said.judgement = None if kind == "undo" else kind
        said.judgements.append({"time": time, "by": by, "judgement": kind, "answer": answer})
    elif kind == "note":
        said.notes.append({"id": number, "time": time, "by": by, "text": str(data.get("text", ""))})
    elif kind == "withdraw":
        said.notes = [note for note in said.notes if note["id"] != data.get("remark")]
    elif kind in ("acknowledge", "unacknowledge"):
        seen = kind == "acknowledge"
        said.acknowledged, said.acknowledged_by = (time, by) if seen else (None, None)


def _add_what_was_said(reader: Reader, rows: Sequence[Row]) -> None:
    said = said_of(reader, [row["id"] for row in rows]) if rows else {}
    for row in rows:
        own = said[row["id"]]
        row["judgement"], row["notes"] = own.judgement, len(own.notes)
        if row["acknowledged"] is None and own.acknowledged is not None:  # no listener has heeded it yet
            row["acknowledged"], row["acknowledged_by"] = own.acknowledged, own.acknowledged_by


def _row(values: Sequence[Any]) -> Row:
    row = dict(zip(_COLUMNS, values, strict=True))
    return {**row, "data": json.loads(row["data"])}


def _place(cursor: str) -> tuple[float, int]:
    time, _, number = cursor.partition("_")
    try:
        place = float(time), int(number)
        if math.isfinite(place[0]) and abs(place[1]) < 2**63:
            return place
    except ValueError:
        pass
    raise ConfigError(f"no cursor of a page of events: {cursor[:80]!r}; give the one that the page before gave")


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
