"""What ``asd serve`` judges in a second: many clients at a time against one, and many distinct clips, each checked.

    python tests/benchmarks/bench_serve.py throughput shared/data/toycar/train --clients 32 --requests 300
    python tests/benchmarks/bench_serve.py distinct --requests 100000 --processes 2 --connections 8
    python tests/benchmarks/bench_serve.py restarts --times 5

``throughput`` sends recordings to a model that was fitted on some of them, in turns one by one (a single client)
and by many clients, which are one lean process (`load.py`), and tells what each side computes. ``distinct`` sends short
clips that all differ, and compares every score with that of ``asd.score``: none may be lost, none may get another's.
The server is a process of its own, started by its command.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from load import Answered, Target, sent_by_others

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
class Address(Target):
    """Where a server is, the key for it, and its process."""

    process: int = 0

    def computed(self) -> tuple[float, float]:
        """Return how many seconds all its threads have computed, and the processes that decode for it."""
        children = Path(f"/proc/{self.process}/task/{self.process}/children")
        if not children.exists():
            return float("nan"), float("nan")
        own = [each for task in Path(f"/proc/{self.process}/task").iterdir() for each in _children(task)]
        return _computed(self.process), sum(_computed(each) for each in own)

    def passes(self) -> tuple[float, float]:
        """Return how many passes its networks have made, and of how many clips."""
        connection = http.client.HTTPConnection(self.host, self.port)
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {self.key}"})
        text = connection.getresponse().read().decode()
        connection.close()
        count, clips = (re.search(rf"^asd_serve_pass_clips_{name} (\S+)", text, re.M) for name in ("count", "sum"))
        assert count is not None
        assert clips is not None
        return float(count[1]), float(clips[1])


def _children(task: Path) -> list[int]:
    return [int(each) for each in (task / "children").read_text().split()]


def _computed(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
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


def table(rows: Sequence[Sequence[Any]]) -> None:
    """Print rows; the first has the titles."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(len(texts[0]))]
    for row in texts:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


def recordings(target: Target, files: Sequence[Path], count: int) -> list[tuple[int, bytes]]:
    """Return requests that send so many recordings, one file after the other and again from the first."""
    whole = [target.request("/api/models/machine/score", path.read_bytes(), "audio/wav") for path in files]
    return [(number, whole[number % len(whole)]) for number in range(count)]


def measured(address: Address, files: Sequence[Path], clients: int, count: int) -> tuple[float, tuple[str, ...]]:
    """Let so many clients send, and return how many requests were answered a second, and a row of the table."""
    passes, before = address.passes(), address.computed()
    load = sent_by_others([(address, partial(recordings, address, files, count), clients)])[0]
    computed, after = address.computed(), address.passes()
    wrong = [each for each in load.answers if each.status != 200]
    assert len(load.answers) == count and not wrong, wrong[:1]  # noqa: PT018
    times = np.array([each.seconds for each in load.answers]) * 1000
    parts = (computed[0] - before[0], computed[1] - before[1], load.computed)
    together = (after[1] - passes[1]) / (after[0] - passes[0])
    return count / load.seconds, (
        str(clients),
        str(count),
        f"{count / load.seconds:.1f}",
        *(f"{value:.0f} ms" for value in (*np.percentile(times, (50, 99)), times.max())),
        *(f"{1000 * each / count:.1f} ms" for each in parts),
        f"{sum(parts) / load.seconds:.2f}",
        f"{together:.1f}",
    )


TITLES = ("clients", "requests", "a second", "p50", "p99", "longest", "server", "decoders", "client", "cores", "a pass")


