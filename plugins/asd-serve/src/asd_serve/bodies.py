"""Middleware that counts and times the bodies of requests as they come, whatever they say of themselves."""

from __future__ import annotations

import asyncio
import re
import time

from fastapi.responses import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asd_serve.access import path_of
from asd_serve.errors import error_answer
from asd_serve.limits import LINGER, Limits
from asd_serve.state import State

_UPLOAD = re.compile(r"/api/models/[^/]+/score")
"""Paths that take a recording."""
_SOON = 0.05
"""Seconds that an answer waits for a body that nobody has asked for; mostly it is there."""


class Bodies:
    """Middleware that refuses bodies which are too large or too slow.

    Parameters
    ----------
    app : ASGI application
        What is surrounded.
    state : State
        Has the limits.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app, self.limits = app, state.limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            await _Body(scope, receive, send, self.limits).answered_by(self.app)
        else:
            await self.app(scope, receive, send)


class _Body:
    """A request whose body is counted and timed as it comes."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        headers = Headers(scope=scope)
        self._scope, self._receive, self._send, self._limits = scope, receive, send, limits
        self._most = limits.upload_bytes if _UPLOAD.fullmatch(path_of(scope)) else limits.body_bytes
        self._length = headers.get("content-length", "0")
        self._ended = self._length == "0" and "transfer-encoding" not in headers
        self._began = time.monotonic()
        self._bytes = 0
        self._begun = False
        self._refusal: Response | None = None

    async def answered_by(self, app: ASGIApp) -> None:
        """Let the application answer; what it makes of a body that is refused is not sent."""
        if self._length.isdecimal() and int(self._length[:20]) > self._most:
            self._refuse(413, self._too_large())
        else:
            try:
                await app(self._scope, self.receive, self.send)
            except Exception:
                if self._refusal is None:
                    raise
        answer = self._refusal
        if answer is not None and not self._begun:
            await self._answer(
                {"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers}
            )
            await self._answer({"type": "http.response.body", "body": answer.body})

    async def receive(self) -> Message:
        """Return what comes next of the request."""
        if self._refusal is not None:
            return {"type": "http.disconnect"}
        if self._ended:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._limits.silent_seconds)
        except TimeoutError:
            return self._refuse(408, f"nothing came for {self._limits.silent_seconds:g} s; send the whole body")
        if message["type"] != "http.request":
            return message
        self._bytes += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        seconds = time.monotonic() - self._began
        if self._bytes > self._most:
            return self._refuse(413, self._too_large())
        if not self._ended and seconds > self._limits.silent_seconds and self._bytes / seconds < self._limits.slowest:
            return self._refuse(408, f"the body comes too slowly; at least {self._limits.slowest:g} bytes a second")
        return message

    async def send(self, message: Message) -> None:
        """Send what the application answers, unless the request was refused meanwhile."""
        if self._refusal is None or self._begun:
            self._begun = True
            await self._answer(message)

    async def _answer(self, message: Message) -> None:
        """Send a part of an answer; the connection ends with it if the body has not come to its end by then."""
        if message["type"] == "http.response.start" and not self._ended:
            await self._skip(_SOON)
            if not self._ended:
                headers = MutableHeaders(raw=list(message.get("headers", [])))
                headers["connection"] = "close"
                message = {**message, "headers": headers.raw}
        elif message["type"] == "http.response.body" and not message.get("more_body", False) and not self._ended:
            await self._send({**message, "more_body": True})
            await self._skip(LINGER)
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _skip(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._ended and (left := end - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(self._receive(), left)
            except TimeoutError:
                return
            self._ended = message["type"] != "http.request" or not message.get("more_body", False)

    def _too_large(self) -> str:
        return f"the body has more than {self._most:,} bytes, the most that this path takes; send less"

    def _refuse(self, status: int, text: str) -> Message:
        self._refusal = error_answer(status, text)
        return {"type": "http.disconnect"}
