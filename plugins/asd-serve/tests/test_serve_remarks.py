"""What people say of events over HTTP: it is in the history with their name, heeded by the listener, and taken back."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from teaching_plant import alarm_of, answered, copied, feedback, listened_briefly, monitor_of

from asd_listen import Reader, judge
from asd_serve.state import State
from waiting import PATIENCE, until


@pytest.fixture
def plant(plant_folder: Path, tmp_path: Path) -> Path:
    return copied(plant_folder, tmp_path / "demo")


@pytest.fixture
def teller(plant: Path, state: State, client: Callable[..., Any]) -> Any:
    state.history = plant / "history"
    return client("feedback")


def test_an_event_is_acknowledged_and_that_is_taken_back(plant: Path, teller: Any) -> None:
    event = alarm_of(plant)
    path = f"/api/events/{event}/acknowledge"
    done = answered(teller.post(path))
    assert (done["event"], done["running"]) == (event, False)
    assert done["text"].startswith("Acknowledged by feedback ")
    assert done["text"].endswith(": it is not told again. No listener is running: it takes effect when one starts.")
    shown = answered(teller.get(f"/api/events/{event}"))
    assert shown["acknowledged_by"].startswith("feedback ")
    again = answered(teller.post(path), 409)
    assert again["error"].endswith(f"event {event} was acknowledged before; nothing to do")
    assert answered(teller.delete(path))["text"].startswith("The acknowledgement is taken back.")
    assert answered(teller.get(f"/api/events/{event}"))["acknowledged"] is None
    assert answered(teller.delete(path), 409)["error"].endswith("was not acknowledged; nothing to take back")
    answered(teller.post(path))  # and once more
    assert [kind for kind, _, _ in feedback(plant)] == ["acknowledge", "unacknowledge", "acknowledge"]


def test_notes_are_kept_as_they_were_written_and_taken_back(plant: Path, teller: Any) -> None:
    event = alarm_of(plant)
    path, text = f"/api/events/{event}/notes", '<b>bearing</b> greased; it\'s "fine"\nsince; DROP TABLE feedback --'
    number = answered(teller.post(path, json={"text": f"  {text}\n"}))["note"]
    answered(teller.post(path, json={"text": "second"}))
    notes = answered(teller.get(f"/api/events/{event}"))["notes"]
    assert [(note["text"], note["by"].split()[0]) for note in notes] == [(text, "feedback"), ("second", "feedback")]
    assert notes[0]["id"] == number
    answered(teller.delete(f"{path}/{number}"))
    assert [note["text"] for note in answered(teller.get(f"/api/events/{event}"))["notes"]] == ["second"]
    error = answered(teller.delete(f"{path}/{number}"), 409)["error"]
    assert error == f"event {event} has no note {number}; it has {number + 1}"
    assert all(answer == "kept" for _, _, answer in feedback(plant))  # nothing waits for a listener


def test_that_was_normal_reaches_the_monitor_and_is_taken_back(plant: Path, teller: Any) -> None:
    event = alarm_of(plant)
    path = f"/api/events/{event}/judgement"
    assert monitor_of(plant).state.evidence.phase == "alarm"
    done = answered(teller.post(path, json={"judgement": "normal"}))
    assert done["text"] == (
        "Its clips count as healthy from now on, and the evidence begins anew; this can be undone. "
        "No listener is running: it takes effect when one starts."
    )
    assert answered(teller.get(f"/api/events/{event}"))["judgement"] == "normal"
    again = answered(teller.post(path, json={"judgement": "normal"}), 409)
    assert again["error"] == f"event {event} was judged 'normal' before; nothing to do"
    listened_briefly(plant)
    monitor = monitor_of(plant)
    assert (monitor.state.evidence.phase, len(monitor.accepted.bags)) == ("watching", 1)
    answered(teller.post(path, json={"judgement": "fault"}))  # somebody knows better: the first is taken back
    listened_briefly(plant)
    monitor = monitor_of(plant)
    assert (monitor.state.evidence.phase, monitor.accepted.bags) == ("alarm", {})
    shown = answered(teller.get(f"/api/events/{event}"))
    assert shown["judgement"] == "fault"
    assert [each["judgement"] for each in shown["judgements"]] == ["normal", "undo", "fault"]
    assert answered(teller.delete(path))["text"].startswith("The judgement is taken back.")
    assert answered(teller.get(f"/api/events/{event}"))["judgement"] is None
    assert answered(teller.delete(path), 409)["error"] == f"event {event} was not judged; nothing to take back"
    listened_briefly(plant)
    assert monitor_of(plant).state.evidence.phase == "alarm"  # to take back a fault changes no monitor


def test_what_normal_would_change_is_shown_before_it_is_said(plant: Path, teller: Any) -> None:
    event = alarm_of(plant)
    monitors = plant / "history" / "monitors" / "fan.monitor"
    content = monitors.read_bytes()
    found = answered(teller.get(f"/api/events/{event}/preview"))
    assert (found["before"]["phase"], found["after"]["phase"]) == ("alarm", "watching")
    assert (found["before"]["accepted_clips"], found["after"]["accepted_clips"]) == (0, found["clips"])
    assert found["clips"] > 20
    assert found["after"]["evidence"] == 0 < found["before"]["threshold"] < 10
    assert [each["id"] for each in found["alarms_not_raised"]] == [event]
    assert found["text"] == (
        f"{found['clips']} clips would count as healthy; the machine would be 'watching' instead of 'alarm'; "
        "1 alarm of the last 30 days would not have been raised. It can be undone."
    )
    assert monitors.read_bytes() == content
    assert feedback(plant) == []
    answered(teller.post(f"/api/events/{event}/judgement", json={"judgement": "normal"}))
    listened_briefly(plant)
    assert monitor_of(plant).accepted.total == found["clips"]  # it was as foretold
    again = answered(teller.get(f"/api/events/{event}/preview"))
    assert again["text"].startswith("Nothing would change: no alarm was raised, or its clips were taken for healthy")
    assert answered(teller.get("/api/events/none/preview"), 404)["error"].startswith("no event 'none'")


def test_a_running_listener_heeds_it_within_seconds(plant: Path, server: Callable[..., Any]) -> None:
    running = server(listen=plant / "plant.toml")
    client = running.client("feedback")
    event = alarm_of(plant)
    done = answered(client.post(f"/api/events/{event}/judgement", json={"judgement": "normal"}))
    assert done["running"]
    assert done["text"].endswith("this can be undone.")
    until(lambda: any(answer for _, _, answer in feedback(plant)))
    shown = answered(client.get(f"/api/events/{event}"))
    assert shown["judgements"][0]["answer"].endswith("taken for healthy; watching")
    path = f"/api/events/{event}/acknowledge"
    for say, told in ((client.post, "acknowledged"), (client.delete, "taken back")):
        answered(say(path))
        until(lambda told=told: feedback(plant)[-1][2] == told)
        seen = answered(client.get(f"/api/events/{event}"))["acknowledged"]
        assert (seen is not None) == (told == "acknowledged")


def test_an_older_alarm_means_its_own_clips(plant: Path) -> None:
    event = alarm_of(plant)
    history = plant / "history" / "history.sqlite"
    with sqlite3.connect(history) as connection:  # a later one, in the history alone
        (at,) = connection.execute("SELECT max(time) FROM events").fetchone()
        row = ("later", "fan", at + 100, "alarm", "alarm", "another", "{}")
        columns = "id, machine, time, kind, severity, text, data"
        connection.execute(f"INSERT INTO events ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    connection.close()
    judge(plant / "history", event, "normal", "me")
    ((kind, data, _),) = feedback(plant)
    assert (kind, data["event"], data["by"], data["since"]) == ("normal", event, "me", 0.0)
    assert "until" in data


def test_what_cannot_be_said_is_answered_in_one_line(plant: Path, teller: Any, client: Callable[..., Any]) -> None:
    event = alarm_of(plant)
    assert answered(teller.post("/api/events/none/acknowledge"), 404)["error"] == (
        "no event 'none'; GET /api/events lists those that there are"
    )
    short = answered(
        teller.post(f"/api/events/{event[:6]}/acknowledge"), 404
    )  # no beginning of an id, as on a terminal
    assert short["error"].startswith(f"no event '{event[:6]}'")
    blank = answered(teller.post(f"/api/events/{event}/notes", json={"text": "  \n "}), 409)
    assert blank["error"].startswith("a note of 0 characters; write from 1 to 2,000")
    for path, body in (("judgement", {"judgement": "maybe"}), ("notes", {"text": "x" * 2001}), ("notes", {})):
        answer = teller.post(f"/api/events/{event}/{path}", json=body)
        assert answer.status_code in (400, 422)
        assert "\n" not in answer.json()["error"]
    with Reader(plant / "history") as reader:
        stopped = next(row["id"] for row in reader.rows("events", "fan") if row["kind"] == "stopped")
    error = answered(teller.post(f"/api/events/{stopped}/judgement", json={"judgement": "normal"}), 409)["error"]
    assert error == f"event {stopped} is of the kind 'stopped'; only alarm, unlike, drift are judged"
    looking = client("look").post(f"/api/events/{event}/acknowledge")
    assert "has the role look; this needs feedback" in answered(looking, 403)["error"]
    assert feedback(plant) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_history_that_cannot_be_written_is_said(plant: Path, teller: Any) -> None:
    event = alarm_of(plant)
    answered(teller.get(f"/api/events/{event}"))
    (plant / "history" / "history.sqlite").chmod(0o400)
    (plant / "history").chmod(0o500)
    try:
        error = answered(teller.post(f"/api/events/{event}/notes", json={"text": "a"}), 503)["error"]
    finally:
        (plant / "history").chmod(0o700)
    assert "cannot be written here" in error


def test_a_locked_history_is_said_and_loses_nothing(plant: Path, teller: Any) -> None:
    event = alarm_of(plant)
    other = sqlite3.connect(plant / "history" / "history.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    try:
        error = answered(teller.post(f"/api/events/{event}/notes", json={"text": "a"}), 503)["error"]
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert time.monotonic() - began < PATIENCE / 2
    assert "another program is writing to the history" in error
    answered(teller.post(f"/api/events/{event}/notes", json={"text": "a"}))


def test_asd_history_shows_what_was_said(plant: Path, teller: Any) -> None:
    event = alarm_of(plant)
    answered(teller.post(f"/api/events/{event}/notes", json={"text": "greased"}))
    words = [os.environ["ASD_COMMAND"], "history", str(plant / "history"), "show", "--table", "feedback"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "greased" in done.stdout
