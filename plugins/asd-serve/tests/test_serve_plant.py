"""Machines over HTTP: how they stand, and what they did, from the history of a real listener."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import soundfile
from starlette.testclient import WebSocketDenialResponse
from websockets.sync.client import connect

import asd
import asd.client
from asd.errors import AsdError
from asd_listen import HistoryError, Listener, Reader, explainer, is_listening, read_settings, settings_from
from asd_serve.plant.plant import Plant
from waiting import PATIENCE, until

Shown = Callable[..., Any]


def get(client: Any, path: str, code: int = 200, **query: Any) -> Any:
    """Return the JSON of a path."""
    answer = client.get(path, params=query)
    assert answer.status_code == code, answer.text
    return answer.json()


def last_time(history: Path) -> float:
    with Reader(history) as reader:
        return float(reader.ask("SELECT max(time) FROM verdicts")[0][0])


# ------------------------------------------------------------------------------------------------------------- machines


def test_machines_of_a_history_that_nobody_writes(shown: Shown, plant_history: Path) -> None:
    client = shown(history=plant_history)
    fan, mill, pump = get(client, "/api/machines")["machines"]
    assert [fan["name"], mill["name"], pump["name"]] == ["fan", "mill", "pump 1"]
    assert {each["phase"] for each in (fan, mill, pump)} == {"not listened to"}
    assert (fan["last_phase"], pump["last_phase"]) == ("alarm", "watching")
    assert fan["evidence"] >= fan["threshold"] > pump["evidence"] >= 0
    assert fan["last_alarm"]["text"].startswith("fan: the sound has changed")
    assert pump["last_alarm"] is None
    assert fan["since"] < fan["seen"] <= time.time()
    assert -40 < fan["level"] < 0
    assert not fan["listening"]
    assert fan["model"] == "fan"
    assert len(fan["digest"]) == 12
    assert get(client, f"/api/machines/{quote('pump 1')}") == pump
    wrong = get(client, "/api/machines/none", 404)
    assert wrong == {"error": "no machine 'none' was listened to; GET /api/machines lists those that were"}


@pytest.mark.parametrize("name", ['a/b "1" <b> 100%\nü/', "pump 1/series", "pump 1/live", "hall/update"])
def test_a_machine_whose_name_is_odd(shown: Shown, plant_history: Path, name: str) -> None:
    history = sqlite3.connect(plant_history / "history.sqlite")
    history.execute("UPDATE machines SET name = ? WHERE name = 'fan'", (name,))
    history.execute("UPDATE events SET machine = ? WHERE machine = 'fan'", (name,))
    history.commit()
    history.close()
    client = shown(history=plant_history, hosts=("testserver",))
    place = f"/api/machines/{quote(name, safe='')}"
    assert get(client, place)["name"] == name
    assert get(client, f"{place}/series", since=0)["points"]
    assert get(client, f"{place}/clips", limit=3)["clips"][0]["machine"] == name
    assert {each["machine"] for each in get(client, "/api/events", machine=name)["events"]} == {name}
    with pytest.raises(WebSocketDenialResponse) as refusal, client.websocket_connect(f"{place}x/live"):
        pass
    assert f"no machine {name + 'x'!r} was" in refusal.value.json()["error"]
    assert f"no machine {name + 'x'!r} was" in get(client, f"{place}x", 404)["error"]
    if name == "hall/update":  # a slash that is not encoded is one of the path, if there is such a path
        assert "no machine 'hall' was" in get(client, "/api/machines/hall/update", 404)["error"]


ODD = [
    ("a%2fb \"q\" 's' \\", "two\r\nlines\t\x1b[31m ü\u202e", "<img src=x onerror=alert(1)>?#;/..//series"),
    (".", "..", "../../../etc/passwd"),  # clients and proxies take steps of a path out, encoded ones too
    ("/", "%2F", "   "),
    ("base64=Li4", "\U0001f642Säge 漢字" * 20, "..\\..\\live"),
    ("%2e%2e", "base64=", "live"),
]


def renamed(history: Path, names: tuple[str, ...]) -> None:
    """Give the machines of a history other names."""
    database = sqlite3.connect(history / "history.sqlite")
    former = [row[0] for row in database.execute("SELECT name FROM machines ORDER BY id")]
    for old, name in zip(former, names, strict=True):
        database.execute("UPDATE machines SET name = ? WHERE name = ?", (name, old))
        database.execute("UPDATE events SET machine = ? WHERE machine = ?", (name, old))
    database.commit()
    database.close()


def test_odd_names_from_the_history_to_the_client_through_a_real_server(server: Any, plant_history: Path) -> None:
    running = server(history=plant_history, root_path="/hall")
    with asd.client.Client(running.url, running.key("feedback")) as client, running.client() as user:
        for names in ODD:
            renamed(plant_history, names)
            assert {each["name"] for each in client.machines()} == set(names)
            check_odd_names(running, client, user, names)


def check_odd_names(running: Any, client: Any, user: Any, names: tuple[str, ...]) -> None:
    for name in names:
        assert client.machine(name)["name"] == name
        assert client.series(name, since=0)["points"]
        assert {each["machine"] for each in client.events(machine=name)} == {name}
        (event,) = list(client.events(machine=name))[:1]
        assert client.note(event["id"], f"[{name}]")
        assert client.event(event["id"])["notes"][-1]["text"] == f"[{name}]"
        plain = f"/api/machines/{quote(name, safe='')}"
        if re.search(r"(^|/)[.]{1,2}($|/)|^base64=L", name) is None:
            assert get(user, plain)["name"] == name
            wrong = " ".join(f"no machine {(name + '!')[:80]!r} was".split())
            assert wrong in get(user, f"{plain}%21", 404)["error"]
        place = f"/api/machines/base64={base64.urlsafe_b64encode(name.encode()).decode().rstrip('=')}"
        for what in ("levels", "clips"):
            assert get(user, f"{place}/{what}", since=0)[what]
        with connect(
            f"{running.url.replace('http', 'ws', 1)}{place}/live",
            additional_headers={"Authorization": f"Bearer {running.key()}"},
        ) as live:
            first = json.loads(str(live.recv(20)).split("\n")[0])
            assert (first["type"], first["name"]) == ("machine", name)


def test_without_a_history_the_paths_say_how_to_get_one(shown: Shown) -> None:
    client = shown()
    for path in ("/api/machines", "/api/events", "/api/machines/x/series"):
        assert "start it with --listen SETTINGS.toml, or with --history FOLDER" in get(client, path, 404)["error"]


def test_a_history_that_is_not_there(shown: Shown, tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="no such history; 'asd listen' keeps one, in the folder that its settings"):
        shown(history=tmp_path / "nowhere")


def test_a_history_that_goes_and_comes_back(shown: Shown, plant_history: Path, tmp_path: Path) -> None:
    client = shown(history=plant_history)
    assert len(get(client, "/api/machines")["machines"]) == 3
    shutil.move(plant_history, tmp_path / "away")
    assert "the history is gone (No such file or directory); put it back" in get(client, "/api/machines", 503)["error"]
    plant_history.mkdir()
    with pytest.raises(HistoryError, match="no such history"):
        Reader(plant_history)
    shutil.copytree(tmp_path / "away", plant_history, dirs_exist_ok=True)  # another file, as after a restore
    assert len(get(client, "/api/machines")["machines"]) == 3


def test_a_history_that_another_program_keeps_locked_is_read_all_the_same(shown: Shown, plant_history: Path) -> None:
    client = shown(history=plant_history)
    writer = sqlite3.connect(plant_history / "history.sqlite", isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    try:
        assert len(get(client, "/api/machines")["machines"]) == 3
    finally:
        writer.execute("ROLLBACK")
        writer.close()


# --------------------------------------------------------------------------------------------------------------- series


def test_a_series_sums_up_exactly_the_clips_of_its_span(shown: Shown, plant_history: Path) -> None:
    client, end = shown(history=plant_history), last_time(plant_history)
    for span, points in ((60, 600), (3600, 50), (86400, 600), (366 * 86400, 600), (600, 2)):
        query = {"since": end - span + 0.5, "until": end - 3.5, "points": points}
        found = get(client, "/api/machines/fan/series", **query)
        rows = get(client, "/api/machines/fan/clips", since=query["since"], until=query["until"], limit=1000)["clips"]
        assert sum(each["clips"] for each in found["points"]) == len(rows) > 0
        assert sum(each["alarms"] for each in found["points"]) == sum(row["phase"] == "alarm" for row in rows)
        assert max(each["score_max"] for each in found["points"]) == max(row["score"] for row in rows)
        assert len(found["points"]) <= points
        times = [each["time"] for each in found["points"]]
        assert times == sorted(times)
        assert min(np.diff(times), default=1e9) > 0.9 * found["step"] or len(times) <= 2
    assert found["threshold"] == pytest.approx(7.56, abs=0.01)


def test_a_series_shows_events_and_conditions_of_its_span(shown: Shown, plant_history: Path) -> None:
    client, end = shown(history=plant_history), last_time(plant_history)
    history = sqlite3.connect(plant_history / "history.sqlite")
    number = history.execute("SELECT id FROM machines WHERE name = 'fan'").fetchone()[0]
    history.execute("INSERT INTO conditions VALUES (NULL, ?, 'silence', ?, NULL, 'no sound')", (number, end - 30))
    history.commit()
    history.close()
    found = get(client, "/api/machines/fan/series", since=end - 600, until=end)
    assert [each["kind"] for each in found["events"] if each["kind"] != "phase"] == ["alarm"]
    assert [(each["name"], each["over"]) for each in found["conditions"]] == [("silence", None)]
    assert get(client, "/api/machines/fan/series", since=end - 6000, until=end - 5000)["points"] == []


@pytest.mark.parametrize(
    ("query", "code", "text"),
    [
        ({"since": 200, "until": 100}, 400, "since must be before until, got 200 and 100; both in seconds since 1970"),
        ({"points": 1}, 422, "query 'points': received '1'; input should be greater than or equal to 2"),
        ({"points": 10**9}, 422, "query 'points': received '1000000000'; input should be less than or equal to 5000"),
        ({"since": "nan"}, 422, "query 'since': received 'nan'; input should be"),
        ({"since": "inf"}, 422, "query 'since': received 'inf'; input should be"),
        ({"since": "-1"}, 422, "query 'since': received '-1'; input should be greater than or equal to 0"),
        ({"until": "1e300"}, 422, "query 'until': received '1e300'; input should be less than or equal to"),
        ({"since": "1; DROP TABLE verdicts"}, 422, "query 'since': received '1; DROP TABLE verdicts'"),
    ],
)
def test_a_span_that_is_none(shown: Shown, plant_history: Path, query: dict[str, Any], code: int, text: str) -> None:
    client = shown(history=plant_history)
    assert text in get(client, "/api/machines/fan/series", code, **query)["error"]
    if "points" not in query:
        assert text in get(client, "/api/machines/fan/levels", code, **query)["error"]


def test_levels_of_minutes_and_of_a_year(shown: Shown, plant_history: Path) -> None:
    client, end = shown(history=plant_history), last_time(plant_history)
    fine = get(client, "/api/machines/fan/levels", since=end - 600, until=end)
    assert (fine["step"], fine["sampled"]) == (60, False)
    assert len(fine["times"]) == len(fine["levels"]) == len(fine["level"]) == 7
    assert fine["bands"][:2] == [25.0, 31.5]
    assert max(fine["bands"]) <= 8000
    hum = fine["bands"].index(125.0)
    assert all(row[hum] > -30 for row in fine["levels"])  # 117 Hz, a tenth of full scale
    whine = fine["bands"].index(3150.0), fine["bands"].index(4000.0)
    assert max(fine["levels"][-1][band] for band in whine) > max(fine["levels"][0][band] for band in whine) + 3
    year = get(client, "/api/machines/fan/levels", since=end - 366 * 86400, until=end)
    assert year["sampled"]
    assert len(year["times"]) == 1
    assert year["levels"][0][hum] == pytest.approx(fine["levels"][0][hum], abs=1)
    nothing = get(client, "/api/machines/fan/levels", since=0, until=1000)
    assert nothing == {"bands": [], "times": [], "step": 60.0, "levels": [], "level": [], "sampled": False}


def test_levels_that_lack_a_band_or_a_whole(shown: Shown, plant_history: Path) -> None:
    history = sqlite3.connect(plant_history / "history.sqlite")
    (number,) = history.execute("SELECT id FROM machines WHERE name = 'fan'").fetchone()
    rows = ((1000.0, -20.0, {"50": [-30.0, -25.0]}), (1030.0, None, {"50": [-20.0, -5.0], "16000": [-60.0, -50.0]}))
    for moment, level, bands in rows:
        history.execute("INSERT INTO levels VALUES (?, ?, 60, ?, ?)", (number, moment, level, json.dumps(bands)))
    history.commit()
    history.close()
    found = get(shown(history=plant_history), "/api/machines/fan/levels", since=1000, until=1100)
    assert (found["bands"], found["times"]) == ([50.0, 16000.0], [1000.0])
    assert found["levels"] == [[pytest.approx(-22.6, abs=0.05), -60.0]]
    assert found["level"] == [-20.0]


def test_clips_come_newest_first(shown: Shown, plant_history: Path) -> None:
    client, end = shown(history=plant_history), last_time(plant_history)
    rows = get(client, "/api/machines/fan/clips", limit=5)["clips"]
    assert [row["time"] for row in rows] == [end, end - 1, end - 2, end - 3, end - 4]
    assert set(rows[0]) >= {"score", "p_value", "anomalous", "evidence", "threshold", "phase"}


def test_what_a_browser_has_already_is_not_sent_again(shown: Shown, plant_history: Path) -> None:
    client = shown(history=plant_history)
    first = client.get("/api/machines/fan/clips")
    again = client.get("/api/machines/fan/clips", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["cache-control"] == "private, no-cache"
    other = client.get("/api/machines/fan/clips", headers={"If-None-Match": '"else"'})
    assert (other.status_code, other.content) == (200, first.content)


def test_the_loop_goes_on_while_the_history_is_asked(plant_history: Path) -> None:
    """A question that takes long must not keep others, nor the sockets, from being served."""

    async def both() -> None:
        plant = Plant(plant_history)
        plant.open()
        began, go = threading.Event(), threading.Event()
        slow = asyncio.create_task(plant.ask(lambda reader: began.set() or go.wait(PATIENCE)))
        await asyncio.to_thread(began.wait, PATIENCE)
        for _ in range(3):
            await plant.ask(lambda reader: reader.machines())
        assert not slow.done()
        go.set()
        assert await slow
        plant.close()

    asyncio.run(both())


# ------------------------------------------------------------------------------------------------- a listener in here


def test_a_server_that_listens(shown: Shown, plant_settings: Path, plant_history: Path) -> None:
    before = last_time(plant_history)
    client = shown(listen=plant_settings)
    pump = until(lambda: [m for m in get(client, "/api/machines")["machines"] if m["name"] == "pump 1" and
                          m["seen"] > before + 60])[0]  # fmt: skip
    assert pump["listening"]
    assert pump["phase"] == "watching"
    assert get(client, "/readyz")["listener"] == "listening"
    assert is_listening(plant_history)
    counted = client.get("/metrics").text
    assert 'asd_listen_evidence{machine="pump 1"}' in counted
    assert "\nasd_listen_clips_total " in counted
    with pytest.raises(HistoryError, match="another listener is using this history; stop it, or give"):
        Plant(settings=read_settings(plant_settings)).open()


def test_a_machine_that_the_listener_no_longer_hears(shown: Shown, plant_settings: Path) -> None:
    text = plant_settings.read_text()
    plant_settings.write_text(text[: text.index('[[source]]\nname = "mill"')])
    client = shown(listen=plant_settings)
    until(lambda: get(client, "/api/machines/fan")["listening"])
    assert get(client, "/api/machines/mill")["phase"] == "not listened to"
    assert get(client, "/api/machines/fan")["phase"] != "not listened to"


def test_other_settings_take_effect_and_wrong_ones_do_not(plant_settings: Path, plant_history: Path) -> None:
    settings = read_settings(plant_settings)
    plant = Plant(settings=settings, say=lambda text, severity: None)
    plant.open()
    try:
        first = plant.listener
        text = plant_settings.read_text()
        fewer = plant_settings.with_name("fewer.toml")
        fewer.write_text(text[: text.index('[[source]]\nname = "mill"')])
        plant.restart(read_settings(fewer))
        assert plant.listener is not first
        assert plant.listener is not None
        assert [each.name for each in plant.listener.machines] == ["pump 1", "fan"]
        wrong = settings_from(
            {"folder": str(plant_history), "source": [{"kind": "file", "path": "x.wav", "model": "none.asd"}]}
        )
        with pytest.raises(AsdError, match=r"none\.asd"):
            plant.restart(wrong)
        assert plant.listener is not None
        assert [each.name for each in plant.listener.machines] == ["pump 1", "fan"]
        assert plant.health() == ("listening", True)
    finally:
        plant.close()
    assert not is_listening(plant_history)
    with Reader(plant_history) as reader:
        assert [row["kind"] for row in reader.rows("events")][-1] == "stopped"
        assert reader.check() == []


def test_a_plant_without_a_listener_is_not_restarted(plant_history: Path, plant_settings: Path) -> None:
    plant = Plant(plant_history)
    plant.open()
    with pytest.raises(AsdError, match="no listener runs in this server; change its settings where 'asd listen' runs"):
        plant.restart(read_settings(plant_settings))
    assert plant.health() == ("no listener is running", True)
    assert plant.watch(lambda name, block: None) is None
    plant.close()


def test_a_listener_that_ends_by_itself_is_told(shown: Shown, plant_settings: Path) -> None:
    plant_settings.write_text(plant_settings.read_text().replace("repeat = 0 ", "speed = 0 "))
    client = shown(listen=plant_settings)
    answer = until(lambda: get(client, "/readyz", 503) if client.get("/readyz").status_code == 503 else None)
    assert answer["listener"] == "the listener has ended: all its sources have"


def test_sigterm_saves_what_was_listened_to(plant_settings: Path, plant_history: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", "from asd.command import main; main()", "serve", "--listen", str(plant_settings)]
    server = subprocess.Popen(
        [*words, "--port", "0", "--folder", str(tmp_path / "own")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ},
    )  # fmt: skip
    before = last_time(plant_history)
    until(lambda: last_time(plant_history) > before + 60, by=server)
    server.terminate()
    out, err = server.communicate(timeout=PATIENCE)
    assert server.returncode == 0, out + err
    assert "Traceback" not in err
    with Reader(plant_history) as reader:
        kinds = [row["kind"] for row in reader.rows("events", "pump 1", before)]
        assert kinds[0] == "started"
        assert kinds[-1] == "stopped"
        assert reader.check() == []


def test_two_listeners_on_one_history_are_one_clear_line(plant_settings: Path, tmp_path: Path) -> None:
    plant = Plant(settings=read_settings(plant_settings), say=lambda text, severity: None)
    plant.open()
    try:
        words = [os.environ["ASD_COMMAND"], "serve", "--listen", str(plant_settings), "--port", "0", "--folder", "own"]
        done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE, check=False)
    finally:
        plant.close()
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert "another listener is using this history; stop it, or give this one a folder of its own" in line


# ------------------------------------------------------------------------------------------------------ real recordings


@pytest.mark.slow
def test_a_real_machine_from_recordings_to_the_page(shown: Shown, shared: Path, tmp_path: Path) -> None:
    """MIMII's fan: learned from its healthy clips, watched over others of them, and then over faulty ones."""
    normal = sorted((shared / "data" / "fan_id_00" / "normal").iterdir())
    faulty = sorted((shared / "data" / "fan_id_00" / "abnormal").iterdir())
    assert len(normal) >= 10, "the folder of real recordings is not as it was"
    train, rest = normal[: len(normal) // 2], normal[len(normal) // 2 :]
    cut = tmp_path / "train"
    cut.mkdir()
    for path in train:
        sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
        for part in range(len(sound) // rate):
            soundfile.write(cut / f"{path.stem}-{part}.wav", sound[part * rate : (part + 1) * rate, :1], rate)
    model = asd.fit(cut, extractor="band-levels", detector="deviation", embedding_pooling="mean", cache=False)
    model.save(tmp_path / "fan.asd")
    parts = [soundfile.read(path, dtype="float32", always_2d=True)[0][:, :1] for path in [*rest, *faulty]]
    soundfile.write(tmp_path / "day.wav", np.concatenate(parts), rate)
    settings = settings_from(
        {
            "folder": str(tmp_path / "L"),
            "model": str(tmp_path / "fan.asd"),
            "source": [
                {"kind": "file", "path": str(tmp_path / "day.wav"), "speed": 0.0, "name": "fan", "start": "2026-11-01"}
            ],
        }
    )

    def load(path: Path) -> asd.Model:
        return asd.Model.load(path, cache=False)

    with Listener(settings, load, lambda text, severity: None, explainer(settings, load)) as listener:
        listener.run()
        judged = listener.clips
    client = shown(history=tmp_path / "L")
    seen = get(client, "/api/machines/fan")["seen"]
    found = get(client, "/api/machines/fan/series", since=seen - 86400, until=seen + 1)
    assert sum(each["clips"] for each in found["points"]) == judged > 50
    levels = get(client, "/api/machines/fan/levels", since=seen - 3600, until=seen + 1)
    assert np.isfinite(np.array(levels["levels"], float)).all()


def test_observers_hear_the_sound_until_they_leave(plant_settings: Path) -> None:
    plant = Plant(settings=read_settings(plant_settings), say=lambda text, severity: None)
    plant.open()
    try:
        heard: list[tuple[str, float]] = []
        end = plant.watch(lambda name, block: heard.append((name, len(block.samples) / block.sample_rate)))
        assert end is not None
        failing = threading.Event()

        def fails(name: str, block: Any) -> None:
            failing.set()
            raise RuntimeError("a viewer's mistake")

        stop_failing = plant.watch(fails)
        assert stop_failing is not None
        until(lambda: {name for name, _ in heard} == {"pump 1", "fan", "mill"} and failing.is_set())
        stop_failing()
        end()
        count = len(heard)
        time.sleep(0.5)
        assert len(heard) <= count + 3  # those under way
        assert plant.health() == ("listening", True)
        listener = plant.listener
        assert listener is not None
        assert len(listener._watchers) == 1  # what keeps the last minute for who comes
    finally:
        plant.close()
