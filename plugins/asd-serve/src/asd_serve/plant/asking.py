"""How a request finds the plant, and asks its history."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Concatenate, ParamSpec, TypeVar

from fastapi import Depends, Query
from starlette.convertors import Convertor, register_url_convertor

from asd_listen import HistoryError, Reader
from asd_serve.headers import SLASH
from asd_serve.plant.answers import refused
from asd_serve.plant.plant import Plant
from asd_serve.state import Serving

_T = TypeVar("_T")
_P = ParamSpec("_P")
FAR = 1e11
"""Seconds since 1970 beyond which no time is taken."""


_ENCODED = "base64="
"""Begins a name, as base64url, in which clients and proxies would else see a step of the path, such as ``..``."""


class _Name(Convertor[str]):
    """The name of a machine in a path: any text, with slashes and line breaks, which ``{name:path}`` does not take."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        name = value.replace(SLASH, "/")
        return _decoded(name.removeprefix(_ENCODED)) or name if name.startswith(_ENCODED) else name

    def to_string(self, value: str) -> str:
        return value


def _decoded(text: str) -> str | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return None


register_url_convertor("machine", _Name())  # before the first path that says {name:machine}
Moment = Annotated[float | None, Query(ge=0, le=FAR, allow_inf_nan=False, description="Seconds since 1970.")]


def _plant_of(state: Serving) -> Plant:
    if state.plant is None:
        raise refused(
            404, "no machine is shown by this server: start it with --listen SETTINGS.toml, or with --history FOLDER"
        )
    found: Plant = state.plant
    return found


Planted = Annotated[Plant, Depends(_plant_of)]
"""The plant, as a parameter of a request's function."""


async def asked(
    plant: Plant, question: Callable[Concatenate[Reader, _P], _T], *given: _P.args, **named: _P.kwargs
) -> _T:
    """Return the history's answer; a history that cannot be read at present is an error with status 503."""
    try:
        return await plant.ask(question, *given, **named)
    except HistoryError as error:
        raise refused(503, str(error)) from error


def known(reader: Reader, machine: str) -> int:
    """Return the number of a machine.

    Raises
    ------
    HTTPException
        404, if the history does not know it.
    """
    found = reader.ask("SELECT id FROM machines WHERE name = ?", (machine,))
    if not found:
        raise refused(404, f"no machine {machine[:80]!r} was listened to; GET /api/machines lists those that were")
    return int(found[0][0])
