"""What every answer carries, errors included, and what no answer tells."""

from __future__ import annotations

import json
import logging
import socket
from typing import Any

import pytest

from asd_serve.headers import POLICY, SECURITY


def asked(client: Any) -> dict[str, Any]:
    """Return answers of all kinds."""
    user, nobody = client("look"), client(None)
    return {
        "page": nobody.get("/"),
        "health": nobody.get("/healthz"),
        "json": user.get("/api/session"),
        "description": nobody.get("/api/openapi.json"),
        "metrics": user.get("/metrics"),
        "no key": nobody.get("/api/session"),
        "not found": user.get("/api/nothing"),
        "no such file": nobody.get("/nothing"),
        "method": user.patch("/api/session"),
        "role": user.put("/api/trial/settings"),
        "invalid": user.get("/api/trial/slow?seconds=long"),
        "unexpected": user.get("/api/trial/fails"),
        "foreign name": client(None, "http://evil.example").get("/"),
        "too large": user.post("/api/trial/echo", content=b"x" * 1_000_001),
    }


def test_every_answer_has_the_headers_that_protect_its_reader(client: Any) -> None:
    for name, answer in asked(client).items():
        for header, value in SECURITY.items():
            assert answer.headers.get(header) == value, (name, header)
        assert "server" not in answer.headers, name
        if answer.url.path.startswith("/api"):
            assert answer.headers["cache-control"] == "no-store", name


def test_the_policy_allows_no_script_and_no_style_but_files_of_this_server() -> None:
    rules = dict(each.split(" ", 1) for each in POLICY.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == rules["form-action"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in POLICY
    assert "*" not in POLICY
    assert "http" not in POLICY


def test_every_error_is_one_line_of_json(client: Any) -> None:
    expected = {
        "no key": (401, "a key is needed: 'Authorization: Bearer asd_…'; 'asd serve key create NAME' makes one"),
        "not found": (404, "no such path; /api/openapi.json lists all of them"),
        "no such file": (404, "no such path; /api/openapi.json lists all of them"),
        "method": (405, "this path does not take PATCH; it takes DELETE and GET and POST"),
        "invalid": (
            422,
            "query 'seconds': received 'long'; input should be a valid number, unable to parse string as a number",
        ),
        "foreign name": (
            421,
            "the server is not called 'evil.example'; 'asd serve --allow-host NAME' lets it answer to a name",
        ),
        "too large": (413, "the body has more than 1,000,000 bytes, the most that this path takes; send less"),
    }
    found = asked(client)
    assert found["method"].headers["allow"] == "DELETE, GET, POST"
    for name, (status, text) in expected.items():
        assert (found[name].status_code, found[name].json()) == (status, {"error": text}), name


def test_an_unexpected_error_tells_nothing_of_the_inside_and_the_log_all(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "asd"):
        answer = client("look").get("/api/trial/fails")
    assert answer.status_code == 500
    text = answer.json()["error"]
    number = text.split(" has as ")[1].split(";")[0]
    assert text == f"the server made an error, which its log has as {number}; report it with that part of the log"
    assert "secret inside" not in answer.text
    assert f"GET /api/trial/fails: unexpected error {number}: RuntimeError('secret inside" in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"text": 5}',
        b'{"text": null}',
        b'{"other": "x"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"text":' * 50_000,
        b'{"text": "' + b"x" * 2_000_000,
        b'{"text": ' + b"9" * 100_000 + b"}",
        b'{"text": NaN}',
        b'{"text": "\\ud800"}',
        b"text=quiet",
        b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
    ],
)
def test_a_body_that_does_not_fit_gets_one_line(client: Any, body: bytes) -> None:
    answer = client("feedback").post("/api/trial/note", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 413, 422)
    assert set(answer.json()) == {"error"}
    assert 10 < len(answer.json()["error"]) <= 501
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example:8787", ""),
        *("127.0.0.1@evil.example", "[::1].evil.example", "xn--e1afmkfd.example"),
    ],
)
def test_a_name_that_somebody_lets_point_here_is_refused(client: Any, host: str) -> None:
    """DNS rebinding: the browser takes the pages of both for one."""
    answer = client("look").get("/api/session", headers={"Host": host})
    assert answer.status_code == 421
    assert "--allow-host" in answer.json()["error"]


