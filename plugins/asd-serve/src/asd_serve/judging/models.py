"""The models that a server judges by: each is loaded once, in the background, and shares networks with the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asd
from asd.errors import AsdError
from asd.experiment import describe_pipeline, share_networks
from asd.plugin import digest_of
from asd_serve.errors import RequestError

_log = logging.getLogger("asd")
LOADING = "loading"
READY = "ready"
_NAMED = 10


@dataclass
class Served:
    """A model that is served.

    Parameters
    ----------
    name : str
        What clients call it.
    path : Path
        Its file.

    Attributes
    ----------
    status : str
        ``"loading"``, ``"ready"``, or why it cannot be used.
    model : asd.Model or None
        The model, once it is ready.
    digest : str
        SHA-256 of the file.
    """

    name: str
    path: Path
    status: str = LOADING
    model: asd.Model | None = None
    digest: str = ""
    _scorers: dict[float, asd.LiveScorer] = field(default_factory=dict)

    def scorer(self, hop: float) -> asd.LiveScorer:
        """Return what judges streams by this model, a clip every `hop` seconds; errors as for `asd.LiveScorer`."""
        assert self.model is not None
        if hop not in self._scorers:
            if len(self._scorers) > 64:  # a client chooses the hop
                self._scorers.clear()
            self._scorers[hop] = asd.LiveScorer(self.model, hop=hop)
        return self._scorers[hop]

    def describe(self) -> dict[str, Any]:
        """Return what ``GET /api/models`` says of it."""
        if self.model is None:
            return {"name": self.name, "status": self.status}
        model, calibration = self.model, self.model.calibration
        decision = vars(model.decision)
        return {
            "name": self.name,
            "status": self.status,
            "digest": self.digest,
            "pipeline": "\n".join(describe_pipeline(model.config)),
            "branches": list(model.config.names),
            "clip_seconds": calibration.clip_seconds,
            "states": [] if calibration.states is None else list(calibration.states.names),
            "training_clips": model.clips,
            "promise": _promise(decision),
            "decision": decision,
        }


def _promise(decision: Mapping[str, Any]) -> str:
    rate = decision["false_alarms_per_hour"]
    text = f"about {rate:.3g} false alarms an hour"
    return f"{text}; a guess: {decision['reason']}" if decision["reason"] else text


class Models:
    """The models of a server, by name.

    Parameters
    ----------
    files : mapping of str to Path
        Their files.
    load : callable
        Returns the model in a file.
    """

    def __init__(self, files: Mapping[str, Path], load: Callable[[Path], asd.Model]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._closed = False
        self._served = {name: Served(name, path) for name, path in files.items()}
        self._thread = threading.Thread(target=self._load_all, name="asd-serve-models", daemon=True)

    def begin(self) -> None:
        """Load them, in the background."""
        self._thread.start()

    def _load_all(self) -> None:
        for each in list(self._served.values()):
            if self._closed:
                return
            self._load_one(each)

    def _load_one(self, own: Served) -> None:
        with self._loading:
            try:
                model = self._load(own.path)
                if model.known_features is not None:
                    model.close()
                    raise AsdError(f"{own.path}: a model of features takes no recordings; serve one that asd fit made")
                model.check_weights()
                others = [each.model for each in self._served.values() if each.model is not None]
                share_networks([*others, model])
                own.digest = digest_of(own.path)
            except (AsdError, OSError) as error:
                own.status = str(error)
                _log.warning("the model %r is not served: %s", own.name, error)
            except Exception as error:  # of a plugin: the other models go on
                own.status = f"{own.path}: an unexpected error, {type(error).__name__}: {error}"
                _log.exception("the model %r is not served", own.name)
            else:
                own.model = model
                own.status = READY

    def add(self, name: str, path: Path) -> None:
        """Load a model, and serve it under a name; one that had the name is replaced when the new one is ready.

        Blocks while it loads.

        Raises
        ------
        AsdError
            If it cannot be loaded; nothing changes then.
        """
        new = Served(name, path)
        self._load_one(new)
        if new.status != READY:
            raise AsdError(new.status)
        with self._lock:
            self._served[name] = new  # clips that wait keep the old one, which is closed with the last of them

    def remove(self, name: str) -> None:
        """Serve a model no more."""
        with self._lock:
            self._served.pop(name, None)

    @property
    def served(self) -> list[Served]:
        """All, in the order in which they were named."""
        with self._lock:
            return list(self._served.values())

    def find(self, name: str) -> Served:
        """Return a model that is served, ready or not.

        Raises
        ------
        RequestError
            If there is none of the name.
        """
        with self._lock:
            found = self._served.get(name)
            if found is not None:
                return found
            known = sorted(self._served)
        more = ", …" if len(known) > _NAMED else ""
        listed = (
            f"served are {', '.join(known[:_NAMED])}{more}" if known else "none is served; asd serve MODEL serves one"
        )
        raise RequestError(404, f"no model {name[:100]!r}; {listed}")

    def ready(self, name: str) -> tuple[Served, asd.Model]:
        """Return a model that can judge.

        Raises
        ------
        RequestError
            If there is none of the name, it is still loading, or it cannot be used.
        """
        found = self.find(name)
        if found.model is not None:
            return found, found.model
        if found.status == LOADING:
            raise RequestError(503, f"the model {name!r} is still loading; try again in 2 s", {"Retry-After": "2"})
        raise RequestError(503, f"the model {name!r} cannot be used: {found.status}")

    def readiness(self) -> tuple[dict[str, str], bool]:
        """Return each model's status, and whether all are ready."""
        statuses = {each.name: each.status for each in self.served}
        return statuses, all(each == READY for each in statuses.values())

    def close(self) -> None:
        """End; worker processes of the models end, too."""
        self._closed = True
        if self._thread.ident is not None:
            self._thread.join(20)
        for each in self.served:
            if each.model is not None:
                each.model.close()
