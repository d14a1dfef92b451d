"""What happens now, by WebSocket: from a listener in the server's process, or in another; real servers and clients."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
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
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from asd.plugin import Block, Event
from asd_listen import HistoryError, Reader
from asd_listen.history import History
from asd_serve.plant import hub as hub_module
from asd_serve.plant import routes
from asd_serve.plant.hub import Viewer
from asd_serve.plant.spectrum import BANDS, LastMinute, LiveSpectrum
from waiting import PATIENCE, until

Message = dict[str, Any]


async def looked(
    running: Any, path: str, enough: Callable[[list[Message]], Any], found: list[Message] | None = None
) -> list[Message]:
    """Return what a viewer is told until it is enough; `found` takes it as it comes."""
    found = [] if found is None else found
    key = {"Authorization": f"Bearer {running.key()}"}
    address = running.url.replace("http", "ws", 1)
    async with connect(f"{address}/api/{path}", additional_headers=key) as socket:
        try:
            async with asyncio.timeout(PATIENCE):
                while not enough(found):
                    found += [json.loads(line) for line in str(await socket.recv()).split("\n")]
        except TimeoutError:
            raise AssertionError(f"not enough: {[each['type'] for each in found]}") from None
    return found


def of(found: list[Message], kind: str) -> list[Message]:
    return [each for each in found if each["type"] == kind]


def test_a_machine_as_it_sounds_now(server: Any, plant_settings: Path) -> None:
    running = server(listen=plant_settings)
    path = f"machines/{quote('pump 1')}/live"
    found = asyncio.run(looked(running, path, lambda f: len(of(f, "verdict")) >= 3 and len(of(f, "spectrum")) >= 8))
    (first, *_) = of(found, "machine")
    assert (first["name"], first["listening"]) == ("pump 1", True)
    verdicts = of(found, "verdict")
    assert np.diff([each["time"] for each in verdicts]) == pytest.approx(1.0, abs=0.01)
    assert {"score", "p_value", "anomalous", "evidence", "threshold", "phase"} <= set(verdicts[0])
    columns = np.concatenate([np.frombuffer(base64.b64decode(each["data"]), np.uint8).reshape(-1, BANDS)
                              for each in of(found, "spectrum")])  # fmt: skip
    for before, after in zip(of(found, "spectrum")[:-1], of(found, "spectrum")[1:], strict=True):
        length = len(base64.b64decode(before["data"])) / BANDS * before["step"]
        assert before["time"] + length == pytest.approx(after["time"], abs=0.051)
    mean = columns.mean(axis=0)
    assert abs(of(found, "spectrum")[-1]["time"] - time.time()) < PATIENCE
    assert mean[:12].max() > mean[40:].max() + 40  # a hum at 97 Hz and its multiples, in noise


def test_who_comes_is_told_the_sound_of_the_last_minute(server: Any, plant_settings: Path) -> None:
    running = server(listen=plant_settings)
    first = asyncio.run(looked(running, "machines/fan/live", lambda f: len(of(f, "spectrum")) >= 8))
    until(lambda: time.time() > of(first, "spectrum")[0]["time"] + 5)  # nobody looks
    came = time.time()
    found = of(asyncio.run(looked(running, "machines/fan/live", lambda f: len(of(f, "spectrum")) >= 4)), "spectrum")
    columns = [len(base64.b64decode(each["data"])) // BANDS for each in found]
    assert found[0]["time"] < came - 4
    for before, count, after in zip(found, columns, found[1:], strict=False):
        assert before["time"] + count * before["step"] == pytest.approx(after["time"], abs=0.051)


def test_who_comes_back_is_told_what_was_missed(server: Any, plant_settings: Path, plant_history: Path) -> None:
    running = server(listen=plant_settings)
    first = of(asyncio.run(looked(running, "machines/fan/live", lambda f: len(of(f, "verdict")) >= 2)), "verdict")
    since = first[-1]["time"]
    with Reader(plant_history) as reader:
        until(lambda: len(list(reader.rows("verdicts", "fan", since + 1e-3))) >= 5)
    again = asyncio.run(looked(running, f"machines/fan/live?since={since}", lambda f: len(of(f, "verdict")) >= 5))
    seen = [each["time"] for each in of(again, "verdict")]
    with Reader(plant_history) as reader:
        rows = [row["time"] for row in reader.rows("verdicts", "fan", since) if since < row["time"] <= seen[-1]]
    assert seen == rows
    assert "started" in [each["kind"] for each in of(again, "event")]


def test_of_a_long_absence_the_last_verdicts_are_told_and_how_many_are_not(
    server: Any, plant_history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "_MISSED", 50)
    running = server(history=plant_history)
    found = asyncio.run(looked(running, "machines/fan/live?since=0", lambda f: len(of(f, "verdict")) >= 50))
    with Reader(plant_history) as reader:
        rows = list(reader.rows("verdicts", "fan"))
    assert [each["time"] for each in of(found, "verdict")] == [row["time"] for row in rows[-50:]]
    assert of(found, "skipped") == [{"type": "skipped", "n": len(rows) - 50}]
    assert [each["kind"] for each in of(found, "event")].count("alarm") == 1


def test_a_listener_in_another_process_is_followed_too(server: Any, plant_settings: Path, plant_history: Path) -> None:
    running = server(history=plant_history)
    assert running.client().get("/api/machines/fan").json()["phase"] == "not listened to"
    words = [sys.executable, "-c", "from asd.command import main; main()", "listen", str(plant_settings)]
    listening = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ})
    try:
        found = asyncio.run(looked(running, "machines/mill/live", lambda f: len(of(f, "verdict")) >= 2))
        assert of(found, "spectrum") == []
        assert [each["text"] for each in of(found, "no_sound")] == [
            "the listener runs in another process: live sound is shown by 'asd serve --listen'"
        ]
        every = asyncio.run(looked(running, "live", lambda f: len(of(f, "machine")) >= 6))
        assert {each["name"] for each in of(every, "machine")} == {"pump 1", "fan", "mill"}
        assert all(each["listening"] for each in of(every, "machine"))
        listening.send_signal(signal.SIGTERM)
        listening.wait(PATIENCE)
        assert running.client().get("/api/machines/mill").json()["phase"] == "not listened to"
    finally:
        listening.kill()
        listening.communicate()


def test_events_and_conditions_are_told_as_they_are_written(server: Any, plant_history: Path) -> None:
    running = server(history=plant_history)

    async def follow() -> tuple[list[Message], list[Message], list[Message]]:
        kinds = ("event", "condition", "condition")
        wait = lambda f: [e["type"] for e in f if e["type"] in kinds].count("condition") >= 2 and of(f, "event")  # noqa: E731
        found: tuple[list[Message], list[Message], list[Message]] = ([], [], [])
        viewers = [
            asyncio.create_task(looked(running, "machines/fan/live", wait, found[0])),
            asyncio.create_task(looked(running, "live", wait, found[1])),
            asyncio.create_task(looked(running, "machines/mill/live", lambda f: len(f) >= 2, found[2])),
        ]
        await asyncio.to_thread(until, lambda: all(found))
        await asyncio.to_thread(write, found)
        await asyncio.gather(*viewers)
        return found

    def write(found: tuple[list[Message], list[Message], list[Message]]) -> None:
        with History.open(plant_history) as history:
            now = time.time()
            history.event(Event("abc", now, "fan", "alarm", "alarm", "fan: <b>loud</b>", {}))
            history.condition("fan", "silence", now, None, "no sound")
            history.commit()
            until(lambda: of(found[0], "condition") and of(found[1], "condition"))
            history.condition("fan", "silence", now, now + 1, "no sound")
            history.commit()

    own, every, other = asyncio.run(follow())
    for found in (own, every):
        assert [(each["id"], each["text"]) for each in of(found, "event")] == [("abc", "fan: <b>loud</b>")]
        began, over = of(found, "condition")
        assert (began["name"], began["machine"], began["over"]) == ("silence", "fan", None)
        assert over["over"] == pytest.approx(began["began"] + 1)
    assert {each["type"] for each in other} <= {"machine", "no_sound"}


@pytest.mark.parametrize("path", ["live", "machines/fan/live"])
def test_nothing_is_lost_between_the_answer_to_a_viewer_and_the_first_look_at_the_history(
    server: Any, plant_history: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A page is let in, asks for what there is, and is told all that comes after, however late that look is."""
    may_look = threading.Event()
    tell = hub_module.Hub._tell

    async def tell_late(hub: Any) -> None:
        await asyncio.to_thread(may_look.wait, PATIENCE)
        await tell(hub)

    monkeypatch.setattr(hub_module.Hub, "_tell", tell_late)
    running = server(history=plant_history)
    client = running.client()

    async def follow() -> list[str]:
        key = {"Authorization": f"Bearer {running.key()}"}
        async with connect(f"{running.url.replace('http', 'ws', 1)}/api/{path}", additional_headers=key) as socket:
            listed = client.get("/api/events").json()["events"]
            assert "abc" not in [each["id"] for each in listed]
            with History.open(plant_history) as history:
                history.event(Event("abc", time.time(), "fan", "alarm", "alarm", "fan: loud", {}))
            may_look.set()
            told: list[str] = []
            async with asyncio.timeout(PATIENCE):
                while "abc" not in told:
                    told += [json.loads(line).get("id", "") for line in str(await socket.recv()).split("\n")]
            return told

    asyncio.run(follow())


