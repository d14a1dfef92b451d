"""A real HTTP server with the habits of good and bad ones, and a real plugin whose weights it serves."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from asd.contract import installed
from asd_registry import WeightFile

CONTENT = np.random.default_rng(0).bytes(3_400_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """What the server was asked, and how it behaves from now on."""

    address: str
    content: bytes = CONTENT
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def weight(self, habit: str, *, name: str = "net.pth", sha256: str = SHA256) -> WeightFile:
        return WeightFile(
            name=name, licence="MIT", sha256=sha256, url=f"{self.address}/{habit}/net.pth", size=3_400_000
        )


class _Handler(http.server.BaseHTTPRequestHandler):
    """The first part of the path is the server's habit."""

    server: _HTTPServer

    def do_GET(self) -> None:
        habit = self.path.split("/")[1]
        self.server.state.requests.append((habit, self.headers["Range"]))
        answer: Callable[[], None] = getattr(self, f"_{habit.replace('-', '_')}")
        answer()

    def _whole(self) -> None:
        self._send(*self._asked())

    def _no_range(self) -> None:
        self._send(0, 200)

    def _cut(self) -> None:
        self._send(*self._asked(), bytes_sent=1_500_000)

    def _cut_no_range(self) -> None:
        self._send(0, 200, bytes_sent=1_500_000)

    def _slow(self) -> None:
        self._send(*self._asked(), seconds_per_block=0.02)

    def _very_slow(self) -> None:
        self._send(*self._asked(), seconds_per_block=0.3)

    def _silent(self) -> None:
        time.sleep(1.0)

    def _endless(self) -> None:
        """Send bytes for ever, and no length."""
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(bytes(100_000))

    def _larger(self) -> None:
        """State a length that the file does not have."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.state.content) + 1))
        self.end_headers()

    def _dripping(self) -> None:
        """Send a byte now and then."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.state.content)))
        self.end_headers()
        for byte in self.server.state.content:
            self.wfile.write(bytes([byte]))
            time.sleep(0.02)

    def _chunked(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        content = self.server.state.content
        for start in range(0, len(content), 100_000):
            block = content[start : start + 100_000]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(block), block))
        self.wfile.write(b"0\r\n\r\n")

    def _compressed(self) -> None:
        """Compress although nobody asked for it."""
        packed = gzip.compress(self.server.state.content, compresslevel=1)
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(packed)))
        self.end_headers()
        self.wfile.write(packed)

    def _tagged(self) -> None:
        self._send_tagged(None)

    def _tagged_cut(self) -> None:
        self._send_tagged(1_500_000)

    def _tagged_stuck(self) -> None:
        """Never get beyond the first 100 kB."""
        start, _ = self._asked()
        self._send_tagged(0 if start else 100_000)

    def _tagged_careless(self) -> None:
        """Send the range whatever If-Range says, with the tag of today's file."""
        self._send(*self._asked(), tag=self._tag())

    def _send_tagged(self, bytes_sent: int | None) -> None:
        """Send the range if the file has not changed, else the whole (RFC 9110, section 13.1.5)."""
        changed = self.headers["If-Range"] not in (None, self._tag())
        start, status = (0, 200) if changed else self._asked()
        self._send(start, status, bytes_sent=bytes_sent, tag=self._tag())

    def _tag(self) -> str:
        return f'"{hashlib.sha256(self.server.state.content).hexdigest()[:8]}"'

    def _redirect(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/whole/net.pth")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _no_length(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.state.content)

    def _huge(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(10**18))
        self.end_headers()

    def _elsewhere(self) -> None:
        """Send a part that wasn't asked for."""
        self._send(7, 206) if self.headers["Range"] else self._send(0, 200)

    def _uninvited(self) -> None:
        self._send(7, 206)

    def _missing(self) -> None:
        self.send_error(404)

    def _failing(self) -> None:
        self.send_error(500)

    def _asked(self) -> tuple[int, int]:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        return (int(found[1]), 206) if found else (0, 200)

    def _send(
        self,
        start: int,
        status: int,
        *,
        bytes_sent: int | None = None,
        seconds_per_block: float = 0.0,
        tag: str | None = None,
    ) -> None:
        content = self.server.state.content
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) - start))
        if tag:
            self.send_header("ETag", tag)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        end = len(content) if bytes_sent is None else min(start + bytes_sent, len(content))
        for position in range(start, end, 100_000):
            self.wfile.write(content[position : min(position + 100_000, end)])
            time.sleep(seconds_per_block)

    def log_message(self, *_: object) -> None:
        pass


class _HTTPServer(http.server.ThreadingHTTPServer):
    state: Server

    def handle_error(self, *_: object) -> None:
        """Stay silent when a client that was killed has gone."""


@pytest.fixture
def server() -> Iterator[Server]:
    with _HTTPServer(("127.0.0.1", 0), _Handler) as running:
        running.state = Server(f"http://127.0.0.1:{running.server_port}")
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running.state
        running.shutdown()
        thread.join()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ASD_OFFLINE", raising=False)
    return tmp_path / "cache" / "weights"


_PLUGIN = """
from asd_registry import ComponentSpec, WeightFile, hookimpl

@hookimpl
def asd_components():
    common = dict(kind="extractor", target="asd_nets.net:Net", licence="MIT", frontend="mel-image", summary="A net.")
    listed = WeightFile(name="net.pth", licence="BSD-3-Clause", sha256={sha256!r}, url={url!r}, size=3400000)
    shipped = WeightFile(name="small.safetensors", licence="BSD-2-Clause", sha256={small!r})
    yield ComponentSpec(name="net", weights=(listed,), **common)
    yield ComponentSpec(name="small-net", weights=(shipped,), **common)
    yield ComponentSpec(name="both-nets", weights=(listed, shipped), **common)
"""


@dataclass
class Nets:
    """An installed distribution, asd-nets: `listed` is to be fetched, `shipped` lies inside it."""

    site: Path
    listed: WeightFile
    shipped: WeightFile
    shipped_path: Path


@pytest.fixture
def nets(server: Server, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nets]:
    site = tmp_path / "site"
    info, package = site / "asd_nets-1.0.dist-info", site / "asd_nets"
    info.mkdir(parents=True)
    (package / "weights").mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: asd-nets\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[asd.plugins]\nnets = asd_nets.plugin\n")
    shipped_path = package / "weights" / "small.safetensors"
    shipped_path.write_bytes(b"small")
    url, small = f"{server.address}/whole/net.pth", hashlib.sha256(b"small").hexdigest()
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text(_PLUGIN.format(sha256=SHA256, url=url, small=small))
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("ASD_PLUGINS", "asd-nets")
    installed._registry.cache_clear()
    listed = WeightFile(name="net.pth", licence="BSD-3-Clause", sha256=SHA256, url=url, size=3_400_000)
    shipped = WeightFile(name="small.safetensors", licence="BSD-2-Clause", sha256=small)
    yield Nets(site, listed, shipped, shipped_path)
    installed._registry.cache_clear()
    for module in [name for name in sys.modules if name.partition(".")[0] == "asd_nets"]:
        del sys.modules[module]
