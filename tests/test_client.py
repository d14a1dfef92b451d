"""The client of servers against real ones over HTTP that answer as they are told: what goes wrong, and what is said.

Against `asd serve` itself: plugins/asd-serve/tests/test_serve_client.py.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import soundfile

import asd
from asd.client import Client, server_and_model
from asd.errors import AsdError, ConfigError, DataError, ServerError
from waiting import PATIENCE

DATA = Path(__file__).resolve().parent.parent / "examples" / "data" / "test" / "normal"
FIRST = sorted(DATA.glob("*.*"))[0]
DECISION = {"false_alarms_per_hour": 1.0, "level": 0.05, "promise": "calibrated", "reason": None}
MODEL = {"name": "pump", "status": "ready", "branches": ["timbre"], "states": [], "decision": DECISION}


def row(clip: str, **changes: Any) -> dict[str, Any]:
    facts = {"score": 1.25, "p_value": 0.5, "anomalous": False, "peak_seconds": 0.5, "notes": ["quiet"]}
    branch = {
        "name": "timbre",
        "score": 1.25,
        "z": 0.1,
        "p_value": 0.5,
        "reasons": [{"text": "louder", "contribution": 2.0}],
    }
    whole = {
        "clip": clip,
        **facts,
        "unusual_in": [],
        "branches": [branch],
        "error": None,
        "start": 0.0,
        "duration": None,
    }
    return {**whole, **changes}


Answer = tuple[int, dict[str, str], bytes]


class Server:
    """A server that gives the answers it is told, the usual ones else, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer: Callable[[str, str, dict[str, list[str]], bytes], Answer | None] = lambda *_: None
        self.slow = 0.0
        self._lock = threading.Lock()
        self.at_once = self.most_at_once = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, port: int = 0) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                outer._handle(self)

            do_GET = do_POST = do_DELETE = handle_one  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        class Http(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 64

        self._server = Http(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        with self._lock:
            self.asked.append((request.command, request.path, dict(request.headers), body))
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
        time.sleep(self.slow)
        parts = urlsplit(request.path)
        code, headers, content = self.answer(request.command, parts.path, parse_qs(parts.query), body) or self._usual(
            request.command, parts.path, parse_qs(parts.query)
        )
        with self._lock:
            self.at_once -= 1
        if code == 0:  # the server dies in the middle
            request.close_connection = True
            return
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    @staticmethod
    def _usual(method: str, path: str, query: dict[str, list[str]]) -> Answer:
        if path == "/api/models":
            return said({"models": [MODEL]})
        if path == "/api/models/pump":
            return said(MODEL)
        if path == "/api/models/pump/score":
            return said({"model": "pump", "clips": [row(query["name"][0])], "decision": DECISION})
        return said({"error": f"no {path} here"}, 404)


def said(value: Any, code: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): each for name, each in headers.items()}
    return code, {"Content-Type": "application/json", **named}, json.dumps(value).encode()


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASD_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    own = Server()
    own.start()
    yield own
    own.stop()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for number in range(12):
        soundfile.write(tmp_path / f"{number:02}.wav", np.full(800, number / 100), 8000)
    return sorted(tmp_path.glob("*.wav"))


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


def test_verdicts_are_those_of_asd(server: Server) -> None:
    windows = {"window_start": [0.0, 0.5], "window_scores": [0.5, 2.0]}
    state = {"state": "fast", "state_p_value": 0.25}
    server.answer = lambda method, path, query, body: (
        said({"clips": [row("fan.wav", **windows, **state)], "decision": DECISION}) if method == "POST" else None
    )
    with Client(server.url) as client:
        (verdict,) = client.score(FIRST, model="pump")
        assert client.decision == DECISION
    assert isinstance(verdict, asd.Verdict)
    assert verdict.clip == asd.Clip(FIRST)
    assert (verdict.score, verdict.p_value, verdict.anomalous, verdict.notes) == (1.25, 0.5, False, ("quiet",))
    assert verdict.branches == (asd.BranchVerdict("timbre", 1.25, 0.1, 0.5, (("louder", 2.0),)),)
    assert (verdict.state, verdict.state_p_value, verdict.peak) == ("fast", 0.25, 0.5)
    assert verdict.window_scores.tolist() == [0.5, 2.0]
    method, path, headers, body = server.asked[-1]
    assert method == "POST"
    assert path == f"/api/models/pump/score?segment=auto&windows=true&name={FIRST.name}"
    assert body == FIRST.read_bytes()
    assert "Authorization" not in headers


def test_clips_come_in_order_several_at_a_time_and_never_more(server: Server, files: list[Path]) -> None:
    server.slow = 0.05
    three = threading.Barrier(3)
    server.answer = lambda method, *_: three.wait(PATIENCE) and None if method == "POST" else None  # type: ignore[func-returns-value]
    with Client(server.url, workers=3) as client:
        found = list(client.score(files))
    assert [each.clip.path for each in found] == files
    assert server.most_at_once == 3


def test_the_only_model_needs_no_name(server: Server) -> None:
    with Client(server.url) as client:
        assert [each.ok for each in client.score(FIRST)] == [True]
        server.answer = lambda *_: said({"models": [MODEL, {**MODEL, "name": "fan"}]})
        with pytest.raises(ConfigError, match=r"serves pump, fan; name one, as in http://127.0.0.1:\d+/pump"):
            list(client.score(FIRST))


def test_a_recording_that_the_server_cuts_comes_back_as_its_clips(server: Server) -> None:
    rows = [row("x", start=0.0, duration=0.5), row("x", start=0.5, duration=0.5)]
    server.answer = lambda method, *_: said({"clips": rows}) if method == "POST" else None
    with Client(server.url) as client:
        found = list(client.score(FIRST))
    assert [each.clip for each in found] == [asd.Clip(FIRST, 0.0, 0.5), asd.Clip(FIRST, 0.5, 0.5)]


def test_parts_and_arrays_are_sent_as_they_sound(server: Server, tmp_path: Path) -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (8000, 2)).astype(np.float32)
    soundfile.write(tmp_path / "long.flac", sound, 8000, subtype="PCM_24")
    (tmp_path / "list.csv").write_text("path,start,end\nlong.flac,0.25,0.5\n")
    with Client(server.url) as client:
        (part,) = client.score(tmp_path / "list.csv")
        (array,) = client.score(sound, rate=8000)
    assert part.clip == asd.Clip(tmp_path / "long.flac", 0.25, 0.25)
    assert str(array.clip) == "array 1 (1 s, 8000 Hz)"
    bodies = [body for method, _, _, body in server.asked if method == "POST"]
    for body, expected in zip(bodies, (sound[2000:4000], sound), strict=True):
        (tmp_path / "sent.wav").write_bytes(body)
        found, rate = soundfile.read(tmp_path / "sent.wav", dtype="float32")
        assert rate == 8000
        np.testing.assert_allclose(found, expected, atol=2**-23)


