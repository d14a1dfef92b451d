"""Who may do what: keys, roles, sessions of the page, and requests of other people's pages."""

from __future__ import annotations

import re
import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.websockets import WebSocketDisconnect

from asd.errors import ConfigError
from asd_serve import access, limits, sessions
from asd_serve.access import needed
from asd_serve.keys import ROLES
from asd_serve.limits import Buckets, Limits


def paths_of(app: Any) -> list[tuple[str, str]]:
    """Return every path of the interface with its method."""
    methods = ("get", "post", "put", "delete", "patch")
    described = app.openapi()["paths"].items()
    return [(path, method.upper()) for path, found in described for method in found if method in methods]


def test_no_path_of_the_interface_is_open_but_what_must_be(client: Any) -> None:
    nobody = client(None)
    paths = paths_of(nobody.app)
    assert len(paths) > 5
    for path, method in paths:
        answer = nobody.request(method, re.sub(r"\{[^}]*\}", "x", path))
        if path in ("/healthz", "/readyz"):
            assert answer.status_code in (200, 503)
        elif (path, method) == ("/api/session", "POST"):
            assert answer.status_code == 422
        else:
            assert answer.status_code == 401, (path, method)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "asd serve key create" in answer.json()["error"]


def test_a_path_that_nobody_made_needs_a_key_too(client: Any) -> None:
    assert client(None).get("/api/nothing").status_code == 401
    assert client(None).get("/api").status_code == 401
    answer = client("look").get("/api/nothing")
    assert answer.status_code == 404
    assert answer.json() == {"error": "no such path; /api/openapi.json lists all of them"}


def test_every_path_says_which_role_it_needs(client: Any) -> None:
    """A path without one of the three would be open to every key, whatever it does."""

    def roles_of(dependant: Any) -> set[str]:
        own = getattr(dependant.call, "role", None)
        return {own} - {None} | {role for each in dependant.dependencies for role in roles_of(each)}  # type: ignore[misc]

    def routes_of(router: Any) -> list[Any]:
        found = []
        for each in router.routes:
            inner = getattr(each, "original_router", None)
            found += routes_of(inner) if inner is not None else [each]
        return found

    routes = [each for each in routes_of(client(None).app) if hasattr(each, "dependant")]
    with_role = {each.path: roles_of(each.dependant) for each in routes}
    assert len(with_role) > 8
    allowed = {"/healthz", "/readyz", "/", "/page/{digest}/{name:path}", "/api/session"}
    assert {path for path, roles in with_role.items() if not roles} <= allowed
    changing = [each for each in routes if isinstance(each, APIRoute) and each.methods - {"GET", "HEAD"}]
    assert changing


@pytest.mark.parametrize("role", ROLES)
def test_a_role_includes_those_before_it(client: Any, role: Any) -> None:
    user = client(role)
    asked = (
        user.get("/api/session").status_code == 200,
        user.post("/api/trial/note", json={"text": "quiet"}).status_code == 200,
        user.put("/api/trial/settings").status_code == 200,
    )
    assert asked == tuple(ROLES.index(role) >= at for at in range(3))


def test_what_a_role_may_not_do_is_told(client: Any) -> None:
    answer = client("look").put("/api/trial/settings")
    assert answer.status_code == 403
    assert re.fullmatch(
        r"the key 'look \d+' has the role look; this needs administer: use another key", answer.json()["error"]
    )


# ------------------------------------------------------------------------------------------------------------- keys


def test_a_key_is_kept_as_its_hash_alone(state: Any) -> None:
    _, text = state.keys.create("phone", "look")
    assert re.fullmatch(r"asd_[0-9a-f]{8}_[0-9A-Za-z]{32}", text)
    kept = b"".join(each.read_bytes() for each in state.folder.glob("serve.sqlite*"))
    assert text.encode() not in kept
    assert text.rpartition("_")[2].encode() not in kept
    assert state.keys.find(text).name == "phone"
    assert Path(state.folder / "serve.sqlite").stat().st_mode & 0o077 == 0, "others can read it"


