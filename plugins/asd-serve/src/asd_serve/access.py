"""Who asks, and what that caller may do. Paths under ``/api``, and ``/metrics``, need a key: none can forget it."""

from __future__ import annotations

import hmac
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends
from fastapi.requests import HTTPConnection
from fastapi.websockets import WebSocket, WebSocketDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asd_serve.errors import RequestError, error_answer, refuse
from asd_serve.keys import ROLES, Key, Role
from asd_serve.sessions import csrf_of
from asd_serve.state import State

_log = logging.getLogger("asd")
_CALLER = "asd_serve.caller"
SOCKET_SECONDS = 5.0
"""Seconds after which an open WebSocket is asked again whether its key is in use."""
_SAFE = ("GET", "HEAD", "OPTIONS")
_OPEN = ("/api/openapi.json", "/api/session")
"""Paths under /api for which no key is needed: what one can ask for, and where the key is shown."""


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Parameters
    ----------
    name : str
        Name of the key.
    role : str
        What the key allows.
    key : str
        Its id.
    token : str or None
        Text of the session's cookie; None: the key itself came with the request.
    """

    name: str
    role: Role
    key: str = ""
    token: str | None = None

    def may(self, role: Role) -> bool:
        """Return whether the caller's role includes another."""
        return ROLES.index(self.role) >= ROLES.index(role)


def caller_of(connection: HTTPConnection) -> Caller | None:
    """Return who asks; None: nobody who has shown a key."""
    return connection.scope.get(_CALLER)


def needed(role: Role) -> Callable[[HTTPConnection], Awaitable[Caller]]:
    """Return a dependency that gives the caller, if its role includes this one."""

    async def find(connection: HTTPConnection) -> Caller:  # async: no change of threads for it
        caller = caller_of(connection)
        if caller is None:
            raise no_key()
        if not caller.may(role):
            raise RequestError(
                403, f"the key {caller.name!r} has the role {caller.role}; this needs {role}: use another key"
            )
        return caller

    find.role = role  # type: ignore[attr-defined]  # for the test that no path forgets it
    return find


Looking = Annotated[Caller, Depends(needed("look"))]
"""A caller who may look at all there is, and have sound judged."""
Telling = Annotated[Caller, Depends(needed("feedback"))]
"""A caller who may, besides, acknowledge, say what was normal, and note."""
Administering = Annotated[Caller, Depends(needed("administer"))]
"""A caller who may, besides, record, fit, update models and change settings."""


def no_key() -> RequestError:
    """Return the error for a request without a key."""
    return RequestError(
        401,
        "a key is needed: 'Authorization: Bearer asd_…'; 'asd serve key create NAME' makes one",
        {"WWW-Authenticate": "Bearer"},
    )


class Access:
    """Middleware that finds out who asks, and lets nobody without a key to what is not open.

    Parameters
    ----------
    app : ASGI application
        What is surrounded.
    state : State
        Has the keys and sessions.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app, self.state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        connection: Any = WebSocket(scope, receive, send) if scope["type"] == "websocket" else HTTPConnection(scope)
        try:
            is_login = path_of(scope) == "/api/session" and scope.get("method") == "POST"  # whatever it was before
            scope[_CALLER] = caller = None if is_login else self._identified(connection)
            if caller is None and not is_open(path_of(scope)):
                raise no_key()
        except RequestError as error:
            answer = error_answer(error.status, str(error), error.headers)
            await refuse(answer, scope, receive, send)
            return
        if scope["type"] == "websocket" and caller is not None:
            watched = _Watched(self.state, caller, receive, send)
            await self.app(scope, watched.receive, watched.send)
        else:
            await self.app(scope, receive, send)

    def _identified(self, connection: HTTPConnection) -> Caller | None:
        header = connection.headers.get("authorization")
        if header is not None:
            scheme, _, text = header.partition(" ")
            if scheme.lower() != "bearer":
                raise RequestError(401, "Authorization: expected 'Bearer asd_…'", {"WWW-Authenticate": "Bearer"})
            key = key_shown(self.state, text.strip(), connection)
            return Caller(key.name, key.role, key.id)
        token = connection.cookies.get(self.state.cookie)
        found = self.state.sessions.find(token) if token else None
        if token is None or found is None:
            return None
        self._from_our_page(connection, token)
        return Caller(found.name, found.role, found.id, token)

    def _from_our_page(self, connection: HTTPConnection, token: str) -> None:
        """Refuse what a page of somebody else lets a browser with our cookie do."""
        if connection.scope["type"] == "websocket":
            if not same_origin(connection):
                raise RequestError(403, "a WebSocket with a cookie must come from this server's own page")
            return
        if connection.scope["method"] in _SAFE:
            return
        given = connection.headers.get("x-csrf-token", "")
        if not hmac.compare_digest(given.encode(), csrf_of(token).encode()):
            raise RequestError(
                403, "X-CSRF-Token is missing or wrong; GET /api/session says which it is (a key needs none)"
            )


class _Watched:
    """A WebSocket that ends, when something comes or goes, once its key is revoked or its session has ended."""

    def __init__(self, state: State, caller: Caller, receive: Receive, send: Send) -> None:
        self._state, self._caller, self._receive, self._send = state, caller, receive, send
        self._looked = time.monotonic()

    async def receive(self) -> Message:
        """Return what comes."""
        message = await self._receive()
        if message["type"] == "websocket.receive":
            await self._look()
        return message

    async def send(self, message: Message) -> None:
        """Send."""
        if message["type"] == "websocket.send":
            await self._look()
        await self._send(message)

    async def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < SOCKET_SECONDS:
            return
        self._looked = now
        caller, state = self._caller, self._state
        is_valid = state.sessions.find(caller.token) is not None if caller.token else state.keys.is_valid(caller.key)
        if not is_valid:
            await self._send({"type": "websocket.close", "code": 1008, "reason": "the key or the session has ended"})
            raise WebSocketDisconnect(1008)


def key_shown(state: State, text: str, connection: HTTPConnection) -> Key:
    """Return the key with such a text.

    Parameters
    ----------
    state : State
        Has the keys, and counts who shows wrong ones.
    text : str
        What was shown.
    connection : HTTPConnection
        Who shows it.

    Raises
    ------
    RequestError
        If there is none: 401, or 429 if this address has shown too many of them. A right key is always taken, so that
        nobody can lock out others by wrong ones.
    """
    key = state.keys.find(text)
    if key is not None:
        state.keys.was_used(key)
        return key
    address = connection.client.host if connection.client else "?"
    wait = math.ceil(state.wrong.wait(address))
    if wait:
        raise RequestError(
            429, f"too many wrong keys from {address}; try again in {wait} s", {"Retry-After": str(wait)}
        )
    _log.warning("a wrong key from %s", address)
    raise RequestError(
        401,
        "this key is not known here, or was revoked; 'asd serve key list' shows which are in use",
        {"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )


def same_origin(connection: HTTPConnection) -> bool:
    """Return whether the page that asks is this server's: its ``Origin`` names the host that was asked."""
    _, _, host = connection.headers.get("origin", "").partition("://")
    return bool(host) and host.lower() == connection.headers.get("host", "").lower()


def path_of(scope: Scope) -> str:
    """Return the path without that under which a proxy shows the server."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def is_open(path: str) -> bool:
    """Return whether a path needs no key."""
    return path in _OPEN or not (path == "/metrics" or path == "/api" or path.startswith("/api/"))
