"""Paths of what people say of events: seen, normal or a fault, a note, and all of it taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from asd_listen import (
    HistoryError,
    Reader,
    RemarkError,
    acknowledge,
    event_with_id,
    judge,
    note,
    preview_normal,
    unacknowledge,
    unjudge,
    withdraw,
)
from asd_serve.access import Looking, Telling
from asd_serve.errors import RequestError
from asd_serve.plant.asking import Planted, asked
from asd_serve.plant.plant import Plant

router = APIRouter(prefix="/api/events/{event}", tags=["feedback"])
EventId = Annotated[str, Path(max_length=80, description="Id of an event.")]
_LATER = " No listener is running: it takes effect when one starts."


class Answer(BaseModel):
    """What was done.

    `event` is the event it was said of (of a reminder: the alarm), `running` whether a listener runs that heeds it
    within a second, and `text` says all of that in a sentence.
    """

    event: str
    text: str
    running: bool
    note: int | None = Field(default=None, description="Number of the note that was written.")


class Note(BaseModel):
    """What is noted."""

    text: str = Field(min_length=1, max_length=2000, examples=["Bearing greased, sounds as before."])


class Judgement(BaseModel):
    """What it was."""

    judgement: Literal["normal", "fault"]


@router.post("/acknowledge")
async def seen(plant: Planted, caller: Telling, event: EventId) -> Answer:
    """Say that somebody has seen an event and takes care of it: it is not sent again."""
    await told(plant, event, acknowledge, by=caller.name)
    return await answered(plant, event, f"Acknowledged by {caller.name}: it is not told again.")


@router.delete("/acknowledge")
async def not_seen(plant: Planted, caller: Telling, event: EventId) -> Answer:
    """Take an acknowledgement back."""
    await told(plant, event, unacknowledge, by=caller.name)
    return await answered(plant, event, "The acknowledgement is taken back.")


@router.post("/notes")
async def noted(plant: Planted, caller: Telling, event: EventId, body: Note) -> Answer:
    """Write a note on an event."""
    number = await told(plant, event, note, body.text, by=caller.name)
    return await answered(plant, event, "The note is kept.", later=False, note=number)


@router.delete("/notes/{number}")
async def withdrawn(
    plant: Planted, caller: Telling, event: EventId, number: Annotated[int, Path(ge=1, le=2**62)]
) -> Answer:
    """Take a note back; the history keeps that it was there."""
    await told(plant, event, withdraw, number, by=caller.name)
    return await answered(plant, event, "The note is taken back.", later=False)


@router.post("/judgement")
async def judged(plant: Planted, caller: Telling, event: EventId, body: Judgement) -> Answer:
    """Say whether an alarm was a fault, or normal: its clips then count as healthy."""
    found = await told(plant, event, judge, body.judgement, by=caller.name)
    if body.judgement == "fault":
        return await answered(plant, found["id"], "Kept as a fault: its clips stay out of what is healthy.")
    text = "Its clips count as healthy from now on, and the evidence begins anew; this can be undone."
    return await answered(plant, found["id"], text)


@router.delete("/judgement")
async def not_judged(plant: Planted, caller: Telling, event: EventId) -> Answer:
    """Take the judgement back: the clips are again what they were before it."""
    found = await told(plant, event, unjudge, by=caller.name)
    return await answered(plant, found["id"], "The judgement is taken back.")


@router.get("/preview")
async def preview(plant: Planted, _: Looking, event: EventId) -> dict[str, Any]:
    """Return what it would change to say that an alarm was normal; nothing is changed."""

    def question(reader: Reader) -> dict[str, Any]:
        found = event_with_id(reader, event)
        if found is None:
            raise RequestError(404, f"no event {event[:80]!r}; GET /api/events lists those that there are")
        if found["kind"] not in ("alarm", "unlike", "drift"):
            raise RequestError(
                409, f"event {event} is of the kind {found['kind']!r}; only alarm, unlike, drift are judged"
            )
        return preview_normal(reader, found)

    return await asked(plant, question)


async def told(plant: Plant, event: str, say: Callable[..., Any], *given: Any, by: str) -> Any:
    """Say something of an event, in a thread, and return what that returns.

    Raises
    ------
    RequestError
        404 if there is no such event, 409 if it does not fit what was said before, 503 if the history takes nothing.
    """
    if await asked(plant, event_with_id, event) is None:
        raise RequestError(404, f"no event {event[:80]!r}; GET /api/events lists those that there are")
    try:
        return await asyncio.to_thread(say, plant.history, event, *given, by=by)
    except RemarkError as error:
        raise RequestError(409, str(error)) from error
    except HistoryError as error:
        raise RequestError(503, str(error), {"Retry-After": "5"}) from error


async def answered(plant: Plant, event: str, text: str, *, later: bool = True, note: int | None = None) -> Answer:
    """Return an answer that says when it takes effect."""
    running = await asyncio.to_thread(plant.is_listening)
    return Answer(event=event, text=text + (_LATER if later and not running else ""), running=running, note=note)
