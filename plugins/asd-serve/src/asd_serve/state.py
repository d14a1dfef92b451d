"""What one server holds: handed to every request as ``request.app.state.serve``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import Depends
from fastapi.requests import HTTPConnection

from asd_serve.database import Database
from asd_serve.keys import Keys
from asd_serve.limits import Buckets, Limits
from asd_serve.sessions import Sessions

_WRONG_RATE = 0.1
"""Wrong keys a second that an address may show in the long run."""


@dataclass
class State:
    """What one server holds. `asd_serve.app.opened` lets its parts begin, and ends them.

    Parameters
    ----------
    folder : Path
        Where the server keeps keys, sessions, recordings and models that were fitted from the page.
    models : dict of str to Path
        Files of the models that are served, by name.
    history : Path, optional
        History of a listener; None: no machine is shown.
    listen : Path, optional
        TOML of a listener that runs in this process; None: another process listens, or none.
    listener : asd_listen.Listener, optional
        The listener of this process, once it has begun.
    plant : asd_serve.plant.plant.Plant, optional
        The machines, once they are watched.
    judging : asd_serve.judging.judging.Judging, optional
        The models, once they are loaded.
    teaching : asd_serve.teaching.teaching.Teaching, optional
        Recordings and jobs, once there is a request for them.
    limits : Limits, optional
        How much a client may ask for. Default: as `Limits` has it.
    load : callable, optional
        Returns the model in a file, with the device and the trust that the command was given.
    hosts : sequence of str
        Names, besides addresses, localhost and this computer's own, by which the server may be called.
    root_path : str
        Path, such as ``/machines``, under which a proxy shows the server. Default: none.

    Attributes
    ----------
    database : Database
        Keys and sessions, in ``serve.sqlite`` of the folder.
    keys, sessions
        Who may use the server.
    wrong : Buckets
        Counts wrong keys of each address.
    cookie : str
        Name of the page's cookie; of this server only, as cookies of one host do not tell ports apart.
    stack : ExitStack
        What is closed at the end, the last first.
    ready : dict of str to callable
        What ``/readyz`` says of each part: returns its value, and whether the part is ready.
    """

    folder: Path
    models: dict[str, Path]
    history: Path | None = None
    listen: Path | None = None
    listener: Any = None
    plant: Any = None
    judging: Any = None
    teaching: Any = None
    limits: Limits = field(default_factory=Limits)
    load: Callable[[Path], Any] | None = None
    hosts: tuple[str, ...] = ()
    root_path: str = ""
    stack: ExitStack = field(default_factory=ExitStack)
    ready: dict[str, Callable[[], tuple[Any, bool]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.database = Database(self.folder / "serve.sqlite")
        self.stack.callback(self.database.close)
        self.keys = Keys(self.database)
        self.sessions = Sessions(self.database)
        self.wrong = Buckets(_WRONG_RATE, self.limits.wrong_keys)
        self.cookie = f"asd_{self.database.identity}"

    def readiness(self) -> tuple[Mapping[str, Any], bool]:
        """Return what each part says of itself, and whether all are ready."""
        found = {name: part() for name, part in self.ready.items()}
        return {name: value for name, (value, _) in found.items()}, all(is_ready for _, is_ready in found.values())


async def _of(connection: HTTPConnection) -> State:
    return cast(State, connection.app.state.serve)


Serving = Annotated[State, Depends(_of)]
"""The state, as a parameter of a request's function."""
