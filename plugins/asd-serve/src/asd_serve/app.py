"""The application: every part's paths, the page, and what surrounds all of them."""

from __future__ import annotations

from fastapi import FastAPI

from asd_serve.judging.routes import router as judging
from asd_serve.page.files import router as page
from asd_serve.plant.routes import router as plant
from asd_serve.state import State
from asd_serve.teaching.routes import router as teaching


def application(state: State) -> FastAPI:
    """Return the application of a server.

    Parameters
    ----------
    state : State
        What it holds.
    """
    app = FastAPI(title="asd", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.state.serve = state
    for router in (judging, plant, teaching, page):
        app.include_router(router)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        """Say that the server runs."""
        return {"status": "ok"}

    return app
