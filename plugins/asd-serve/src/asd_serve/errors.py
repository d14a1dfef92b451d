"""Errors as answers: one line of JSON with the right status, and never an inside of the server."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.responses import Response
from fastapi.websockets import WebSocket, WebSocketDisconnect
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.utils import ClientDisconnected

from asd.errors import AsdError
from asd_serve.request_error import RequestError

__all__ = ["RequestError", "Unexpected", "error_answer", "install", "refuse"]

_log = logging.getLogger("asd")
_LONGEST = 500
"""Characters of an error at most: what a client sent is repeated in it."""
_PLAIN = {
    404: "no such path; /api/openapi.json lists all of them",
    400: "the body of the request cannot be read; expected what /api/openapi.json says",
}


def error_answer(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer that says what is wrong.

    Parameters
    ----------
    status : int
        Its status.
    text : str
        One line; what is too long is cut.
    headers : mapping, optional
        Further headers.
    """
    line = " ".join(text.split())
    line = line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
    body = json.dumps({"error": line})  # ASCII: half of a surrogate pair, from a client, has no bytes in UTF-8
    return Response(body, status, media_type="application/json", headers=dict(headers or {}))


async def refuse(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send an answer in place of the application's: to a request, or to a WebSocket that was not accepted yet."""
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(answer)
    else:
        await answer(scope, receive, send)


def install(app: FastAPI) -> None:
    """Let an application answer every error in this form."""
    for kind in (AsdError, HTTPException, RequestValidationError, WebSocketRequestValidationError):
        app.add_exception_handler(kind, _answered)


async def _answered(connection: Any, error: Exception) -> Any:
    if isinstance(error, RequestError):
        answer = error_answer(error.status, str(error), error.headers)
    elif isinstance(error, AsdError):
        answer = error_answer(400, str(error))
    elif isinstance(error, HTTPException):
        ours = error.status_code not in _PLAIN or error.detail not in ("Not Found", _PARSING)
        text = error.detail if ours else _PLAIN[error.status_code]
        answer = error_answer(error.status_code, text, error.headers)
    else:
        answer = error_answer(422, _invalid(error))
    if isinstance(connection, WebSocket):
        if connection.client_state.name == "CONNECTING":
            await connection.send_denial_response(answer)
        else:
            await connection.send_text(bytes(answer.body).decode())
            await connection.close(1008)
        return None
    return answer


_PARSING = "There was an error parsing the body"


def _invalid(error: Any) -> str:
    """Say what the first of the mistakes in a request is."""
    first = error.errors()[0]
    place = [str(each) for each in first["loc"]]
    where = f"{place[0]} {'.'.join(place[1:])!r}" if len(place) > 1 else "".join(place)
    received = repr(first.get("input"))
    received = received if len(received) <= 60 else f"{received[:60]}…"
    if first["type"] == "missing":
        return f"{where} is missing; /api/openapi.json says what is expected"
    if first["type"] == "json_invalid":
        return f"the body is no JSON: {first['ctx']['error']} at character {place[-1]}"
    return f"{where}: received {received}; {first['msg'][0].lower()}{first['msg'][1:]}"


class Unexpected:
    """Middleware that answers an error that nobody foresaw with status 500 and a number, under which the log has it.

    Parameters
    ----------
    app : ASGI application
        What is surrounded.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            await send(message)
            begun = begun or message["type"] in ("http.response.start", "websocket.accept")

        try:
            await self.app(scope, receive, noted)
        except (ClientDisconnect, WebSocketDisconnect, ClientDisconnected):
            pass  # nobody is there to be answered
        except Exception as error:
            if scope["type"] == "lifespan":
                raise
            if "surrogates not allowed" in str(error) and not begun:  # JSON can say what no file can hold
                answer = error_answer(422, "a text has half of a surrogate pair, which is no character; leave it out")
                await answer(scope, receive, send)
                return
            number = secrets.token_hex(4)
            asked = f"{scope.get('method', 'WebSocket')} {scope['path']}"[:200]
            _log.error("%s: unexpected error %s: %r", asked, number, error, exc_info=error)
            if begun:
                raise  # the connection breaks off: what came is not the whole answer
            answer = error_answer(
                500, f"the server made an error, which its log has as {number}; report it with that part of the log"
            )
            if scope["type"] == "websocket":
                await WebSocket(scope, receive, send).send_denial_response(answer)
            else:
                await answer(scope, receive, send)
