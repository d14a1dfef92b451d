"""Kills a listener's parts by SIGKILL at random moments, and looks at what is left.

The parts are real: history, alerts, a monitor with its file, queues, a webhook that posts to a server of another
process. Clips come as fast as they are written; every 40 there are 10 of an alarm. After each kill:

- the history is whole (``integrity_check``, no row without what it refers to);
- of the clips whose commit had returned none is missing, and at most the one under way is there beside them;
- a clip's sums and events are there if, and only if, the clip is;
- what a sink had acknowledged, and was marked so, is never sent again;
- at the end, each event has arrived, and the monitor says what one says that was never killed.

Usage: ``python tests/benchmarks/bench_kill.py [KILLS]`` (100). The last line is JSON.
"""

from __future__ import annotations

import http.server
import json
import math
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from asd import Clip
from asd.detection.monitor import Monitor
from asd.detection.monitor_state import State, hold
from asd_listen.alerts import Alerts, AlertSettings
from asd_listen.history import History
from asd_listen.outbox import Outbox, OutboxLimits, Route
from asd_listen.reader import Reader
from asd_listen.sinks.webhook import Webhook

NOON = 1_800_000_000.0
LONGEST = 0.3
"""Seconds after its start, or its first clip, at which a process is killed at the latest."""
SAVED = 50
"""Clips after which the monitor's file is saved."""
LIMITS = OutboxLimits(first_pause=0.01)


class Receiver(http.server.BaseHTTPRequestHandler):
    """Writes down the id of each event that it is sent, then acknowledges it."""

    log: int

    def do_POST(self) -> None:
        """Take an event."""
        self.rfile.read(int(self.headers["Content-Length"]))
        os.write(self.log, f"{self.headers['Idempotency-Key']}\n".encode())
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve(folder: Path) -> tuple[int, int]:
    """Start the receiver in a process of its own; return its process and port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    port: int = server.server_address[1]
    if not (child := os.fork()):
        Receiver.log = os.open(folder / "received", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        server.serve_forever()
        os._exit(0)
    server.server_close()
    return child, port


def clip(number: int) -> tuple[Any, Any]:
    """Return what a model and a monitor's phase say of a clip; the same for the same number."""
    score = random.Random(number).gauss(0, 1)
    verdict = SimpleNamespace(
        clip=Clip(Path(f"{number}.wav")), score=score, p_value=0.5, anomalous=False, state=None, state_p_value=None
    )
    return verdict, "alarm" if number % 40 >= 30 else "cleared"


def new_monitor() -> Monitor:
    state = State(model="none", rate="1/month", clip_seconds=10, calibration=0, centre=0, width=1)
    monitor = Monitor.from_state(state)
    monitor.now = lambda: NOON + 1e9
    return monitor


def opened_monitor(history: Reader, file: Any) -> Monitor:
    """Go on with the monitor in a file, and with what the history has and the file has not."""
    monitor = Monitor.from_state(file.read()) if file.path.exists() else new_monitor()
    monitor.now = lambda: NOON + 1e9
    for row in history.verdicts_after("pump", monitor.state.evidence.last_time):
        names = ("score", "p_value", "state", "state_p_value")
        monitor.update(
            SimpleNamespace(clip=Clip(Path(row["clip"])), **{name: row[name] for name in names}), row["time"]
        )
    return monitor


