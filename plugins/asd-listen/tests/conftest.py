"""What the tests of the listener's parts share: what a model and a monitor say, a model of a
machine and a listener to it, small disks, and a broker."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from listening import Heard, Script, fitted

from asd import Clip, Status, Verdict
from asd.errors import SinkError
from asd.plugin import Event, Sink
from asd_listen import feed
from waiting import PATIENCE, until

NOON = 1_800_000_000.0
"""A time in January 2027."""


class Heap(Sink):
    """A sink that keeps what it gets, after it has failed as often as it is told."""

    def __init__(self, *, failures: int = 0, error: BaseException | None = None) -> None:
        self.failures, self.error = failures, error
        self.events: list[Event] = []
        self.tried = 0

    def send(self, event: Event) -> None:
        """Keep the event, or raise."""
        self.tried += 1
        if self.tried <= self.failures:
            raise self.error or SinkError("the other side is down")
        self.events.append(event)


class Said:
    """Makes what a model and a monitor say of a clip."""

    noon = NOON
    heap = Heap

    def verdict(self, name: str = "clip.wav", **changes: Any) -> Verdict:
        facts: dict[str, Any] = {"score": 1.0, "p_value": 0.5, "anomalous": False, **changes}
        nothing = np.zeros(1)
        return Verdict(clip=Clip(Path(name)), window_scores=nothing, window_start=nothing, **facts)

    def status(self, after: float = 0.0, phase: str = "watching", **changes: Any) -> Status:
        facts: dict[str, Any] = {"p_value": 0.5, "evidence": 0.0, "threshold": 5.0, "needed": 0, **changes}
        facts.setdefault("since", NOON + after)
        return Status(time=NOON + after, phase=phase, **facts)  # type: ignore[arg-type]

    def event(self, number: int = 0, severity: str = "alarm", machine: str = "pump", **changes: Any) -> Event:
        facts: dict[str, Any] = {"kind": "alarm", "text": f"event {number}", "data": {}, **changes}
        return Event(f"{number:016x}", NOON + number, machine, severity=severity, **facts)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def said() -> Said:
    return Said()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a model of clips of a second."""
    return fitted(tmp_path_factory.mktemp("model"))


@pytest.fixture
def hear(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Heard]:
    """Return a function that listens to scripts, by the names of their machines."""
    monkeypatch.setattr(feed, "_FIRST_PAUSE", 0.02)
    return lambda **sources: Heard(
        model, tmp_path / "L", monkeypatch, **{name: Script(give) for name, give in sources.items()}
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a disk in memory with such options, as ``size=1m`` and ``ro``."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / "disk"
        place.mkdir(exist_ok=True)
        remount = "remount," if place in mounted else ""
        command = ["mount", "-t", "tmpfs", "-o", remount + options, "tmpfs", str(place)]
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("only root can mount a small disk")
        mounted.append(place)
        return place

    yield mount
    for place in set(mounted):
        subprocess.run(["umount", "-l", str(place)], check=True)


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port: int = chosen.getsockname()[1]
        return port


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Return a function that starts mosquitto with such lines of configuration, and returns its port."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    running: list[subprocess.Popen[bytes]] = []

    def start(*lines: str, port: int | None = None) -> int:
        port = port or free_port()
        settings = tmp_path / f"mosquitto{port}.conf"
        user = "user root\n" if not os.geteuid() else ""
        head = () if any(line.startswith("listener") for line in lines) else (f"listener {port} 127.0.0.1",)
        body = "\n".join((*head, *lines)).replace("PORT", str(port))
        open_to_all = "" if any("allow_anonymous" in line for line in lines) else "allow_anonymous true\n"
        settings.write_text(f"{user}{body}\n{open_to_all}")
        log = (tmp_path / f"mosquitto{port}.log").open("ab")
        running.append(subprocess.Popen([program, "-c", str(settings)], stdout=log, stderr=log))
        log.close()
        until(lambda: answers(port), (tmp_path / f"mosquitto{port}.log").read_text, by=running[-1])
        return port

    def stop() -> None:
        while running:
            process = running.pop()
            process.terminate()
            process.wait(PATIENCE)

    start.stop = stop  # type: ignore[attr-defined]
    yield start
    stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a certificate for 127.0.0.1 that no authority has signed, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    made_, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(made_)]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return made_, key
