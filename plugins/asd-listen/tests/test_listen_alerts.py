"""Which events follow from what a monitor says, and which of them are told."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asd_listen.alerts import Alerts, AlertSettings
from asd_listen.history import History
from asd_listen.remarks import acknowledge
from asd_listen.schema import HistoryError
from asd_listen.sinks.content import title


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History.open(tmp_path) as history:
        history.sinks_for = lambda _: ["heap"]
        yield history


def told(history: History) -> list[str]:
    """Return the kinds of the events that sinks are told of, in order."""
    history.commit()
    return [str(kind) for (kind,) in history.ask("SELECT kind FROM events JOIN deliveries ON number = event")]


def kinds(history: History) -> list[str]:
    history.commit()
    return [row["kind"] for row in history.rows("events")]


def test_an_alarm_is_told_at_once_and_when_it_is_over(history: History, said: Any) -> None:
    alerts = Alerts(AlertSettings(), history)
    for after, phase in enumerate(("learning", "watching", "alarm", "alarm", "cleared", "cleared")):
        events = alerts.judged("pump", said.verdict(), said.status(after, phase, evidence=5.3))
        if phase == "alarm" and after == 2:
            (event,) = events
            assert (event.severity, event.machine, event.time) == ("alarm", "pump", said.noon + 2)
            assert event.text.startswith("pump: the sound has changed")
            assert event.text.endswith("evidence 5.3, alarm from 5.0")
            assert (event.data["phase"], event.data["conditions"], event.data["acknowledged"]) == ("alarm", [], False)
    assert told(history) == ["phase", "alarm", "cleared"]


def test_an_alarm_is_read_at_night(history: History, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked telephone shows about sixty characters; a terminal of 80 columns, with time and mark, breaks after the
    first part of the sentence."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    alerts = Alerts(AlertSettings(), history)
    try:
        alerts.judged("pump 1", said.verdict(), said.status(0, "watching"))
        status = said.status(60, "alarm", evidence=7.61)
        (event,) = alerts.judged("pump 1", said.verdict(), status, promise="1 false alarm a month")
        at = f"{datetime.datetime.fromtimestamp(said.noon + 60):%Y-%m-%d %H:%M}"
    finally:
        monkeypatch.undo()
        time.tzset()
    first = f"pump 1: the sound has changed since {at};"
    assert event.text == (
        f"{first} a healthy machine raises 1 false alarm a month at most; evidence 7.6, alarm from 5.0"
    )
    assert title(event).startswith("[alarm] pump 1: the sound has changed since")
    assert title(event).index(";") <= 62
    assert len(f"2026-11-27 12:44:56 ALARM: {first}") <= 80


def test_sinks_know_the_phase_at_any_time(history: History, said: Any) -> None:
    alerts = Alerts(AlertSettings(), history)
    phases = ("learning", "watching", "unlike", "watching", "alarm", "cleared", "watching", "alarm", "learning")
    for after, phase in enumerate(phases):
        alerts.judged("pump", said.verdict(), said.status(1000.0 * after, phase))
        history.commit()
        query = "SELECT data FROM events JOIN deliveries ON number = event ORDER BY number DESC LIMIT 1"
        known = [json.loads(data)["phase"] for (data,) in history.ask(query)]
        assert known == ([phase] if after else [])
    assert told(history) == ["phase", "unlike", "unlike-over", "alarm", "cleared", "phase", "alarm", "cleared"]


def test_what_stood_of_a_machine_that_is_no_longer_listened_to_is_over(tmp_path: Path, said: Any) -> None:
    with History.open(tmp_path) as history:
        alerts = Alerts(AlertSettings(condition=0, remind=60), history)
        (alarm,) = alerts.judged("pump", said.verdict(), said.status(0, "alarm"))
        alerts.condition("pump", "clipping", "too loud", said.noon)
        alerts.judged("fan", said.verdict(), said.status(0, "alarm"))
    for run in range(2):
        with History.open(tmp_path) as history:
            history.sinks_for = lambda _: ["heap"]
            alerts = Alerts(AlertSettings(condition=0, remind=60), history)
            found = alerts.left(["fan"], said.noon + 100)
            assert [event.kind for event in found] == (["condition-over", "cleared"] if not run else [])
            if not run:
                assert found[1].text.startswith("pump: no longer listened to; its alarm of ")
                assert found[1].data["alarm"] == alarm.id
            assert [event.machine for event in alerts.tick(said.noon + 1000 * (run + 1))] == ["fan"]  # no reminder else


def test_an_alarm_that_comes_and_goes_is_told_once_in_the_cool_down(history: History, said: Any) -> None:
    alerts = Alerts(AlertSettings(cool_down=600), history)
    for after in range(0, 600, 10):
        alerts.judged("pump", said.verdict(), said.status(after, "alarm" if after // 10 % 2 else "cleared"))
    assert told(history) == ["alarm", "cleared"]
    assert kinds(history).count("alarm") == 30  # the history has all of them
    alerts.judged("pump", said.verdict(), said.status(605, "alarm", since=said.noon + 605))
    assert told(history) == ["alarm", "cleared"]
    alerts.judged("pump", said.verdict(), said.status(615, "alarm", since=said.noon + 605))
    assert told(history) == ["alarm", "cleared", "alarm"]  # it still stands when the cool-down is over


def test_an_alarm_is_confirmed_first(history: History, said: Any) -> None:
    alerts = Alerts(AlertSettings(confirm=30, cool_down=0), history)
    for after, phase in ((0, "alarm"), (20, "cleared"), (40, "alarm"), (60, "alarm")):
        alerts.judged("pump", said.verdict(), said.status(after, phase, since=said.noon + min(after, 40)))
    assert told(history) == []
    alerts.tick(said.noon + 70)
    assert told(history) == ["alarm"]


@pytest.mark.parametrize(("drifting", "kind"), [(False, "unlike"), (True, "drift")])
def test_what_is_unlike_is_a_warning(history: History, said: Any, drifting: bool, kind: str) -> None:
    alerts = Alerts(AlertSettings(), history)
    (event,) = alerts.judged("pump", said.verdict(), said.status(0, "unlike"), drifting=drifting)
    assert (event.kind, event.severity) == (kind, "warning")
    assert told(history) == [kind]


def test_a_condition_is_told_if_it_lasts_and_once(history: History, said: Any) -> None:
    alerts = Alerts(AlertSettings(condition=10), history)
    assert alerts.condition("pump", "silence", "no sound", said.noon) == []
    assert alerts.condition("pump", "silence", "no sound", said.noon + 5, over=True) == []
    alerts.condition("pump", "silence", "no sound", said.noon + 20)
    assert alerts.tick(said.noon + 25) == []
    (event,) = alerts.tick(said.noon + 31)
    assert (event.kind, event.severity, event.data["condition"]) == ("condition", "warning", "silence")
    assert event.data["conditions"] == ["silence"]
    assert alerts.condition("pump", "silence", "no sound", said.noon + 40) == []
    (over,) = alerts.condition("pump", "silence", "no sound", said.noon + 50, over=True)
    assert (over.kind, over.data["event"], over.data["conditions"]) == ("condition-over", event.id, [])
    assert told(history) == ["condition", "condition-over"]
    assert [(row["began"], row["over"]) for row in history.rows("conditions")] == [
        (said.noon, said.noon + 5),
        (said.noon + 20, said.noon + 50),
    ]


def test_a_restart_tells_nothing_twice(tmp_path: Path, said: Any) -> None:
    with History.open(tmp_path) as history:
        alerts = Alerts(AlertSettings(condition=0), history)
        (first,) = alerts.judged("pump", said.verdict(), said.status(0, "alarm"))
        alerts.condition("pump", "clipping", "too loud", said.noon)
        history.commit()
    with History.open(tmp_path) as history:
        history.sinks_for = lambda _: ["heap"]
        alerts = Alerts(AlertSettings(condition=0), history)
        assert alerts.judged("pump", said.verdict(), said.status(10, "alarm", since=said.noon)) == []
        assert alerts.condition("pump", "clipping", "too loud", said.noon + 11) == []
        (over,) = alerts.judged("pump", said.verdict(), said.status(20, "cleared"))
        assert (over.kind, over.data["alarm"]) == ("cleared", first.id)
        assert told(history) == ["cleared"]


def test_a_condition_that_a_restart_has_cured_is_over(tmp_path: Path, said: Any) -> None:
    with History.open(tmp_path) as history:
        Alerts(AlertSettings(condition=0), history).condition("pump", "stalled", "nothing comes", said.noon)
    with History.open(tmp_path) as history:
        alerts = Alerts(AlertSettings(), history)
        assert [event.kind for event in alerts.judged("pump", said.verdict(), said.status(10))] == ["phase"]
        (over,) = alerts.judged("pump", said.verdict(), said.status(71))
        assert (over.kind, over.data["condition"]) == ("condition-over", "stalled")


def test_who_acknowledges_is_not_reminded(history: History, tmp_path: Path, said: Any) -> None:
    alerts = Alerts(AlertSettings(remind=3600), history)
    (event,) = alerts.judged("pump", said.verdict(), said.status(0, "alarm"))
    history.commit()
    (again,) = alerts.tick(said.noon + 3600)
    assert again.text.endswith("still stands, and nobody has acknowledged it")
    assert again.data["alarm"] == event.id
    history.commit()
    found = acknowledge(tmp_path, event.id[:6], "Ann")
    assert found["id"] == event.id
    (seen,) = alerts.tick(said.noon + 3700)
    assert (seen.kind, seen.data["event"], seen.data["acknowledged"]) == ("acknowledged", event.id, True)
    assert seen.text == f"pump: acknowledged by Ann: {event.text}"
    assert alerts.tick(said.noon + 9999) == []
    assert told(history) == ["alarm", "alarm", "acknowledged"]
    assert history.find_event(event.id)["acknowledged_by"] == "Ann"
    assert history.feedback_pending() == []
    with pytest.raises(HistoryError, match="was acknowledged before; nothing to do"):
        acknowledge(tmp_path, event.id)


def test_an_acknowledged_event_is_not_sent_again(history: History, tmp_path: Path, said: Any) -> None:
    """One that was tried, and may have arrived; the other sink, where it cannot have arrived, still gets it."""
    history.sinks_for = lambda _: ["tried", "new"]
    alerts = Alerts(AlertSettings(), history)
    (event,) = alerts.judged("pump", said.verdict(), said.status(0, "alarm"))
    history.commit()
    history.write([("UPDATE deliveries SET attempts = 1 WHERE sink = 'tried'", ())])
    acknowledge(tmp_path, event.id)
    alerts.tick(said.noon + 1)
    history.commit()
    states = {row["sink"]: row["state"] for row in history.rows("deliveries") if row["event"] == event.id}
    assert states == {"tried": "dropped", "new": "waiting"}


def test_a_clock_that_was_set_back_keeps_no_alarm_secret(history: History, said: Any) -> None:
    alerts = Alerts(AlertSettings(cool_down=600), history)
    for after, phase in ((7200, "alarm"), (7210, "cleared"), (0, "alarm")):
        alerts.judged("pump", said.verdict(), said.status(after, phase))
    assert told(history) == ["alarm", "cleared", "alarm"]


def test_feedback_ends_an_alarm(history: History, said: Any) -> None:
    alerts = Alerts(AlertSettings(), history)
    alerts.judged("pump", said.verdict(), said.status(0, "alarm"))
    (over,) = alerts.judged("pump", said.verdict(), said.status(10, "watching"))
    assert over.text == "pump: the alarm is over since somebody said that it was normal"


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="cool_down must be a number of seconds from 0, got -1"):
        AlertSettings(cool_down=-1)
