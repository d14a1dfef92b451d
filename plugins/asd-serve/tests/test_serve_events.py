"""Events over HTTP: page by page, why, and with the sound that was kept, from the history of a real listener."""

from __future__ import annotations

import io
import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from asd_listen import Reader, healthy_clips, kept_of, remark
from waiting import PATIENCE

Shown = Callable[..., Any]


def get(client: Any, path: str, code: int = 200, **query: Any) -> Any:
    """Return the JSON of a path."""
    answer = client.get(path, params=query)
    assert answer.status_code == code, answer.text
    return answer.json()


def changed(history: Path, statement: str, *values: Any) -> None:
    """Change a history behind everybody's back."""
    connection = sqlite3.connect(history / "history.sqlite")
    with connection:
        connection.execute(statement, values)
    connection.close()


@pytest.fixture
def alarm(plant_history: Path) -> str:
    """Return the id of the fan's alarm."""
    with Reader(plant_history) as reader:
        return str(next(row["id"] for row in reader.rows("events") if row["kind"] == "alarm"))


# --------------------------------------------------------------------------------------------------------- page by page


def test_events_come_newest_first_and_by_what_is_asked_for(shown: Shown, plant_history: Path, alarm: str) -> None:
    client = shown(history=plant_history)
    every = get(client, "/api/events")
    assert every["next"] is None
    times = [each["time"] for each in every["events"]]
    assert times == sorted(times, reverse=True)
    kinds = [each["kind"] for each in every["events"]]
    assert (kinds.count("started"), kinds.count("stopped"), kinds.count("alarm")) == (3, 3, 1)
    assert {"judgement", "notes", "acknowledged", "acknowledged_by"} <= set(every["events"][0])
    assert [each["id"] for each in get(client, "/api/events", severity="warning")["events"]] == [alarm]
    assert [each["id"] for each in get(client, "/api/events", kind="alarm")["events"]] == [alarm]
    assert len(get(client, "/api/events", kind=["started", "stopped"])["events"]) == 6
    assert {each["machine"] for each in get(client, "/api/events", machine="pump 1")["events"]} == {"pump 1"}
    assert get(client, "/api/events", since=time.time() + 1)["events"] == []
    earliest = [each for each in every["events"] if each["time"] < times[-1] + 0.001]
    assert get(client, "/api/events", until=times[-1] + 0.001)["events"] == earliest


