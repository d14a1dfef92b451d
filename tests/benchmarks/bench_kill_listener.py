"""Kills a whole listener by SIGKILL at random moments, and looks at what is left.

The listener is real, from the recording to the web server of another process: a machine whose sound changes for a
minute in every four, as fast as it can be judged, with evidence kept. After each kill the history must be whole, sums
and events must belong to the clips, and what was acknowledged must not come again; after the last start the monitor
must know as many clips as the history, and each recording that is kept must be readable and written down.

Usage: ``python tests/benchmarks/bench_kill_listener.py [KILLS]`` (20). The last line is JSON.
"""

from __future__ import annotations

import datetime
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a fork takes no threads along

import numpy as np
import soundfile
from bench_kill import serve

import asd
from asd_listen.listener import Listener
from asd_listen.reader import Reader
from asd_listen.schema import HistoryError
from asd_listen.settings import Settings, settings_from

RATE = 8000
CLIP = 2
LONGEST = 3.0
"""Seconds after the start at which a listener is killed at the latest."""


def sound(seconds: int, seed: int, *, faulty: bool = False) -> Any:
    """Return a hum with noise; of a faulty machine, with a whistle."""
    when = np.arange(seconds * RATE) / RATE
    rng = np.random.default_rng(seed)
    hum = 0.1 * np.sin(2 * np.pi * 120 * when) + 0.02 * rng.standard_normal(len(when))
    return (hum + faulty * 0.05 * np.sin(2 * np.pi * 2500 * when)).astype(np.float32)


def prepare(folder: Path) -> Any:
    """Write the recordings, and return a model."""
    (folder / "healthy").mkdir()
    (folder / "now").mkdir()
    for number in range(30):
        soundfile.write(folder / "healthy" / f"{number}.wav", sound(CLIP, number), RATE)
    for number in range(4):
        soundfile.write(folder / "now" / f"{number}.wav", sound(60, 100 + number, faulty=number == 3), RATE)
    return asd.fit(folder / "healthy", extractor="mel-statistics", detector="mahalanobis")


def has_begun(folder: Path) -> bool:
    """Return whether a listener lived for long enough to make its history."""
    try:
        Reader(folder / "kept").close()
    except HistoryError as error:
        if "no such history" in str(error) or "holds nothing yet" in str(error):
            return False
        raise
    return True


def settings_of(folder: Path, port: int) -> Settings:
    """Return settings by which the sound goes on where the history ends."""
    begin = time.time() - 1e7
    if has_begun(folder):
        with Reader(folder / "kept") as reader:
            begin = max([begin, *(row["time"] + CLIP for row in reader.rows("verdicts", last=1))])
    start = datetime.datetime.fromtimestamp(begin, datetime.UTC).isoformat()
    return settings_from(
        {
            "model": "any.asd",
            "folder": str(folder / "kept"),
            "hop": CLIP,
            "false_alarms": "1/hour",
            "source": [
                {"kind": "file", "name": "pump", "path": str(folder / "now"), "speed": 0, "repeat": 0, "start": start}
            ],
            "sink": [{"kind": "webhook", "name": "hook", "url": f"http://127.0.0.1:{port}/"}],
            "alerts": {"cool_down": 0},
            "evidence": {"before": 2, "after": 2, "keep_free_mb": 0},
        }
    )


def kill_once(folder: Path, port: int, model: Any, rng: random.Random) -> None:
    if not (child := os.fork()):
        try:
            with Listener(settings_of(folder, port), lambda _: model, lambda *_: None) as listener:
                listener.run()
        except Exception as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(1)
    time.sleep(rng.uniform(0.0, LONGEST))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise SystemExit("the listener ended by itself")


def examine(folder: Path, delivered: dict[str, int]) -> Iterator[str]:
    """Yield what is wrong after a kill; remember how often what was acknowledged had come."""
    with Reader(folder / "kept") as reader:
        yield from reader.check()
        phases = [phase for (phase,) in reader.ask("SELECT phase FROM verdicts ORDER BY time")]
        began = sum(now == "alarm" and before != "alarm" for before, now in zip(["", *phases], phases, strict=False))
        ((events,),) = reader.ask("SELECT count(*) FROM events WHERE kind = 'alarm'")
        if began != events:
            yield f"{events} alarms told, {began} in the verdicts"
        ((summed,),) = reader.ask("SELECT coalesce(sum(clips), 0) FROM slots")
        if summed != len(phases):
            yield f"{summed} clips in the sums, {len(phases)} single ones"
        received = Counter((folder / "received").read_text().split()) if (folder / "received").exists() else Counter()
        for identity, count in delivered.items():
            if received[identity] != count:
                yield f"{identity} was sent again after it was acknowledged"
        for (identity,) in reader.ask(
            "SELECT id FROM events JOIN deliveries ON event = number WHERE state = 'delivered'"
        ):
            delivered.setdefault(identity, received[identity])


def finish(folder: Path, port: int, model: Any) -> Iterator[str]:
    """Start a last time, and yield what is wrong then."""
    with Listener(settings_of(folder, port), lambda _: model, lambda *_: None) as listener:
        watched = listener.machines[0].monitor.state.watched
    with Reader(folder / "kept") as reader:
        ((kept,),) = reader.ask("SELECT count(*) FROM verdicts")
        if watched != kept:
            yield f"the monitor knows {watched} clips, the history {kept}"
        rows = [row for row in reader.rows("evidence") if row["deleted"] is None]
    for row in rows:
        if not len(soundfile.read(folder / "kept" / "evidence" / row["file"])[0]):
            yield f"{row['file']} is empty"
    files = {str(each.relative_to(folder / "kept" / "evidence")) for each in (folder / "kept").rglob("*.json")}
    known = {row["file"].replace(".flac", ".json") for row in rows}
    if not files <= known:
        yield f"evidence that is not written down: {sorted(files - known)}"


def main(kills: int) -> dict[str, Any]:
    """Kill so often, and return what was found."""
    rng = random.Random(20261127)
    wrong: list[str] = []
    delivered: dict[str, int] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = prepare(folder)
        server, port = serve(folder)
        try:
            for kill in range(kills):
                kill_once(folder, port, model, rng)
                if has_begun(folder):
                    wrong += [f"kill {kill}: {text}" for text in examine(folder, delivered)]
            wrong += finish(folder, port, model)
        finally:
            os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)
        with Reader(folder / "kept") as reader:
            counts = {table: sum(1 for _ in reader.rows(table)) for table in ("verdicts", "events", "evidence")}
            alarms = sum(row["kind"] == "alarm" for row in reader.rows("events"))
    return {"kills": kills, "wrong": wrong, **counts, "alarms": alarms, "seconds": round(time.monotonic() - began, 1)}


if __name__ == "__main__":
    found = main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    for line in found["wrong"][:20]:
        print(line)
    print(json.dumps(found))
    sys.exit(bool(found["wrong"]))
