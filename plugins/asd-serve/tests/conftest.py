"""What the tests of the server's parts share: a server in the test's process, and a real one at a port."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from asd.plugin import Event, Severity
from asd_serve.app import opened
from asd_serve.keys import Role
from asd_serve.limits import Limits
from asd_serve.server import Server, configured, listen_at
from asd_serve.state import State


def key_of(state: State, role: Role) -> str:
    """Return the text of a new key with a role."""
    return state.keys.create(f"{role} {time.monotonic_ns()}", role)[1]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """Give the state of a server without models and machines; a test may change it before its first client."""
    made = State(tmp_path / "asd-serve", {})
    with made.stack:
        yield made


@pytest.fixture
def client(state: State) -> Iterator[Callable[..., Any]]:
    """Return a function that gives a client, in this process, with a key of a role; None: without a key.

    ``client("look").get("/api/models")``. All clients of a test share its `state`.
    """
    with contextlib.ExitStack() as stack:
        app: list[Any] = []

        def connect(role: Role | None = "look", base_url: str = "http://127.0.0.1:8787") -> Any:
            if not app:
                app.append(stack.enter_context(opened(state)))
                stack.enter_context(TestClient(app[0]))  # its lifespan begins and ends with the first
            made = TestClient(app[0], base_url=base_url)
            if role is not None:
                made.headers["Authorization"] = f"Bearer {key_of(state, role)}"
            return made

        yield connect


class Running:
    """A server at a port of this computer, in a thread of the test's process.

    Attributes
    ----------
    state : State
        What it holds.
    url : str
        Its address, without a slash at the end.
    port : int
        Its port.
    """

    def __init__(self, state: State, tls: Any = None, proxies: tuple[str, ...] = (), host: str = "127.0.0.1") -> None:
        self.state = state
        self._stack = contextlib.ExitStack()
        app = self._stack.enter_context(opened(state))
        sockets = listen_at(host, 0)
        self.port = int(sockets[0].getsockname()[1])
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}{state.root_path}"
        answering = threading.Event()
        self.server = Server(configured(app, state.limits, tls, proxies), answering.set)
        self._thread = threading.Thread(target=self.server.serve_on, args=(sockets,))
        self._thread.start()
        assert answering.wait(20), "the server did not begin to answer"

    def key(self, role: Role = "look") -> str:
        """Return a new key with a role."""
        return key_of(self.state, role)

    def client(self, role: Role | None = "look", **more: Any) -> httpx.Client:
        """Return a client with a key of a role; close it. None: without a key."""
        headers = {"Authorization": f"Bearer {self.key(role)}"} if role else {}
        made = httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False, **more)
        self._stack.callback(made.close)
        return made

    def stop(self) -> None:
        """End it as SIGTERM does; it may have ended already."""
        self.server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive(), "the server did not end"
        self._stack.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Return a function that starts a server at a free port: ``server(models={"pump": path}, history=folder)``.

    Parameters are those of `State`, and ``tls``, ``proxies``, ``host``; limits are given as ``limits=Limits(rate=5)``.
    """
    running: list[Running] = []

    def start(
        models: dict[str, Path] | None = None,
        *,
        folder: Path | None = None,
        tls: Any = None,
        proxies: tuple[str, ...] = (),
        host: str = "127.0.0.1",
        limits: Limits | None = None,
        **facts: Any,
    ) -> Running:
        state = State(folder or tmp_path / f"server{len(running)}", models or {}, limits=limits or Limits(), **facts)
        running.append(Running(state, tls, proxies, host))
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Return a listener's folder: machine ``pump <1>`` with an alarm of id a1b2c3d4e5f60718, its picture and reason."""
    from asd_listen.history import History  # tests look behind the door: they make what a listener keeps
    from asd_listen.keeping import Keeper

    folder = tmp_path / "plant"
    folder.mkdir()
    kinds: tuple[tuple[str, Severity], ...] = (("started", "info"), ("condition", "warning"), ("alarm", "alarm"))
    with contextlib.closing(History.open(folder)) as kept:
        keeper = Keeper(folder / "evidence", kept, 1e6, 1e3, 0.0)
        for number, (kind, severity) in enumerate(kinds):
            name = "a1b2c3d4e5f60718" if kind == "alarm" else f"{number:016x}"
            event = Event(name, 1.7e9 + number, "pump <1>", kind, severity, f"pump <1>: {kind}", {"evidence": 5.2})
            kept.machine("pump <1>", model="m")
            kept.event(event)
            if kind == "alarm":
                path = keeper.keep(event, np.zeros((800, 1), np.float32), 8000, event.time)
                path.with_suffix(".png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"pixels" * 10)
                keeper.describe(path, event, event.time, 0.1, {"text": "14 dB louder at 2.1–2.6 kHz", "findings": []})
        kept.commit()
    return folder