def test_the_key_goes_in_a_header_to_this_server_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file .netrc of the user's must not take its place, and a redirection must not carry it away."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("ASD_KEY", "asd_1_environment\n")
    Client(server.url).models()
    Client(server.url, "asd_2_argument").models()
    assert [headers["Authorization"] for _, _, headers, _ in server.asked] == [
        "Bearer asd_1_environment",
        "Bearer asd_2_argument",
    ]
    assert not any("asd_" in path for _, path, _, _ in server.asked)
    server.answer = lambda *_: (307, {"Location": "http://localhost:1/elsewhere"}, b"")
    with pytest.raises(ServerError, match="answers that it is at http://localhost:1/elsewhere; name that address"):
        Client(server.url, "asd_2_argument").models()


def test_no_proxy_gets_what_stays_on_this_computer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot lead back, and would read the key."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
        assert Client(url, "asd_1_key", patience=0).models()
    with pytest.raises(ServerError, match="no server answers"):
        Client("http://plant.invalid", patience=0).models()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://asd_1_secret@host", "a key has no place in an address"),
        ("http://host:8787/?key=asd_1_secret", "a key has no place in an address"),
        (
            "http://127.0.0.1:8787/#key=asd_1_secret",
            "a key has no place in an address, where histories and logs keep it",
        ),
        ("host:8787", "'host:8787' is no address of a server; expected http://HOST:PORT or https://HOST"),
        ("ftp://host", "is no address of a server"),
        ("http://", "is no address of a server"),
        ("http://host:port", "is no address of a server"),
        ("http://[::1", "is no address of a server"),
    ],
)
def test_an_address_is_checked(url: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Client(url)
    assert expected in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_key_in_clear_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    Client("http://plant.example.org", "asd_1_a")
    assert "the key goes through the network unencrypted; use https if others can listen" in caplog.text
    caplog.clear()
    for url in ("https://plant.example.org", "http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"):
        Client(url, "asd_1_a")
    assert caplog.text == ""


@pytest.mark.parametrize("key", ["two words", "na\x00il", "ключ"])
def test_a_key_that_cannot_be_one_is_not_sent(key: str) -> None:
    with pytest.raises(ConfigError, match="the key holds characters that no key has"):
        Client("http://127.0.0.1:1", key)


def test_without_a_network_only_this_computer_is_asked(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setenv("ASD_OFFLINE", "1")
    with pytest.raises(ServerError, match=r"the network is forbidden \(ASD_OFFLINE or --offline\)"):
        Client("https://plant.example.org")
    assert Client(server.url).models() == [MODEL]


def test_an_address_names_server_and_model() -> None:
    assert server_and_model("http://host:8787/pump") == ("http://host:8787", "pump")
    assert server_and_model("https://example.org/asd/pump%201/") == ("https://example.org/asd", "pump 1")
    assert server_and_model("http://host:8787/") == ("http://host:8787", None)


@pytest.mark.parametrize(
    ("answer", "expected", "status"),
    [
        (said({"error": "no key"}, 401), "asks for a key; 'asd serve key create' makes one on the server", 401),
        (said({"error": "role look\nneeded feedback"}, 403), ": role look needed feedback", 403),
        (said({"error": "no model 'x'; served are a, b"}, 404), ": no model 'x'; served are a, b", 404),
        (
            (500, {}, b"<html>"),
            "answers 500 Internal Server Error, but not as 'asd serve' does; is the address right?",
            500,
        ),
        ((200, {}, b"<html>"), "answers, but not as 'asd serve' does; is the address right?", None),
        (said([]), "answers, but not as 'asd serve' does", None),
        (said({"modules": []}), "answers without models; is it an 'asd serve' of this version?", None),
        (said({"models": []}, X_ASD_API="2"), "speaks version 2 of the interface, this asd knows 1: pip install", 200),
    ],
)
def test_what_a_server_says_is_one_line(server: Server, answer: Answer, expected: str, status: int | None) -> None:
    server.answer = lambda *_: answer
    with pytest.raises(ServerError) as caught:
        Client(server.url).models()
    assert str(caught.value).startswith(f"{server.url}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.status == status


def test_a_wrong_key_is_told_apart_from_none(server: Server) -> None:
    server.answer = lambda *_: said({"error": "wrong"}, 401)
    with pytest.raises(ServerError, match="does not accept this key; 'asd serve key create' makes one on the server"):
        Client(server.url, "asd_1_a").models()


def test_a_server_that_is_not_there_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"tried again after {seconds} s"))
    with pytest.raises(ServerError) as caught:
        Client(f"http://127.0.0.1:{free_port()}").models()
    assert "no server answers (Connection refused); is the address right, and does 'asd serve' run?" in str(
        caught.value
    )
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ServerError, match=r"no server answers \(Name or service|no server answers \(Temporary failure"):
        Client("http://no-such-host.invalid").models()


