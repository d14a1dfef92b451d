"""Middleware that keeps requests within the limits: how many a second and at once, and how fast messages come."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asd_serve.access import Caller, caller_of, path_of
from asd_serve.errors import RequestError, error_answer, refuse
from asd_serve.limits import Buckets
from asd_serve.state import State

_PROBES = ("/healthz", "/readyz")


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
                is_socket = scope["type"] == "websocket"
                await self.app(scope, self._throttled(receive) if is_socket else receive, send)
        except RequestError as error:  # ours: what the application raises, it answers
            answer = error_answer(error.status, str(error), error.headers)
            await refuse(answer, scope, receive, send)

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
