"""The application: every part's paths, the page, and what surrounds all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.routing import compile_path

import asd
from asd_serve import errors, login
from asd_serve.access import Access, is_open, path_of
from asd_serve.bodies import Bodies
from asd_serve.bounds import Bounds
from asd_serve.headers import INTERFACE, Named, Place, Rooted, SafeAnswers
from asd_serve.judging import routes as judging
from asd_serve.judging.metrics import Counted
from asd_serve.page.files import router as page
from asd_serve.plant import routes as plant
from asd_serve.state import State
from asd_serve.teaching import routes as teaching

_PARTS: tuple[Any, ...] = (teaching, judging, plant)
"""Each has a `router`, and may have `begin(state)`, which `opened` calls before the first request.

The plant's paths are the last: names of machines may hold slashes, so that its paths take what others leave."""
_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key of this server: asd_…"},
    "session": {"type": "apiKey", "in": "header", "name": "X-CSRF-Token", "description": "With the session's cookie."},
}


@contextmanager
def opened(state: State) -> Iterator[FastAPI]:
    """Let the parts of a server begin, give its application, and end them, the last first.

    Parameters
    ----------
    state : State
        What it holds.

    Raises
    ------
    AsdError
        If a part cannot begin.
    """
    with state.stack:
        for part in _PARTS:
            if hasattr(part, "begin"):
                part.begin(state)
        yield application(state)


def application(state: State) -> FastAPI:
    """Return the application of a server; use `opened`, which lets its parts begin.

    Parameters
    ----------
    state : State
        What it holds.
    """
    app = FastAPI(
        title="asd",
        version=asd.__version__,
        summary="Judges the sound of machines, and shows what a listener knows of them.",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
    )
    app.state.serve = state
    errors.install(app)
    app.add_exception_handler(405, _other_method)
    app.include_router(login.router)
    for part in _PARTS:
        app.include_router(part.router)
    _probes(app, state)
    app.include_router(page)
    _describe(app)
    # The last that is added is the outermost.
    app.add_middleware(Bounds, state=state)
    app.add_middleware(Access, state=state)
    app.add_middleware(Place, state=state)
    app.add_middleware(errors.Unexpected)
    app.add_middleware(Bodies, state=state)
    app.add_middleware(Counted)
    app.add_middleware(SafeAnswers)
    app.add_middleware(Named)
    app.add_middleware(Rooted, state=state)
    return app


async def _other_method(request: Request, _: Exception) -> Response:
    """Answer a method that a path does not take, with all that it takes: paths of one name are several routes."""
    path, described = path_of(request.scope), request.app.openapi()["paths"]
    matching = [methods for own, methods in described.items() if compile_path(own)[0].match(path)]
    found = sorted(method.upper() for methods in matching[:1] for method in methods)
    text = f"this path does not take {request.method}; it takes {' and '.join(found) or 'GET'}"
    return errors.error_answer(405, text, {"Allow": ", ".join(found) or "GET"})


def _probes(app: FastAPI, state: State) -> None:
    @app.get("/healthz", tags=["probes"])
    def healthz() -> dict[str, str]:
        """Say that the server runs."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["probes"], responses={503: {"description": "Not yet, or no more."}})
    def readyz() -> JSONResponse:
        """Say whether every part is ready, and which is not."""
        parts, is_ready = state.readiness()
        return JSONResponse(
            {"status": "ready" if is_ready else "not ready", "api": INTERFACE, **parts}, 200 if is_ready else 503
        )


def _describe(app: FastAPI) -> None:
    """Let the OpenAPI description say that paths need a key, and what errors look like."""
    build = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = build()
            description.setdefault("components", {})["securitySchemes"] = _SCHEMES
            for path, methods in description["paths"].items():
                for method in methods.values():
                    _describe_one(path, method)
            app.openapi_schema = description
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


_ERROR = {
    "description": "What is wrong, and how to mend it.",
    "content": {
        "application/json": {
            "schema": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
        }
    },
}


def _describe_one(path: str, method: dict[str, Any]) -> None:
    answers = method["responses"]
    answers.pop("422", None)
    answers["default"] = _ERROR
    if not is_open(path) or path == "/api/session":
        method["security"] = [{"key": []}]
