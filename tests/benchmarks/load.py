"""Many clients of a server in one process, at little cost: what they compute is missing to the server beside them.

Requests are bytes that were made before, sent over kept connections by one loop; of an answer no more is read than
where it ends. `sent_by_others` does so in processes of their own, and says what that cost.
"""

from __future__ import annotations

import multiprocessing
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """Where requests go, and with which key."""

    host: str
    port: int
    key: str

    def request(self, path: str, body: bytes, kind: str) -> bytes:
        """Return a request as it is sent."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer: to which request, how long it took, its status and body."""

    number: int
    status: int
    seconds: float
    body: bytes


@dataclass
class Load:
    """What came of many requests: the answers, the seconds in all, and what all clients computed, in seconds."""

    answers: list[Answered] = field(default_factory=list)
    seconds: float = 0.0
    computed: float = 0.0


class _Client:
    """A connection that sends one request after the other."""

    def __init__(self, target: Target, requests: Iterator[tuple[int, bytes]], found: list[Answered]) -> None:
        self.socket = socket.create_connection((target.host, target.port), timeout=120)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests, self._found = requests, found
        self._left = memoryview(b"")
        self._received = bytearray()
        self._end = 0

    def begin(self) -> bool:
        """Take the next request; False: there is none."""
        following = next(self._requests, None)
        if following is None:
            return False
        self._number, request = following
        self._left, self._end = memoryview(request), 0
        self._received.clear()
        self._began = time.perf_counter()
        return True

    def write(self) -> bool:
        """Send what fits; return whether something is left."""
        while self._left:
            try:
                self._left = self._left[self.socket.send(self._left) :]
            except BlockingIOError:
                return True
        return False

    def read(self) -> bool:
        """Take what came; return whether the answer is whole."""
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError(f"request {self._number}: the server closed the connection")
        self._received += data
        if not self._end:
            head, mark, _ = self._received.partition(b"\r\n\r\n")
            if not mark:
                return False
            length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
            self._head = len(head) + 4
            self._end = self._head + int(length)
        if len(self._received) < self._end:
            return False
        seconds = time.perf_counter() - self._began
        status, body = int(self._received[9:12]), bytes(self._received[self._head :])
        self._found.append(Answered(self._number, status, seconds, body))
        return True


def send(target: Target, requests: Iterable[tuple[int, bytes]], clients: int) -> Load:
    """Send numbered requests by so many clients, each with a connection of its own that it keeps."""
    load = Load()
    waiting = iter(requests)
    with selectors.DefaultSelector() as selector:
        connected = [_Client(target, waiting, load.answers) for _ in range(clients)]
        before, began = time.process_time(), time.perf_counter()

        def proceed(client: _Client) -> None:
            if not client.begin():
                selector.unregister(client.socket)
                client.socket.close()
            elif client.write():
                selector.modify(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, client)

        for client in connected:
            selector.register(client.socket, selectors.EVENT_READ, client)
            proceed(client)
        while selector.get_map():
            for key, events in selector.select(120):
                if events & selectors.EVENT_WRITE and not key.data.write():
                    selector.modify(key.fileobj, selectors.EVENT_READ, key.data)
                if events & selectors.EVENT_READ and key.data.read():
                    proceed(key.data)
        load.seconds, load.computed = time.perf_counter() - began, time.process_time() - before
    return load


def sent_by_others(jobs: Sequence[tuple[Target, Callable[[], Iterable[tuple[int, bytes]]], int]]) -> list[Load]:
    """Send by a process for each job: where to, what makes the requests (there, before the first is sent), clients."""
    with multiprocessing.get_context("spawn").Pool(len(jobs)) as pool:
        return pool.map(_sent, jobs, chunksize=1)


def _sent(job: tuple[Target, Callable[[], Iterable[tuple[int, bytes]]], int]) -> Load:
    target, requests, clients = job
    return send(target, requests(), clients)