def test_its_own_names_and_addresses_and_those_allowed_are_answered(client: Any, state: Any) -> None:
    state.hosts = ("Hall.Example.org",)
    user = client("look")
    own = socket.gethostname()
    for host in (
        "localhost",
        "localhost:8787",
        "127.0.0.1:1",
        "[::1]:8787",
        "192.168.1.5",
        own,
        "hall.example.org:443",
    ):
        assert user.get("/api/session", headers={"Host": host}).status_code == 200, host


def test_no_page_of_somebody_else_may_read_anything(client: Any) -> None:
    user = client("look")
    evil = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (user.get("/api/session", headers=evil), user.options("/api/session", headers=evil)):
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert user.options("/api/session", headers=evil).status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        *("/../../etc/passwd", "/page/../state.py", "/page/x/../../access.py", "/%2e%2e/%2e%2e/etc/passwd"),
        *("/page/x/..%2f..%2faccess.py", "/page/x/%2fetc%2fpasswd", "/page//etc/passwd", "/page/x/app.js%00.png"),
        *("/serve.sqlite", "/asd-serve/serve.sqlite", "/page/x/files.py", "/page/x/.", "/page/x/..\\access.py"),
    ],
)
def test_no_path_leads_out_of_the_page(server: Any, path: str) -> None:
    """Sent as it stands: clients put such paths in order themselves."""
    running = server()
    with socket.create_connection(("127.0.0.1", running.port)) as one:
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        got = b""
        while part := one.recv(65536):
            got += part
    assert got.split(b" ")[1] in (b"404", b"400"), got
    assert b"root:" not in got
    assert b"import" not in got


@pytest.mark.parametrize("name", ["a\r\nSet-Cookie: evil=1", "a\nX-Evil: 1", "a\r\n\r\n<script>", "a\0b"])
def test_no_header_can_be_put_in_by_a_name(server: Any, name: str) -> None:
    with server().client() as user:
        answer = user.get("/api/trial/named", params={"name": name})
        assert answer.status_code == 500
        assert answer.json()["error"].startswith("the server made an error")
        assert "x-evil" not in answer.headers
        assert "set-cookie" not in answer.headers
        assert user.get("/api/session").status_code == 200


def test_markup_and_control_characters_in_a_request_come_back_as_data(client: Any) -> None:
    answer = client("look").get("/api/trial/slow", params={"seconds": "<script>alert(1)</script>\x1b[31m"})
    assert answer.headers["content-type"] == "application/json"
    assert "\x1b" not in answer.text
    assert json.loads(answer.text)["error"].startswith("query 'seconds': received '<script>")


def test_the_description_says_which_paths_need_a_key(client: Any) -> None:
    described = client(None).get("/api/openapi.json").json()
    assert described["paths"]["/api/models"]["get"]["security"] == [{"key": []}]
    assert "security" not in described["paths"]["/healthz"]["get"]
    for methods in described["paths"].values():
        for each in methods.values():
            assert each["responses"]["default"]["content"]["application/json"]["schema"]["required"] == ["error"]


def test_it_is_ready_when_all_parts_are(client: Any, state: Any) -> None:
    user = client(None)
    state.ready["listener"] = lambda: ("listening", True)
    assert user.get("/readyz").status_code == 200
    assert user.get("/readyz").json() == {"status": "ready", "api": 1, "models": {}, "listener": "listening"}
    state.ready["listener"] = lambda: ("the microphone is away", False)
    assert user.get("/readyz").status_code == 503
    assert user.get("/readyz").json()["listener"] == "the microphone is away"
