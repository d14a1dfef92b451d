"""What a listener keeps: verdicts, levels, conditions, events with their deliveries, feedback, and where evidence lies.

One SQLite file. What belongs to a clip is written in one transaction, so that a kill loses all of the clip or nothing.
One listener writes at a time; other processes read, acknowledge and give feedback meanwhile. A monitor's own file may
lag behind: what it has not seen is in `Reader.verdicts_after`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import sqlite3
import threading
import time as clock
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from asd.plugin import Event
from asd_listen.reader import Reader, Row
from asd_listen.schema import SUMS, HistoryError, HistoryFullError, explained, located, open_to_write

_log = logging.getLogger("asd")
Write = tuple[str, Any]
"""A statement in SQL and its values."""
_MOST_NOTED = 20_000
"""Statements that wait in memory while the file takes none; some hours of one stream."""
_MOST_EVENTS = 1000
_BRIEF = 300
"""Milliseconds that a listener waits for another process's transaction; then it goes on, and writes with the next."""
_GLANCE = 0.3
"""Seconds that another process may hold the lock to see whether somebody else does (`is_listening`)."""
_CACHE = 256
"""Kibibytes of pages that SQLite keeps; by default it fills 2 MB over hours, which looks like a leak."""
_ROOM = 2**16
"""Bytes that are asked for at a time when the disk is full."""

_SUM_UPDATE = (
    "INSERT INTO {table} VALUES ((SELECT id FROM machines WHERE name = ?), ?, 1, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (machine, slot) DO UPDATE SET clips = clips + 1, anomalous = anomalous + excluded.anomalous, "
    "score_sum = score_sum + excluded.score_sum, score_max = max(score_max, excluded.score_max), "
    "p_value_min = min(p_value_min, excluded.p_value_min), "
    "evidence_max = coalesce(max(evidence_max, excluded.evidence_max), excluded.evidence_max, evidence_max), "
    "alarms = alarms + excluded.alarms"
)


class HistorySettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Table ``[history]`` of a listener's settings.

    Parameters
    ----------
    keep_days : float
        Age in days at which verdicts, levels and conditions go; events and feedback stay. Default: 400.
    """

    keep_days: float = 400.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.keep_days) and self.keep_days > 0):
            raise ValueError(f"keep_days must be above 0, got {self.keep_days}")


class History(Reader):
    """The history of a listener, which it alone writes; a context manager. Several threads may use it.

    `verdict`, `levels`, `condition` and `event` note what is to be written; `commit` writes all of it, or none. None of
    these raises for a file that takes nothing: what was noted waits in memory, and `trouble` says why.

    Parameters
    ----------
    path : str or Path
        The file, made if it is not there, or its folder.

    Attributes
    ----------
    trouble : str or None
        Why the last commit failed, as one line for people.
    lost : int
        Entries that were given up because too many waited.
    make_room : callable
        Called with the bytes wanted when the disk is full; returns whether it has freed some.
    sinks_for : callable
        Gives the names of the sinks to which an event goes; set by the outbox.
    committed : callable
        Called after each commit of events; set by the outbox.

    Raises
    ------
    HistoryError
        If another listener uses it, or it is damaged, read-only, of a newer version, or no history.
    """

    def __init__(self, path: str | Path) -> None:
        import filelock

        self.path = located(Path(path))
        if not self.path.parent.is_dir():  # the lock would make it
            raise HistoryError(f"{self.path.parent}: no such folder to keep the history in; make it first")
        self._lock = threading.RLock()
        # Whichever thread closes it: a server stops its listener from another one than began it.
        file = self.path.with_name(f".{self.path.name}.lock")
        self._only = filelock.FileLock(file, timeout=_GLANCE, thread_local=False)
        self._noted: deque[Write] = deque()
        self._known: set[str] = set()
        self._events: dict[str, tuple[Event, tuple[str, ...]]] = {}
        self.trouble: str | None = None
        self.lost = 0
        self.make_room: Callable[[int], bool] = lambda _: False
        self.sinks_for: Callable[[Event], Sequence[str]] = lambda _: ()
        self.committed: Callable[[], None] = lambda: None
        try:
            self._only.acquire()
        except filelock.Timeout as error:
            raise HistoryError(
                f"{self.path}: another listener is using this history; stop it, or give this one a folder of its own"
            ) from error
        except OSError as error:
            raise explained(error, self.path) from error
        try:
            self._connection = open_to_write(self.path)
            self._connection.execute(f"PRAGMA busy_timeout = {_BRIEF}")
            self._connection.execute(f"PRAGMA cache_size = -{_CACHE}")
        except BaseException:
            self._only.release()
            raise

    @classmethod
    def open(cls, path: str | Path) -> History:
        """Return ``History(path)``."""
        return cls(path)

    def close(self) -> None:
        """Write what waits, as far as that goes, and let other listeners use the history."""
        with self._lock:
            self.commit()
            self._connection.close()
        self._only.release()

    # ------------------------------------------------------------------------------------------------ what is noted

    def machine(
        self, name: str, *, model: str | None = None, monitor: Path | None = None, model_name: str | None = None
    ) -> None:
        """Note a machine that is listened to, with the digest and the name of its model, and its monitor's file."""
        self._note(
            "INSERT INTO machines (name, model, monitor, seen, model_name) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET model = coalesce(excluded.model, model), "
            "monitor = coalesce(excluded.monitor, monitor), seen = excluded.seen, "
            "model_name = coalesce(excluded.model_name, model_name)",
            (name, model, None if monitor is None else str(monitor.absolute()), clock.time(), model_name),
        )

    def monitor_begun(self, machine: str) -> None:
        """Write that the monitor of a machine is new: verdicts so far are none of its own.

        Raises
        ------
        HistoryError
            If that cannot be written.
        """
        self._know(machine)
        self.commit()
        newest = "(SELECT max(time) FROM verdicts WHERE machine = machines.id)"
        self.write([(f"UPDATE machines SET watched_after = {newest} WHERE name = ?", (_encodable(machine),))])

    def unseen(self, machine: str, last: float | None) -> list[Row]:
        """Return the verdicts that a monitor must catch up with after a kill.

        Parameters
        ----------
        machine : str
            Name of the machine.
        last : float or None
            Time of the last clip that the monitor's own file knows; None: it knows none.
        """
        if last is None:
            found = self.ask("SELECT watched_after FROM machines WHERE name = ?", (_encodable(machine),))
            last = found[0][0] if found else None
        return self.verdicts_after(_encodable(machine), last)

    def verdict(self, machine: str, time: float, verdict: Any, status: Any = None) -> None:
        """Note what the model and the monitor say of a clip.

        Parameters
        ----------
        machine : str
            Name of the machine.
        time : float
            Time of the clip, the same as for the monitor.
        verdict : asd.Verdict
            What the model says.
        status : asd.Status, optional
            What the monitor says; None: nobody watches.
        """
        self._know(machine)
        if not math.isfinite(verdict.score):
            return  # a monitor takes none of these either
        name = str(dataclasses.replace(verdict.clip, path=Path(verdict.clip.path.name)))
        watched: tuple[Any, ...] = (None,) * 4
        if status is not None:
            watched = (status.p_value, status.evidence, status.threshold, status.phase)
        self._note(
            "INSERT OR IGNORE INTO verdicts VALUES ((SELECT id FROM machines WHERE name = ?), ?, ?, ?, ?, ?, ?, ?, ?, "
            "?, ?, ?)",
            (
                *(machine, time, name, verdict.score, verdict.p_value, int(verdict.anomalous)),
                *(verdict.state, verdict.state_p_value, *watched),
            ),
        )
        sums = (int(verdict.anomalous), verdict.score, verdict.score, verdict.p_value, watched[1])
        alarm = int(watched[3] == "alarm")
        for table, seconds in SUMS.items():
            self._note(_SUM_UPDATE.format(table=table), (machine, int(time // seconds), *sums, alarm))

    def levels(
        self,
        machine: str,
        time: float,
        seconds: float,
        bands: Mapping[float, tuple[float, float]],
        level: float | None = None,
    ) -> None:
        """Note how loud it was.

        Parameters
        ----------
        machine : str
            Name of the machine.
        time, seconds : float
            When it began, and how long it was.
        bands : mapping of float to (float, float)
            Mean and highest level in dB of full scale by the centre frequency in Hz of each 1/3-octave band.
        level : float, optional
            Level of the whole in dB of full scale.
        """
        self._know(machine)
        decibels = {
            f"{hertz:g}": [round(mean, 1), round(most, 1)]
            for hertz, (mean, most) in bands.items()
            if math.isfinite(mean) and math.isfinite(most)
        }
        self._note(
            "INSERT OR REPLACE INTO levels VALUES ((SELECT id FROM machines WHERE name = ?), ?, ?, ?, ?)",
            (machine, time, seconds, level if level is not None and math.isfinite(level) else None, _json(decibels)),
        )

    def condition(self, machine: str | None, name: str, began: float, over: float | None, text: str) -> None:
        """Note that the recording, or what tells of it, is at fault since `began`, or was until `over`.

        Parameters
        ----------
        machine : str or None
            Name of the machine; None: the listening itself.
        name : str
            Name of the condition, such as ``"silence"``.
        began, over : float
            First and last time; `over` None: it still stands.
        text : str
            One line for people.
        """
        if machine is not None:
            self._know(machine)
        same = "machine IS (SELECT id FROM machines WHERE name = ?) AND name = ?"
        self._note(
            "INSERT INTO conditions (machine, name, began, over, text) SELECT "
            "(SELECT id FROM machines WHERE name = ?), ?, ?, NULL, ? WHERE NOT EXISTS "
            f"(SELECT 1 FROM conditions WHERE {same} AND (over IS NULL OR began = ?))",
            (machine, name, began, text, machine, name, began),
        )
        self._note(
            f"UPDATE conditions SET over = ?, text = ? WHERE {same} AND over IS NULL",
            (over, text, machine, name),
        )

    def event(self, event: Event, sinks: Sequence[str] | None = None) -> None:
        """Note an event, and that the sinks are to be told of it; one whose id is known already changes nothing.

        Parameters
        ----------
        event : Event
            What happened.
        sinks : sequence of str, optional
            Names of the sinks; None: those that `sinks_for` gives.
        """
        chosen = self.sinks_for(event) if sinks is None else sinks
        with self._lock:
            self._events[event.id] = (event, tuple(chosen))
            for statement, values in event_statements(event, chosen):
                self._note(statement, values)

    def unwritten(self, sink: str) -> list[Event]:
        """Return the events that are to go to a sink, but cannot be written to the file at present."""
        with self._lock:
            return [event for event, sinks in self._events.values() if self.trouble is not None and sink in sinks]

    def is_unwritten(self, event: str) -> bool:
        """Return whether the event with this id waits to be written to the file."""
        with self._lock:
            return event in self._events

    def note_deleted(self, file: str, reason: str) -> None:
        """Note that a file of evidence is gone, and why."""
        self._note("UPDATE evidence SET deleted = ?, reason = ? WHERE file = ?", (clock.time(), reason, file))

    def acknowledged(self, event: str, time: float | None, by: str | None) -> None:
        """Note that somebody has seen an event: it is not sent twice. None: nobody has."""
        self._note("UPDATE events SET acknowledged = ?, acknowledged_by = ? WHERE id = ?", (time, by, event))
        if time is None:
            return
        self._note(
            "UPDATE deliveries SET state = 'dropped', changed = ?, error = 'acknowledged before it arrived' "
            "WHERE event = (SELECT number FROM events WHERE id = ?) AND state = 'waiting' AND attempts > 0",
            (clock.time(), event),
        )

    def alerts_state(self, machine: str, state: str) -> None:
        """Note what `asd_listen.alerts.Alerts` must know of a machine after a restart."""
        self._know(machine)
        self._note("UPDATE machines SET alerts = ? WHERE name = ?", (state, machine))

    def stored_alerts(self) -> dict[str, str]:
        """Return what `alerts_state` noted, by machine."""
        return dict(self.ask("SELECT name, alerts FROM machines WHERE alerts IS NOT NULL"))

    def _note(self, statement: str, values: tuple[Any, ...]) -> None:
        plain = tuple(_encodable(value) if isinstance(value, str) else value for value in values)
        with self._lock:
            self._noted.append((statement, plain))

    def _know(self, machine: str) -> None:
        if machine not in self._known:
            self._known.add(machine)
            self._note("INSERT OR IGNORE INTO machines (name) VALUES (?)", (machine,))

    # ------------------------------------------------------------------------------------------------ how it is written

    def commit(self) -> bool:
        """Write all that was noted in one transaction, and return whether that succeeded; nothing noted: it did."""
        with self._lock:
            if not self._noted:
                return self.trouble is None
            count = len(self._noted)
            try:
                self.write(self._noted)
            except HistoryError as error:
                self._keep_waiting(str(error))
                self.committed()  # events are sent all the same
                return False
            for _ in range(count):  # what was noted meanwhile stays
                self._noted.popleft()
            has_news = bool(self._events)
            self._events.clear()
            if self.trouble is not None:
                _log.info("%s: the history is written again", self.path)
                self.trouble = None
        if has_news:
            self.committed()
        return True

    def write(self, statements: Iterable[Write], *, durable: bool = False) -> None:
        """Write statements in one transaction, now; a full disk lets the oldest evidence go first.

        Parameters
        ----------
        statements : iterable of (str, tuple)
            SQL and its values.
        durable : bool
            Whether it must outlast a power cut, too, from the moment of the return. Otherwise a power cut may take the
            last seconds; a kill takes nothing.

        Raises
        ------
        HistoryError
            If it could not be written; nothing was.
        """
        statements = list(statements)
        with self._lock:
            has_shrunk = False
            while True:
                try:
                    self._write_once(statements, "FULL" if durable else "NORMAL")
                    return
                except HistoryFullError:
                    if has_shrunk and not self.make_room(_ROOM):
                        raise
                    has_shrunk = True
                    with contextlib.suppress(sqlite3.Error):  # the log's content may fit where it belongs
                        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _write_once(self, statements: Sequence[Write], synchronous: str) -> None:
        connection = self._connection
        try:
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("BEGIN IMMEDIATE")
            for statement, values in statements:
                connection.execute(statement, values)
            connection.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise explained(error, self.path) from error
            raise

    def _keep_waiting(self, reason: str) -> None:
        if reason != self.trouble:
            _log.warning("%s; what happens meanwhile is kept in memory", reason)
            self.trouble = reason
        while len(self._noted) > _MOST_NOTED:
            self._noted.popleft()
            self.lost += 1
        while len(self._events) > _MOST_EVENTS:
            del self._events[next(iter(self._events))]

    # ----------------------------------------------------------------------------------------------------- feedback

    def feedback_pending(self) -> list[Row]:
        """Return feedback that was given and has not reached the monitor: id, machine, time, kind, data.

        Kinds: ``"normal"`` (data: ``clip``, or ``since`` and ``until``, or nothing: the last alarm), ``"undo"`` (of the
        ``event``, or of the last), ``"acknowledge"`` and ``"unacknowledge"`` (``event``, ``by``). Of ``"fault"``,
        ``"note"`` (``text``) and ``"withdraw"`` (``remark``: the note's id) a listener need not know: they never pend.
        Data of all that people say of an event have its ``event`` and ``by``.
        """
        columns = ("id", "machine", "time", "kind", "data")
        found = self.ask("SELECT id, machine, time, kind, data FROM feedback WHERE done IS NULL ORDER BY id")
        rows = [dict(zip(columns, values, strict=True)) for values in found]
        return [{**row, "data": json.loads(row["data"])} for row in rows]

    def feedback_done(self, number: int, answer: str) -> None:
        """Note that feedback has reached the monitor, or cannot, with what is to be told of it."""
        self._note("UPDATE feedback SET done = ?, answer = ? WHERE id = ?", (clock.time(), answer, number))

    def forget(self, before: float) -> None:
        """Note that verdicts, levels and conditions that are older than `before` go; events and feedback stay."""
        for table, column in (("verdicts", "time"), ("levels", "time")):
            self._note(
                f"DELETE FROM {table} WHERE {column} < ? AND machine IN (SELECT id FROM machines)",
                (before,),
            )
        for table, seconds in SUMS.items():
            mine = "machine IN (SELECT id FROM machines)"
            self._note(f"DELETE FROM {table} WHERE slot < ? AND {mine}", (int(before // seconds),))
        self._note("DELETE FROM conditions WHERE over < ?", (before,))


def event_statements(event: Event, sinks: Sequence[str]) -> list[Write]:
    """Return what writes an event, if its id is not known, and lets it wait for the sinks."""
    texts = (event.machine, event.time, event.kind, event.severity, event.text)
    written: list[Write] = [
        (
            "INSERT OR IGNORE INTO events (id, machine, time, kind, severity, text, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (event.id, *(_encodable(each) if isinstance(each, str) else each for each in texts), _json(event.data)),
        )
    ]
    queued = "INSERT OR IGNORE INTO deliveries SELECT number, ?, 'waiting', 0, ?, NULL FROM events WHERE id = ?"
    return [*written, *((queued, (sink, clock.time(), event.id)) for sink in sinks)]


def _encodable(text: str) -> str:
    """Return a text that UTF-8 can hold: names of files may have bytes that are no characters."""
    return text.encode(errors="backslashreplace").decode()


def _json(value: Any) -> str:
    """Return a value as JSON; numbers that JSON does not know become null."""
    return json.dumps(_finite(value), ensure_ascii=True, default=str, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
