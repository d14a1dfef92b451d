"""Paths of machines: how they stand, what they did, and what happens now."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response, WebSocket, WebSocketDisconnect

from asd_listen import Point, Reader, event_page, level_series, machine_states, read_settings
from asd_serve.access import Looking
from asd_serve.plant import examples
from asd_serve.plant.answers import answer, refused
from asd_serve.plant.asking import FAR, Moment, Planted, asked, known
from asd_serve.plant.event_routes import router as event_router
from asd_serve.plant.hub import MOST_VIEWERS, Viewer, place
from asd_serve.plant.plant import Plant
from asd_serve.state import State

router = APIRouter()
_machines = APIRouter(prefix="/api", tags=["machines"])

_DAY = 86400.0
_MARKS = 200
"""Events and conditions that are drawn beside a series at most, the last ones."""
_GOODBYE = 5.0
"""Seconds that a viewer who is sent away may take."""


def begin(state: State) -> None:
    """Make the plant of a server from its settings or its history; called before the first request.

    Raises
    ------
    AsdError
        If another listener uses the history, there is none, or the listener cannot begin.
    """
    if state.listen is not None:
        plant = Plant(settings=read_settings(Path(state.listen)), load=state.load)
    elif state.history is not None:
        plant = Plant(Path(state.history))
    else:
        return
    plant.open()
    state.stack.callback(plant.close)
    state.plant = plant
    state.history = plant.history
    state.ready["listener"] = plant.health


@_machines.get("/machines", responses=examples.MACHINES, response_class=Response)
async def machines(request: Request, plant: Planted, _: Looking) -> Response:
    """Return how each machine stands."""
    states = await asked(plant, machine_states, listening=await _is_listening(plant))
    return answer(request, {"machines": [state.to_dict() for state in states]})


@_machines.get("/machines/{machine:machine}/series", responses=examples.SERIES, response_class=Response)
async def series(
    request: Request,
    plant: Planted,
    _: Looking,
    machine: str,
    since: Moment = None,
    until: Moment = None,
    points: Annotated[int, Query(ge=2, le=5000)] = 600,
) -> Response:
    """Return the verdicts of a span as points, each the sum of its clips; by default of the last day.

    ``step`` is the seconds from one point to the next; stretches without a clip are left out. ``events`` and
    ``conditions`` are those of the span, the last 200 of each.
    """
    first, last = _span(since, until)
    return answer(request, await asked(plant, _series, machine, first, last, points))


def _series(reader: Reader, machine: str, since: float, until: float, points: int) -> dict[str, Any]:
    number = known(reader, machine)
    found = reader.series(machine, since, until, points)
    threshold = reader.ask(
        "SELECT threshold FROM verdicts WHERE machine = ? AND time < ? ORDER BY time DESC LIMIT 1", (number, until)
    )
    events, _ = event_page(reader, machine=machine, since=since, until=until, limit=_MARKS)
    conditions = list(reader.rows("conditions", machine, since, until, last=_MARKS))
    return {
        "points": [_point(each) for each in found],
        "step": reader.step(since, until, points),
        "threshold": threshold[0][0] if threshold else None,
        "events": events[::-1],
        "conditions": conditions,
    }


def _point(point: Point) -> dict[str, Any]:
    return vars(point)


@_machines.get("/machines/{machine:machine}/levels", responses=examples.LEVELS, response_class=Response)
async def levels(
    request: Request,
    plant: Planted,
    _: Looking,
    machine: str,
    since: Moment = None,
    until: Moment = None,
    points: Annotated[int, Query(ge=1, le=2000)] = 600,
) -> Response:
    """Return the levels in 1/3-octave bands of a span, by default of the last day.

    ``sampled`` says whether each point is the mean of some of its minutes, evenly spread, as in spans of weeks.
    """
    first, last = _span(since, until)

    def question(reader: Reader) -> dict[str, Any]:
        known(reader, machine)
        return vars(level_series(reader, machine, first, last, points))

    return answer(request, await asked(plant, question))


@_machines.get("/machines/{machine:machine}/clips", responses=examples.CLIPS, response_class=Response)
async def clips(
    request: Request,
    plant: Planted,
    _: Looking,
    machine: str,
    since: Moment = None,
    until: Moment = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Return the verdicts on single clips, the newest first."""

    def question(reader: Reader) -> dict[str, Any]:
        known(reader, machine)
        rows = reader.rows("verdicts", machine, since or 0.0, FAR if until is None else until, last=limit)
        return {"clips": list(rows)[::-1]}

    return answer(request, await asked(plant, question))


@_machines.get("/machines/{machine:machine}", responses=examples.MACHINE, response_class=Response)
async def one_machine(request: Request, plant: Planted, _: Looking, machine: str) -> Response:
    """Return how a machine stands."""
    listening = await _is_listening(plant)

    def question(reader: Reader) -> dict[str, Any]:
        known(reader, machine)
        return machine_states(reader, listening=listening, name=machine)[0].to_dict()

    return answer(request, await asked(plant, question))


@_machines.websocket("/live")
async def live(websocket: WebSocket, plant: Planted, _: Looking, since: Moment = None) -> None:
    """Tell how all machines stand, and what happens to them: messages of one JSON object or more, each a line."""
    await _tell(websocket, plant, None, since)


@_machines.websocket("/machines/{machine:machine}/live")
async def live_machine(websocket: WebSocket, plant: Planted, _: Looking, machine: str, since: Moment = None) -> None:
    """Tell verdicts, events, conditions and spectra of a machine, as lines; after a reconnect from `since` on."""
    await asked(plant, known, machine)
    await _tell(websocket, plant, machine, since)


async def _tell(websocket: WebSocket, plant: Plant, machine: str | None, since: float | None) -> None:
    if plant.hub.viewers >= MOST_VIEWERS:
        raise refused(503, f"{MOST_VIEWERS} viewers look already; try again later")
    viewer = Viewer(machine, since)
    await asked(plant, place, viewer)
    await websocket.accept()
    with plant.hub.told(viewer):
        sending = asyncio.create_task(_send(websocket, viewer))
        leaving = asyncio.create_task(_until_gone(websocket))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            leaving.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
        if viewer.too_slow:
            await _send_away(websocket)


async def _send(websocket: WebSocket, viewer: Viewer) -> None:
    while (text := await viewer.waiting.get()) is not None:
        await websocket.send_text(text)


async def _until_gone(websocket: WebSocket) -> None:
    """Wait until the viewer leaves; what a viewer says is not listened to."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


async def _send_away(websocket: WebSocket) -> None:
    with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect):  # it is gone, or does not read
        await asyncio.wait_for(websocket.close(1013, "too slow: connect again with ?since="), _GOODBYE)


def _span(since: float | None, until: float | None) -> tuple[float, float]:
    last = time.time() if until is None else until
    first = last - _DAY if since is None else since
    if not (math.isfinite(first) and first < last):
        raise refused(400, f"since must be before until, got {first:.15g} and {last:.15g}; both in seconds since 1970")
    return first, last


def _is_listening(plant: Plant) -> Awaitable[bool]:
    return asyncio.to_thread(plant.is_listening)


router.include_router(event_router)
router.include_router(_machines)
