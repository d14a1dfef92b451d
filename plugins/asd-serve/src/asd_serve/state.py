"""What one server holds: handed to every request as ``request.app.state.serve``."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import Depends
from fastapi.requests import HTTPConnection


@dataclass
class State:
    """What one server holds.

    Parameters
    ----------
    folder : Path
        Where the server keeps keys, sessions, recordings and models that were fitted from the page.
    models : dict of str to Path
        Files of the models that are served, by name.
    history : Path, optional
        History of a listener; None: no machine is shown.
    listener : asd_listen.Listener, optional
        The listener of this process; None: another process listens, or none.
    """

    folder: Path
    models: dict[str, Path]
    history: Path | None = None
    listener: Any = None
    listen: Path | None = None
    load: Any = None
    plant: Any = None
    stack: ExitStack = field(default_factory=ExitStack)
    ready: dict[str, Any] = field(default_factory=dict)


def _of(connection: HTTPConnection) -> State:
    return cast(State, connection.app.state.serve)


Serving = Annotated[State, Depends(_of)]
"""The state, as a parameter of a request's function."""
