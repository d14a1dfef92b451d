"""Paths that judge sound: models, recordings, streams; and what Prometheus reads."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.websockets import WebSocket
from starlette.requests import ClientDisconnect

import asd
from asd_serve.access import Looking
from asd_serve.errors import RequestError
from asd_serve.judging import description
from asd_serve.judging.judging import Judging, judging_of, with_alarm
from asd_serve.judging.metrics import CONTENT_TYPE
from asd_serve.judging.models import Served
from asd_serve.judging.sound import Upload, received, told
from asd_serve.judging.stream import stream
from asd_serve.state import Serving, State

router = APIRouter(tags=["judging"])
T = TypeVar("T")
_SHORTEST_SEGMENT = 0.05
_GONE = 499
"""Status, in the log and the counts, of what nobody waits for any more."""


def begin(state: State) -> None:
    """Load the models in the background, and say on ``/readyz`` which are ready.

    Raises
    ------
    AsdError
        If the server's folder cannot be used.
    """
    state.ready["models"] = judging_of(state).models.readiness


@router.get("/api/models", responses=description.MODELS)
def models(serving: Serving, caller: Looking) -> dict[str, list[dict[str, Any]]]:
    """Say which models are served, and what each is."""
    return {"models": [each.describe() for each in judging_of(serving).models.served]}


@router.get("/api/models/{model}", responses=description.MODEL)
def one_model(model: str, serving: Serving, caller: Looking) -> dict[str, Any]:
    """Say what a model is."""
    return judging_of(serving).models.find(model).describe()


@router.post("/api/models/{model}/score", responses=description.SCORE, openapi_extra=description.BODY)
async def score(
    request: Request,
    model: str,
    serving: Serving,
    caller: Looking,
    name: Annotated[str | None, Query(description="What you call the recording; text, never opened.")] = None,
    state: Annotated[str | None, Query(description="Operating state of the machine, if the model knows them.")] = None,
    segment: Annotated[str, Query(description="Clips: auto (as the model was fitted), none, seconds.")] = "auto",
    false_alarms_per_hour: Annotated[float | None, Query(ge=1e-9, description="Another level of the alarm.")] = None,
    explain: Annotated[bool, Query(description="Say why the most unusual clip is unusual; takes seconds.")] = False,
    windows: Annotated[bool, Query(description="Add each window's score to each clip.")] = False,
) -> Response:
    """Judge a recording: any audio file, or raw PCM, as the body or as ``file`` of a form.

    Each clip gets what ``asd score`` says of it. A clip that cannot be judged has an ``error``, and null elsewhere.
    """
    judging = judging_of(serving)
    served, loaded = judging.models.ready(model)
    length = _segment(segment)
    own = with_alarm(loaded, false_alarms_per_hour)
    try:
        upload = await received(request, judging.spool, judging.limits, name)
    except ClientDisconnect:
        return Response(status_code=_GONE)
    upload.path = judging.decoders.path(upload.path)
    try:
        work = _answer(judging, served, own, upload, length, state, explain, windows)
        answer = await _in_time(request, work, judging.limits.answer_seconds)
        if answer is None:
            return Response(status_code=_GONE)
        # Wherever our file is named, in a note or in an error, the client's name is meant.
        text = msgspec.json.encode(answer)
        shown = msgspec.json.encode(upload.name)[1:-1]
        return Response(text.replace(str(upload.path).encode(), shown), media_type="application/json")
    finally:
        upload.close()


async def _answer(
    judging: Judging,
    served: Served,
    model: asd.Model,
    upload: Upload,
    segment: float | str | None,
    state: str | None,
    explain: bool,
    windows: bool,
) -> dict[str, Any]:
    clips = await judging.clips(model, upload, segment=segment, state=state)
    results = await judging.batcher.judge(model, clips)
    for each in results:
        judging.metrics.judged(served.name, each)
    verdicts = [each for each in results if isinstance(each, asd.Verdict)]
    if not verdicts:
        raise RequestError(422, told(str(results[0].error), upload))
    answer = {
        "model": served.name,
        "seconds": upload.facts.seconds,
        "decision": vars(model.decision),
        "clips": [row(each, windows=windows) for each in results],
    }
    if explain:
        worst = min(verdicts, key=lambda verdict: (verdict.p_value, -verdict.score))
        number = next(number for number, each in enumerate(results) if each is worst)
        answer["explanation"] = {"clip": number, **await judging.explained(model, worst.clip)}
    return answer


def row(result: asd.Verdict | asd.Failure, *, windows: bool = False) -> dict[str, Any]:
    """Return what is said of a clip, as plain data for JSON."""
    found = {**result.to_dict(), "start": result.clip.start, "duration": result.clip.duration}
    if windows:
        found |= {"window_start": result.window_start.tolist(), "window_scores": result.window_scores.tolist()}
    return found


def _segment(text: str) -> float | str | None:
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not _SHORTEST_SEGMENT <= seconds < math.inf:
        raise RequestError(422, f"segment={text[:40]}: expected auto, none, or seconds, at least {_SHORTEST_SEGMENT:g}")
    return seconds


async def _in_time(request: Request, work: Coroutine[Any, Any, T], seconds: float) -> T | None:
    """Return what comes of some work; None: it was given up, as the client has gone away.

    Raises
    ------
    RequestError
        If it takes longer than so many seconds; it is given up then, too.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(request.receive())  # after the body nothing can come but the end
    try:
        await asyncio.wait({task, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and not gone.done():
            text = f"the answer takes longer than {seconds:g} s, the most, and was given up"
            again = "send shorter recordings, or try again when fewer wait"
            raise RequestError(503, f"{text}; {again}", {"Retry-After": "10"})
        return task.result() if task.done() else None
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


@router.websocket("/api/models/{model}/stream")
async def streamed(socket: WebSocket, model: str, serving: Serving, caller: Looking) -> None:
    """Judge sound while it comes: binary messages of PCM in, a verdict out for each clip."""
    await stream(socket, judging_of(serving), model)


@router.get("/metrics", response_class=Response, responses=description.METRICS)
def metrics(serving: Serving, caller: Looking) -> Response:
    """Say what Prometheus reads."""
    return Response(judging_of(serving).metrics.text(), media_type=CONTENT_TYPE)