def test_pages_hold_each_event_once_while_others_are_written(shown: Shown, plant_history: Path) -> None:
    insert = (
        "INSERT INTO events (id, machine, time, kind, severity, text, data) VALUES (?, 'fan', ?, 'x', 'info', '', '{}')"
    )
    for number in range(60):
        changed(plant_history, insert, f"e{number}", 1e6 + number // 7)  # several at one moment
    client = shown(history=plant_history)
    found, cursor = [], None
    for page in range(100):
        asked = {"limit": 7, "kind": "x", **({} if cursor is None else {"before": cursor})}
        answer = get(client, "/api/events", **asked)
        found += [each["id"] for each in answer["events"]]
        changed(plant_history, insert, f"late{page}", 2e6 + page)
        cursor = answer["next"]
        if cursor is None:
            break
    assert sorted(found) == sorted(f"e{number}" for number in range(60))


@pytest.mark.parametrize(
    "cursor", ["x", "1.0_", "nan_1", "inf_2", "1.0_99999999999999999999", "1'; DROP TABLE events_1"]
)
def test_a_cursor_that_is_none(shown: Shown, plant_history: Path, cursor: str) -> None:
    error = get(shown(history=plant_history), "/api/events", 400, before=cursor)["error"]
    assert error == f"no cursor of a page of events: {cursor!r}; give the one that the page before gave"


@pytest.mark.parametrize(
    ("query", "code", "text"),
    [
        ({"limit": 0}, 422, "query 'limit': received '0'; input should be greater than or equal to 1"),
        ({"limit": 10**6}, 422, "query 'limit': received '1000000'; input should be less than or equal to 500"),
        (
            {"severity": "awful"},
            422,
            "query 'severity': received 'awful'; input should be 'info', 'warning'",
        ),
        (
            {"machine": "x' OR 1=1"},
            404,
            'no machine "x\' OR 1=1" was listened to; GET /api/machines lists those that were',
        ),
    ],
)
def test_a_question_that_is_none(shown: Shown, plant_history: Path, query: Any, code: int, text: str) -> None:
    assert text in get(shown(history=plant_history), "/api/events", code, **query)["error"]


# ------------------------------------------------------------------------------------------------------------ one event


def test_an_alarm_with_all_that_belongs_to_it(shown: Shown, plant_history: Path, alarm: str) -> None:
    found = get(shown(history=plant_history), f"/api/events/{alarm}")
    assert "louder at 3.5–3.9 kHz" in found["explanation"]["text"]
    assert str(plant_history) not in json.dumps(found)
    first = found["explanation"]["findings"][0]
    assert first["low"] < 3600 < first["high"]
    assert found["sound"]["before"] == pytest.approx(15, abs=0.1)
    assert 30 < found["sound"]["seconds"] < 40
    assert found["sound_missing"] is None
    assert found["picture"]
    nearest = found["nearest"]
    assert (nearest["by"], nearest["seconds"]) == ("levels", 10)
    assert 0 <= nearest["distance"] < 3
    assert "healthy clips that were kept, the one most like it" in nearest["text"]
    assert (found["notes"], found["judgements"], found["judgement"]) == ([], [], None)


def test_an_event_without_sound_says_why(shown: Shown, plant_history: Path) -> None:
    client = shown(history=plant_history)
    (started,) = get(client, "/api/events", kind="started", machine="fan")["events"]
    found = get(client, f"/api/events/{started['id']}")
    assert (found["sound"], found["picture"], found["nearest"], found["explanation"]) == (None, False, None, None)
    assert found["sound_missing"] == "sound is kept of alarms only, and this is an event of the kind 'started'"
    assert get(client, f"/api/events/{started['id']}/audio", 404)["error"] == found["sound_missing"]


@pytest.mark.parametrize("rest", ["", "/audio", "/picture", "/nearest/audio", "/nearest/picture"])
@pytest.mark.parametrize("event", ["0000", "%2e%2e", "..%2f..%2fetc%2fpasswd", "'%20OR%201=1--", "%00"])
def test_an_event_that_is_none(shown: Shown, plant_history: Path, event: str, rest: str) -> None:
    answer = shown(history=plant_history).get(f"/api/events/{event}{rest}")
    assert answer.status_code == 404
    assert "no event" in answer.json()["error"] or "no such path" in answer.json()["error"]


def test_what_people_said_is_shown_before_a_listener_heeds_it(shown: Shown, plant_history: Path, alarm: str) -> None:
    client = shown(history=plant_history)
    data = {"event": alarm, "by": "Ann"}
    for kind, more in (("note", {"text": "<b>bearing</b>"}), ("fault", {}), ("acknowledge", {})):
        remark(plant_history, "fan", kind, {**data, **more})  # type: ignore[arg-type]
    found = get(client, f"/api/events/{alarm}")
    assert [(note["by"], note["text"]) for note in found["notes"]] == [("Ann", "<b>bearing</b>")]
    assert (found["judgement"], found["acknowledged_by"]) == ("fault", "Ann")
    assert abs(found["acknowledged"] - time.time()) < PATIENCE
    remark(plant_history, "fan", "undo", data)
    remark(plant_history, "fan", "withdraw", {**data, "remark": found["notes"][0]["id"]})  # type: ignore[arg-type]
    remark(plant_history, "fan", "unacknowledge", data)  # type: ignore[arg-type]
    (row,) = get(client, "/api/events", kind="alarm")["events"]
    assert (row["judgement"], row["notes"], row["acknowledged"]) == (None, 0, None)
    assert [each["judgement"] for each in get(client, f"/api/events/{alarm}")["judgements"]] == ["fault", "undo"]


# ---------------------------------------------------------------------------------------------------------------- sound


def test_the_sound_of_an_alarm_whole_and_in_parts(shown: Shown, plant_history: Path, alarm: str) -> None:
    client = shown(history=plant_history)
    whole = client.get(f"/api/events/{alarm}/audio")
    assert whole.headers["content-type"] == "audio/flac"
    assert whole.headers["accept-ranges"] == "bytes"
    samples, rate = soundfile.read(io.BytesIO(whole.content))
    assert len(samples) / rate == pytest.approx(get(client, f"/api/events/{alarm}")["sound"]["seconds"])
    power = np.abs(np.fft.rfft(samples[16 * rate : 17 * rate]))
    assert power[3500] > 20 * np.median(power)  # a second has a bin a hertz
    part = client.get(f"/api/events/{alarm}/audio", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    last = client.get(f"/api/events/{alarm}/audio", headers={"Range": "bytes=-7"})
    assert last.content == whole.content[-7:]
    beyond = client.get(f"/api/events/{alarm}/audio", headers={"Range": "bytes=99999999-"})
    assert beyond.status_code == 416
    for odd in ("bytes=a-b", "bytes=0-1,3-4," * 30, "lines=1-2", "bytes=5-1"):
        answer = client.get(f"/api/events/{alarm}/audio", headers={"Range": odd})
        assert (answer.status_code, len(answer.content)) == (200, len(whole.content)), odd
    again = client.get(f"/api/events/{alarm}/audio", headers={"If-None-Match": whole.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_pictures_of_both_on_one_scale(shown: Shown, plant_history: Path, alarm: str) -> None:
    client = shown(history=plant_history)
    with Reader(plant_history) as reader:
        kept = kept_of(reader, alarm)
    assert kept is not None
    drawn = kept.path(".png")
    assert drawn is not None
    own = client.get(f"/api/events/{alarm}/picture")
    assert own.content == drawn.read_bytes()
    drawn.unlink()  # as where asd-pages was not installed when it was kept
    anew = client.get(f"/api/events/{alarm}/picture")
    healthy = client.get(f"/api/events/{alarm}/nearest/picture")
    sizes = [Image.open(io.BytesIO(each.content)).size for each in (own, anew, healthy)]
    assert len(set(sizes)) == 1
    assert healthy.content != anew.content
    assert client.get(f"/api/events/{alarm}/nearest/picture").headers["etag"] == healthy.headers["etag"]


def test_the_nearest_healthy_clip_is_the_one_that_sounds_most_alike(
    shown: Shown, plant_history: Path, alarm: str, demo: Any
) -> None:
    with Reader(plant_history) as reader:
        clips = healthy_clips(reader, "fan")
    near = clips[-1]  # the one that is farthest in time
    for clip in clips[:-1]:
        path = clip.path()
        assert path is not None
        soundfile.write(path, np.clip(8 * demo.hum(10, 317, 5), -1, 1), demo.RATE)  # another sound, much louder
    client = shown(history=plant_history)
    found = get(client, f"/api/events/{alarm}")["nearest"]
    assert (found["time"], found["by"]) == (near.began, "levels")
    path = near.path()
    assert path is not None
    assert client.get(f"/api/events/{alarm}/nearest/audio").content == path.read_bytes()
    for clip in clips:
        broken = clip.path()
        assert broken is not None
        broken.write_bytes(b"no sound")
    found = get(client, f"/api/events/{alarm}")["nearest"]
    assert (found["by"], found["distance"]) == ("time", None)
    assert "the nearest in time" in found["text"]


def test_sound_that_was_deleted_says_when_and_why(shown: Shown, plant_history: Path, alarm: str) -> None:
    client = shown(history=plant_history)
    with Reader(plant_history) as reader:
        kept = kept_of(reader, alarm)
        clips = healthy_clips(reader, "fan")
    assert kept is not None
    path = kept.path()
    assert path is not None
    path.unlink()
    text = "the sound of this event was kept, and its file is gone: deleted or moved by somebody, or a link"
    for what in ("audio", "picture"):
        assert get(client, f"/api/events/{alarm}/{what}", 410)["error"] == text
    found = get(client, f"/api/events/{alarm}")
    assert (found["sound"], found["sound_missing"]) == (None, text)
    assert "louder" in found["explanation"]["text"]  # the history knows it
    changed(plant_history, "UPDATE evidence SET deleted = 1795752431, reason = 'older than 90 days'")
    gone = get(client, f"/api/events/{alarm}/audio", 410)["error"]
    assert gone == "the sound of this event was deleted on 2026-11-27 04:07 UTC: older than 90 days"
    assert "no healthy clip of this machine is kept" in get(client, f"/api/events/{alarm}/nearest/audio", 404)["error"]
    changed(plant_history, "UPDATE evidence SET deleted = NULL WHERE kind = 'healthy'")
    for clip in clips:
        there = clip.path()
        assert there is not None
        there.unlink()
    assert "no healthy clip of this machine is kept" in get(client, f"/api/events/{alarm}/nearest/audio", 404)["error"]
    changed(plant_history, "DELETE FROM evidence")
    assert "no sound was kept of this alarm" in get(client, f"/api/events/{alarm}/audio", 404)["error"]


@pytest.mark.parametrize("way", ["up", "absolute", "link", "linked folder"])
def test_nothing_outside_the_folder_of_evidence_is_opened(
    shown: Shown, plant_history: Path, alarm: str, tmp_path: Path, way: str
) -> None:
    """Although the history says so: it may come from elsewhere, as a copy that was put back."""
    (tmp_path / "secret").mkdir()
    secret = tmp_path / "secret" / "other.flac"
    secret.write_bytes(b"a secret")
    evidence = plant_history / "evidence"
    file = {"up": "../../secret/other.flac", "absolute": str(secret), "link": "fan/link.flac"}.get(
        way, "away/other.flac"
    )
    (evidence / "fan" / "link.flac").symlink_to(secret)
    (evidence / "away").symlink_to(tmp_path / "secret")
    changed(plant_history, "UPDATE evidence SET file = ? WHERE event = ?", file, alarm)
    client = shown(history=plant_history)
    for what in ("", "/audio", "/picture", "/nearest/picture"):
        answer = client.get(f"/api/events/{alarm}{what}")
        assert b"a secret" not in answer.content
        assert answer.status_code == (410 if what in ("/audio", "/picture") else 200)
        assert str(tmp_path) not in answer.text or answer.headers["content-type"] == "image/png"
    assert get(client, f"/api/events/{alarm}")["sound"] is None