def test_a_server_that_asks_to_wait_is_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    refused = iter(
        [said({"error": "too many"}, 429, Retry_After="1"), said({"error": "starting"}, 503, Retry_After="0")]
    )
    server.answer = lambda *_: next(refused, None)
    assert Client(server.url).models() == [MODEL]
    assert sum(waited) == 1


def test_patience_ends(server: Server) -> None:
    server.answer = lambda *_: said({"error": "too many requests"}, 429, Retry_After="3600")
    with pytest.raises(ServerError) as caught:
        Client(server.url, patience=5).models()
    assert str(caught.value) == (
        f"{server.url}: too many requests; it is not tried again within 5 s (it would be in 3600 s)"
    )
    assert caught.value.status == 429
    assert len(server.asked) == 1
    server.answer = lambda *_: said({"error": "not a number"}, 503, Retry_After="soon")
    with pytest.raises(ServerError, match=r"not a number; it is not tried again within 1 s"):
        Client(server.url, patience=1).models()


def test_a_restart_in_the_middle_loses_nothing(server: Server, files: list[Path]) -> None:
    """Requests that broke off are sent again: judging changes nothing on the server."""
    judged: list[str] = []

    def answer(method: str, path: str, query: dict[str, list[str]], body: bytes) -> Answer | None:
        if method == "POST":
            judged.append(query["name"][0])
            if len(judged) == 5:
                threading.Thread(target=restart).start()
            if 5 <= len(judged) < 8:
                return 0, {}, b""
        return None

    def restart() -> None:
        port = server.port
        server.stop()
        time.sleep(1)
        server.start(port)

    server.answer = answer
    with Client(server.url, workers=2) as client:
        found = list(client.score(files))
    assert [each.clip.path for each in found] == files
    assert all(each.ok for each in found)


