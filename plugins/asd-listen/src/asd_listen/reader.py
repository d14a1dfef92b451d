"""Questions to a history; many may ask while the listener writes."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from asd_listen.schema import SUMS, HistoryError, explained, located, open_to_read

Row = dict[str, Any]

TABLES = ("verdicts", "events", "conditions", "levels", "feedback", "evidence", "deliveries", "machines")
"""What `Reader.rows` gives, and ``asd history`` shows and exports."""

_FAR = 1e12
_QUERIES = {
    "verdicts": (
        "SELECT m.name AS machine, v.time, v.clip, v.score, v.p_value, v.anomalous, v.state, v.state_p_value, "
        "v.watched_p_value, v.evidence, v.threshold, v.phase FROM verdicts v JOIN machines m ON m.id = v.machine "
        "WHERE v.machine IN ({machines}) AND v.time >= :since AND v.time < :until"
    ),
    "events": (
        "SELECT id, machine, time, kind, severity, text, data, acknowledged, acknowledged_by FROM events "
        "WHERE {named} AND time >= :since AND time < :until"
    ),
    "conditions": (
        "SELECT coalesce(m.name, '') AS machine, c.name, c.began, c.over, c.text FROM conditions c "
        "LEFT JOIN machines m ON m.id = c.machine WHERE {known} AND c.began < :until "
        "AND (c.over IS NULL OR c.over >= :since)"
    ),
    "levels": (
        "SELECT m.name AS machine, l.time, l.seconds, l.level, l.bands FROM levels l "
        "JOIN machines m ON m.id = l.machine WHERE l.machine IN ({machines}) AND l.time >= :since "
        "AND l.time < :until"
    ),
    "feedback": (
        "SELECT id, machine, time, kind, data, done, answer FROM feedback "
        "WHERE {named} AND time >= :since AND time < :until"
    ),
    "evidence": (
        "SELECT machine, event, kind, began, seconds, file, bytes, data, deleted, reason FROM evidence "
        "WHERE {named} AND began >= :since AND began < :until"
    ),
    "deliveries": (
        "SELECT e.id AS event, e.machine, e.time, d.sink, d.state, d.attempts, d.changed, d.error FROM deliveries d "
        "JOIN events e ON e.number = d.event WHERE {named} AND e.time >= :since AND e.time < :until "
    ),
    "machines": "SELECT name, model, monitor, seen FROM machines WHERE {named_here}",
}
_ORDER = {
    "verdicts": ("v.machine", "v.time", "v.clip"),
    "events": ("time", "number"),
    "conditions": ("c.began", "c.id"),
    "levels": ("l.machine", "l.time"),
    "feedback": ("id",),
    "evidence": ("began", "id"),
    "deliveries": ("d.event", "d.sink"),
    "machines": ("name",),
}
_SINGLE = (
    "SELECT time, 1 AS clips, anomalous, coalesce(phase, '') = 'alarm' AS alarms, score AS score_sum, "
    "score AS score_max, p_value AS p_value_min, evidence AS evidence_max FROM verdicts WHERE machine = :id"
)
_SUMS = (
    "SELECT slot * :unit AS time, clips, anomalous, alarms, score_sum, score_max, p_value_min, evidence_max "
    "FROM {table} WHERE machine = :id AND slot >= :first / :unit AND slot < :last / :unit"
)
_BY_MACHINE = ("verdicts", "levels")
"""Tables that are kept machine by machine."""


@dataclass(frozen=True)
class Point:
    """Verdicts of a stretch of time, summed up.

    Parameters
    ----------
    time : float
        When the stretch begins, in seconds since 1970.
    clips, anomalous, alarms : int
        Clips judged, those of them that were unusual by themselves, and those during an alarm.
    score, score_max : float
        Mean and highest score.
    p_value_min : float
        Lowest p-value by the model.
    evidence : float or None
        Highest evidence.
    """

    time: float
    clips: int
    anomalous: int
    alarms: int
    score: float
    score_max: float
    p_value_min: float
    evidence: float | None


class Reader:
    """A history that is read, while a listener may be writing it.

    Parameters
    ----------
    path : str or Path
        The file, or the listener's folder.

    Raises
    ------
    HistoryError
        If there is none, or it cannot be read; so do all methods.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = located(Path(path))
        self._lock = threading.RLock()
        self._connection = open_to_read(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._connection.close()

    def machines(self) -> list[str]:
        """Return the names of all machines that were listened to."""
        return [name for (name,) in self.ask("SELECT name FROM machines ORDER BY name")]

    def rows(
        self, table: str, machine: str | None = None, since: float = 0.0, until: float = _FAR, last: int | None = None
    ) -> Iterator[Row]:
        """Yield the rows of a table in the order of time; what is kept as JSON is decoded.

        Parameters
        ----------
        table : str
            One of `TABLES`.
        machine : str, optional
            Name of a machine; None: all.
        since, until : float
            First time, and the time before which it ends, in seconds since 1970; not of ``machines``.
        last : int, optional
            Only so many rows, the last ones.
        """
        if last is not None:
            yield from self._last(table, machine, since, until, last)
            return
        query = f"{self._query(table, machine)} ORDER BY {', '.join(_ORDER[table])}"
        with self.connection() as connection:
            cursor = connection.execute(query, {"machine": machine, "since": since, "until": until})
        while batch := self._fetched(cursor):
            yield from (_decoded(cursor, values) for values in batch)

    def _last(self, table: str, machine: str | None, since: float, until: float, last: int) -> list[Row]:
        """Return the last rows, found from the end: by machine, and the latest of them."""
        named = self.machines() if machine is None and table in _BY_MACHINE else [machine]
        order = ", ".join(f"{column} DESC" for column in _ORDER.get(table, ()))
        found: list[Row] = []
        for name in named:
            query = f"{self._query(table, name)} ORDER BY {order} LIMIT {last}"
            with self.connection() as connection:
                cursor = connection.execute(query, {"machine": name, "since": since, "until": until})
                found += reversed([_decoded(cursor, values) for values in cursor])
        if len(named) > 1:
            found.sort(key=lambda row: row["time"])
        return found[-last:]

    def columns(self, table: str) -> list[str]:
        """Return the names of a table's columns."""
        with self.connection() as connection:
            parameters = {"machine": None, "since": 0, "until": 0}
            cursor = connection.execute(f"{self._query(table, None)} LIMIT 0", parameters)
        return [column[0] for column in cursor.description]

    def verdicts_after(self, machine: str, time: float | None) -> list[Row]:
        """Return the verdicts on clips later than `time` (None: all): what a monitor must catch up with."""
        return [row for row in self.rows("verdicts", machine, 0.0 if time is None else time) if row["time"] != time]

    def series(self, machine: str, since: float, until: float, points: int = 1000) -> list[Point]:
        """Return the verdicts of a machine as at most so many points; a year takes about as long as a day.

        Each point sums up exactly the verdicts of its stretch, the first and the last one too, of which `since` and
        `until` may leave a part. Stretches begin at multiples of their length, so that they stay the same when the span
        moves.

        Parameters
        ----------
        machine : str
            Name of the machine.
        since, until : float
            First time, and the time before which it ends, in seconds since 1970.
        points : int
            How many at most, from 2; stretches without a clip have none.
        """
        if not until > since:
            return []
        table, unit, width = _stretch(since, until, points)
        first = last = until  # between them sums are read, outside the verdicts themselves
        parts = [f"{_SINGLE} AND time >= :since AND time < :first"]
        if table is not None:
            first, last = float(unit * math.ceil(since / unit)), float(unit * (until // unit))
            parts += [_SUMS.format(table=table), f"{_SINGLE} AND time >= :last AND time < :until"]
        found = self.ask(
            "SELECT cast(time / :width AS INTEGER) AS bucket, sum(clips), sum(anomalous), sum(alarms), "
            "sum(score_sum) / sum(clips), max(score_max), min(p_value_min), max(evidence_max) "
            f"FROM ({' UNION ALL '.join(parts)}) GROUP BY bucket ORDER BY bucket",
            {
                **{"since": since, "until": until, "width": width, "unit": unit, "first": first, "last": last},
                "id": self._number(machine),
            },
        )
        return [Point(max(since, bucket * width), *values) for bucket, *values in found]

    def step(self, since: float, until: float, points: int = 1000) -> float:
        """Return the seconds from one point of such a `series` to the next."""
        return _stretch(since, until, points)[2]

    def _number(self, machine: str) -> int | None:
        found = self.ask("SELECT id FROM machines WHERE name = ?", (machine,))
        return int(found[0][0]) if found else None

    def find_event(self, beginning: str) -> Row:
        """Return an event by its id, or by the beginning of it that no other one shares."""
        found = self.ask(
            "SELECT id, machine, time, kind, severity, text, data, acknowledged, acknowledged_by FROM events "
            "WHERE substr(id, 1, length(:id)) = :id LIMIT 2",
            {"id": beginning},
        )
        if len(found) != 1 or not beginning:
            raise HistoryError(
                f"{self.path}: {'several events' if found else 'no event'} with id {beginning!r}; "
                f"'asd history {self.path} show --table events' lists them"
            )
        names = ("id", "machine", "time", "kind", "severity", "text", "data", "acknowledged", "acknowledged_by")
        row = dict(zip(names, found[0], strict=True))
        return {**row, "data": json.loads(row["data"])}

    def check(self) -> list[str]:
        """Return what is damaged in the file; nothing: it is whole."""
        found = [text for (text,) in self.ask("PRAGMA integrity_check")]
        broken = self.ask("PRAGMA foreign_key_check")
        return [text for text in found if text != "ok"] + [f"{row[0]}: a row without its {row[2]}" for row in broken]

    def _query(self, table: str, machine: str | None) -> str:
        if table not in _QUERIES:
            raise HistoryError(f"no table {table!r} in a history; there are {', '.join(TABLES)}")
        if machine is None:
            return _QUERIES[table].format(machines="SELECT id FROM machines", named="1", named_here="1", known="1")
        return _QUERIES[table].format(
            machines="SELECT id FROM machines WHERE name = :machine",
            named="machine = :machine",
            named_here="name = :machine",
            known="m.name = :machine",
        )

    def ask(self, query: str, parameters: Any = ()) -> Sequence[tuple[Any, ...]]:
        """Return the rows that answer a query in SQL."""
        with self.connection() as connection:
            return connection.execute(query, parameters).fetchall()

    def _fetched(self, cursor: sqlite3.Cursor) -> list[tuple[Any, ...]]:
        with self.connection():
            return cursor.fetchmany(1000)

    def connection(self) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        """Return the connection, for one thread at a time, in a block that explains SQLite's errors."""
        return _Reading(self._lock, self._connection, self.path)


def _stretch(since: float, until: float, points: int) -> tuple[str | None, int, float]:
    """Return the table of sums from which points are made, the seconds of its rows, and of a point."""
    for count in (points, max(points - 1, 1)):  # a stretch that lies across the begin is one more
        table, unit, width = None, 0, max((until - since) / count, 1e-3)
        for name, seconds in SUMS.items():
            if width >= seconds:
                table, unit = name, seconds
        if unit:
            width = float(unit * math.ceil(width / unit))
        if width * (since // width + points) >= until:
            break
    return table, unit, width


def _decoded(cursor: sqlite3.Cursor, values: Sequence[Any]) -> Row:
    row = dict(zip((column[0] for column in cursor.description), values, strict=True))
    for name in {"data", "bands"} & row.keys():
        row[name] = json.loads(row[name])
    if "anomalous" in row:
        row["anomalous"] = bool(row["anomalous"])
    return row


class _Reading:
    """A connection that one thread uses at a time, and whose errors are explained."""

    def __init__(self, lock: Any, connection: sqlite3.Connection, path: Path) -> None:
        self._lock = lock
        self._connection, self._path = connection, path

    def __enter__(self) -> sqlite3.Connection:
        self._lock.acquire()
        return self._connection

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._lock.release()
        if isinstance(error, sqlite3.Error):
            raise explained(error, self._path) from error
