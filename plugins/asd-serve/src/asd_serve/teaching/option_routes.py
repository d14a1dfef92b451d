"""Paths of the settings of the listener that runs in this server."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from asd.errors import AsdError
from asd_listen import SettingError, settings_from
from asd_serve.access import Administering
from asd_serve.errors import RequestError
from asd_serve.state import Serving, State
from asd_serve.teaching import options

router = APIRouter(prefix="/api/settings", tags=["settings"])
_changing = asyncio.Lock()


class Wanted(BaseModel):
    """What is to be changed."""

    settings: dict[str, Any] = Field(
        description="alerts and evidence are merged with what is there; source and sink replace all of these; "
        "secrets come back as the mask with which they were shown, or new.",
        examples=[{"alerts": {"cool_down": 300}}],
    )
    digest: str | None = Field(default=None, max_length=64, description="As shown: somebody else's change is not lost.")


@router.get("")
async def settings(state: Serving, _: Administering) -> dict[str, Any]:
    """Return the listener's settings, with secrets masked, and which sources and sinks there are."""
    found = await asyncio.to_thread(options.shown, _file(state))
    if not found["editable"]:
        found["reason"] = f"{found['path']} cannot be written by the server: see its rights"
    return found


@router.put("")
async def change(state: Serving, _: Administering, body: Wanted) -> Any:
    """Change the listener's settings: checked, written with their comments, and the listener goes on with them.

    If it cannot, it goes on with those from before, and so does the file.
    """
    path = _file(state)
    async with _changing:
        try:
            return await asyncio.to_thread(_change, state, path, body)
        except SettingError as error:
            return JSONResponse({"error": str(error), "table": error.table, "key": error.key}, 422)


def _change(state: State, path: Path, body: Wanted) -> dict[str, Any]:
    if body.digest is not None and body.digest != options.digest_of(path):
        raise RequestError(409, f"{path} was changed meanwhile; look at it again, and make your change anew")
    before = path.read_text(encoding="utf-8-sig")
    text, settings = options.changed(path, body.settings, state.models)
    if settings == settings_from(tomllib.loads(before)):
        return {"text": "Nothing was changed.", "restarted": False, "backup": None}
    backup = options.write(path, text)
    try:
        state.plant.restart(settings)
    except AsdError as error:
        options.write(path, before)
        raise RequestError(
            409, f"the listener cannot go on with these settings, and keeps those from before: {error}"
        ) from error
    return {
        "text": f"Written; the listener goes on with the new settings. Those from before are in {backup.name}.",
        "restarted": True,
        "backup": str(backup),
    }


def _file(state: State) -> Path:
    if state.listen is None or state.plant is None:
        raise RequestError(
            409, "no listener runs in this server: its settings are where 'asd listen' runs, or start it with --listen"
        )
    return state.listen