def test_what_people_say_is_not_said_twice(server: Server) -> None:
    client = Client(server.url)
    client.models()
    server.answer = lambda *_: (0, {}, b"")
    before = len(server.asked)
    with pytest.raises(ServerError, match="does not answer any more"):
        client.judge("e1", "normal")
    assert len(server.asked) == before + 1
    server.answer = lambda *_: said({"event": "e1", "text": "noted"})
    assert client.judge("e1", "normal")["text"] == "noted"
    assert server.asked[-1][:2] == ("POST", "/api/events/e1/judgement")
    assert json.loads(server.asked[-1][3]) == {"judgement": "normal"}
    client.judge("e1", None)
    client.acknowledge("e/../1")
    client.note("e1", "a <b> note")
    assert [each[:2] for each in server.asked[-3:]] == [
        ("DELETE", "/api/events/e1/judgement"),
        ("POST", "/api/events/e%2F..%2F1/acknowledge"),
        ("POST", "/api/events/e1/notes"),
    ]
    with pytest.raises(ConfigError, match="a judgement is 'normal' or 'fault', or None to take it back; got 'bad'"):
        client.judge("e1", "bad")  # type: ignore[arg-type]
    for name in ("", ".", ".."):
        with pytest.raises(ConfigError, match="is no name of anything"):
            client.event(name)


def test_a_machine_s_name_is_no_step_of_the_path(server: Server) -> None:
    client = Client(server.url)
    server.answer = lambda *_: said({})
    for name in ("..", "a/../b", "base64=x", "/", "%2F", "  "):
        client.machine(name)
    sent = [each[1].removeprefix("/api/machines/") for each in server.asked[-6:]]
    assert sent == ["base64%3DLi4", "base64%3DYS8uLi9i", "base64%3DYmFzZTY0PXg", "%2F", "%252F", "%20%20"]
    with pytest.raises(ConfigError, match=r"the name of the machine is empty; Client.machines\(\) lists them"):
        client.series("")


