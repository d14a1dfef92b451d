"""Queues on disk: in order, once, bounded, and whatever a sink does."""

from __future__ import annotations

import datetime
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asd.errors import ConfigError, SinkError
from asd.plugin import Event, Sink
from asd_listen.history import History
from asd_listen.outbox import Outbox, OutboxLimits, Route
from waiting import PATIENCE, until

QUICK = OutboxLimits(first_pause=0.01, longest_pause=0.05)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History.open(tmp_path) as history:
        yield history


def states(history: History, sink: str = "heap") -> list[str]:
    return [row["state"] for row in history.rows("deliveries") if row["sink"] == sink]


def tell(history: History, *events: Event) -> None:
    for event in events:
        history.event(event)
    history.commit()


def test_events_arrive_once_and_in_order_after_an_outage(history: History, said: Any) -> None:
    heap = said.heap(failures=7)
    outbox = Outbox(history, [Route("heap", heap)], QUICK)
    tell(history, *(said.event(n) for n in range(20)))
    outbox.start()
    until(lambda: len(heap.events) == 20)
    outbox.close(PATIENCE)
    assert [event.text for event in heap.events] == [f"event {n}" for n in range(20)]
    assert states(history) == ["delivered"] * 20
    ((name, over),) = history.ask("SELECT name, over IS NOT NULL FROM conditions")
    assert (name, over) == ("sink heap", 1)


