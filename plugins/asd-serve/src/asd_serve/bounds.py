"""Middleware that keeps requests within the limits: rate, number at once, size and pace of bodies and messages."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi.requests import HTTPConnection
from fastapi.responses import Response
from fastapi.websockets import WebSocket
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asd_serve.access import Caller, caller_of, path_of
from asd_serve.errors import RequestError, error_answer
from asd_serve.limits import Buckets, Limits
from asd_serve.state import State

_UPLOAD = re.compile(r"/api/models/[^/]+/score")
"""Paths that take a recording."""
_PROBES = ("/healthz", "/readyz")
_LINGER = 2.0
"""Seconds in which the rest of a body that was refused is thrown away: a connection that is closed over unread bytes is
reset, and with it goes the answer that says why."""


class Bounds:
    """Middleware that keeps requests within `Limits`.

    Parameters
    ----------
    app : ASGI application
        What is surrounded.
    state : State
        Has the limits.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app, self.limits = app, state.limits
        self._keyed = Buckets(self.limits.rate, self.limits.burst)
        self._open = Buckets(self.limits.open_rate, self.limits.open_burst)
        self._requests: Counter[str] = Counter()
        self._sockets: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan" or path_of(scope) in _PROBES:
            await self.app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        caller = caller_of(connection)
        address = connection.client.host if connection.client else "?"
        who = f"key {caller.name!r}" if caller else address
        try:
            self._in_time(who, caller)
            with self._counted(scope["type"], who):
                if scope["type"] == "websocket":
                    await self.app(scope, self._throttled(receive), send)
                else:
                    await _Body(scope, receive, send, self.limits).answered_by(self.app)
        except RequestError as error:  # of the two lines above: what the application raises, it answers
            answer = error_answer(error.status, str(error), error.headers)
            if scope["type"] == "websocket":
                await WebSocket(scope, receive, send).send_denial_response(answer)
            else:
                await answer(scope, receive, send)

    def _in_time(self, who: str, caller: Caller | None) -> None:
        buckets = self._keyed if caller else self._open
        wait = buckets.wait(who)
        if wait:
            seconds = math.ceil(wait)
            raise RequestError(
                429,
                f"too many requests of {who}: at most {buckets.rate:g} a second; try again in {seconds} s",
                {"Retry-After": str(seconds)},
            )

    @contextmanager
    def _counted(self, kind: str, who: str) -> Iterator[None]:
        counts, most = (
            (self._sockets, self.limits.sockets) if kind == "websocket" else (self._requests, self.limits.at_once)
        )
        if counts[who] >= most:
            what = "WebSockets" if kind == "websocket" else "requests"
            raise RequestError(
                429, f"{who} has {most} {what} under way, which is the most; end one first", {"Retry-After": "1"}
            )
        if kind == "http" and self._requests.total() >= self.limits.at_once_in_all:
            raise RequestError(503, "the server is busy; try again in 1 s", {"Retry-After": "1"})
        counts[who] += 1
        try:
            yield
        finally:
            counts[who] -= 1
            if not counts[who]:
                del counts[who]

    def _throttled(self, receive: Receive) -> Receive:
        """Return a `receive` that gives messages no faster than the limit: the rest waits in the client."""
        bucket = Buckets(self.limits.messages, self.limits.messages)

        async def throttled() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive":
                while wait := bucket.wait(""):
                    await asyncio.sleep(wait)
            return message

        return throttled


class _Body:
    """A request whose body is counted and timed as it comes."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        self._scope, self._receive, self._send, self._limits = scope, receive, send, limits
        self._most = limits.upload_bytes if _UPLOAD.fullmatch(path_of(scope)) else limits.body_bytes
        self._bytes = 0
        self._began = time.monotonic()
        self._ended = False
        self._begun = False
        self._refusal: Response | None = None

    async def answered_by(self, app: ASGIApp) -> None:
        """Let the application answer; what it makes of a body that is refused is not sent."""
        length = HTTPConnection(self._scope).headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._most:
            self._refuse(413, self._too_large())
        else:
            try:
                await app(self._scope, self.receive, self.send)
            except Exception:
                if self._refusal is None:
                    raise
        if self._refusal is not None and not self._begun:
            await self._say(self._refusal)

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
        if self._refusal is not None and not self._begun:
            return
        self._begun = True
        await self._send(message)

    def _too_large(self) -> str:
        return f"the body has more than {self._most:,} bytes, the most that this path takes; send less"

    def _refuse(self, status: int, text: str) -> Message:
        self._refusal = error_answer(status, text, {"Connection": "close"})
        return {"type": "http.disconnect"}

    async def _say(self, answer: Response) -> None:
        await self._send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
        await self._send({"type": "http.response.body", "body": answer.body, "more_body": True})
        end = time.monotonic() + _LINGER
        try:
            while not self._ended and (left := end - time.monotonic()) > 0:
                message = await asyncio.wait_for(self._receive(), left)
                self._ended = message["type"] != "http.request" or not message.get("more_body", False)
        except TimeoutError:
            pass
        await self._send({"type": "http.response.body", "body": b""})