def test_a_machine_that_is_none_and_a_key_that_is_none(server: Any, plant_history: Path) -> None:
    running = server(history=plant_history)
    with pytest.raises(InvalidStatus) as caught:
        asyncio.run(looked(running, "machines/none/live", bool))
    assert caught.value.response.status_code == 404
    assert b"no machine 'none' was listened to" in caught.value.response.body

    async def without_key() -> None:
        await connect(f"{running.url.replace('http', 'ws', 1)}/api/live")

    with pytest.raises(InvalidStatus) as caught:
        asyncio.run(without_key())
    assert caught.value.response.status_code == 401


def test_a_viewer_who_does_not_read_is_sent_away_and_others_are_served(
    server: Any, plant_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stuck(_: Any, viewer: Viewer) -> None:  # as the sending of one whose network takes nothing more
        while not viewer.too_slow:
            await asyncio.sleep(0.1)

    monkeypatch.setattr(hub_module, "_WAITING", 1)
    running = server(listen=plant_settings)

    async def slow() -> Any:
        key = {"Authorization": f"Bearer {running.key()}"}
        address = f"{running.url.replace('http', 'ws', 1)}/api/machines/fan/live?since=0"
        async with connect(address, additional_headers=key) as socket:
            try:
                while True:
                    await asyncio.wait_for(socket.recv(), PATIENCE)
            except ConnectionClosed as error:
                return error.rcvd

    with monkeypatch.context() as patch:
        patch.setattr(routes, "_send", stuck)
        closed = asyncio.run(slow())
    assert (closed.code, closed.reason) == (1013, "too slow: connect again with ?since=")
    assert asyncio.run(looked(running, "machines/fan/live", lambda f: of(f, "verdict")))


def test_spectra_are_left_out_before_anything_else() -> None:
    async def fill() -> tuple[int, int]:
        viewer = Viewer("fan")
        for _ in range(500):
            viewer.tell([], ["a spectrum"])
        spared = viewer.waiting.qsize()
        for _ in range(20):
            viewer.tell(["a verdict"], ["a spectrum"])
        assert not viewer.too_slow
        return spared, viewer.waiting.qsize()

    assert asyncio.run(fill()) == (hub_module._SPARE, hub_module._SPARE + 20)


def test_more_viewers_than_there_is_room_for(server: Any, plant_history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "MOST_VIEWERS", 0)
    with pytest.raises(InvalidStatus) as caught:
        asyncio.run(looked(server(history=plant_history), "live", bool))
    assert caught.value.response.status_code == 503
    assert b"viewers look already; try again later" in caught.value.response.body


def test_viewers_go_on_after_the_history_was_put_back(
    server: Any, plant_history: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = server(history=plant_history)

    async def follow() -> list[Message]:
        found: list[Message] = []
        viewer = asyncio.create_task(looked(running, "live", lambda f: of(f, "event"), found))
        await asyncio.to_thread(until, lambda: of(found, "machine"))
        for each in plant_history.glob("history.sqlite*"):
            each.rename(tmp_path / each.name)
        await asyncio.to_thread(until, lambda: "cannot be shown" in caplog.text)
        known = len(of(found, "machine"))
        for each in tmp_path.glob("history.sqlite*"):
            (plant_history / each.name).write_bytes(each.read_bytes())
        await asyncio.to_thread(until, lambda: len(of(found, "machine")) > known)  # told anew of the other history
        await asyncio.to_thread(write)
        return await viewer

    def write() -> None:
        try:
            history = History.open(plant_history)
        except HistoryError as error:  # pragma: no cover - says why
            raise AssertionError(str(error)) from error
        with history:
            history.event(Event("abc", time.time(), "fan", "alarm", "alarm", "after", {}))

    assert [each["text"] for each in of(asyncio.run(follow()), "event")] == ["after"]


def test_viewers_are_told_that_the_server_ends(server: Any, plant_settings: Path) -> None:
    running = server(listen=plant_settings)

    async def until_the_end() -> list[int | None]:
        key = {"Authorization": f"Bearer {running.key()}"}
        address = running.url.replace("http", "ws", 1)
        sockets = [
            await connect(f"{address}/api/{path}", additional_headers=key)
            for path in ("live", "machines/fan/live", "machines/mill/live")
        ]
        running.server.should_exit = True
        codes = []
        for socket in sockets:
            await asyncio.wait_for(socket.wait_closed(), PATIENCE)
            codes.append(socket.close_code)
        return codes

    assert asyncio.run(until_the_end()) == [1012, 1012, 1012]


# ------------------------------------------------------------------------------------------------------------- spectrum


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_tone_is_in_its_band_and_at_its_level(rate: int, channels: int) -> None:
    spectrum = LiveSpectrum()
    moment = np.arange(2 * rate) / rate
    tone = (0.1 * np.sin(2 * np.pi * 1000 * moment)).astype(np.float32)
    size = rate // 10
    columns = []
    for first in range(0, len(tone), size):
        samples = np.repeat(tone[first : first + size, np.newaxis], channels, axis=1)
        spectrum.hear(Block(samples, rate, 5000 + first / rate))
        if (message := spectrum.message()) is not None:
            columns.append(np.frombuffer(base64.b64decode(message["data"]), np.uint8).reshape(-1, BANDS))
            scale = (message["ceiling"] - message["floor"]) / 255
    found = np.concatenate(columns)
    assert len(found) == pytest.approx(2 / 0.05, abs=2)
    from asd.plugin import hz_to_mel

    mels = hz_to_mel(np.array([message["low"], 1000.0, message["high"]])) if message else np.zeros(3)
    band = int((mels[1] - mels[0]) / (mels[2] - mels[0]) * BANDS)
    assert abs(int(found.mean(axis=0).argmax()) - band) <= 1
    level = found.max() * scale - 120
    assert -30 < level < -18  # -20 dB of full scale, spread over the bins of the window


def test_after_a_gap_the_columns_begin_anew_and_sound_faster_than_time_is_shown_with_gaps() -> None:
    spectrum = LiveSpectrum()
    rate, silence = 16000, np.zeros((8000, 1), np.float32)
    spectrum.hear(Block(silence, rate, 100.0))
    assert spectrum.message() is not None
    spectrum.hear(Block(silence, rate, 200.0))
    message = spectrum.message()
    assert message is not None
    assert message["time"] == 200.0
    for number in range(1000):  # 500 s at once
        spectrum.hear(Block(silence, rate, 200.5 + number / 2))
    message = spectrum.message()
    assert message is not None
    assert len(base64.b64decode(message["data"])) == 40 * BANDS
    assert message["time"] > 690
    spectrum.hear(Block(np.full((8000, 1), np.nan, np.float32), rate, 700.5))
    assert spectrum.message() is not None
    spectrum.hear(Block(np.zeros((0, 1), np.float32), rate, 701.0))
    assert spectrum.message() is None


def test_the_last_minute_is_kept_in_bounds_and_gives_the_columns_that_were_sent_live() -> None:
    rng = np.random.default_rng(0)
    kept, live = LastMinute(seconds=10.0, most=200_000), LiveSpectrum(most=1000)
    sent = []
    for number in range(40):
        block = Block(rng.normal(0, 0.1, (4000, 2)).astype(np.float32), 8000, 100 + number / 2)
        kept.hear("pump", block)
        live.hear(block)
        sent.append(live.message())
    (found,) = kept.messages("pump", None)
    assert found["time"] == pytest.approx(109.5)  # the last ten seconds
    own = np.frombuffer(base64.b64decode(found["data"]), np.uint8).reshape(-1, BANDS)
    theirs = np.concatenate([np.frombuffer(base64.b64decode(each["data"]), np.uint8) for each in sent if each])
    later = theirs.reshape(-1, BANDS)[-len(own) :]
    assert np.abs(own.astype(int) - later).max() <= 1  # 16 bits
    (until,) = kept.messages("pump", 112.0)
    assert len(base64.b64decode(until["data"])) // BANDS == pytest.approx(49, abs=1)
    kept.hear("fan", Block(np.zeros((95_000, 1), np.float32), 8000, 120.0))  # less is kept of the one that has most
    assert kept.messages("pump", None)[0]["time"] == pytest.approx(109.5)
    assert kept.messages("fan", None) == []
    kept.hear("pump", Block(np.zeros((4000, 1), np.float32), 8000, 50.0))  # the clock was set back
    assert [each["time"] for each in kept.messages("pump", None)] == [50.0]
    assert kept.messages("unknown", None) == []
