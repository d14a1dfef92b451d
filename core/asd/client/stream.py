"""Sound that is judged by a server while it comes, over a WebSocket."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

import numpy as np

from asd.client.transport import Transport
from asd.errors import ConfigError, ServerError
from asd.files.fetch import reason_of
from asd.records import Float32

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

_WAIT = 30.0
"""Seconds in which a server must say what is still to be said when all sound was sent."""


def streamed(
    transport: Transport, model: str, blocks: Iterable[Float32], rate: int, hop: float | None
) -> Iterator[dict[str, Any]]:
    """Send sound and yield the verdicts as they come; parameters and errors as for `asd.client.Client.stream`."""
    try:
        from websockets.exceptions import ConnectionClosed
        from websockets.sync.client import connect
    except ImportError as error:
        raise ConfigError("streaming needs the library websockets: pip install 'asd-framework[client]'") from error
    iterator = iter(blocks)
    first = _samples(next(iterator, np.zeros((0, 1), np.float32)))
    query = {"rate": rate, "channels": first.shape[1], "format": "f32le", **({} if hop is None else {"hop": hop})}
    path = f"/api/models/{quote(model, safe='')}/stream?{urlencode(query)}"
    address = "ws" + transport.url.removeprefix("http") + path
    proxy: Literal[True] | None = None if transport.is_here else True
    try:
        connection = connect(
            address, additional_headers=transport.headers(), max_size=2**20, open_timeout=_WAIT, proxy=proxy
        )
    except Exception as error:  # of several libraries: handshake, network, TLS
        raise _refused(transport.url, error) from error
    with connection:
        try:
            yield from _exchanged(connection, first, iterator)
        except ConnectionClosed as error:
            raise ServerError(f"{transport.url}: ended the stream ({reason_of(error)}); start it again") from error


def _exchanged(connection: ClientConnection, first: Float32, blocks: Iterator[Float32]) -> Iterator[dict[str, Any]]:
    """Send each block, and yield what has come meanwhile; at the end, what is still to come."""
    channels = first.shape[1]
    block: Float32 | None = first
    while block is not None:
        if block.shape[1] != channels:
            raise ConfigError(
                f"a block has {block.shape[1]} channels, those before it {channels}; start another stream"
            )
        connection.send(np.ascontiguousarray(block, "<f4").tobytes())
        yield from _received(connection, 0.0)
        following = next(blocks, None)
        block = None if following is None else _samples(following)
    connection.send(json.dumps({"type": "end"}))
    yield from _received(connection, _WAIT)


def _received(connection: ClientConnection, timeout: float) -> Iterator[dict[str, Any]]:
    """Yield the verdicts that come: those that are there if `timeout` is 0, else all until the server says the end."""
    while True:
        try:
            message = json.loads(connection.recv(timeout=timeout))
        except TimeoutError:
            if timeout:
                raise ServerError(f"the stream: the server says nothing for {timeout:.0f} s; start it again") from None
            return
        if message.get("type") == "error":
            raise ServerError(f"the stream: {message.get('error')}")
        if message.get("type") == "end":
            return
        if message.get("type") == "verdict":
            yield message


def _samples(block: Any) -> Float32:
    samples = np.asarray(block, np.float32)
    return samples[:, np.newaxis] if samples.ndim == 1 else samples


def _refused(url: str, error: Exception) -> ServerError:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status in (401, 403):
        return ServerError(f"{url}: does not accept the key for a stream; 'asd serve key create' makes one", status)
    try:
        said = json.loads(getattr(response, "body", b"") or b"{}").get("error")
    except ValueError:
        said = None
    return ServerError(
        f"{url}: no stream can be opened ({said or reason_of(error)}); is the model served there?", status
    )
