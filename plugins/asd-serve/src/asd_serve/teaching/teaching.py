"""What teaches models for a server: recordings, jobs, and the models' files; one for each `State`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from asd_serve.errors import RequestError
from asd_serve.judging.judging import judging_of
from asd_serve.state import State
from asd_serve.teaching.jobs import Jobs
from asd_serve.teaching.recording import Recordings
from asd_serve.teaching.updates import Updates

_beginning = threading.Lock()


class Teaching:
    """What teaches models for a server.

    Parameters
    ----------
    state : State
        Whose models and folder.

    Attributes
    ----------
    recordings : Recordings
        Healthy sound that was recorded.
    jobs : Jobs
        Work that takes long.
    updates : Updates
        What was taught to machines' models.
    previewed : tuple or None
        What the last preview of an update was of, and what it said.
    models : Path
        The folder of models that were made here.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.models = state.folder / "models"
        self.recordings = Recordings(state.folder / "recordings")
        self.jobs = Jobs()
        self.updates = Updates(state.folder / "updates.json")
        self.previewed: tuple[Any, dict[str, Any]] | None = None
        self.in_use: dict[str, int] = {}
        self._names: set[str] = set()
        self._lock = threading.Lock()

    def close(self) -> None:
        """End all jobs and recordings."""
        self.recordings.close()
        self.jobs.close()

    def reserve(self, name: str) -> None:
        """Keep a name for a new model.

        Raises
        ------
        RequestError
            If another model has it, or will have it, whatever the letters' case.
        """
        folded = name.casefold()
        taken = {each.name.casefold() for each in judging_of(self.state).models.served}
        taken |= {each.stem.casefold() for each in self.models.glob("*.asd")} if self.models.is_dir() else set()
        with self._lock:
            if folded in taken | self._names:
                raise RequestError(409, f"name: a model {name!r} is there already; choose another name")
            self._names.add(folded)

    def release(self, name: str) -> None:
        """Keep a name no longer."""
        with self._lock:
            self._names.discard(name.casefold())

    @contextmanager
    def using(self, recording: str) -> Iterator[None]:
        """Keep a recording from being deleted inside the block."""
        with self._lock:
            self.in_use[recording] = self.in_use.get(recording, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self.in_use[recording] -= 1
                if not self.in_use[recording]:
                    del self.in_use[recording]

    def serve(self, name: str, path: Path) -> None:
        """Serve a model from now on; errors as for `asd_serve.judging.models.Models.add`."""
        judging_of(self.state).models.add(name, path)
        self.state.models[name] = path

    def forget(self, name: str) -> None:
        """Serve a model no more."""
        judging_of(self.state).models.remove(name)
        self.state.models.pop(name, None)


def teaching_of(state: State) -> Teaching:
    """Return what teaches for a server; it begins at the first call."""
    with _beginning:
        if state.teaching is None:
            state.teaching = Teaching(state)
            state.stack.callback(state.teaching.close)
    return cast(Teaching, state.teaching)


def begin(state: State) -> None:
    """Serve the models that were made here before; to be called before models are loaded."""
    folder = state.folder / "models"
    known = {name.casefold() for name in state.models}
    for path in sorted(folder.glob("[!.]*.asd")) if folder.is_dir() else ():
        if path.stem.casefold() not in known:
            state.models[path.stem] = path
