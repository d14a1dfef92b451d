"""What the tests of the server's parts share: a server in the test's process, and a real one at a port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import looking
import numpy as np
import pytest
import soundfile
import teaching_plant
from fastapi import APIRouter, Body, Request, Response, WebSocket
from fastapi.responses import StreamingResponse
from starlette.testclient import TestClient

from asd.plugin import Event, Severity
from asd_serve.access import Administering, Looking, Telling
from asd_serve.app import opened
from asd_serve.keys import Role
from asd_serve.limits import Limits
from asd_serve.server import Server, configured, listen_at
from asd_serve.state import State
from waiting import PATIENCE


def key_of(state: State, role: Role) -> str:
    """Return the text of a new key with a role."""
    return state.keys.create(f"{role} {time.monotonic_ns()}", role)[1]


class Held:
    """Requests that wait until they may go on."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = threading.Event()


def trial_routes(held: Held) -> APIRouter:
    """Return paths that do what the tests of the gate need: repeat, wait, fail, send much."""
    router = APIRouter(prefix="/api/trial", include_in_schema=False)

    @router.post("/ignores")
    async def ignores(caller: Looking) -> dict[str, str]:
        return {"read": "nothing"}

    @router.post("/echo")
    async def echo(request: Request, caller: Looking) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @router.post("/note")
    def note(caller: Telling, text: Annotated[str, Body(embed=True)]) -> dict[str, str]:
        return {"by": caller.name, "text": text}

    @router.put("/settings")
    def settings(caller: Administering) -> dict[str, str]:
        return {"by": caller.name}

    @router.get("/slow")
    async def slow(caller: Looking, seconds: float = 1.0) -> dict[str, float]:
        await asyncio.sleep(seconds)
        return {"slept": seconds}

    @router.get("/held")
    async def holds(caller: Looking) -> None:
        held.begun += 1
        while not held.go.is_set():
            await asyncio.sleep(0.01)

    @router.get("/fails")
    def fails(caller: Looking) -> None:
        raise RuntimeError("secret inside: /home/somebody")

    @router.get("/large")
    def large(caller: Looking, size: int) -> StreamingResponse:
        return StreamingResponse((b"x" * 65536 for _ in range(size // 65536)), media_type="audio/flac")

    @router.get("/named")
    def named(caller: Looking, name: str) -> Response:
        return Response(b"", headers={"X-Name": name})

    @router.websocket("/socket")
    async def socket(socket: WebSocket, caller: Looking) -> None:
        await socket.accept()
        async for message in socket.iter_text():
            await socket.send_text(message)

    @router.websocket("/pours")
    async def pours(socket: WebSocket, caller: Looking) -> None:
        await socket.accept()
        while True:
            await socket.send_bytes(bytes(65536))

    return router


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """Give the state of a server without models and machines; a test may change it before its first client."""
    made = State(tmp_path / "asd-serve", {}, hosts=("testserver",))  # TestClient calls it so for WebSockets
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
                app[0].include_router(trial_routes(Held()))
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
    held : Held
        Requests of ``/api/trial/held``.
    """

    def __init__(self, state: State, tls: Any, proxies: tuple[str, ...], host: str) -> None:
        self.state, self.held = state, Held()
        self._stack = contextlib.ExitStack()
        app = self._stack.enter_context(opened(state))
        app.include_router(trial_routes(self.held))
        sockets = listen_at(host, 0)
        self.port = int(sockets[0].getsockname()[1])
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}{state.root_path}"
        answering = threading.Event()
        self.server = Server(configured(app, state.limits, tls, proxies), answering.set)
        self._thread = threading.Thread(target=self.server.serve_on, args=(sockets,))
        self._thread.start()
        assert answering.wait(PATIENCE), "the server did not begin to answer"

    def key(self, role: Role = "look") -> str:
        """Return a new key with a role."""
        return key_of(self.state, role)

    def client(self, role: Role | None = "look", **more: Any) -> httpx.Client:
        """Return a client with a key of a role; close it. None: without a key."""
        headers = {"Authorization": f"Bearer {self.key(role)}"} if role else {}
        made = httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE, trust_env=False, **more)
        self._stack.callback(made.close)
        return made

    def stop(self) -> None:
        """End it as SIGTERM does; it may have ended already."""
        self.server.should_exit = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the server did not end"
        self._stack.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Return a function that starts a server at a free port: ``server(models={"pump": path}, history=folder)``.

    Parameters are those of `State`, and ``tls``, ``proxies`` and ``host``; limits are given as
    ``limits=Limits(rate=5)``.
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


@pytest.fixture(scope="session")
def plant(plant_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the settings of a listener with three machines that have a past; later tests see what is changed."""
    return teaching_plant.copied(plant_folder, tmp_path_factory.mktemp("shown") / "plant") / "plant.toml"


@pytest.fixture(scope="session")
def plant_server(plant: Path) -> Iterator[looking.Server]:
    """Serve the plant's history and models."""
    models = sorted((plant.parent / "models").glob("*.asd"))
    with looking.serving(plant.parent, ["--listen", plant, *models], keys_in=plant.parent / "history") as server:
        yield server


@pytest.fixture(scope="session")
def stage(plant: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return settings of the plant with a machine whose name is markup, a thousand events, and curves of a year."""
    folder = tmp_path_factory.mktemp("stage")
    history = folder / "history"
    shutil.copytree(plant.parent / "history", history)
    with sqlite3.connect(history / "history.sqlite") as database:
        now = time.time()
        for number in range(looking.EVENTS):
            kind, severity = (("condition", "warning"), ("condition-over", "info"))[number % 2]
            text = looking.OLDEST if number == looking.EVENTS - 1 else f"pump 1: invented {number} <i>here</i>"
            database.execute(
                "INSERT INTO events (id, machine, time, kind, severity, text, data) "
                "VALUES (?, 'pump 1', ?, ?, ?, ?, '{}')",
                (f"invented{number}", now - 7200 - 3600 * number, kind, severity, text),
            )
        (machine,) = database.execute("SELECT id FROM machines WHERE name = 'pump 1'").fetchone()
        for table, seconds in (("slots", 300), ("hours", 3600)):
            last = int(now // 3600) * 3600 // seconds - 3600 // seconds
            database.executemany(
                f"INSERT OR IGNORE INTO {table} VALUES (?, ?, 30, 0, 90, 4, 0.1, ?, 0)",
                [(machine, last - back, 1.5 + 0.5 * (back % 2)) for back in range(365 * 86400 // seconds)],
            )
    database.close()
    settings = folder / "plant.toml"
    text = plant.read_text().replace(str(plant.parent / "history"), str(history))
    settings.write_text(text.replace('name = "mill"', f"name = {json.dumps(looking.EVIL)}"))
    return settings


@pytest.fixture(scope="session")
def staged(stage: Path) -> Iterator[looking.Server]:
    """Serve that, under a path."""
    words = ["--listen", stage, "--root-path", "/below"]
    with looking.serving(stage.parent, words, keys_in=stage.parent / "history") as found:
        yield found


@pytest.fixture(scope="module")
def chromium(plant: Path) -> Iterator[Any]:
    """Start a browser whose microphone hears the healthy pump; skip where there is none.

    It ends with its module: while Playwright runs, its thread has a running loop, and `asyncio.run` refuses another.
    """
    pytest.importorskip("playwright")
    if looking.CHROMIUM is None:
        pytest.skip("no Chromium here (Debian: apt install chromium)")
    samples, rate = soundfile.read(plant.parent / "sound" / "pump 1.wav", dtype="float32")
    microphone = plant.parent / "microphone.wav"
    soundfile.write(microphone, np.asarray(samples[: 20 * rate]), rate, subtype="PCM_16")
    with looking.chromium(microphone) as browser:
        yield browser


@pytest.fixture
def look(chromium: Any, plant_server: looking.Server) -> Iterator[Callable[..., looking.Look]]:
    """Return what opens the plant's page: ``look("feedback", width=400, dark=True)``; see `looking.looking`.

    At the end no page may have complained, or asked another host for anything.
    """
    with contextlib.ExitStack() as stack:
        pages: list[looking.Look] = []

        def open_page(role: str = "administer", **options: Any) -> looking.Look:
            pages.append(stack.enter_context(looking.looking(chromium, plant_server, role, **options)))
            return pages[-1]

        yield open_page
        for each in pages:
            assert each.errors == []
            assert each.foreign == []


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
