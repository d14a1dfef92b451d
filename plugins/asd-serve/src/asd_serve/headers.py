"""What every answer carries, and by which names the server may be called."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from fastapi.responses import RedirectResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asd_serve.access import path_of
from asd_serve.errors import error_answer, refuse
from asd_serve.state import State

_CONTROL = re.compile(rb"[\0-\x08\n-\x1f\x7f]")
_ENCODED_SLASH = re.compile(rb"%2[fF]")
SLASH = "\0"
"""Stands, in a path, for a slash of a machine's name; no name holds it."""
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^:\[\]@/]+)(:[0-9]*)?")
POLICY = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "connect", "font", "worker", "manifest")),
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""What the page may load and run: files of this server, and pictures and sound that it has made itself."""
SECURITY = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=(), payment=(), usb=()",
}
"""Headers of every answer, errors included. No Strict-Transport-Security: it would bind other services of the host."""


INTERFACE = 1
"""Version of the interface under ``/api``; it changes when a client of the former one cannot go on."""


class SafeAnswers:
    """Middleware that adds `SECURITY`; what is under ``/api`` is kept in no cache unless its path says otherwise.

    Parameters
    ----------
    app : ASGI application
        What is surrounded.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
                headers = MutableHeaders(raw=list(message.get("headers", [])))
                for raw_name, raw_value in headers.raw:
                    if _CONTROL.search(raw_value):  # before a part of the answer is on its way
                        raise ValueError(f"a control character in the header {raw_name.decode()}: {raw_value!r}")
                for name, value in SECURITY.items():
                    headers[name] = value
                if path_of(scope).startswith("/api"):
                    headers.setdefault("cache-control", "no-store")
                    headers["x-asd-api"] = str(INTERFACE)
                message = {**message, "headers": headers.raw}
            await send(message)

        await self.app(scope, receive, guarded)


class Rooted:
    """Middleware that knows the path under which a proxy shows the server; it surrounds all others.

    A proxy may have taken that path away, or not; uvicorn's own ``root_path`` knows the first kind only.

    Parameters
    ----------
    app : ASGI application
        What is surrounded.
    state : State
        Has the path.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app, self.root = app, state.root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if self.root and scope["type"] != "lifespan":
            if scope["path"] == self.root and scope["type"] == "http":  # addresses in the page are relative
                await RedirectResponse(f"{self.root}/", 307)(scope, receive, send)
                return
            scope = {**scope, "root_path": self.root}
            if not scope["path"].startswith(f"{self.root}/"):
                scope["path"] = self.root + scope["path"]
                scope["raw_path"] = self.root.encode() + scope.get("raw_path", b"")
        await self.app(scope, receive, send)


class Named:
    """Middleware that keeps the slash in a machine's name apart from those of the path.

    ``/api/machines/hall%2Flive`` is the machine ``hall/live``, ``/api/machines/hall/live`` what happens at ``hall``.

    Parameters
    ----------
    app : ASGI application
        What is surrounded.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        raw: bytes = scope.get("raw_path") or b""
        if b"/api/machines/" in raw and _ENCODED_SLASH.search(raw):
            own = unquote_to_bytes(_ENCODED_SLASH.sub(b"%00", raw)).decode("utf-8", "replace")
            scope = {**scope, "path": own}
        await self.app(scope, receive, send)


class Place:
    """Middleware that refuses foreign names.

    A name that somebody else's DNS lets point here (DNS rebinding) is none of ours; an address cannot be rebound.

    Parameters
    ----------
    app : ASGI application
        What is surrounded.
    state : State
        Has the names.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app = app
        self.names = {each.lower().rstrip(".") for each in (*_own_names(), *state.hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        host = Headers(scope=scope).get("host", "")
        if self._is_ours(host):
            await self.app(scope, receive, send)
            return
        answer = error_answer(
            421, f"the server is not called {host!r}; 'asd serve --allow-host NAME' lets it answer to a name"
        )
        await refuse(answer, scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        found = _HOST.fullmatch(host.lower())
        if found is None:
            return False
        name = found["name"].rstrip(".")
        return name in self.names or _is_address(name.strip("[]"))


def _own_names() -> Iterable[str]:
    name = socket.gethostname()
    return ("localhost", name, name.partition(".")[0], f"{name.partition('.')[0]}.local")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
