"""A server that nobody can fill, stop or hold: sizes, paces, numbers. All against a real one, by sockets of our own."""

from __future__ import annotations

import contextlib
import itertools
import json
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from asd_serve import bodies, limits, protocol
from asd_serve.headers import SECURITY
from asd_serve.limits import Limits
from waiting import PATIENCE, until


class Raw:
    """A connection that sends what it is told, byte for byte."""

    def __init__(self, server: Any, *, buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(PATIENCE)
        self.key = server.key()  # takes a while: before the head is waited for
        self.socket.connect(("127.0.0.1", server.port))

    def send(self, text: str | bytes) -> None:
        self.socket.sendall(text.encode() if isinstance(text, str) else text)

    def head(self, line: str, *more: str) -> str:
        return "\r\n".join((line, "Host: 127.0.0.1", f"Authorization: Bearer {self.key}", *more, "", ""))

    def upgrade(self, path: str) -> None:
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        more = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key)
        self.send(self.head(f"GET {path} HTTP/1.1", *more))
        assert b"101" in self.socket.recv(1000)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of what comes until the other side ends the connection."""
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while part := self.socket.recv(65536):
                got += part
        head, _, body = got.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return int(first.split(" ")[1]), headers, body


@pytest.fixture
def raw() -> Iterator[Any]:
    with contextlib.ExitStack() as stack:

        def connected(server: Any, **more: Any) -> Raw:
            made = Raw(server, **more)
            stack.callback(made.socket.close)
            return made

        yield connected


SMALL = Limits(body_bytes=1000, upload_bytes=3000)


# ------------------------------------------------------------------------------------------------------------ bodies


def test_a_body_that_is_too_large_is_refused(server: Any) -> None:
    with server(limits=SMALL).client() as user:
        for path, most, bodies in (
            ("/api/trial/echo", 1000, (b"x" * 1001, iter([b"x" * 600] * 6))),
            ("/api/models/none/score", 3000, (b"x" * 3001,)),
        ):
            for body in bodies:
                answer = user.post(path, content=body)
                assert answer.status_code == 413
                assert answer.json() == {
                    "error": f"the body has more than {most:,} bytes, the most that this path takes; send less"
                }
        assert user.post("/api/trial/echo", content=b"x" * 1000).json() == {"bytes": 1000}


def test_ten_gigabytes_are_refused_before_they_are_sent(server: Any, raw: Any) -> None:
    one = raw(server())
    one.send(one.head("POST /api/models/none/score HTTP/1.1", f"Content-Length: {10**10}"))
    status, headers, body = one.answer()  # nothing of the body is ever sent
    assert status == 413
    assert headers["connection"] == "close"
    assert json.loads(body)["error"].startswith("the body has more than 100,000,000 bytes")


@pytest.mark.parametrize(("path", "status"), [("echo", 413), ("ignores", 200), ("nothing", 404), ("", 401)])
def test_an_endless_body_in_pieces_is_let_go_and_takes_no_memory(server: Any, raw: Any, path: str, status: int) -> None:
    """Also where nobody asks for it, and where the caller has no key."""
    running = server()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    one = raw(running)
    line = f"POST /api/trial/{path} HTTP/1.1"
    head = one.head(line, "Transfer-Encoding: chunked")
    one.send(head if path else f"{line}\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        until(lambda: one.send(piece), "the server went on reading", pause=lambda: None)
    assert one.answer()[0] == status
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 100, f"{grown:.0f} MB more"
    with running.client() as user:
        assert user.get("/api/session").status_code == 200


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: -5",),
        ("Content-Length: 5, 6",),
        ("Content-Length: five",),
        ("Content-Length: 99999999999999999999999999999999",),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: chunked, identity",),
    ],
)
def test_a_length_that_lies_gets_an_error_and_the_connection_ends(server: Any, raw: Any, lines: tuple[str]) -> None:
    """What two readers of one stream could understand in two ways lets a request be hidden in another (smuggling)."""
    one = raw(server(limits=SMALL))
    one.send(
        one.head("POST /api/trial/echo HTTP/1.1", *lines) + "0\r\n\r\nGET /api/trial/named?name=hidden HTTP/1.1\r\n\r\n"
    )
    status, headers, body = one.answer()
    assert status in (400, 413, 501)
    assert b"x-name" not in body.lower()
    assert headers["content-security-policy"] == SECURITY["content-security-policy"]


def test_a_body_shorter_than_it_says_is_waited_for_and_then_given_up(server: Any, raw: Any) -> None:
    one = raw(server(limits=Limits(silent_seconds=0.4, slowest=1)))
    one.send(one.head("POST /api/trial/echo HTTP/1.1", "Content-Length: 900") + "only this")
    status, _, body = one.answer()
    assert status == 408
    assert json.loads(body) == {"error": "nothing came for 0.4 s; send the whole body"}


def test_a_body_that_drips_is_given_up(server: Any, raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count(0.0, 30.0)  # half a minute passes from each byte to the next
    monkeypatch.setattr(bodies, "time", SimpleNamespace(monotonic=lambda: next(now)))
    one = raw(server(limits=Limits(slowest=100)))
    one.send(one.head("POST /api/trial/echo HTTP/1.1", "Content-Length: 900") + "x")
    status, _, body = one.answer()
    assert status == 408
    assert json.loads(body) == {"error": "the body comes too slowly; at least 100 bytes a second"}


# ------------------------------------------------------------------------------------------------------- slow clients


@pytest.mark.parametrize("sent", ["", "GET /api/session HT", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b\r\n"])
def test_a_head_that_does_not_come_to_its_end_is_given_up(server: Any, raw: Any, sent: str) -> None:
    running = server(limits=Limits(header_seconds=0.5))
    began = time.monotonic()
    one = raw(running)
    one.send(sent)
    status, _, body = one.answer()
    assert time.monotonic() - began > 0.3
    assert status == 408
    assert json.loads(body) == {"error": "no request came within 0.5 s"}


def test_a_head_that_drips_is_given_up_also_as_the_second_of_a_connection(server: Any, raw: Any) -> None:
    one = raw(server(limits=Limits(header_seconds=3.0)))
    one.send(one.head("GET /api/session HTTP/1.1"))
    assert b"200" in one.socket.recv(65536)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        one.send("GET / HTTP/1.1\r\n")
        until(lambda: one.send("X-A: b\r\n"), "the server went on reading", pause=lambda: time.sleep(0.1))


def test_many_slow_clients_do_not_keep_others_from_being_answered(server: Any, raw: Any) -> None:
    running = server(limits=Limits(header_seconds=4.0, connections=100, connections_each=60))
    with running.client() as user:
        slow = [raw(running) for _ in range(50)]
        for each in slow:
            each.send("GET / HTTP/1.1\r\nX-A: ")
        assert user.get("/api/session").status_code == 200
    given_up, _, _ = select.select([each.socket for each in slow], [], [], 0)
    assert len(given_up) < 50, "it was answered when all others had been given up"
    assert {each.answer()[0] for each in slow} == {408}


def test_a_client_that_does_not_read_is_let_go(server: Any, raw: Any) -> None:
    running = server(limits=Limits(silent_seconds=0.5, slowest=10_000))
    one = raw(running, buffer=4096)
    one.send(one.head("GET /api/trial/large?size=50000000 HTTP/1.1"))
    assert one.socket.recv(4) == b"HTTP"  # and no more
    until(lambda: not running.server.server_state.connections, "its connection is closed")
    until(lambda: not running.server.server_state.tasks, "its answer ends")


def test_a_client_that_reads_slowly_but_reads_gets_all(server: Any, raw: Any) -> None:
    """In five seconds, in which it is looked three times whether it reads."""
    one = raw(server(limits=Limits(silent_seconds=1.5, slowest=10_000)), buffer=65536)
    one.send(one.head("GET /api/trial/large?size=20000000 HTTP/1.1", "Connection: close"))
    got = 0
    while part := one.socket.recv(65536):
        got += len(part)
        time.sleep(0.015)
    assert got > 19_900_000


# ----------------------------------------------------------------------------------------------------- rate, number


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Stop the clock by which requests are counted; it shows what is in the list."""
    now = [1000.0]
    monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_key_gets_so_many_requests_a_second_and_others_are_not_touched(server: Any, clock: list[float]) -> None:
    running = server(limits=Limits(rate=2.0, burst=5))
    with running.client() as user, running.client() as other:
        found = [user.get("/api/session") for _ in range(8)]
        assert [each.status_code for each in found] == [200] * 5 + [429] * 3
        assert found[-1].headers["retry-after"] == "1"
        assert "at most 2 a second; try again in 1 s" in found[-1].json()["error"]
        assert other.get("/api/session").status_code == 200
        clock[0] += 1.0
        assert user.get("/api/session").status_code == 200, "after as long as it was told"