def test_a_day_of_outage_loses_nothing(history: History, said: Any) -> None:
    """As many attempts as fit into a day at the longest pause, an event each hour."""
    attempts = round(86_400 / OutboxLimits().longest_pause)
    heap = said.heap(failures=10**9)
    outbox = Outbox(history, [Route("heap", heap)], OutboxLimits(first_pause=0.001, longest_pause=0.001))
    outbox.start()
    for hour in range(24):
        tell(history, said.event(hour))
        until(lambda hour=hour: heap.tried > attempts * hour // 24)
    until(lambda: heap.tried > attempts)
    assert not heap.events
    heap.failures = 0
    until(lambda: len(heap.events) == 24)
    outbox.close(PATIENCE)
    assert [event.text for event in heap.events] == [f"event {hour}" for hour in range(24)]
    assert states(history) == ["delivered"] * 24


def test_a_restart_sends_what_waits_and_nothing_else(history: History, said: Any) -> None:
    heap = said.heap(failures=10**9)
    outbox = Outbox(history, [Route("heap", heap)], QUICK)
    outbox.start()
    tell(history, said.event(0), said.event(1))
    until(lambda: heap.tried > 2)
    began = time.monotonic()
    outbox.close(PATIENCE)
    assert time.monotonic() - began < PATIENCE / 2  # what does not arrive holds nobody up
    assert outbox.states()[0].waiting == 2
    assert outbox.states()[0].error == "the other side is down"
    heap.failures = 0
    again = Outbox(history, [Route("heap", heap)], QUICK)
    again.start()
    until(lambda: len(heap.events) == 2)
    again.close(PATIENCE)
    third = Outbox(history, [Route("heap", heap)], QUICK)
    third.start()
    third.close(PATIENCE)
    assert len(heap.events) == 2


def test_closing_sends_what_the_sink_takes_at_once(history: History, said: Any) -> None:
    heap = said.heap()
    outbox = Outbox(history, [Route("heap", heap)], QUICK)
    outbox.start()
    tell(history, *(said.event(n) for n in range(50)))
    outbox.close(PATIENCE)
    assert len(heap.events) == 50


def test_of_too_many_the_oldest_are_dropped_and_told(history: History, said: Any) -> None:
    heap = said.heap(failures=10**9)
    limits = OutboxLimits(most_waiting=5, first_pause=0.01, longest_pause=0.05)
    outbox = Outbox(history, [Route("heap", heap)], limits)
    outbox.start()
    tell(history, said.event(0))
    until(lambda: heap.tried > 0)
    tell(history, *(said.event(n) for n in range(1, 9)))
    until(lambda: states(history).count("overflow") == 4)
    heap.failures = 0
    until(lambda: len(heap.events) == 6)
    outbox.close(PATIENCE)
    assert [event.text for event in heap.events[:5]] == [f"event {n}" for n in range(4, 9)]
    told = heap.events[5]
    assert told.kind == "dropped"
    assert told.text.startswith("4 events were dropped, because too many waited (4 alarm), from 20")
    assert [each["text"] for each in told.data["events"]] == [f"event {n}" for n in range(4)]
    assert [state for state in states(history) if state == "dropped"] == ["dropped"] * 4


class Hanging(Sink):
    """A sink whose first calls never return."""

    calls = 0
    got: list[str] = []  # noqa: RUF012  # of all instances: the queue makes new ones
    free = threading.Event()

    def __init__(self, *, hang: int = 1) -> None:
        self.hang = hang

    def send(self, event: Event) -> None:
        """Hang, or take the event."""
        type(self).calls += 1
        if self.calls <= self.hang:
            self.free.wait(PATIENCE)
            if not self.free.is_set():
                raise SinkError("gave up")
            return
        self.got.append(event.text)


@pytest.fixture
def hanging() -> Iterator[type[Hanging]]:
    Hanging.calls, Hanging.got, Hanging.free = 0, [], threading.Event()
    yield Hanging
    Hanging.free.set()


def test_a_sink_that_hangs_delays_no_other_and_is_tried_anew(
    history: History, said: Any, hanging: type[Hanging]
) -> None:
    heap = said.heap()
    limits = OutboxLimits(first_pause=0.01, send_seconds=2)
    outbox = Outbox(history, [Route("hanging", hanging(hang=1)), Route("heap", heap)], limits)
    outbox.start()
    tell(history, said.event(0), said.event(1))
    until(lambda: len(heap.events) == 2)
    until(lambda: len(hanging.got) == 2)
    assert hanging.got == ["event 0", "event 1"]
    outbox.close(PATIENCE)


def test_a_sink_that_hangs_for_ever_is_left_alone_and_told(
    history: History, said: Any, hanging: type[Hanging], caplog: pytest.LogCaptureFixture
) -> None:
    limits = OutboxLimits(first_pause=0.01, send_seconds=0.05)
    outbox = Outbox(history, [Route("hanging", hanging(hang=10**9))], limits)
    with caplog.at_level(logging.INFO, "asd"):
        outbox.start()
        tell(history, said.event(0))
        until(lambda: "3 calls of its plugin hang" in (outbox.states()[0].error or ""))
    time.sleep(0.3)
    assert hanging.calls == 3  # no thread is added to those that hang
    assert "sink 'hanging': not delivered within 0.05 s" in caplog.text
    began = time.monotonic()
    outbox.close(1)
    assert time.monotonic() - began < PATIENCE / 2  # it hangs for ever
    assert states(history, "hanging") == ["waiting"]


def test_what_arrives_late_is_not_sent_again(history: History, said: Any, hanging: type[Hanging]) -> None:
    limits = OutboxLimits(first_pause=3, send_seconds=0.05)
    outbox = Outbox(history, [Route("hanging", hanging(hang=1))], limits)
    outbox.start()
    tell(history, said.event(0))
    until(lambda: outbox.states()[0].error)
    hanging.free.set()  # the call that was left behind now delivers the event
    until(lambda: states(history, "hanging") == ["delivered"])
    outbox.close(PATIENCE)
    assert hanging.calls == 1


def test_a_plugin_that_fails_by_itself_blocks_the_queue_for_no_more_than_its_attempts(
    history: History, said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    heap = said.heap(failures=3, error=ZeroDivisionError("division by zero"))
    limits = OutboxLimits(first_pause=0.01, attempts=3)
    outbox = Outbox(history, [Route("heap", heap)], limits)
    with caplog.at_level(logging.INFO, "asd"):
        outbox.start()
        tell(history, said.event(0), said.event(1))
        until(lambda: heap.events)
        outbox.close(PATIENCE)
    assert [event.text for event in heap.events] == ["event 1"]
    assert states(history) == ["dropped", "delivered"]
    assert "sink 'heap' failed by itself: ZeroDivisionError: division by zero; report it to the plugin's" in caplog.text
    assert "this event is given up: event 0" in caplog.text


def test_an_event_that_is_refused_for_good_is_given_up(history: History, said: Any) -> None:
    heap = said.heap(failures=1, error=SinkError("answered 422", permanent=True))
    outbox = Outbox(history, [Route("heap", heap)], QUICK)
    outbox.start()
    tell(history, said.event(0), said.event(1))
    until(lambda: heap.events)
    outbox.close(PATIENCE)
    assert [event.text for event in heap.events] == ["event 1"]
    assert [row["error"] for row in history.rows("deliveries")] == ["answered 422", None]


def test_routes_choose_by_severity_and_machine(history: History, said: Any) -> None:
    loud, pumps = said.heap(), said.heap()
    routes = [Route("loud", loud, at_least="alarm"), Route("pumps", pumps, machines=("pump",))]
    outbox = Outbox(history, routes, QUICK)
    outbox.start()
    tell(history, said.event(0, "info"), said.event(1, "alarm", "fan"), said.event(2, "info", machine=""))
    outbox.close(PATIENCE)
    assert [event.text for event in loud.events] == ["event 1"]
    assert [event.text for event in pumps.events] == ["event 0", "event 2"]


@pytest.mark.parametrize(
    ("kind", "least", "goes"),
    [
        ("cleared", "alarm", True),
        ("cleared", "warning", True),
        ("condition-over", "warning", True),
        ("condition-over", "alarm", False),
        ("unlike-over", "warning", True),
        ("started", "warning", False),
    ],
)
def test_who_was_told_is_told_that_it_is_over(kind: str, least: Any, goes: bool, said: Any) -> None:
    assert Route("heap", said.heap(), at_least=least).takes(said.event(0, "info", kind=kind)) is goes


def at(hour: int, minute: int = 0) -> float:
    return datetime.datetime(2026, 11, 26, hour, minute).timestamp()


def test_quiet_hours_hold_back_and_then_tell_in_one(history: History, said: Any) -> None:
    heap, now = said.heap(), [at(23)]
    outbox = Outbox(history, [Route("heap", heap, quiet_hours="22:00-06:00")], QUICK, now=lambda: now[0])
    outbox.start()
    tell(history, said.event(0, "warning"), said.event(1, "alarm"), said.event(2, "info"), said.event(3, "warning"))
    until(lambda: states(history) == ["held", "delivered", "held", "held"])
    assert [event.text for event in heap.events] == ["event 1"]  # an alarm passes
    now[0] = at(6)
    outbox.wake()
    until(lambda: len(heap.events) == 2)
    outbox.close(PATIENCE)
    summary = heap.events[1]
    assert (summary.kind, summary.severity) == ("summary", "warning")
    assert summary.text.startswith("3 events in quiet hours (3 alarm), from 20")
    assert [each["text"] for each in summary.data["events"]] == ["event 0", "event 2", "event 3"]


def test_quiet_hours_may_hold_alarms_too(history: History, said: Any) -> None:
    heap, now = said.heap(), [at(12, 30)]
    route = Route("heap", heap, quiet_hours="12:00-13:00", quiet_alarms=False)
    outbox = Outbox(history, [route], QUICK, now=lambda: now[0])
    outbox.start()
    tell(history, said.event(0, "alarm"))
    until(lambda: states(history) == ["held"])
    now[0] = at(13)
    outbox.wake()
    until(lambda: [event.text for event in heap.events] == ["event 0"])  # one alone needs no summary
    outbox.close(PATIENCE)


@pytest.mark.parametrize(
    ("hours", "moment", "quiet"),
    [
        ("22:00-06:00", at(21, 59), False),
        ("22:00-06:00", at(22), True),
        ("22:00-06:00", at(5, 59), True),
        ("22:00-06:00", at(6), False),
        ("12:00-13:00", at(12), True),
        ("12:00-13:00", at(13), False),
        ("", at(3), False),
    ],
)
def test_quiet_hours_by_the_local_clock(said: Any, hours: str, moment: float, quiet: bool) -> None:
    assert Route("heap", said.heap(), quiet_hours=hours).is_quiet(moment) is quiet


def test_wrong_settings_are_one_line(history: History, said: Any) -> None:
    with pytest.raises(ConfigError, match=r"quiet_hours must be two times of day such as '22:00-06:00', got '25-7'"):
        Route("heap", said.heap(), quiet_hours="25-7")
    with pytest.raises(ConfigError, match="at_least must be info, warning or alarm, got 'loud'"):
        Route("heap", said.heap(), at_least="loud")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="two sinks are called 'heap'; give each a name of its own"):
        Outbox(history, [Route("heap", said.heap()), Route("heap", said.heap())])


def test_an_alarm_gets_out_while_the_history_cannot_be_written(history: History, tmp_path: Path, said: Any) -> None:
    heap = said.heap()
    outbox = Outbox(history, [Route("heap", heap)], QUICK)
    outbox.start()
    other = sqlite3.connect(tmp_path / "history.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    tell(history, said.event(0))
    until(lambda: heap.events)
    other.execute("ROLLBACK")
    other.close()
    assert history.commit()
    until(lambda: states(history) == ["delivered"])
    outbox.close(PATIENCE)
    assert len(heap.events) == 1


def test_an_alarm_gets_out_although_the_history_is_damaged(history: History, tmp_path: Path, said: Any) -> None:
    heap = said.heap()
    outbox = Outbox(history, [Route("heap", heap)], QUICK)
    outbox.start()
    history.ask("PRAGMA wal_checkpoint(TRUNCATE)")
    path = tmp_path / "history.sqlite"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    history.ask("PRAGMA shrink_memory")
    tell(history, said.event(0))
    assert history.trouble is not None
    assert "damaged, or no history" in history.trouble
    until(lambda: heap.events)
    outbox.close(1)
    assert [event.text for event in heap.events] == ["event 0"]


def test_the_other_sinks_are_told_of_one_that_is_down_for_long(
    history: History, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asd_listen.delivery._TOLD_AFTER", 0.2)
    down, heap = said.heap(failures=20), said.heap()
    outbox = Outbox(history, [Route("broker", down), Route("heap", heap)], QUICK)
    outbox.start()
    tell(history, said.event(0))
    until(lambda: len(heap.events) == 3)
    outbox.close(PATIENCE)
    _, lost, found = heap.events
    assert (lost.kind, lost.severity, lost.data["sink"]) == ("condition", "warning", "broker")
    assert lost.text.startswith("sink 'broker' takes no events: the other side is down (since 20")
    assert (found.kind, found.text) == ("condition-over", "sink 'broker' takes events again")
    assert [event.text for event in down.events] == ["event 0"]


def test_what_waits_for_a_sink_that_is_gone_is_given_up(history: History, said: Any) -> None:
    Outbox(history, [Route("old", said.heap())])
    tell(history, said.event(0))
    Outbox(history, [Route("new", said.heap())])
    (row,) = history.rows("deliveries")
    assert (row["state"], row["error"]) == ("dropped", "the settings name no such sink any more")