def test_events_are_asked_for_page_by_page(server: Server) -> None:
    pages = {None: (["a", "b"], "b"), "b": (["c"], None)}

    def answer(method: str, path: str, query: dict[str, list[str]], body: bytes) -> Answer:
        names, following = pages[query.get("before", [None])[0]]
        assert query["machine"] == ["pump 1"]
        return said({"events": [{"id": name} for name in names], "next": following})

    server.answer = answer
    found = Client(server.url).events(machine="pump 1")
    assert next(found) == {"id": "a"}
    assert len(server.asked) == 1
    assert [each["id"] for each in found] == ["b", "c"]


@pytest.mark.parametrize("code", [413, 415, 422])
def test_a_recording_that_is_refused_is_a_failure_and_the_others_go_on(
    server: Server, files: list[Path], code: int
) -> None:
    def answer(method: str, path: str, query: dict[str, list[str]], body: bytes) -> Answer | None:
        odd = query.get("name", [""])[0] == "03.wav"
        return said({"error": "03.wav: no sound; send a recording"}, code) if odd else None

    server.answer = answer
    files[5].unlink()
    found = list(Client(server.url).score([asd.Clip(each) for each in files]))
    assert [number for number, each in enumerate(found) if not each.ok] == [3, 5]
    assert str(found[3].error) == f"{files[3]}: no sound; send a recording"
    assert str(found[5].error) == f"{files[5]}: cannot be read (No such file or directory)"


def test_a_failure_has_the_name_that_the_user_knows(server: Server) -> None:
    server.answer = lambda method, *_: (
        said({"clips": [row("fan.wav [0–1 s]", error="fan.wav [0–1 s]: is silent", start=0.0, duration=1.0)]})
        if method == "POST"
        else None
    )
    (failure,) = Client(server.url).score(FIRST)
    assert str(failure.error) == f"{FIRST} [0–1 s]: is silent"


@pytest.mark.parametrize(
    "rows", [[{}], ["x"], [{**row("x"), "score": None}], [{**row("x"), "branches": [{}]}], None, [], {"a": 1}]
)
def test_an_answer_that_is_no_verdict_is_told(server: Server, rows: Any) -> None:
    server.answer = lambda method, *_: said({"clips": rows}) if method == "POST" else None
    with pytest.raises(ServerError, match="is it an 'asd serve' of this version"):
        list(Client(server.url).score(FIRST))


def test_states_are_named_for_each_clip(server: Server, tmp_path: Path) -> None:
    for name in ("slow", "fast"):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", np.zeros(800), 8000)
    server.answer = lambda method, *_: said({**MODEL, "states": ["slow", "fast"]}) if method == "GET" else None
    list(Client(server.url).score(tmp_path, model="pump", state="folder"))
    asked = {
        query["state"][0] for _, path, _, _ in server.asked if (query := parse_qs(urlsplit(path).query)).get("state")
    }
    assert asked == {"slow", "fast"}
    server.answer = lambda method, *_: said({**MODEL, "states": ["slow"]}) if method == "GET" else None
    with pytest.raises(DataError, match="state 'fast' is none of those that the model was fitted with"):
        list(Client(server.url).score(tmp_path, model="pump", state="folder"))
    server.answer = lambda *_: None
    with pytest.raises(ConfigError, match="the model knows none"):
        list(Client(server.url).score(tmp_path, model="pump", state="folder"))


def test_a_model_that_is_loading_is_waited_for(server: Server) -> None:
    loading = iter([said({"name": "pump", "status": "loading"})])
    server.answer = lambda *_: next(loading, None)
    assert Client(server.url).ready("pump")["decision"] == DECISION
    server.answer = lambda *_: said({"name": "pump", "status": "pump.asd: damaged"})
    with pytest.raises(ServerError, match=r"the model 'pump' cannot judge: pump\.asd: damaged"):
        Client(server.url).ready("pump")