def listen(folder: Path, port: int, begun: int, ended: int) -> None:
    """Take clips until the process is killed; say before and after each which one it is."""
    history = History.open(folder)
    history.machine("pump")
    history.commit()
    with hold(folder / "pump.monitor") as file:
        monitor = opened_monitor(history, file)
        outbox = Outbox(history, [Route("hook", Webhook(url=f"http://127.0.0.1:{port}/"))], LIMITS)
        alerts = Alerts(AlertSettings(cool_down=0), history)
        outbox.start()
        number = monitor.state.watched
        while True:
            os.write(begun, b"%d\n" % number)
            verdict, phase = clip(number)
            said = monitor.update(verdict, NOON + 10 * number)
            since = NOON + 10 * (number // 40 * 40 + (30 if phase == "alarm" else 0))
            status = SimpleNamespace(
                time=said.time, p_value=said.p_value, evidence=said.evidence, threshold=said.threshold, phase=phase,
                since=since,
            )  # fmt: skip
            history.verdict("pump", said.time, verdict, status)
            alerts.judged("pump", verdict, status)
            if not history.commit():
                raise SystemExit(history.trouble)
            os.write(ended, b"%d\n" % number)
            number += 1
            if number % SAVED == 0:
                monitor.save(file)


def events_of(clips: int) -> int:
    """Return how many events belong to so many clips: the alarms that began, and those that ended."""
    return sum(1 for number in range(1, clips) if clip(number)[1] != clip(number - 1)[1])


def last(path: Path) -> int:
    """Return the last number in a file, of which a kill may have cut the last line; -1: none."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return int(lines[-1]) if lines else -1


def examine(folder: Path, delivered: dict[str, int], lost: list[int]) -> Iterator[str]:
    """Yield what is wrong after a kill; remember how often what was acknowledged had come, and the clips lost."""
    begun, ended = last(folder / "begun"), last(folder / "ended")
    with Reader(folder) as reader:
        yield from reader.check()
        times = [time for (time,) in reader.ask("SELECT time FROM verdicts ORDER BY time")]
        count = len(times)
        if times != [NOON + 10 * number for number in range(count)]:
            yield f"clips are missing among {count}"
        lost.append(begun + 1 - count)
        if not ended + 1 <= count <= begun + 1:
            yield f"{count} clips are kept; {ended + 1} had ended, {begun + 1} begun"
        ((summed,),) = reader.ask("SELECT coalesce(sum(clips), 0) FROM slots")
        if summed != count:
            yield f"{summed} clips in the sums, {count} single ones"
        ((told,),) = reader.ask("SELECT count(*) FROM events")
        if told != events_of(count):
            yield f"{told} events, {events_of(count)} belong to {count} clips"
        received = Counter((folder / "received").read_text().split()) if (folder / "received").exists() else Counter()
        for identity, times_sent in delivered.items():
            if received[identity] != times_sent:
                yield f"{identity} was sent again after it was acknowledged"
        for (identity,) in reader.ask(
            "SELECT id FROM events JOIN deliveries ON event = number WHERE state = 'delivered'"
        ):
            if not received[identity]:
                yield f"{identity} is marked as delivered and did not arrive"
            delivered.setdefault(identity, received[identity])


def kill_once(folder: Path, port: int, rng: random.Random) -> None:
    """Let a listener run, and kill it at a random moment."""
    if not (child := os.fork()):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            listen(folder, port, os.open(folder / "begun", flags), os.open(folder / "ended", flags))
        finally:
            os._exit(1)
    if rng.random() < 0.7:  # the others may be killed while they open the history
        size, until = (folder / "begun").stat().st_size, time.monotonic() + 20
        while (folder / "begun").stat().st_size == size and time.monotonic() < until:
            time.sleep(0.001)
    time.sleep(rng.uniform(0.0, LONGEST))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise SystemExit("the listener ended by itself")


def finish(folder: Path, port: int) -> Iterator[str]:
    """Deliver what waits; yield what is wrong then, also with the monitor."""
    with History.open(folder) as history:
        outbox = Outbox(history, [Route("hook", Webhook(url=f"http://127.0.0.1:{port}/"))], LIMITS)
        outbox.start()
        outbox.close(60)
        waiting = history.ask("SELECT count(*) FROM deliveries WHERE state != 'delivered'")[0][0]
        if waiting:
            yield f"{waiting} events have not arrived"
        with hold(folder / "pump.monitor") as file:
            killed, whole = opened_monitor(history, file), new_monitor()
    for number in range(killed.state.watched):
        whole.update(clip(number)[0], NOON + 10 * number)
    same = (killed.bag.counts == whole.bag.counts).all() and (killed.state.recent.rows == whole.state.recent.rows).all()
    if not (same and math.isclose(killed.log_evidence, whole.log_evidence)):
        yield "the monitor differs from one that was never killed"


def main(kills: int) -> dict[str, Any]:
    """Kill so often, and return what was found."""
    rng = random.Random(20261127)
    wrong: list[str] = []
    lost: list[int] = []
    delivered: dict[str, int] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "begun").touch()
        server, port = serve(folder)
        try:
            for kill in range(kills):
                kill_once(folder, port, rng)
                if (folder / "begun").stat().st_size:  # else it was killed while it made the history
                    wrong += [f"kill {kill}: {text}" for text in examine(folder, delivered, lost)]
            wrong += finish(folder, port)
        finally:
            os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)
        received = Counter((folder / "received").read_text().split())
        clips, ended = last(folder / "begun") + 1, last(folder / "ended") + 1
    return {
        "kills": kills,
        "wrong": wrong,
        "clips": clips,
        "ended": ended,
        "clips_under_way_lost": sum(lost),
        "most_lost_by_a_kill": max(lost),
        "events": len(received),
        "sent_again_before_it_was_marked": sum(count - 1 for count in received.values()),
        "seconds": round(time.monotonic() - began, 1),
    }


if __name__ == "__main__":
    found = main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
    for line in found["wrong"][:20]:
        print(line)
    print(json.dumps(found))
    sys.exit(bool(found["wrong"]))
