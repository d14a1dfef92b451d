"""What ``asd serve`` judges in a second: many clients at a time against one, and many distinct clips, each checked.

    python tests/benchmarks/bench_serve.py throughput shared/data/toycar/train --clients 32 --requests 300
    python tests/benchmarks/bench_serve.py distinct --requests 100000 --processes 2 --connections 8
    python tests/benchmarks/bench_serve.py restarts --times 5

``throughput`` sends recordings to a model that was fitted on some of them, first one after the other by one client,
then by many. ``distinct`` sends short clips that all differ, and compares every score with that of ``asd.score``: none
may be lost, none may get another's. The server is a process of its own, started by its command.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import asd

RATE = 16000
PIPELINES: dict[str, dict[str, Any]] = {
    "default": {},
    "fast": {"quality": "fast"},
    "timbre": {"extractor": "efficientat-mn04"},
    "cheap": {"extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"},
    "level": {
        "frontend": {"name": "band-waveform", "window": 0.5, "hop": 0.5},
        "extractor": "sound-level",
        "detector": "deviation",
        "embedding_pooling": "mean",
    },
}
LIMITS = "rate = 1e6\nburst = 1000000\nat_once = 250\nconnections_each = 512\n"


@dataclass(frozen=True)
class Address:
    """Where a server is, the key for it, and its process."""

    host: str
    port: int
    key: str
    process: int

    def computed(self) -> float:
        """Return how many seconds all its threads have computed: what a request costs, whatever else runs here."""
        if not Path("/proc/self/stat").exists():
            return float("nan")
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(model: Path, folder: Path) -> Iterator[Address]:
    """Run a server with a model, and wait until it is ready."""
    folder.mkdir(exist_ok=True)
    (folder / "serve.toml").write_text(LIMITS)
    with running(["--folder", str(folder), str(model)]) as address:
        yield address


@contextmanager
def running(words: Sequence[str], key: str = "") -> Iterator[Address]:
    """Run a server, and wait until it is ready; `key` is one that it has made before."""
    command = [sys.executable, "-m", "asd", "serve", "--port", "0", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            lines = ""
            while not (found := re.search(r"http://([\d.]+):(\d+)/" + ("" if key else r"#key=(\S+)"), lines)):
                line = process.stdout.readline()
                if not line:
                    sys.exit(f"the server ended: {lines}")
                lines += line
            address = Address(found[1], int(found[2]), key or found[3], process.pid)
            wait_until_ready(address)
            yield address
        finally:
            process.terminate()


def wait_until_ready(address: Address) -> None:
    """Wait for the models."""
    for _ in range(600):
        connection = http.client.HTTPConnection(address.host, address.port)
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status == 200:
            return
        time.sleep(0.1)
    sys.exit(f"not ready: {text!r}")


@dataclass(frozen=True)
class Sent:
    """A request: what was sent, what came, and how long it took."""

    number: int
    status: int
    seconds: float
    answer: Any


def send(
    address: Address,
    model: str,
    numbers: Sequence[int],
    body: Callable[[int], bytes],
    kind: str,
    clients: int,
) -> list[Sent]:
    """Send requests by so many clients, each with a connection of its own that it keeps."""
    waiting = iter(numbers)
    lock = threading.Lock()
    found: list[Sent] = []

    def client() -> None:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=120)
        headers = {"Authorization": f"Bearer {address.key}", "Content-Type": kind}
        while True:
            with lock:
                number = next(waiting, None)
            if number is None:
                return
            data = body(number)
            began = time.perf_counter()
            connection.request("POST", f"/api/models/{model}/score?name={number}", data, headers)
            answer = connection.getresponse()
            text = answer.read()
            found.append(Sent(number, answer.status, time.perf_counter() - began, json.loads(text)))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return found


def table(rows: Sequence[Sequence[Any]]) -> None:
    """Print rows; the first has the titles."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(len(texts[0]))]
    for row in texts:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