def test_who_stops_early_leaves_nothing_running(server: Server, files: list[Path]) -> None:
    found = Client(server.url, workers=2).score(files)
    next(found)
    found.close()  # type: ignore[attr-defined]
    asked = len(server.asked)
    time.sleep(0.3)
    assert len(server.asked) == asked < len(files)
    assert not [each for each in threading.enumerate() if each.name.startswith("asd-client")]


def test_errors_are_those_of_asd() -> None:
    assert issubclass(ServerError, AsdError)
    with pytest.raises(ConfigError, match="workers must be at least 1, got 0"):
        Client("http://127.0.0.1:1", workers=0)


# ---------------------------------------------------------------------------------------------------- the command line


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [os.environ["ASD_COMMAND"], "score", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_the_command_asks_a_server(server: Server, files: list[Path]) -> None:
    done = run(f"{server.url}/pump", *files[:3], ASD_KEY="asd_1_k")
    assert done.returncode == 0, done.stderr
    assert "3 clips: 0 anomalous, 3 normal." in done.stdout
    assert server.asked[-1][2]["Authorization"] == "Bearer asd_1_k"
    server.answer = lambda method, *_: (
        said({"clips": [row("x", anomalous=True, p_value=0.01)], "decision": {**DECISION, "level": 0.2}})
        if method == "POST"
        else None
    )
    done = run(server.url, files[0], "--json", "--false-alarms-per-hour", 4, "--segment", "none")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["summary"] == {"clips": 1, "anomalous": 1, "normal": 0, "left_out": 0}
    assert found["decision"]["level"] == 0.2
    query = parse_qs(urlsplit(server.asked[-1][1]).query)
    assert (query["false_alarms_per_hour"], query["segment"]) == (["4.0"], ["none"])


def test_python_asks_a_server_by_its_address(server: Server) -> None:
    (verdict,) = asd.score(f"{server.url}/pump", FIRST)
    assert verdict.clip == asd.Clip(FIRST)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--monitor", "state"), "--monitor is for a model in a file; "),
        (("--device", "cpu"), "--device is for a model in a file; "),
        (("--no-cache",), "--no-cache is for a model in a file; "),
        (("--trust",), "--trust is for a model in a file; "),
        (("--precision", "fp32"), "--precision is for a model in a file; "),
        (("--segment", "long"), "--segment takes seconds, none or auto, got 'long'"),
    ],
)
def test_options_of_a_model_in_a_file_are_refused(server: Server, words: tuple[str, ...], expected: str) -> None:
    done = run(f"{server.url}/pump", FIRST, *words)
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_commands_errors_are_one_line(server: Server, files: list[Path]) -> None:
    for words, expected in (
        ((f"http://127.0.0.1:{free_port()}/pump", files[0]), "no server answers (Connection refused)"),
        ((f"{server.url}/fan", files[0]), "no /api/models/fan here"),
        ((f"{server.url}/pump", "missing.wav"), "missing.wav"),
        (("http://host/#key=asd_1_secret", files[0]), "a key has no place in an address"),
    ):
        done = run(*words)
        assert done.returncode == 2
        assert done.stderr.startswith("asd: error: ")
        assert expected in done.stderr
        assert done.stderr.count("\n") == 1


def test_strict_stops_at_a_refused_recording(server: Server, files: list[Path]) -> None:
    server.answer = lambda method, *_: said({"error": "no sound"}, 422) if method == "POST" else None
    done = run(f"{server.url}/pump", *files, "--strict")
    assert done.returncode == 2
    assert f"{files[0]}: no sound" in done.stderr
    done = run(f"{server.url}/pump", *files)
    assert done.returncode == 2
    assert f"no clip could be read: {files[0]}: no sound" in done.stderr