def test_a_revoked_key_and_its_sessions_are_of_no_use_at_once(client: Any, state: Any) -> None:
    _, text = state.keys.create("phone", "look")
    page = client(None)
    assert page.post("/api/session", json={"key": text}).status_code == 200
    by_key = {"Authorization": f"Bearer {text}"}
    assert client(None).get("/api/session", headers=by_key).status_code == page.get("/api/session").status_code == 200
    state.keys.revoke("phone")
    answer = client(None).get("/api/session", headers=by_key)
    assert answer.status_code == page.get("/api/session").status_code == 401
    assert answer.json()["error"].startswith("this key is not known here, or was revoked; 'asd serve key list'")


@pytest.mark.parametrize(
    "text",
    [
        *("", "asd_", "asd__", "asd_x_y_z", "asd_00000000_" + "A" * 32, "basic", "asd_é_ü", "a" * 9000),
        *("asd_' OR 1=1 --_x", "asd_%_%", "null", "{}"),
    ],
)
def test_what_is_no_key_opens_nothing(client: Any, text: str) -> None:
    answer = client(None).get("/api/session", headers={"Authorization": b"Bearer " + text.encode()})
    assert answer.status_code == 401
    assert client(None).post("/api/session", json={"key": text}).status_code in (401, 422)
    assert client(None).get("/api/session", headers={"Authorization": "Basic YTpi"}).status_code == 401


def test_a_key_in_the_address_is_not_taken(client: Any, state: Any) -> None:
    """Addresses are written to logs and histories of browsers."""
    _, text = state.keys.create("phone", "look")
    for name in ("key", "token", "access_token", "authorization"):
        assert client(None).get("/api/session", params={name: text}).status_code == 401


@pytest.mark.parametrize(
    ("name", "role", "said"),
    [
        ("", "look", "a key's name must have 1 to 60 printable characters, got ''"),
        ("a\nb", "look", r"a key's name must have 1 to 60 printable characters, got 'a\nb'"),
        ("x" * 61, "look", "a key's name must have 1 to 60 printable characters"),
        ("phone", "root", "a key's role must be look, feedback or administer, got 'root'"),
        ("taken", "look", "there is a key named 'taken'; choose another name, or revoke that one first"),
    ],
)
def test_a_key_that_cannot_be_made_is_refused_in_one_line(state: Any, name: str, role: Any, said: str) -> None:
    state.keys.create("taken", "look")
    with pytest.raises(ConfigError) as error:
        state.keys.create(name, role)
    assert said in str(error.value)


def test_guessing_is_slowed_down_and_locks_nobody_else_out(client: Any, state: Any) -> None:
    guesser, owner = client(None), client("look")
    found = [
        guesser.get("/api/session", headers={"Authorization": f"Bearer asd_00000000_{at:032d}"}) for at in range(40)
    ]
    assert [each.status_code for each in found[:10]] == [401] * 10
    assert {each.status_code for each in found[10:]} == {429}
    assert 1 <= int(found[-1].headers["retry-after"]) <= 10
    assert guesser.post("/api/session", json={"key": "asd_00000000_x"}).status_code == 429
    assert owner.get("/api/session").status_code == 200, "the right key, from the same address"


# --------------------------------------------------------------------------------------------------------- sessions


def signed_in(client: Any, state: Any, base_url: str = "http://127.0.0.1:8787") -> tuple[Any, dict[str, Any], str]:
    """Return a browser in a session, what the server said, and what it set as a cookie."""
    page = client(None, base_url)
    _, text = state.keys.create(f"page {time.monotonic_ns()}", "administer")
    answer = page.post("/api/session", json={"key": text})
    assert answer.status_code == 200
    return page, answer.json(), answer.headers["set-cookie"]


def test_a_session_s_cookie_is_out_of_the_reach_of_scripts_and_other_pages(client: Any, state: Any) -> None:
    page, said, cookie = signed_in(client, state)
    assert re.search(r"^asd_[0-9a-f]{8}=[\w-]{43};", cookie)
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert page.get("/api/session").json() == said
    assert said["role"] == "administer"
    _, _, by_tls = signed_in(client, state, "https://127.0.0.1:8787")
    assert "Secure" in by_tls