def throughput(options: argparse.Namespace) -> None:
    """Compare many clients with one."""
    files = sorted(path for path in options.data.rglob("*") if path.suffix in (".wav", ".flac"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = folder / "machine.asd"
        with asd.fit(files[: options.fit], cache=False, **PIPELINES[options.pipeline]) as model:
            model.save(path)
        with serving(path, folder / "server") as address:
            measured(address, files, options.clients, 2 * options.clients)
            rows: list[tuple[str, ...]] = [TITLES]
            rates: dict[int, list[float]] = {1: [], options.clients: []}
            for clients in (1, options.clients) * options.rounds:  # in turns: a drift of the machine meets both
                count = options.requests if clients > 1 else max(20, options.requests // 3)
                rate, row = measured(address, files, clients, count)
                rates[clients].append(rate)
                rows.append(row)
    print(f"{options.pipeline}: recordings of {files[0].parent}, {files[0].stat().st_size:,} bytes each")
    table(rows)
    ratios = [many / one for one, many in zip(rates[1], rates[options.clients], strict=True)]
    shown = ", ".join(f"{each:.2f}" for each in ratios)
    print(f"{options.clients} clients: {median(ratios):.2f} times the throughput of one (rounds {shown})")


# ------------------------------------------------------------------------------------------------------------ distinct


def clip(number: int) -> np.ndarray[Any, Any]:
    """Return half a second of noise and a tone, int16; no two numbers give the same."""
    rng = np.random.default_rng(number)
    samples = rng.normal(0, rng.uniform(200, 4000), RATE // 2)
    tone = rng.uniform(100, 4000) * np.sin(2 * np.pi * rng.uniform(100, 7000) / RATE * np.arange(RATE // 2))
    return np.asarray(np.clip(samples + tone, -32768, 32767), np.int16)


KIND = f"audio/pcm;rate={RATE};channels=1;format=s16le"


def clips(target: Target, numbers: range) -> Iterator[tuple[int, bytes]]:
    """Yield a request for each clip."""
    for number in numbers:
        body = clip(number).astype("<i2").tobytes()
        yield number, target.request(f"/api/models/machine/score?name={number}", body, KIND)


def troubles(path: Path, answers: Sequence[Answered]) -> tuple[list[str], set[float]]:
    """Return what is wrong with answers, each of which must have its clip's name and score; and all scores."""
    scores, found = set(), []
    with asd.load(path, cache=False) as model:
        for first in range(0, len(answers), 10_000):
            part = answers[first : first + 10_000]
            expected = asd.score(model, [(clip(each.number), RATE) for each in part], cache=False, segment=None)
            for each, verdict in zip(part, expected, strict=True):
                row = json.loads(each.body)["clips"][0] if each.status == 200 else {}
                scores.add(row.get("score"))
                if row.get("clip") != str(each.number) or row.get("score") != verdict.score:
                    found.append(f"{each.number}: {each.status} {each.body[:200]!r}, expected {verdict.score!r}")
    return found, scores


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
        parts = [range(number * share, (number + 1) * share) for number in range(options.processes)]
        with serving(path, folder / "server") as address:
            passes, before = address.passes(), address.computed()
            loads = sent_by_others([(address, partial(clips, address, part), options.connections) for part in parts])
            computed, after = address.computed(), address.passes()
        answers = sorted((each for load in loads for each in load.answers), key=lambda each: each.number)
        count, seconds = share * options.processes, max(load.seconds for load in loads)
        wrong, scores = troubles(path, answers)
    is_whole = [each.number for each in answers] == list(range(count))
    times = np.array([each.seconds for each in answers]) * 1000
    spent = (computed[0] - before[0], computed[1] - before[1], sum(load.computed for load in loads))
    table(
        [
            ("requests", "answered", "wrong", "distinct scores", *TITLES[2:]),
            (
                *(str(each) for each in (count, len(answers), len(wrong), len(scores))),
                f"{count / seconds:.1f}",
                *(f"{value:.0f} ms" for value in (*np.percentile(times, (50, 99)), times.max())),
                *(f"{1000 * each / count:.2f} ms" for each in spent),
                f"{sum(spent) / seconds:.2f}",
                f"{(after[1] - passes[1]) / (after[0] - passes[0]):.1f}",
            ),
        ]
    )
    print(f"every request has one answer: {is_whole}; {seconds:.0f} s of sending")
    for trouble in wrong[:5]:
        print("wrong:", trouble)
    sys.exit(bool(wrong) or not is_whole)


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
    one.add_argument("--rounds", type=int, default=3)
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
