"""Sound that comes by WebSocket, and clients that go away or do not read: with a real server."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import asd
from asd_serve.judging import batcher
from asd_serve.limits import Limits
from waiting import PATIENCE, until

RATE = 16000
BANDS: dict[str, Any] = {"extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"}


def sound(seed: int, seconds: float = 2.0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    tone = 2000 * np.sin(2 * np.pi * 97 * np.arange(round(seconds * RATE)) / RATE)
    return np.asarray(tone + rng.normal(0, 400, len(tone)), np.int16)


@pytest.fixture(scope="module")
def pump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "pump.asd"
    asd.fit([(sound(seed), RATE) for seed in range(12)], **BANDS).save(path)
    return path


@pytest.fixture
def running(server: Callable[..., Any], pump: Path) -> Any:
    found = server({"pump": pump})
    until(lambda: found.client(None).get("/readyz").status_code == 200)
    return found


def stream(running: Any, query: str = f"?rate={RATE}&hop=1", model: str = "pump", **how: Any) -> ClientConnection:
    address = f"{running.url.replace('http', 'ws', 1)}/api/models/{model}/stream{query}"
    return connect(address, additional_headers={"Authorization": f"Bearer {running.key()}"}, proxy=None, **how)


def told(socket: ClientConnection) -> Iterator[dict[str, Any]]:
    """Yield messages until the end."""
    try:
        while True:
            yield json.loads(socket.recv(timeout=PATIENCE))
    except ConnectionClosed:
        return


def expected(pump: Path, samples: np.ndarray[Any, Any], hop: float = 1.0) -> list[tuple[float, float]]:
    """Return start and score of each clip that `asd.LiveScorer` finds."""
    with asd.load(pump, cache=False) as model:
        live = asd.LiveScorer(model, hop=hop)
        verdicts = live.judge(live.stream("x").push((samples / 32768).astype(np.float32)[:, np.newaxis], RATE))
        return [(each.clip.start, each.score) for each in verdicts]


def test_a_stream_is_judged_as_it_comes(running: Any, pump: Path) -> None:
    samples = sound(30, 6.3)
    with stream(running) as socket:
        assert json.loads(socket.recv()) == {"type": "ready", "model": "pump", "clip_seconds": 2.0, "hop": 1.0}
        data = samples.astype("<i2").tobytes()
        for first in range(0, len(data), 6000):
            socket.send(data[first : first + 6000])
        socket.send('{"type": "end"}')
        messages = list(told(socket))
    assert messages[-1] == {"type": "end", "clips": 5}
    assert [each["type"] for each in messages[:-1]] == ["verdict"] * 5
    assert [(each["start"], each["score"]) for each in messages[:-1]] == expected(pump, samples)
    assert socket.close_code == 1000


@pytest.mark.parametrize("form", ["u8", "s24le", "s32le", "f32le"])
def test_forms_of_pcm(running: Any, pump: Path, form: str) -> None:
    samples = sound(31, 2.5)
    samples = samples // 256 * 256 if form == "u8" else samples
    wide = samples.astype("<i4")
    data = {
        "u8": (wide // 256 + 128).astype(np.uint8).tobytes(),
        "s24le": (wide << 8).view(np.uint8).reshape(-1, 4)[:, :3].tobytes(),
        "s32le": (wide << 16).tobytes(),
        "f32le": (samples / 32768).astype("<f4").tobytes(),
    }[form]
    with stream(running, f"?rate={RATE}&format={form}") as socket:
        socket.recv()
        socket.send(data)
        verdict = json.loads(socket.recv(timeout=PATIENCE))
    assert (verdict["start"], verdict["score"]) == expected(pump, samples)[0]


def test_many_streams_share_a_pass_and_none_gets_anothers(running: Any, pump: Path) -> None:
    def one(seed: int) -> list[float]:
        with stream(running) as socket:
            socket.recv()
            for part in np.array_split(sound(seed, 4.2), 4):
                socket.send(part.astype("<i2").tobytes())
            return [json.loads(socket.recv(timeout=PATIENCE))["score"] for _ in range(3)]

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(one, range(40, 52)))
    assert found == [[score for _, score in expected(pump, sound(seed, 4.2))] for seed in range(40, 52)]
    text = running.client().get("/metrics").text
    seconds = float(text.split("\nasd_serve_stream_seconds_total ")[1].split()[0])
    assert seconds == pytest.approx(12 * 4.2)
    assert "asd_serve_streams 0.0" in text


def test_a_stream_outlives_the_deadline_of_a_request(server: Callable[..., Any], pump: Path) -> None:
    running = server({"pump": pump}, limits=Limits(header_seconds=2.5))
    until(lambda: running.client(None).get("/readyz").status_code == 200)
    with stream(running) as socket:
        socket.recv()
        time.sleep(3)
        socket.send(sound(1, 2.5).astype("<i2").tobytes())
        assert json.loads(socket.recv(timeout=PATIENCE))["type"] == "verdict"


@pytest.mark.parametrize(
    ("query", "model", "status", "error"),
    [
        ("", "pump", 422, "PCM needs its sample rate: audio/pcm;rate=48000;channels=1;format=s16le"),
        ("?rate=0", "pump", 422, "rate=0: expected a whole number from 100 to 1,000,000"),
        ("?rate=8000&hop=x", "pump", 422, "hop=x: expected seconds from one clip to the next"),
        ("?rate=8000&hop=9", "pump", 400, "a hop of 9 s: expected 0.05 s to 2 s, the length of a clip"),
        ("?rate=8000&hop=nan", "pump", 400, "a hop of nan s: expected 0.05 s to 2 s, the length of a clip"),
        ("?rate=8000", "fan", 404, "no model 'fan'; served are pump"),
    ],
)
def test_a_stream_that_cannot_begin(running: Any, query: str, model: str, status: int, error: str) -> None:
    with pytest.raises(InvalidStatus) as raised:
        stream(running, query, model)
    assert raised.value.response.status_code == status
    assert json.loads(raised.value.response.body or b"") == {"error": error}


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"abc", "a message of 3 bytes; expected a multiple of 2, a sample of 1 channel(s) in s16le"),
        ("hello", 'received the text \'hello\'; expected binary PCM, or {"type": "end"}'),
        ("[" * 3000, None),
        (bytes(2 * 31 * 100), "a message of more than 30 s of sound; send shorter ones"),
    ],
)
def test_a_stream_of_what_is_no_sound(running: Any, message: Any, error: str | None) -> None:
    with stream(running, "?rate=100") as socket:
        socket.recv()
        socket.send(message)
        (last,) = told(socket)
        assert last["type"] == "error"
        assert error is None or last["error"] == error
    assert socket.close_code == 1003


def test_nan_in_a_stream(running: Any) -> None:
    with stream(running, "?rate=8000&format=f32le") as socket:
        socket.recv()
        socket.send(np.full(800, np.nan, "<f4").tobytes())
        (last,) = told(socket)
    assert last == {"type": "error", "error": "pump: holds the value nan, which is no sound"}


@pytest.fixture
def go_on(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let nothing be judged before this is set."""
    judged, found = batcher._judged, threading.Event()
    monkeypatch.setattr(batcher, "_judged", lambda batch: (found.wait(PATIENCE), judged(batch))[1])
    return found


