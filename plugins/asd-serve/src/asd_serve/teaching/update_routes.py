"""Paths that teach a machine's model what was normal."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path

from asd_listen import Reader
from asd_serve.access import Administering, Looking
from asd_serve.errors import RequestError
from asd_serve.plant.asking import Planted, asked, known
from asd_serve.plant.plant import Plant
from asd_serve.state import Serving, State
from asd_serve.teaching.teaching import teaching_of
from asd_serve.teaching.update import Marked, marked_of, model_file, take_back, taught, teach, workplace

router = APIRouter(prefix="/api/machines/{machine:machine}/update", tags=["machines"])
Machine = Annotated[str, Path(max_length=300)]
_one = asyncio.Lock()
"""A preview takes seconds of both cores."""


@router.get("")
async def preview(state: Serving, plant: Planted, _: Looking, machine: Machine) -> dict[str, Any]:
    """Return what changes if the machine's model learns the alarms that were judged normal; nothing is changed."""
    marked = await _marked(plant, machine)
    entries = teaching_of(state).updates.of(machine)
    facts = {"machine": machine, "undo": bool(entries)}
    nothing = {"clips": 0, "before": {}, "after": {}, "alarms_not_raised": []}
    if not marked:
        text = "No alarm of this machine was judged normal whose sound was kept: there is nothing to learn from."
        return {**facts, "model": None, **nothing, "text": text}
    path = model_file(state, machine)
    if entries and set(entries[-1]["events"]) >= {each.event for each in marked}:
        text = "The model has learned all that was judged normal."
        return {**facts, "model": path.stem, **nothing, "text": text}
    teaching, key = teaching_of(state), (str(path), tuple(each.event for each in marked))
    async with _one:
        if teaching.previewed is None or teaching.previewed[0] != key:
            teaching.previewed = key, await asyncio.to_thread(_previewed, state, path, marked)
        return {**facts, "model": path.stem, **teaching.previewed[1]}


def _previewed(state: State, path: Any, marked: list[Marked]) -> dict[str, Any]:
    with workplace(state) as folder:
        found = taught(path, marked, state, folder)
        found.close()
        return found.preview


@router.post("", status_code=202)
async def learn(state: Serving, plant: Planted, caller: Administering, machine: Machine) -> dict[str, Any]:
    """Teach the machine's model the alarms that were judged normal, in a job; the listener goes on with the new one."""
    marked = await _marked(plant, machine)
    if not marked:
        raise RequestError(
            409, "no alarm of this machine was judged normal whose sound was kept: nothing to learn from"
        )
    model_file(state, machine)
    teaching = teaching_of(state)
    return teaching.jobs.start("update", caller.name, lambda job: teach(teaching, job, machine, marked)).to_dict()


@router.delete("")
async def forget(state: Serving, _: Administering, machine: Machine) -> dict[str, Any]:
    """Let the machine be judged by the model from before the last teaching, with its monitor from then."""
    return {"machine": machine, "text": await asyncio.to_thread(take_back, teaching_of(state), machine)}


async def _marked(plant: Plant, machine: str) -> list[Marked]:
    def question(reader: Reader) -> list[Marked]:
        known(reader, machine)
        return marked_of(reader, machine)

    return await asked(plant, question)