def test_an_address_without_a_key_gets_fewer(server: Any, clock: list[float]) -> None:
    running = server(limits=Limits(open_rate=1.0, open_burst=4))
    with running.client(None) as user:
        assert [user.get("/").status_code for _ in range(6)] == [200] * 4 + [429] * 2
        assert user.get("/healthz").status_code == 200, "whoever watches the server must not be refused"


def test_a_key_has_so_many_requests_at_once(server: Any) -> None:
    running = server(limits=Limits(at_once=3, at_once_in_all=4))
    statuses: list[int] = []
    with running.client() as user, running.client() as other, running.client() as third:
        threads = [
            threading.Thread(target=lambda: statuses.append(user.get("/api/trial/held").status_code)) for _ in range(5)
        ]
        for each in threads:
            each.start()
        until(lambda: running.held.begun == 3 and len(statuses) == 2)
        assert (
            user.get("/api/session")
            .json()["error"]
            .endswith("has 3 requests under way, which is the most; end one first")
        )
        more = threading.Thread(target=lambda: other.get("/api/trial/held"))
        more.start()
        until(lambda: running.held.begun == 4)
        busy = third.get("/api/session")
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        running.held.go.set()
        for each in (*threads, more):
            each.join()
        assert sorted(statuses) == [200, 200, 200, 429, 429]
        until(lambda: user.get("/api/session").status_code == 200)


