"""The queue of one sink, and the thread that empties it."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time as clock
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asd.errors import SinkError
from asd.plugin import Event, Sink
from asd_listen.alerts import id_of
from asd_listen.history import History, Write, event_statements
from asd_listen.routes import Route
from asd_listen.schema import HistoryError
from asd_listen.times import local

_log = logging.getLogger("asd")
_IDLE = 60.0
"""Seconds after which a queue looks for events that nobody has announced, and whether the quiet hours are over."""
_TOLD_AFTER = 300.0
"""Seconds without a delivery after which the other sinks are told."""
_MOST_HANGING = 3
_LISTED = 50
_EVENT = ("id", "time", "machine", "kind", "severity", "text", "data")


@dataclass(frozen=True)
class SinkState:
    """How a sink fares: events that wait, and the last error with the time since when none arrives; None: all well."""

    name: str
    waiting: int
    error: str | None
    since: float | None


@dataclass(frozen=True)
class OutboxLimits:
    """Limits of a queue.

    Parameters
    ----------
    most_waiting : int
        Events that wait for a sink; of more, the oldest are dropped, which is told once others arrive.
    send_seconds : float
        Time within which a sink must have delivered an event.
    first_pause, longest_pause : float
        Seconds before the next attempt; doubled with each failure.
    attempts : int
        Attempts after which an event is dropped if the sink itself fails (by an exception other than
        `asd.errors.SinkError`).
    """

    most_waiting: int = 1000
    send_seconds: float = 60.0
    first_pause: float = 1.0
    longest_pause: float = 600.0
    attempts: int = 10


class _Call(threading.Thread):
    """One call of `Sink.send`, which may never return."""

    def __init__(self, sink: Sink, event: Event) -> None:
        super().__init__(name=f"sending {event.id}", daemon=True)
        self.event, self.ended = event, threading.Event()
        self.error: BaseException | None = None
        self._sink = sink

    def run(self) -> None:
        """Send the event, and keep what was raised."""
        try:
            self._sink.send(self.event)
        except BaseException as error:
            self.error = error
        finally:
            self.ended.set()


@dataclass(frozen=True)
class _Failure:
    text: str
    drop: bool


class Queue:
    """Sends events of a history to one sink, in their order."""

    def __init__(self, history: History, route: Route, limits: OutboxLimits, now: Callable[[], float]) -> None:
        self._history, self._route, self._limits, self._now = history, route, limits, now
        self._sink = route.sink
        self._hanging: list[_Call] = []
        self._arrived: set[str] = set()
        self._awake, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sink {route.name}", daemon=True)
        self._error: str | None = None
        self._since: float | None = None
        self._told = False
        self._pause, self._not_before = 0.0, 0.0

    def start(self) -> None:
        """Send what waits, and what comes."""
        self._thread.start()

    def wake(self) -> None:
        """Look for new events."""
        self._awake.set()

    def stop(self) -> None:
        """Send what waits, as far as the sink takes it, then end."""
        self._stopping.set()
        self._awake.set()

    def join(self, timeout: float) -> None:
        """Wait until the queue has ended, for so many seconds at most."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def leave(self) -> None:
        """Let the sink release what it holds, unless it is busy."""
        if not self._thread.is_alive():
            with contextlib.suppress(Exception):
                self._sink.close()

    def state(self) -> SinkState:
        """Return how the sink fares."""
        waiting = 0
        with contextlib.suppress(HistoryError):
            waiting = self._count("waiting")
        return SinkState(self._route.name, waiting, self._error, self._since)

    def _run(self) -> None:
        while True:
            self._awake.clear()
            try:
                wait = self._step()
            except HistoryError:  # told by the history
                wait = self._limits.first_pause
            if self._stopping.is_set() and wait > 0:
                return
            self._awake.wait(wait)

    def _step(self) -> float:
        """Do the next thing, and return the seconds until there may be another."""
        now = self._now()
        with contextlib.suppress(HistoryError):  # events that wait in memory are sent all the same
            self._drop_oldest()
            if not self._route.is_quiet(now):
                self._sum_up("held", "summary", "in quiet hours")
        if (rest := self._not_before - clock.monotonic()) > 0:
            return rest
        event = self._first()
        if event is None:
            return _IDLE
        if self._route.holds(event.severity, now):
            self._mark(event, "held")
            return 0.0
        failure = None if event.id in self._arrived else self._send(event)
        if failure is not None:
            return self._went_wrong(event, failure)
        self._arrived.add(event.id)
        if not self._history.is_unwritten(event.id):  # else it is marked once it is there
            self._mark(event, "delivered", durable=True)
            self._arrived.discard(event.id)
        self._went_well()
        return 0.0

    # ------------------------------------------------------------------------------------------------------ sending

    def _send(self, event: Event) -> _Failure | None:
        """Send an event; a call that does not return is left behind, with its sink."""
        if self._has_arrived_late(event):
            return None
        if len(self._hanging) >= _MOST_HANGING:
            return _Failure(f"{_MOST_HANGING} calls of its plugin hang; restart the listener", drop=False)
        with contextlib.suppress(HistoryError):  # nothing keeps an alarm back
            self._history.write([self._change(event, "attempts = attempts + 1")])
        call = _Call(self._sink, event)
        call.start()
        if not call.ended.wait(self._limits.send_seconds):
            self._hanging.append(call)
            self._sink = _renewed(self._sink)
            return _Failure(f"not delivered within {self._limits.send_seconds:g} s", drop=False)
        error = call.error
        if error is None:
            return None
        if isinstance(error, SinkError):
            return _Failure(str(error), drop=error.permanent)
        attempts = self._attempts(event)
        who = self._sink.origin or f"sink {self._route.name!r}"
        text = f"{who} failed by itself: {_described(error)}; report it to the plugin's author"
        return _Failure(text, drop=attempts >= self._limits.attempts)

    def _has_arrived_late(self, event: Event) -> bool:
        """Return whether a call that was left behind has delivered the event meanwhile."""
        ended = [call for call in self._hanging if call.ended.is_set()]
        self._hanging = [call for call in self._hanging if not call.ended.is_set()]
        self._arrived |= {call.event.id for call in ended if call.error is None}
        return event.id in self._arrived

    def _went_well(self) -> None:
        self._pause, self._not_before = 0.0, 0.0
        if self._error is not None:
            _log.info("sink %r: events arrive again", self._route.name)
            with contextlib.suppress(HistoryError):
                self._report(over=True)
            self._error = self._since = None
        with contextlib.suppress(HistoryError):
            self._sum_up("overflow", "dropped", "were dropped, because too many waited")

    def _went_wrong(self, event: Event, failure: _Failure) -> float:
        if failure.text != self._error:
            _log.warning("sink %r: %s", self._route.name, failure.text)
        self._error = failure.text
        self._since = self._now() if self._since is None else self._since
        self._pause = min(max(2 * self._pause, self._limits.first_pause), self._limits.longest_pause)
        self._not_before = clock.monotonic() + self._pause
        if failure.drop:
            _log.warning("sink %r: this event is given up: %s", self._route.name, event.text)
            self._mark(event, "dropped", failure.text)
        else:
            self._history.write([self._change(event, "changed = ?, error = ?", self._now(), failure.text)])
        self._report(over=False)
        return self._pause

    def _report(self, *, over: bool) -> None:
        """Write to the history that the sink is down, or works again; the other sinks are told if it lasts."""
        now, began, name = self._now(), self._since or self._now(), self._route.name
        text = f"sink {name!r} takes no events: {self._error}"
        written: list[Write] = [
            (
                "INSERT INTO conditions (machine, name, began, over, text) SELECT NULL, :name, :began, NULL, :text "
                "WHERE NOT EXISTS (SELECT 1 FROM conditions WHERE machine IS NULL AND name = :name AND over IS NULL)",
                {"name": f"sink {name}", "began": began, "text": text},
            ),
            (
                "UPDATE conditions SET over = :over, text = :text "
                "WHERE machine IS NULL AND name = :name AND over IS NULL",
                {"name": f"sink {name}", "over": now if over else None, "text": text},
            ),
        ]
        if over is self._told and (over or now - began >= _TOLD_AFTER):
            kind = "condition-over" if over else "condition"
            words = f"sink {name!r} takes events again" if over else f"{text} (since {local(began)})"
            data = {"condition": "sink", "sink": name, "began": began}
            event = Event(id_of(name, f"sink {kind}", began), now, "", kind, "info" if over else "warning", words, data)
            others = [sink for sink in self._history.sinks_for(event) if sink != name]
            written += event_statements(event, others)
            self._told = not over
        self._history.write(written)
        self._history.committed()

    # ------------------------------------------------------------------------------------------- the queue on disk

    def _first(self) -> Event | None:
        """Return the event that is next; while the history takes none, one of those that wait to be written."""
        for event in self._history.unwritten(self._route.name):
            if event.id not in self._arrived:
                return event
        found = self._history.ask(
            f"SELECT {', '.join(f'e.{name}' for name in _EVENT)} FROM deliveries d JOIN events e "
            "ON e.number = d.event WHERE d.sink = ? AND d.state = 'waiting' ORDER BY d.event LIMIT 1",
            (self._route.name,),
        )
        if not found:
            return None
        return Event(**dict(zip(_EVENT, (*found[0][:-1], json.loads(found[0][-1])), strict=True)))

    def _attempts(self, event: Event) -> int:
        found = self._history.ask(
            "SELECT attempts FROM deliveries WHERE event = (SELECT number FROM events WHERE id = ?) AND sink = ?",
            (event.id, self._route.name),
        )
        return int(found[0][0]) if found else 0

    def _count(self, state: str) -> int:
        query = "SELECT count(*) FROM deliveries WHERE sink = ? AND state = ?"
        return int(self._history.ask(query, (self._route.name, state))[0][0])

    def _change(self, event: Event, change: str, *values: Any) -> Write:
        where = "event = (SELECT number FROM events WHERE id = ?) AND sink = ?"
        return f"UPDATE deliveries SET {change} WHERE {where}", (*values, event.id, self._route.name)

    def _mark(self, event: Event, state: str, error: str | None = None, *, durable: bool = False) -> None:
        """Write what became of an event."""
        change = self._change(event, "state = ?, changed = ?, error = ?", state, self._now(), error)
        self._history.write([change], durable=durable)

    def _drop_oldest(self) -> None:
        excess = self._count("waiting") - self._limits.most_waiting
        if excess > 0:
            _log.warning("sink %r: %d events wait; the oldest are dropped", self._route.name, self._limits.most_waiting)
            self._history.write(
                [
                    (
                        "UPDATE deliveries SET state = 'overflow', changed = ? WHERE sink = ? AND event IN "
                        "(SELECT event FROM deliveries WHERE sink = ? AND state = 'waiting' ORDER BY event LIMIT ?)",
                        (self._now(), self._route.name, self._route.name, excess),
                    )
                ]
            )

    def _sum_up(self, state: str, kind: str, words: str) -> None:
        """Tell of all events in a state by one new event; a single event is sent as it is."""
        found = self._history.ask(
            "SELECT e.id, e.time, e.machine, e.kind, e.severity, e.text, e.acknowledged IS NOT NULL FROM deliveries d "
            "JOIN events e ON e.number = d.event WHERE d.sink = ? AND d.state = ? ORDER BY d.event",
            (self._route.name, state),
        )
        if not found:
            return
        settle = "UPDATE deliveries SET state = ?, changed = ? WHERE sink = ? AND state = ?"
        if len(found) == 1:
            self._history.write([(settle, ("waiting", self._now(), self._route.name, state))])
            return
        event = _summary(self._route.name, kind, words, found, self._now())
        self._history.write(
            [(settle, (kind, self._now(), self._route.name, state)), *event_statements(event, [self._route.name])]
        )


def _summary(sink: str, kind: str, words: str, found: Sequence[Sequence[Any]], now: float) -> Event:
    counts = Counter(row[3] for row in found)
    listed = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    severity = max((row[4] for row in found), key=("info", "warning", "alarm").index)
    text = f"{len(found)} events {words} ({listed}), from {local(found[0][1])} to {local(found[-1][1])}"
    names = ("id", "time", "machine", "kind", "severity", "text", "acknowledged")
    events = [dict(zip(names, row, strict=True)) for row in found[-_LISTED:]]
    return Event(id_of(sink, f"{kind} {found[0][0]}", found[-1][1]), now, "", kind, severity, text, {"events": events})


def _described(error: BaseException) -> str:
    """Return type and text of a foreign exception, whatever its ``__str__`` does."""
    try:
        text = " ".join(str(error).split())[:500]
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _renewed(sink: Sink) -> Sink:
    """Return a new sink like one that hangs; the same, if none can be made."""
    with contextlib.suppress(Exception):
        new = type(sink)(**sink.get_params())
        new.origin = sink.origin
        return new
    return sink