def test_a_cookie_alone_changes_nothing(client: Any, state: Any) -> None:
    """What another page lets the browser send has the cookie, and not the token."""
    page, said, _ = signed_in(client, state)
    assert page.put("/api/trial/settings").status_code == 403
    assert page.put("/api/trial/settings", headers={"X-CSRF-Token": "0" * 64}).status_code == 403
    assert page.delete("/api/session").status_code == 403
    _other, theirs, _ = signed_in(client, state)
    answer = page.put("/api/trial/settings", headers={"X-CSRF-Token": theirs["csrf"]})
    assert answer.status_code == 403
    assert answer.json()["error"].startswith("X-CSRF-Token is missing or wrong; GET /api/session says which it is")
    assert page.put("/api/trial/settings", headers={"X-CSRF-Token": said["csrf"]}).status_code == 200


def test_another_page_cannot_begin_a_session(client: Any, state: Any) -> None:
    _, text = state.keys.create("phone", "look")
    answer = client(None).post("/api/session", json={"key": text}, headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    as_form = client(None).post("/api/session", data={"key": text})
    assert as_form.status_code == 422, "a form of another page could send this"
    own = client(None).post("/api/session", json={"key": text}, headers={"Origin": "http://127.0.0.1:8787"})
    assert own.status_code == 200


def test_a_session_ends_when_it_is_told_to(client: Any, state: Any) -> None:
    page, said, cookie = signed_in(client, state)
    answer = page.delete("/api/session", headers={"X-CSRF-Token": said["csrf"]})
    assert answer.status_code == 204
    page.cookies.clear()
    kept = {"Cookie": cookie.partition(";")[0]}
    assert page.get("/api/session", headers=kept).status_code == 401, "a copy of the cookie still works"


def test_a_new_session_replaces_the_one_before(client: Any, state: Any) -> None:
    page, _, cookie = signed_in(client, state)
    _, text = state.keys.create("another", "look")
    assert page.post("/api/session", json={"key": text}).json()["name"] == "another"
    page.cookies.clear()
    assert page.get("/api/session", headers={"Cookie": cookie.partition(";")[0]}).status_code == 401


@pytest.mark.parametrize("how", ["idle", "old"])
def test_a_session_ends_by_itself(client: Any, state: Any, how: str) -> None:
    page, _, _ = signed_in(client, state)
    assert page.get("/api/session").status_code == 200
    long_ago = time.time() - (sessions.IDLE if how == "idle" else sessions.LONGEST) - 1
    state.database.change(f"UPDATE sessions SET {'used' if how == 'idle' else 'made'} = ?", long_ago)
    assert page.get("/api/session").status_code == 401
    signed_in(client, state)
    assert len(state.database.rows("SELECT * FROM sessions")) == 1, "what has ended is forgotten"


def test_a_session_is_kept_as_its_hash_alone(client: Any, state: Any) -> None:
    _, _, cookie = signed_in(client, state)
    token = cookie.partition("=")[2].partition(";")[0].encode()
    assert all(token not in each.read_bytes() for each in state.folder.glob("serve.sqlite*"))


def test_two_servers_of_a_host_do_not_take_each_other_s_cookies(server: Any) -> None:
    """Cookies do not tell ports apart."""
    assert server().state.cookie != server().state.cookie


@pytest.mark.parametrize("cookie", ["x", "é", "a" * 3000, "'; DROP TABLE sessions; --", '"', "=;=;"])
def test_a_cookie_that_is_none_of_ours_opens_nothing(client: Any, state: Any, cookie: str) -> None:
    header = {"Cookie": f"{state.cookie}={cookie}".encode()}
    assert client(None).get("/api/session", headers=header).status_code == 401


# ------------------------------------------------------------------------------------------------------- WebSockets


def test_a_socket_needs_a_key_or_a_session_of_our_own_page(client: Any, state: Any) -> None:
    page, _, _ = signed_in(client, state)
    ours = {"Origin": "http://127.0.0.1:8787", "Host": "127.0.0.1:8787"}
    for user, headers in ((client("look"), {}), (page, ours)):
        with user.websocket_connect("ws://127.0.0.1:8787/api/trial/socket", headers=headers) as socket:
            socket.send_text("well?")
            assert socket.receive_text() == "well?"


@pytest.mark.parametrize("origin", [None, "http://evil.example", "http://127.0.0.1:8787.evil.example", "null", ""])
def test_a_page_of_somebody_else_gets_no_socket(client: Any, state: Any, origin: str | None) -> None:
    page, _, _ = signed_in(client, state)
    headers = {"Host": "127.0.0.1:8787", **({} if origin is None else {"Origin": origin})}
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        page.websocket_connect("ws://127.0.0.1:8787/api/trial/socket", headers=headers),
    ):
        pass
    assert refused.value.status_code == 403  # type: ignore[attr-defined]