def line(name: str, sent: Sequence[Sent], seconds: float, computed: float) -> tuple[str, ...]:
    """Return a row of the table of throughput."""
    times = np.array([each.seconds for each in sent]) * 1000
    shown = [f"{value:.0f} ms" for value in (*np.percentile(times, (50, 99)), times.max())]
    return name, str(len(sent)), f"{len(sent) / seconds:.1f}", *shown, f"{1000 * computed / len(sent):.1f} ms"


def throughput(options: argparse.Namespace) -> None:
    """Compare many clients with one."""
    files = sorted(path for path in options.data.rglob("*") if path.suffix in (".wav", ".flac"))
    bodies = [path.read_bytes() for path in files]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = folder / "machine.asd"
        with asd.fit(files[: options.fit], cache=False, **PIPELINES[options.pipeline]) as model:
            model.save(path)
        with serving(path, folder / "server") as address:

            def measured(clients: int, count: int) -> tuple[list[Sent], float, float]:
                before, began = address.computed(), time.perf_counter()
                found = send(address, "machine", range(count), lambda i: bodies[i % len(bodies)], "audio/wav", clients)
                assert all(each.status == 200 for each in found), next(each for each in found if each.status != 200)
                return found, time.perf_counter() - began, address.computed() - before

            measured(4, 16)
            rows = [("clients", "requests", "a second", "p50", "p99", "longest", "computed for each")]
            best: dict[int, float] = {}
            for clients in (1, options.clients) * options.rounds:  # in turns: a drift of the machine meets both
                count = options.requests if clients > 1 else max(20, options.requests // 3)
                sent, seconds, computed = measured(clients, count)
                rows.append(line(str(clients), sent, seconds, computed))
                best[clients] = max(best.get(clients, 0.0), len(sent) / seconds)
            print(f"{options.pipeline}: recordings of {files[0].parent}, {len(bodies[0]):,} bytes each")
            table(rows)
            print(f"{options.clients} clients: {best[options.clients] / best[1]:.2f} times the throughput of one")


# ------------------------------------------------------------------------------------------------------------ distinct


def clip(number: int) -> np.ndarray[Any, Any]:
    """Return half a second of noise and a tone, int16; no two numbers give the same."""
    rng = np.random.default_rng(number)
    samples = rng.normal(0, rng.uniform(200, 4000), RATE // 2)
    tone = rng.uniform(100, 4000) * np.sin(2 * np.pi * rng.uniform(100, 7000) / RATE * np.arange(RATE // 2))
    return np.asarray(np.clip(samples + tone, -32768, 32767), np.int16)


def checked_part(job: tuple[Address, str, int, int, int]) -> tuple[int, int, int, list[str], list[float]]:
    """Send the clips of a process, compare each score, and return: answered, right, distinct, troubles, seconds."""
    address, path, first, count, connections = job
    kind = f"audio/pcm;rate={RATE};channels=1;format=s16le"
    sent = send(
        address, "machine", range(first, first + count), lambda i: clip(i).astype("<i2").tobytes(), kind, connections
    )
    troubles: list[str] = []
    right, scores = 0, set()
    with asd.load(path, cache=False) as model:
        sent.sort(key=lambda each: each.number)
        expected = asd.score(model, [(clip(each.number), RATE) for each in sent], cache=False, segment=None)
        for each, verdict in zip(sent, expected, strict=True):
            row = each.answer["clips"][0] if each.status == 200 else {}
            scores.add(row.get("score"))
            if row.get("clip") != str(each.number) or row.get("score") != verdict.score:
                troubles.append(f"{each.number}: {each.status} {str(each.answer)[:200]}, expected {verdict.score!r}")
            else:
                right += 1
    return len(sent), right, len(scores), troubles, [each.seconds for each in sent]


def distinct(options: argparse.Namespace) -> None:
    """Send clips that all differ, and compare every score with that of ``asd.score``."""
    asd.quiet()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = folder / "machine.asd"
        pipeline = PIPELINES["level" if options.pipeline == "default" else options.pipeline]
        with asd.fit([(clip(-1 - number & 0xFFFFFFFF), RATE) for number in range(40)], **pipeline) as model:
            model.save(path)
        share = options.requests // options.processes
        with serving(path, folder / "server") as address:
            began = time.perf_counter()
            jobs = [
                (address, str(path), number * share, share, options.connections) for number in range(options.processes)
            ]
            with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
                results = pool.map(checked_part, jobs, chunksize=1)
            seconds = time.perf_counter() - began
        times = np.array([each for result in results for each in result[4]]) * 1000
        answered, right, different = (sum(result[i] for result in results) for i in range(3))
        table(
            [
                ("requests", "answered", "right", "distinct scores", "p50", "p99", "longest", "in all"),
                (
                    share * options.processes,
                    answered,
                    right,
                    different,
                    *(f"{value:.0f} ms" for value in (*np.percentile(times, (50, 99)), times.max())),
                    f"{seconds:.0f} s",
                ),
            ]
        )
        for trouble in [each for result in results for each in result[3]][:5]:
            print("wrong:", trouble)
        sys.exit(answered != right or answered != share * options.processes)


# ------------------------------------------------------------------------------------------------------------ restarts


def followed(address: Address, known: dict[str, Any]) -> None:
    """Add the events that a client has not seen yet, the newest first until it meets one that it knows."""
    place = "/api/events?limit=200"
    connection = http.client.HTTPConnection(address.host, address.port, timeout=30)
    connection.request("GET", place, headers={"Authorization": f"Bearer {address.key}"})
    answer = connection.getresponse()
    found = json.loads(answer.read())
    assert answer.status == 200, found
    connection.close()
    known.update({each["id"]: each for each in found["events"]})


def restarts(options: argparse.Namespace) -> None:
    """End a listening server again and again, and compare what a client was told with the history."""
    from importlib.util import module_from_spec, spec_from_file_location

    demo = Path(__file__).resolve().parents[2] / "examples" / "serve" / "demo_plant.py"
    spec = spec_from_file_location("demo_plant", demo)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        settings = module.make(Path(temporary))
        history = settings.parent / "history"
        key = ""
        for number in range(options.times):
            with running(["--listen", str(settings)], key) as address:
                key = address.key
                end = time.monotonic() + options.seconds
                while time.monotonic() < end:
                    followed(address, told)
                    time.sleep(0.2)
                os.kill(address.process, (signal.SIGTERM, signal.SIGKILL)[number % 2])
        with running(["--history", str(history)], key) as address:
            followed(address, told)
        with sqlite3.connect(history / "history.sqlite") as database:
            kept = [row[0] for row in database.execute("SELECT id FROM events")]
            numbers = [row[0] for row in database.execute("SELECT number FROM events ORDER BY number")]
            whole = database.execute("PRAGMA integrity_check").fetchone()[0]
        database.close()
    lost, twice = set(told) - set(kept), len(kept) - len(set(kept))
    untold = set(kept) - set(told)
    table(
        [
            ("restarts", "events told", "of these lost", "not told", "twice", "history"),
            (options.times, len(told), len(lost), len(untold), twice, f"{whole}, {len(numbers)} events"),
        ]
    )
    sys.exit(bool(lost or untold or twice or whole != "ok"))


def main() -> None:
    """Read the options, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("throughput")
    one.add_argument("data", type=Path, help="folder of recordings of a machine")
    one.add_argument("--clients", type=int, default=32)
    one.add_argument("--requests", type=int, default=300)
    one.add_argument("--rounds", type=int, default=2)
    one.add_argument("--fit", type=int, default=16, help="recordings that the model learns from")
    one.set_defaults(run=throughput)
    two = commands.add_parser("distinct")
    two.add_argument("--requests", type=int, default=100_000)
    two.add_argument("--processes", type=int, default=2)
    two.add_argument("--connections", type=int, default=8)
    two.set_defaults(run=distinct)
    three = commands.add_parser("restarts")
    three.add_argument("--times", type=int, default=5)
    three.add_argument("--seconds", type=float, default=10.0, help="from one restart to the next")
    three.set_defaults(run=restarts)
    for each in (one, two):
        each.add_argument("--pipeline", choices=PIPELINES, default="default")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