def test_a_client_that_goes_away_is_forgotten(running: Any, go_on: threading.Event) -> None:
    judging = running.state.judging

    def left() -> int:
        text = running.client().get("/metrics").text
        found = re.search(r'path="/api/models/\{model\}/score",status="499"\} (\d+)', text)
        return int(found[1]) if found else 0

    body = b"RIFF" + bytes(40)
    for kind in ("in the body", "before the answer"):
        connection = http.client.HTTPConnection("127.0.0.1", running.port)
        connection.putrequest("POST", "/api/models/pump/score")
        connection.putheader("Authorization", f"Bearer {running.key()}")
        connection.putheader("Content-Type", f"audio/pcm;rate={RATE}")
        if kind == "in the body":
            connection.putheader("Content-Length", "1000000")  # it lies
            connection.endheaders(body)
        else:
            data = sound(1, 200.0).astype("<i2").tobytes()  # a hundred clips
            connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            until(lambda: judging.batcher.waiting > 0)
        before = left()
        connection.close()
        until(lambda before=before: left() == before + 1)
        if kind == "before the answer":
            go_on.set()
        until(lambda: judging.batcher.waiting == 0 and not list(judging.spool.iterdir()))
    with stream(running) as socket:
        socket.recv()
        socket.send(bytes(2 * RATE * 3))
    until(lambda: judging.batcher.waiting == 0)


def test_the_end_of_a_server_answers_what_is_under_way(running: Any, go_on: threading.Event) -> None:
    data = sound(2, 40.0).astype("<i2").tobytes()
    header = {"Content-Type": f"audio/pcm;rate={RATE}"}
    clients = [running.client() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(each.post, "/api/models/pump/score", content=data, headers=header) for each in clients]
        until(lambda: running.state.judging.batcher._present == 4)
        running.server.should_exit = True
        go_on.set()
        answers = [each.result() for each in sent]
    assert [each.status_code for each in answers] == [200] * 4
    assert all(len(each.json()["clips"]) == 20 for each in answers)
