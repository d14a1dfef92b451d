"""``/api/session``: the page shows its key once, and gets a cookie."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from asd_serve.access import Looking, key_shown, same_origin
from asd_serve.errors import RequestError
from asd_serve.sessions import LONGEST, csrf_of
from asd_serve.state import Serving

router = APIRouter(prefix="/api", tags=["session"])


class Shown(BaseModel):
    """A key that the page shows."""

    key: Annotated[str, Field(max_length=200, examples=["asd_1f6c2a90_…"])]


class Session(BaseModel):
    """Who is asking, and what a change must carry."""

    name: str
    role: str
    csrf: str | None = None


@router.post("/session")
def begin(shown: Shown, request: Request, response: Response, state: Serving) -> Session:
    """Begin a session: the answer sets a cookie."""
    if request.headers.get("origin") and not same_origin(request):
        raise RequestError(403, "a session begins on this server's own page")
    key = key_shown(state, shown.key.strip(), request)
    if former := request.cookies.get(state.cookie):
        state.sessions.end(former)
    token = state.sessions.begin(key)
    response.set_cookie(
        state.cookie,
        token,
        max_age=int(LONGEST),
        path=state.root_path or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return Session(name=key.name, role=key.role, csrf=csrf_of(token))


@router.get("/session")
def show(caller: Looking) -> Session:
    """Say who is asking."""
    return Session(name=caller.name, role=caller.role, csrf=csrf_of(caller.token) if caller.token else None)


@router.delete("/session", status_code=204)
def end(caller: Looking, response: Response, state: Serving) -> None:
    """End the session; the cookie is of no use any more."""
    if caller.token:
        state.sessions.end(caller.token)
    response.delete_cookie(state.cookie, path=state.root_path or "/")
