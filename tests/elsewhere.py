"""Servers that tests read from and write to: S3 by moto, and a web server that can be told to misbehave."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import io
import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import soundfile

from waiting import PATIENCE

OLD = 1_790_000_000.0
"""A time long ago, in seconds since 1970."""


@dataclass
class Store:
    """An S3 server: fsspec's file system on it, and the requests that came."""

    fs: Any
    url: str
    requests: list[str] = field(default_factory=list)

    def got(self, method: str, part: str = "") -> int:
        """Return how many requests of a method came, whose line has a text."""
        return sum(line.startswith(f"{method} ") and part in line for line in self.requests)


class _Log(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        text = re.sub(r"\x1b\[\d*m", "", record.getMessage())  # colours of the status
        self._lines.append(text.split('"')[1] if '"' in text else text)


@contextmanager
def s3_server(patch: Any) -> Iterator[Store]:
    """Run an S3 server; `patch` sets what clients need in the environment."""
    import fsspec
    from moto.server import ThreadedMotoServer

    lines: list[str] = []
    log, handler = logging.getLogger("werkzeug"), _Log(lines)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    propagated, log.propagate = log.propagate, False
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    url = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "of-asd",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        patch.setenv(name, value)
    requests.post(f"{url}/moto-api/reset", timeout=PATIENCE)  # what another module left in this process
    try:
        yield Store(fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True), url, lines)
    finally:
        server.stop()
        log.removeHandler(handler)
        log.propagate = propagated


@dataclass
class Site:
    """A web server.

    `files` holds content by path. `ranges`: whether parts are sent; `tags`: whether there are ETags; `modified`: the
    time of change of all files, None: not said; `sized`: whether sizes are said; `short`: bytes that are missing at the
    end of each body; `status`: what paths answer with instead; `moved`: where paths send on to; `user`:
    "name:password"; `then`: called after a path was sent.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    tags: bool = True
    modified: float | None = OLD
    sized: bool = True
    short: int = 0
    status: dict[str, int] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    user: str | None = None
    then: Any = None
    requests: list[tuple[str, str, str]] = field(default_factory=list)

    def got(self, method: str, part: str = "") -> int:
        """Return how many requests of a method came, whose path has a text."""
        return sum(each[0] == method and part in each[1] for each in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        site, path = self.site, self.path.partition("?")[0]
        site.requests.append((self.command, self.path, self.headers.get("Range", "")))
        if site.user is not None:
            expected = "Basic " + base64.b64encode(site.user.encode()).decode()
            if self.headers.get("Authorization") != expected:
                return self._send(401, b"no", with_body, {"WWW-Authenticate": "Basic"})
        if path in site.moved:
            return self._send(302, b"", with_body, {"Location": site.moved[path]})
        if path in site.status:
            return self._send(site.status[path], b"no", with_body, {})
        if path.endswith("/"):
            names = {name[len(path) :].split("/")[0] for name in site.files if name.startswith(path)}
            folders = {name for name in names if f"{path}{name}" not in site.files}
            links = "".join(f'<a href="{n}{"/" if n in folders else ""}">{n}</a>' for n in sorted(names))
            return self._send(200, f"<html>{links}</html>".encode(), with_body, {"Content-Type": "text/html"})
        if any(name.startswith(f"{path}/") for name in site.files):
            return self._send(301, b"", with_body, {"Location": f"{path}/"})
        if path not in site.files:
            return self._send(404, b"no", with_body, {})
        body = site.files[path]
        headers = {}
        if site.tags:
            headers["ETag"] = f'"{hashlib.md5(body).hexdigest()}"'
        if site.modified is not None:
            headers["Last-Modified"] = email.utils.formatdate(site.modified, usegmt=True)
        status, wanted = 200, self.headers.get("Range", "")
        if site.ranges:
            headers["Accept-Ranges"] = "bytes"
            if wanted and with_body:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                begin, end = int(first), min(int(last or len(body) - 1), len(body) - 1)
                headers["Content-Range"] = f"bytes {begin}-{end}/{len(body)}"
                status, body = 206, body[begin : end + 1]
        self._send(status, body, with_body, headers)
        if site.then is not None and with_body:
            site.then(path)
        return None

    def _send(self, status: int, body: bytes, with_body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.site.sized or status != 200:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        if with_body:
            self.wfile.write(body[: len(body) - self.site.short])


@contextmanager
def serving(
    handler: type[BaseHTTPRequestHandler], server_class: type[ThreadingHTTPServer] = ThreadingHTTPServer
) -> Iterator[str]:
    """Answer by a handler on a port of this computer; give the address."""
    server = server_class(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def web_server(**how: Any) -> Iterator[Site]:
    """Run a web server."""
    site = Site(**how)
    with serving(type("Handler", (_Handler,), {"site": site})) as site.url:
        yield site


QUICK = ["--extractor", "mel-statistics", "--detector", "mahalanobis"]


def sound(seed: int, seconds: float = 1.0, rate: int = 16000) -> bytes:
    file = io.BytesIO()
    samples = np.random.default_rng(seed).normal(0, 0.1, int(seconds * rate))
    soundfile.write(file, samples, rate, format="WAV")
    return file.getvalue()


SOUNDS = {f"train/normal/{i:02}.wav": sound(i) for i in range(12)} | {f"test/{i}.wav": sound(50 + i) for i in range(3)}


@pytest.fixture(scope="module")
def s3() -> Iterator[Store]:
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as store:
        store.fs.mkdir("plant")
        for name, content in SOUNDS.items():
            store.fs.pipe_file(f"plant/{name}", content)
        yield store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in SOUNDS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, so that nothing is known."""
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "own-cache"))
    forget()


def forget() -> None:
    """Forget what the process has in memory, as a new one would."""
    from asd.files import reading

    reading._bodies.clear()
    reading._without_parts.clear()


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs a command in this process, as the script does."""
    from asd.cli.main import _run

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = _run([str(each) for each in arguments], verbose=False)
        out, err = capfd.readouterr()
        assert "Traceback" not in err, err
        return code, out, err

    return run


Run = Callable[..., tuple[int, str, str]]


def error_of(done: tuple[int, str, str]) -> str:
    """Return the only line of an error with exit code 2."""
    code, out, err = done
    lines = [line for line in err.splitlines() if line.startswith("asd: error: ")]
    assert (code, len(lines)) == (2, 1), (code, out, err)
    return lines[0].removeprefix("asd: error: ")


@pytest.fixture(scope="module")
def model(s3: Store) -> str:
    """A model that was fitted from S3 and lies there."""
    from asd.cli.main import _run

    assert _run(["fit", "s3://plant/train", "-o", "s3://plant/models/fan.asd", *QUICK], verbose=False) == 0
    return "s3://plant/models/fan.asd"
