"""Paths of recordings of healthy sound, of fits on them, and of jobs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field

from asd_serve.access import Administering
from asd_serve.errors import RequestError
from asd_serve.plant.asking import asked, known
from asd_serve.state import Serving
from asd_serve.teaching.fitting import fit, safe_name
from asd_serve.teaching.recording import LONGEST, RATES, Recording, block_of
from asd_serve.teaching.teaching import Teaching, teaching_of

router = APIRouter(prefix="/api")
_UNTIL = 600.0
_ENDED = 4000
"""Code of a WebSocket that is closed because its recording is done."""


def _teaching(state: Serving) -> Teaching:
    return teaching_of(state)


Taught = Annotated[Teaching, Depends(_teaching)]
Id = Annotated[str, Path(max_length=40)]


class Wanted(BaseModel):
    """What is to be recorded: a machine that is listened to, or else what a browser sends."""

    name: str = Field(max_length=60, examples=["pump 1, healthy"])
    machine: str | None = Field(default=None, max_length=200)
    browser: bool = Field(False, examples=[True])
    seconds: float = Field(default=_UNTIL, gt=0, le=LONGEST, description="Good sound after which it ends.")
    clip_seconds: float | None = Field(
        default=None, ge=0.25, le=60, description="Length of a clip; default: the machine's, or 2 s."
    )


class FitWanted(BaseModel):
    """What is to be learned from, and what the model will be called."""

    recording: str = Field(max_length=40)
    name: str = Field(max_length=60, examples=["pump 1"])
    quality: Literal["fast", "default", "best"] = "fast"


@router.post("/recordings", status_code=201, tags=["recordings"])
async def begin_recording(state: Serving, teaching: Taught, caller: Administering, body: Wanted) -> dict[str, Any]:
    """Begin a recording of healthy sound."""
    if body.browser == (body.machine is not None):
        raise RequestError(422, "give either machine, which is listened to here, or browser: true, which sends sound")
    name = body.name.strip()
    if not name or not name.isprintable():
        raise RequestError(422, f"name: expected 1 to 60 characters that can be shown, got {body.name[:60]!r}")
    length = body.clip_seconds or 2.0
    hear = None
    if body.machine is not None:
        plant = state.plant
        if plant is None or plant.listener is None:
            raise RequestError(409, "no listener runs in this server: record with a browser, or start it with --listen")
        await asked(plant, known, body.machine)
        listened = {each.name: each for each in plant.listener.machines}
        if body.machine not in listened:
            raise RequestError(409, f"{body.machine!r} is not listened to at present: the settings have no such source")
        length = body.clip_seconds or listened[body.machine].scorer.seconds
        hear = body.machine
    facts = {"name": name, "machine": body.machine, "by": caller.name, "wanted": body.seconds, "clip_seconds": length}
    made = await asyncio.to_thread(teaching.recordings.make, facts)
    made.begin(_heard(state, made, hear) if hear is not None else None)
    return made.to_dict()


def _heard(state: Serving, recording: Recording, machine: str) -> Any:
    def hear(name: str, block: Any) -> None:
        if name == machine:
            recording.take(block)

    stop = state.plant.watch(hear)
    if stop is None:
        recording.stop("no listener runs in this server")
    return stop


@router.get("/recordings", tags=["recordings"])
async def recordings(teaching: Taught, _: Administering) -> dict[str, Any]:
    """Return all recordings, the latest first."""
    return {"recordings": [each.to_dict() for each in teaching.recordings.all]}


@router.get("/recordings/{number}", tags=["recordings"])
async def recording(teaching: Taught, _: Administering, number: Id) -> dict[str, Any]:
    """Return how a recording stands, and what is wrong with it so far."""
    return teaching.recordings.find(number).to_dict()


@router.post("/recordings/{number}/stop", tags=["recordings"])
async def stop_recording(teaching: Taught, _: Administering, number: Id) -> dict[str, Any]:
    """End a recording; what has come is kept."""
    found = teaching.recordings.find(number)
    await asyncio.to_thread(found.stop, "stopped")
    return found.to_dict()


@router.delete("/recordings/{number}", status_code=204, tags=["recordings"])
async def delete_recording(teaching: Taught, _: Administering, number: Id) -> Response:
    """Delete a recording with its clips; models that learned from it stay."""
    if number in teaching.in_use:
        raise RequestError(409, "a model is learning from this recording; end that job first")
    await asyncio.to_thread(teaching.recordings.delete, number)
    return Response(status_code=204)


@router.websocket("/recordings/{number}/sound")
async def sound(
    websocket: WebSocket,
    state: Serving,
    _: Administering,
    number: Id,
    rate: Annotated[int, Query(ge=RATES[0], le=RATES[1])],
    format: Annotated[Literal["s16le", "f32le"], Query()] = "s16le",  # noqa: A002  # its name in the address
) -> None:
    """Take the sound of a browser's microphone: one channel, in messages of up to some seconds."""
    found = teaching_of(state).recordings.find(number)
    if found.done or found.facts["machine"] is not None:
        why = "is done" if found.done else f"hears {found.facts['machine']!r}"
        raise RequestError(409, f"this recording {why}; begin another one with browser = true")
    await websocket.accept()
    began, heard, told = time.time(), 0, 0.0
    with contextlib.suppress(WebSocketDisconnect):
        while not found.done:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if not message.get("bytes"):
                continue
            try:
                block = block_of(message["bytes"], rate, format, began + heard / rate)
            except RequestError as error:
                await websocket.send_json({"type": "error", "error": str(error)})
                continue
            heard += len(block.samples)
            found.take(block)
            if time.monotonic() - told > 0.5:
                told = time.monotonic()
                await websocket.send_json({"type": "recording", **found.to_dict()})
        await websocket.send_json({"type": "recording", **found.to_dict()})
        await websocket.close(_ENDED, found.why[:100])


@router.post("/fits", status_code=202, tags=["fits"])
async def begin_fit(state: Serving, teaching: Taught, caller: Administering, body: FitWanted) -> dict[str, Any]:
    """Let a model learn from a recording; it is served under its name when it is done."""
    name = safe_name(body.name)
    found = teaching.recordings.find(body.recording)
    if not found.done:
        raise RequestError(409, "this recording is under way; stop it first")
    if not found.clips:
        raise RequestError(409, "this recording has no clip; record again")
    teaching.reserve(name)
    job = teaching.jobs.start(
        "fit",
        caller.name,
        lambda job: fit(teaching, job, found, name, body.quality),
        after=lambda: teaching.release(name),
    )
    return job.to_dict()


@router.get("/jobs/{number}", tags=["fits"])
async def job(teaching: Taught, _: Administering, number: Id) -> dict[str, Any]:
    """Return how a job goes."""
    return teaching.jobs.find(number).to_dict()


@router.delete("/jobs/{number}", tags=["fits"])
async def cancel(teaching: Taught, _: Administering, number: Id) -> dict[str, Any]:
    """End a job before its time; nothing is left of it."""
    return teaching.jobs.cancel(number).to_dict()
