"""Who may do what: keys, roles, sessions of the page, and requests of other people's pages."""

from __future__ import annotations

import time
from typing import Any

import pytest

from asd.errors import ConfigError
from asd_serve.access import Caller, is_open, needed
from asd_serve.app import application
from asd_serve.keys import ROLES
from asd_serve.limits import Limits
from asd_serve.state import State


def paths_of(app: Any) -> list[tuple[str, str]]:
    """Return every path of the interface with its method."""
    return [
        (path, method.upper())
        for path, methods in app.openapi()["paths"].items()
        for method in methods
        if method.upper() in ("GET", "POST", "PUT", "DELETE", "PATCH")
    ]


def filled(path: str) -> str:
    """Return a path with something in the place of each parameter."""
    import re

    return re.sub(r"\{[^}]*\}", "x", path)


def test_no_path_of_the_interface_is_open_but_what_must_be(client: Any) -> None:
    nobody = client(None)
    paths = paths_of(nobody.app)
    assert len(paths) > 5
    for path, method in paths:
        answer = nobody.request(method, filled(path))
        if path in ("/healthz", "/readyz"):
            assert answer.status_code in (200, 503)
        elif (path, method) == ("/api/session", "POST"):
            assert answer.status_code == 422
        else:
            assert answer.status_code == 401, (path, method)
            assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_path_that_nobody_made_needs_a_key_too(client: Any) -> None:
    assert client(None).get("/api/nothing").status_code == 401
    assert client("look").get("/api/nothing").json() == {"error": "no such path; /api/openapi.json lists all of them"}
