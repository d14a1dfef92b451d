"""Connections that nobody can hold open for nothing: uvicorn's protocols, with deadlines and a number at most.

uvicorn waits without end for the head of a request, and for a client that does not read; these two do not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from asd_serve.errors import error_answer
from asd_serve.headers import SECURITY
from asd_serve.limits import LINGER, Buckets, Limits

_PINGS = 20.0
"""Pings a second that are answered."""


class Loop(asyncio.SelectorEventLoop):
    """An event loop that gives a client as long for the handshake of TLS as for the head of a request."""

    handshake_seconds = 10.0

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        """Listen."""
        if options.get("ssl") is not None:
            options["ssl_handshake_timeout"] = self.handshake_seconds
        return await super().create_server(*arguments, **options)


class _Counted:
    """A transport that counts what is written to it: what waits tells nothing of what was read, as more is added."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._written = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    @property
    def taken(self) -> int:
        """How many bytes the network has taken."""
        waiting: int = self._transport.get_write_buffer_size()
        return self._written - waiting

    def write(self, data: bytes) -> None:
        """Write."""
        self._written += len(data)
        self._transport.write(data)


class _Unread:
    """Ends a connection whose client does not read what waits for it, or so slowly that it blocks a place."""

    def __init__(self, transport: _Counted, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self._transport, self._loop, self._limits = transport, loop, limits
        self._timer: asyncio.TimerHandle | None = None
        self._taken = 0

    def watch(self) -> None:
        """Look, from now on, whether what waits is read."""
        if self._timer is None and self._transport.get_write_buffer_size():
            self._taken = self._transport.taken
            self._timer = self._loop.call_later(self._limits.silent_seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        taken = self._transport.taken - self._taken
        if self._transport.get_write_buffer_size() and taken < self._limits.slowest * self._limits.silent_seconds:
            self._transport.abort()
        else:
            self.watch()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class HttpConnection(H11Protocol):
    """A connection by HTTP; `limited` makes the class for some limits."""

    limits: Limits
    proxies: Collection[str]
    _head: asyncio.TimerHandle | None = None
    _unread: _Unread

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it."""
        counted: Any = _Counted(transport)
        super().connection_made(counted)
        self._unread = _Unread(counted, self.loop, self.limits)
        everybody: set[Any] = self.connections
        address = self.client[0] if self.client else ""
        own = sum(each.client is not None and each.client[0] == address for each in everybody)
        is_one_too_many = own > self.limits.connections_each and address not in self.proxies
        if len(self.connections) > self.limits.connections or is_one_too_many:
            self._say(503, "too many connections; close one, or try again in 5 s", "Retry-After: 5")
            return
        self._await_head()

    def handle_events(self) -> None:
        """Take what came."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget_head()
        elif self.timeout_keep_alive_task is None and self.transport.get_protocol() is self:  # no WebSocket has it now
            self._await_head()

    def _await_head(self) -> None:
        if self._head is None and not self.transport.is_closing():
            self._head = self.loop.call_later(self.limits.header_seconds, self._late)

    def _forget_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _late(self) -> None:
        self._head = None
        if not self.transport.is_closing():
            self._say(408, f"no request came within {self.limits.header_seconds:g} s")

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over."""
        self._forget_head()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._say(400, "this is no valid request of HTTP/1.1")
        else:
            self.transport.close()
            self._unread.watch()

    def _say(self, status: int, text: str, *lines: str) -> None:
        answer = error_answer(status, text)
        head = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            *(f"{name.decode()}: {value.decode()}" for name, value in answer.raw_headers),
            *(f"{name}: {value}" for name, value in SECURITY.items()),
            *lines,
            "connection: close",
        ]
        self.transport.write("\r\n".join(head).encode() + b"\r\n\r\n" + bytes(answer.body))
        self.transport.close()
        self._unread.watch()

    def on_response_complete(self) -> None:
        """Go on to the next request; what the client has not read yet must not wait for ever."""
        super().on_response_complete()
        self._unread.watch()

    def pause_writing(self) -> None:
        """Wait for a client that reads slowly, but not for ever."""
        super().pause_writing()
        self._unread.watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget_head()
        self._unread.stop()
        super().connection_lost(exc)


class WebSocketConnection(WebSocketsSansIOProtocol):
    """A connection by WebSocket; `limited` makes the class for some limits."""

    limits: Limits
    _unread: _Unread
    _pings: Buckets
    _refused = False

    def connection_made(self, transport: Any) -> None:
        """Take the connection over, with what counts its bytes."""
        super().connection_made(transport)
        self._unread = _Unread(transport, self.loop, self.limits)
        self._pings = Buckets(_PINGS, _PINGS)

    def pause_writing(self) -> None:
        """Wait for a client that reads slowly, but not for ever, and read nothing that would have to be answered."""
        super().pause_writing()
        self.transport.pause_reading()
        self._unread.watch()

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Take what came, unless the client was told already why no more is taken."""
        if not self._refused:
            super().data_received(data)

    def handle_ping(self) -> None:
        """Answer a ping, unless there are so many that they are no question any more."""
        if self._refused:  # by one that came together with it
            return
        if self._pings.wait(""):
            self.conn.fail(1008, "too many pings")
            self.handle_parser_exception()
        else:
            super().handle_ping()

    def handle_parser_exception(self) -> None:
        """Say why no more is taken, and let a client that is still sending read it before the connection is closed."""
        said = self.conn.close_sent
        assert said is not None
        self._refused = self.close_sent = True
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": said.code, "reason": said.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.transport.can_write_eof():  # not with TLS
            self.transport.write_eof()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(LINGER, self._close)

    def _close(self) -> None:
        self.transport.close()
        self._unread.watch()

    def shutdown(self) -> None:
        """End, but do not wait for ever for a client that does not read."""
        super().shutdown()
        self._unread.watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._unread.stop()
        super().connection_lost(exc)


def limited(limits: Limits, proxies: Collection[str]) -> tuple[type[HttpConnection], type[WebSocketConnection]]:
    """Return the classes of connections for some limits.

    Parameters
    ----------
    limits : Limits
        The limits.
    proxies : collection of str
        Addresses of proxies, which may have any part of the connections.
    """
    own = {"limits": limits, "proxies": frozenset(proxies)}
    return type("Http", (HttpConnection,), own), type("WebSocket", (WebSocketConnection,), own)
