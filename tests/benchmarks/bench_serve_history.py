"""What it costs to look at machines: a year of one of them over HTTP, and 64 viewers beside a listener.

python tests/benchmarks/bench_serve_history.py [--rounds 3] [--seconds 8] [--only history|viewers]
"""

from __future__ import annotations

import argparse
import base64
import json
import multiprocessing
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from asd_listen import Reader

HERE = Path(__file__).resolve().parent
MACHINES = 8
VIEWERS = 64


def module(path: Path) -> Any:
    """Return a script as a module."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


class Server:
    """``asd serve`` in a process of its own; a context manager."""

    def __init__(self, folder: Path, *options: str) -> None:
        words = [sys.executable, "-c", "from asd.command import main; main()", "serve", "--port", "0"]
        self.process = subprocess.Popen(
            [*words, "--folder", str(folder), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        self.url = self.key = ""
        while not self.key:
            line = self.process.stdout.readline()
            assert line, "the server ended"
            if "#key=" in line:
                self.url, _, self.key = line.strip().partition("/#key=")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)

    def get(self, path: str) -> bytes:
        request = urllib.request.Request(f"{self.url}{path}", headers={"Authorization": f"Bearer {self.key}"})
        with urllib.request.urlopen(request) as answer:
            content: bytes = answer.read()
            return content

    def cpu(self) -> float:
        """Return the seconds that the process has computed."""
        values = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def history(rounds: int) -> None:
    """Time what a page asks of a year."""
    bench = module(HERE / "bench_history.py")
    with tempfile.TemporaryDirectory() as name:
        (folder := Path(name) / "year").mkdir()
        bench.fill(folder)
        end = bench.NOON + bench.YEAR
        with Server(Path(name) / "own", "--history", str(folder)) as server:
            for words, seconds in (("an hour", 3600), ("a day", 86400), ("a week", 604800), ("a month", 2592000),
                                   ("a year", bench.YEAR)):  # fmt: skip
                taken: dict[str, list[float]] = {}
                for round_ in range(3 * rounds):
                    span = f"since={end - seconds - round_ + 0.5}&until={end - round_ - 0.5}"
                    for what in ("series", "levels"):
                        began = time.perf_counter()
                        content = server.get(f"/api/machines/pump/{what}?{span}&points=600")
                        taken.setdefault(what, []).append(1e3 * (time.perf_counter() - began))
                        if what == "series":
                            clips = sum(each["clips"] for each in json.loads(content)["points"])
                times = [
                    f"{what} {statistics.median(each):.0f} ms (slowest {max(each):.0f})" for what, each in taken.items()
                ]
                print(f"{words}, {clips:,} clips: {', '.join(times)}")


def look(url: str, key: str, paths: list[str], ready: Any) -> None:
    """Look at machines, and throw away what comes: the viewers must not need the cores that are measured."""
    place = urllib.parse.urlsplit(url)
    chooser = selectors.DefaultSelector()
    for path in paths:
        viewer = socket.create_connection((place.hostname, place.port))
        nonce = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {key}\r\n\r\n"
        )
        viewer.sendall(head.encode())
        assert b" 101 " in viewer.recv(4096)
        chooser.register(viewer, selectors.EVENT_READ)
    ready.set()
    while True:
        time.sleep(0.2)
        for each, _ in chooser.select(0):
            if not each.fileobj.recv(1 << 20):  # type: ignore[union-attr]
                chooser.unregister(each.fileobj)
                print("a viewer was sent away")


def settings(folder: Path, demo: Any, speed: float) -> Path:
    """Return settings of some machines whose sound never ends."""
    tables = [
        f'[[source]]\nname = "{number}"\nkind = "file"\npath = "{demo / "sound" / "pump 1.wav"}"\nrepeat = 0\n'
        f'speed = {speed}\nmodel = "{demo / "models" / "pump 1.asd"}"\n'
        for number in range(MACHINES)
    ]
    path = folder / "plant.toml"
    path.write_text(f'folder = "{folder / "history"}"\n[evidence]\nhealthy_per_day = 0\n' + "".join(tables))
    return path


def measured(server: Server, folder: Path, seconds: float) -> tuple[float, float]:
    """Return the clips judged in a second, and the milliseconds of computing for each."""
    with Reader(folder / "history") as reader:
        query = "SELECT sum(clips) FROM slots"
        before, cpu, began = reader.ask(query)[0][0], server.cpu(), time.perf_counter()
        time.sleep(seconds)
        after, cpu_then, ended = reader.ask(query)[0][0], server.cpu(), time.perf_counter()
    return (after - before) / (ended - began), 1e3 * (cpu_then - cpu) / (after - before)


def viewers(rounds: int, seconds: float) -> None:
    """Compare a listener alone with one at which 64 viewers look, in turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        module(HERE.parents[1] / "examples" / "serve" / "demo_plant.py").make(folder / "demo")
        paths = [f"/api/machines/{number % MACHINES}/live" for number in range(VIEWERS)]
        for words, speed in (("as fast as it can judge", 0.0), ("in real time", 1.0)):
            (own := folder / f"speed{speed}").mkdir()
            with Server(own / "own", "--listen", str(settings(own, folder / "demo", speed))) as server:
                time.sleep(3)
                found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
                for _ in range(rounds):
                    for watched in (False, True):
                        process, ready = None, multiprocessing.Event()
                        if watched:
                            process = multiprocessing.Process(target=look, args=(server.url, server.key, paths, ready))
                            process.start()
                            assert ready.wait(30)
                        time.sleep(1)
                        found[watched].append(measured(server, own, seconds))
                        if process is not None:
                            process.terminate()
                            process.join()
                alone, beside = (
                    [statistics.median(each[i] for each in found[watched]) for i in (0, 1)] for watched in (False, True)
                )
                more = (beside[1] - alone[1]) * beside[0] / 10
                print(
                    f"{MACHINES} machines {words}: alone {alone[0]:.0f} clips/s, {alone[1]:.2f} ms of computing each; "
                    f"with {VIEWERS} viewers {beside[0]:.0f} clips/s ({100 * (beside[0] / alone[0] - 1):+.1f} %), "
                    f"{beside[1]:.2f} ms each ({more:+.1f} % of a core)"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", choices=("history", "viewers"))
    chosen = parser.parse_args()
    if chosen.only != "viewers":
        history(chosen.rounds)
    if chosen.only != "history":
        viewers(chosen.rounds, chosen.seconds)


if __name__ == "__main__":
    main()
