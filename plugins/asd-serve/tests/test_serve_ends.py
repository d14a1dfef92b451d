"""A server that ends in the midst of its work: by SIGTERM while it judges, by SIGKILL while somebody follows events."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import looking
import numpy as np
from websockets.asyncio.client import connect

from waiting import PATIENCE, until

RATE = 16000
CLIENTS = 6
COMMAND = [sys.executable, "-c", "from asd.cli.main import main; main()"]


def test_sigterm_while_many_are_judged_answers_each_that_was_sent(plant_folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    body = rng.normal(0, 3000, 2 * RATE).astype("<i2").tobytes()
    sent: dict[int, float] = {}
    answered: dict[int, Any] = {}

    def ask(place: str, key: str, first: int) -> None:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": f"audio/pcm;rate={RATE};channels=1;format=s16le"}
        for number in range(first, first + 100_000):
            connection = http.client.HTTPConnection(place, timeout=PATIENCE)
            try:
                connection.request("POST", f"/api/models/fan/score?name={number}", body, headers)
                sent[number] = time.monotonic()
                answer = connection.getresponse()
                answered[number] = (answer.status, json.loads(answer.read()))
            except OSError:  # it has ended, and takes nothing new
                return
            finally:
                connection.close()

    words = [plant_folder / "models" / "fan.asd", "--folder", tmp_path / "own"]
    with looking.serving(tmp_path, words, keys_in=tmp_path / "own", command=COMMAND) as server:
        place = urlsplit(server.url).netloc
        threads = [
            threading.Thread(target=ask, args=(place, server.keys["look"], 100_000 * at)) for at in range(CLIENTS)
        ]
        for each in threads:
            each.start()
        until(lambda: len([1 for status, _ in answered.values() if status == 200]) > 2 * CLIENTS)
        before_end = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        for each in threads:
            each.join(PATIENCE)
        assert server.end() == 0
    waited = [number for number, moment in sent.items() if moment < before_end]
    assert set(waited) <= set(answered), "a request that was taken was not answered"
    judged = {number: found for number, (status, found) in answered.items() if status == 200}
    assert all(found["clips"][0]["clip"] == str(number) for number, found in judged.items())
    others = [found["error"] for status, found in answered.values() if status != 200]
    assert all("loading" in text for text in others), others[:3]


def test_no_event_is_lost_by_a_kill_and_restarts(plant_settings: Path, plant_history: Path) -> None:
    told: dict[str, str] = {}

    async def follow(server: looking.Server, since: float, starts: int) -> None:
        """Follow events until so many machines have begun to be heard."""
        key = {"Authorization": f"Bearer {server.keys['look']}"}
        address = f"{server.url.replace('http', 'ws', 1)}api/live?since={since}"
        async with asyncio.timeout(PATIENCE), connect(address, additional_headers=key) as socket:
            while list(told.values()).count("started") < starts:
                for each in map(json.loads, str(await socket.recv()).split("\n")):
                    if each["type"] == "event":
                        told[each["id"]] = each["kind"]

    since = began = time.time()
    words = ["--listen", plant_settings]
    with looking.serving(plant_settings.parent, words, keys_in=plant_history, command=COMMAND) as server:
        for starts, how in ((3, signal.SIGKILL), (6, signal.SIGTERM)):
            asyncio.run(follow(server, since, starts))
            since = time.time()
            server.process.send_signal(how)
            server.end()
            server.begin_again()
        asyncio.run(follow(server, since, 9))
    with sqlite3.connect(plant_history / "history.sqlite") as database:
        events = database.execute("SELECT id, kind FROM events WHERE time >= ? ORDER BY number", (began,)).fetchall()
        known = {row[0] for row in database.execute("SELECT id FROM events")}
    database.close()
    kept = [name for name, _ in events]
    at_the_end = {name for name, kind in events[-6:] if kind == "stopped"}
    assert len(kept) == len(set(kept))
    assert set(told) >= set(kept) - at_the_end, "an event was not told"
    assert set(told) <= known, "an event that was told is lost"
    assert {"started", "stopped"} <= set(told.values())