def test_an_address_has_so_many_connections(server: Any, raw: Any) -> None:
    running = server(limits=Limits(connections=8, connections_each=5, header_seconds=PATIENCE))
    kept = [raw(running) for _ in range(5)]
    status, headers, body = raw(running).answer()
    assert (status, headers["retry-after"]) == (503, "5")
    assert json.loads(body) == {"error": "too many connections; close one, or try again in 5 s"}
    kept[0].socket.close()
    with running.client() as user:
        until(lambda: user.get("/api/session").status_code == 200)


# ------------------------------------------------------------------------------------------------------- WebSockets


def socket_of(running: Any, path: str = "/api/trial/socket", **more: Any) -> Any:
    headers = {"Authorization": f"Bearer {running.key()}"}
    return connect(f"ws://127.0.0.1:{running.port}{path}", additional_headers=headers, proxy=None, **more)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server, however busy the computer, wait for a client that has yet to read why its socket ends."""
    monkeypatch.setattr(protocol, "LINGER", PATIENCE)


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("size", [1001, 30_000_000])
def test_a_message_that_is_too_large_ends_the_socket(server: Any, size: int) -> None:
    """Whoever is still sending it learns why, too."""
    with socket_of(server(limits=Limits(message_bytes=1000)), compression=None) as one:
        one.send("x" * 1000)
        assert one.recv() == "x" * 1000
        with pytest.raises(ConnectionClosed) as closed:
            until(lambda: one.send("x" * size), "the server went on reading", pause=one.recv)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


def test_a_quiet_socket_stays_open_and_the_server_s_end_is_told_in_good_form(server: Any) -> None:
    running = server(limits=Limits(header_seconds=2.5, silent_seconds=0.3))
    with socket_of(running) as one:
        time.sleep(3.0)
        one.send("still there")
        assert one.recv() == "still there"
        running.server.should_exit = True
        with pytest.raises(ConnectionClosed) as closed:
            one.recv(timeout=PATIENCE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


def test_a_flood_of_messages_waits_in_the_client(server: Any) -> None:
    with socket_of(server(limits=Limits(messages=50))) as one:
        began = time.monotonic()
        sender = threading.Thread(target=lambda: [one.send(str(at)) for at in range(150)])
        sender.start()
        assert [one.recv() for _ in range(150)] == [str(at) for at in range(150)], "none is lost"
        assert time.monotonic() - began > 1.5
        sender.join()


@pytest.mark.usefixtures("patience")
def test_a_flood_of_pings_ends_the_socket(server: Any) -> None:
    with socket_of(server()) as one, pytest.raises(ConnectionClosed) as closed:
        until(lambda: one.ping() and None, "the server went on answering", pause=lambda: None)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "too many pings")


def test_a_client_that_goes_on_sending_when_its_socket_has_ended_is_let_go(
    server: Any, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LINGER", 0.2)
    one = raw(server(limits=Limits(message_bytes=1000)))
    one.upgrade("/api/trial/socket")
    one.send(b"\x82\xff" + (10**12).to_bytes(8, "big"))  # a message of so many bytes
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        until(lambda: one.send(bytes(65536)), "the server went on reading", pause=lambda: None)


def test_a_key_has_so_many_sockets(server: Any) -> None:
    running = server(limits=Limits(sockets=2))
    headers = {"Authorization": f"Bearer {running.key()}"}
    address = f"ws://127.0.0.1:{running.port}/api/trial/socket"
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connect(address, additional_headers=headers, proxy=None))
        with pytest.raises(InvalidStatus) as refused:
            connect(address, additional_headers=headers, proxy=None)
        assert refused.value.response.status_code == 429
        assert b"has 2 WebSockets under way" in (refused.value.response.body or b"")

    def answers() -> bool:
        try:
            with connect(address, additional_headers=headers, proxy=None) as one:
                one.send("again")
                return bool(one.recv() == "again")
        except InvalidStatus:
            return False

    until(answers, "the places are free again")


def test_a_viewer_that_does_not_read_is_let_go(server: Any, raw: Any) -> None:
    running = server(limits=Limits(silent_seconds=0.5, slowest=10_000))
    one = raw(running, buffer=4096)
    one.upgrade("/api/trial/pours")
    until(lambda: not running.server.server_state.connections, "its connection is closed")
    until(lambda: not running.server.server_state.tasks, "nothing is poured to it any more")