def test_a_socket_without_a_key_is_refused_at_the_door(client: Any) -> None:
    for path in ("/api/trial/socket", "/api/live", "/api/nothing"):
        with pytest.raises(WebSocketDisconnect) as refused, client(None).websocket_connect(path):
            pass
        assert refused.value.status_code == 401  # type: ignore[attr-defined]


def test_an_open_socket_ends_when_its_key_is_revoked(client: Any, state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "SOCKET_SECONDS", 0.0)
    key, text = state.keys.create("phone", "look")
    page = client(None)
    page.post("/api/session", json={"key": text})
    ours = {"Origin": "http://127.0.0.1:8787", "Host": "127.0.0.1:8787"}
    address = "ws://127.0.0.1:8787/api/trial/socket"
    with (
        client(None).websocket_connect(address, headers={"Authorization": f"Bearer {text}"}) as by_key,
        page.websocket_connect(address, headers=ours) as by_session,
    ):
        for each in (by_key, by_session):
            each.send_text("well?")
            assert each.receive_text() == "well?"
        state.keys.revoke(key.id)
        for each in (by_key, by_session):
            each.send_text("well?")
            with pytest.raises(WebSocketDisconnect) as ended:
                each.receive_text()
            assert ended.value.code == 1008


def test_what_needs_a_role_says_so_to_code_that_reads_it() -> None:
    assert [needed(role).role for role in ROLES] == list(ROLES)  # type: ignore[attr-defined]


def test_a_bucket_fills_as_fast_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=lambda: now[0]))
    bucket = Buckets(50.0, 2)
    assert [bucket.wait("a") > 0 for _ in range(3)] == [False, False, True]
    assert bucket.wait("b") == 0
    now[0] += bucket.wait("a") + 1e-9
    assert bucket.wait("a") == 0


def test_the_limits_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "serve.toml"
    assert Limits.read(path) == Limits()
    path.write_text("rate = 5.0\nat_once = 2\n")
    assert Limits.read(path) == Limits(rate=5.0, at_once=2)
    for text, said in {
        "ratte = 5": "contains unknown field `ratte`; known are upload_bytes, body_bytes,",
        "rate = 0.0": "rate must be above 0, got 0.0",
        "rate = nan": "rate must be above 0, got nan",
        'rate = "many"': "Expected `float`, got `str` - at `$.rate`",
        "rate =": "Invalid value",
    }.items():
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"serve\.toml: ") as error:
            Limits.read(path)
        assert said in str(error.value)
        assert "\n" not in str(error.value)


def test_the_database_is_no_place_for_a_command_of_sql(client: Any, state: Any) -> None:
    for text in ("x'; DROP TABLE keys; --", '" OR ""="', "%", "_"):
        state.keys.create(text, "look")
    assert len(state.keys.all()) == 4
    with sqlite3.connect(state.database.path) as file:
        assert file.execute("SELECT count(*) FROM keys").fetchone() == (4,)
    file.close()
