"""A server of `asd serve`, from Python: judge recordings there, and ask what it knows of machines.

>>> from asd.client import Client
>>> server = Client("http://127.0.0.1:8787")  # doctest: +SKIP
>>> for verdict in server.score("today/", model="pump"):  # doctest: +SKIP
...     print(verdict)
"""

from __future__ import annotations

import base64
import logging
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

from asd.client.stream import streamed
from asd.client.transport import Transport, server_and_model
from asd.client.verdicts import body_of, opened, verdict_of
from asd.detection.features import Failure
from asd.detection.groups import column_of
from asd.detection.states import in_named_states
from asd.detection.verdict import Verdict
from asd.errors import AudioError, ConfigError, ServerError
from asd.files.address import is_server as is_address
from asd.progress import track
from asd.records import Clip, Float32
from asd.sound.data import Data, entries_of
from asd.sound.finding import find_clips
from asd.sound.memory import held

__all__ = ["Client", "is_address", "server_and_model"]

Record = dict[str, Any]
"""What a server says of one thing; the fields are in its description at ``/api/openapi.json``."""

_log = logging.getLogger("asd")

_LOADING = 0.5
"""Seconds after which a model that is loading is asked for again."""
_OWN = (413, 415, 422)
"""Answers that are about one recording alone: too large, or no sound."""


class Client:
    """A server, as `asd serve` starts one. A context manager; several threads may use it.

    What the server does not do at once is tried again, as far as that is safe: while it restarts, and when it asks to
    wait (``Retry-After``). What people say (`judge`, `acknowledge`, `note`) is sent again only if the server has not
    begun it.

    Parameters
    ----------
    url : str
        Its address, such as ``"http://127.0.0.1:8787"`` or, behind a proxy, ``"https://example.org/asd"``.
    key : str, optional
        A key that `asd serve key create` made; default: that in the environment variable ``ASD_KEY``. It is sent to
        this server alone, in a header.
    workers : int
        Recordings that are sent at a time. Default: 8.
    patience : float
        Seconds for which a request waits or is tried again before an error tells of it. Default: 60.

    Attributes
    ----------
    decision : dict or None
        What decided the alarm in the last answer to `score`.

    Raises
    ------
    ConfigError
        If the address is none, or holds a key.
    """

    def __init__(self, url: str, key: str | None = None, *, workers: int = 8, patience: float = 60.0) -> None:
        if workers < 1:
            raise ConfigError(f"workers must be at least 1, got {workers}")
        self._transport = Transport(url, key, patience)
        self._workers = workers
        self.decision: Record | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return self._transport.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # ---------------------------------------------------------------------------------------------------- recordings

    def models(self) -> list[Record]:
        """Return the models that are served: name, pipeline, clip length, states, promise.

        Raises
        ------
        ServerError
            If the server cannot be reached, or refuses; so do all methods.
        """
        return self._list("/api/models", "models")

    def model(self, name: str) -> Record:
        """Return what the server says of one model."""
        return self._get(f"/api/models/{_part(name)}")

    def ready(self, model: str | None = None) -> Record:
        """Return what the server says of a model that can judge; one that is loading is waited for.

        Parameters
        ----------
        model : str, optional
            Its name; default: the only one.

        Raises
        ------
        ServerError
            If the model cannot be used, or is still loading when the patience ends.
        """
        name, until = self._only_model() if model is None else model, time.monotonic() + self._transport.patience
        while (found := self.model(name)).get("status") == "loading" and time.monotonic() < until:
            time.sleep(_LOADING)
        if not isinstance(found.get("decision"), dict):
            raise ServerError(f"{self.url}: the model {name!r} cannot judge: {found.get('status', 'it says not why')}")
        return {"name": name, **found}

    def score(
        self,
        data: Data,
        *,
        model: str | None = None,
        rate: int | None = None,
        segment: float | Literal["auto"] | None = "auto",
        state: str | None = None,
        false_alarms_per_hour: float | None = None,
    ) -> Iterator[Verdict | Failure]:
        """Yield a verdict for each clip of `data` in order, or a failure for one that cannot be judged, as `asd.score`.

        Parameters
        ----------
        data, rate
            Recordings, as for `asd.score`; each is sent whole, save parts that a manifest or an `asd.Clip` names.
        model : str, optional
            Name of a model there; default: the only one.
        segment : float, "auto" or None
            As for `asd.score`.
        state : str, optional
            What names the operating state of each clip, as for `asd.score`.
        false_alarms_per_hour : float, optional
            Another alarm level than the model's own.

        Raises
        ------
        ServerError
            If the server cannot be reached, or refuses; `DataError` if `data` names no recordings.
        """
        known = self.ready(model)
        clips = list(data) if _is_clips(data) else find_clips(entries_of(data, rate=rate), group=column_of(state))
        if state is not None:
            clips = in_named_states(clips, state, known.get("states") or None)
        if reason := known["decision"].get("reason"):
            _log.warning("the alarm is a guess: %s", reason)
        query = {
            "segment": "none" if segment is None else segment,
            "false_alarms_per_hour": false_alarms_per_hour,
            "windows": "true",
        }
        yield from self._all_judged(f"/api/models/{_part(known['name'])}/score", query, clips)

    def stream(
        self, blocks: Iterable[Float32], rate: int, *, model: str | None = None, hop: float | None = None
    ) -> Iterator[Verdict | Failure]:
        """Send sound as it comes, and yield the server's verdicts; a clip's start is counted from the first sample.

        Needs ``pip install 'asd-framework[client]'``.

        Parameters
        ----------
        blocks : iterable of float32 arrays of shape (n,) or (n, channels)
            The sound; full scale is ±1. It is sent as fast as it is given.
        rate : int
            Sample rate in Hz.
        model : str, optional
            Name of a model there; default: the only one.
        hop : float, optional
            Seconds from one clip to the next; default: the server's.

        Raises
        ------
        ServerError
            If the server cannot be reached, refuses, or ends the stream.
        """
        name = self._only_model() if model is None else model
        for row in streamed(self._transport, name, blocks, rate, hop):
            yield verdict_of(row, Clip(Path("stream")))

    # ------------------------------------------------------------------------------------------------------ machines

    def machines(self) -> list[Record]:
        """Return the machines that are listened to: phase, evidence, since when, last alarm, conditions."""
        return self._list("/api/machines", "machines")

    def machine(self, name: str) -> Record:
        """Return what the server says of one machine."""
        return self._get(f"/api/machines/{_machine(name)}")

    def series(
        self, machine: str, *, since: float | None = None, until: float | None = None, points: int | None = None
    ) -> Record:
        """Return scores and evidence of a machine over time, as at most so many points.

        Parameters
        ----------
        machine : str
            Its name.
        since, until : float, optional
            Seconds since 1970; default: the server's.
        points : int, optional
            How many at most; default: the server's.
        """
        query = {"since": since, "until": until, "points": points}
        return self._get(f"/api/machines/{_machine(machine)}/series", query)

    def events(
        self,
        *,
        machine: str | None = None,
        kind: str | None = None,
        severity: str | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> Iterator[Record]:
        """Yield events, the newest first, as many as there are; pages of them are asked for as they are needed.

        Parameters
        ----------
        machine, kind, severity : str, optional
            Only those of a machine, of a kind (``"alarm"``, ``"condition"`` …), of this severity or above.
        since, until : float, optional
            Only those of a time, in seconds since 1970.
        """
        query: Record = {"machine": machine, "kind": kind, "severity": severity, "since": since, "until": until}
        while True:
            page = self._get("/api/events", query)
            yield from page["events"]
            if page.get("next") is None:
                return
            query["before"] = page["next"]

    def event(self, event: str) -> Record:
        """Return an event by its id: what happened, why, what is kept of it, and what people said."""
        return self._get(f"/api/events/{_part(event)}")

    def picture(self, event: str) -> bytes:
        """Return the picture of an event, as PNG."""
        return self._transport.ask("GET", f"/api/events/{_part(event)}/picture").content

    def audio(self, event: str) -> bytes:
        """Return the sound around an event, as a file of sound."""
        return self._transport.ask("GET", f"/api/events/{_part(event)}/audio").content

    def acknowledge(self, event: str) -> Record:
        """Say that somebody takes care of an event; needs the role feedback, as all below."""
        return self._say("POST", event, "acknowledge")

    def judge(self, event: str, judgement: Literal["normal", "fault"] | None) -> Record:
        """Say that what raised an alarm was normal, or a fault; None takes the last judgement back."""
        if judgement is None:
            return self._say("DELETE", event, "judgement")
        if judgement not in ("normal", "fault"):
            raise ConfigError(f"a judgement is 'normal' or 'fault', or None to take it back; got {judgement!r}")
        return self._say("POST", event, "judgement", {"judgement": judgement})

    def note(self, event: str, text: str) -> Record:
        """Add a note to an event."""
        return self._say("POST", event, "notes", {"text": text})

    # ----------------------------------------------------------------------------------------------------- inner parts

    def _get(self, path: str, query: Mapping[str, Any] | None = None) -> Record:
        return self._record(self._transport.ask("GET", path, query=query))

    def _list(self, path: str, name: str) -> list[Record]:
        found = self._get(path).get(name)
        if not isinstance(found, list):
            raise ServerError(f"{self.url}: answers without {name}; is it an 'asd serve' of this version?")
        return found

    def _say(self, method: str, event: str, what: str, json: Record | None = None) -> Record:
        return self._record(self._transport.ask(method, f"/api/events/{_part(event)}/{what}", json=json))

    def _record(self, answer: Any) -> Record:
        try:
            found = answer.json() if answer.content else {}
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ServerError(f"{self.url}: answers, but not as 'asd serve' does; is the address right?")
        return found

    def _only_model(self) -> str:
        names = [str(each["name"]) for each in self.models()]
        if len(names) != 1:
            there = f"serves {', '.join(names)}; name one" if names else "serves no model"
            raise ConfigError(f"{self.url}: {there}, as in {self.url}/{names[0] if names else 'MODEL'}")
        return names[0]

    def _all_judged(self, path: str, query: Record, clips: Sequence[Clip]) -> Iterator[Verdict | Failure]:
        """Send clips, several at a time, and yield what comes back in their order; at most so many wait in memory."""
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="asd-client")
        waiting: deque[Future[list[Verdict | Failure]]] = deque()
        remaining = iter(clips)
        try:
            for _ in track(range(len(clips)), "scoring", len(clips)):
                while len(waiting) < 2 * self._workers and (clip := next(remaining, None)) is not None:
                    waiting.append(pool.submit(self._judged, path, query, clip))
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _judged(self, path: str, query: Record, clip: Clip) -> list[Verdict | Failure]:
        name = str(clip.path) if held(clip.path) else clip.path.name
        try:
            kind, content = body_of(clip)
            answer = self._transport.ask(
                "POST",
                path,
                query={**query, "name": name, "state": clip.group},
                body=lambda: opened(clip) if content is None else content,
                kind=kind,
                safe=True,
            )
        except AudioError as error:
            return [Failure(clip, error)]
        except ServerError as error:
            if error.status in _OWN:
                said = str(error).removeprefix(f"{self.url}: ").removeprefix(f"{name}: ")
                return [Failure(clip, AudioError(f"{clip}: {said}"))]
            raise
        found = self._record(answer)
        rows, self.decision = found.get("clips"), found.get("decision", self.decision)
        if not isinstance(rows, list) or not rows:
            raise ServerError(f"{self.url}: answers without verdicts; is it an 'asd serve' of this version?")
        return [verdict_of(row, clip) for row in rows]


def _part(name: str) -> str:
    """Return a name as one part of a path."""
    if name in ("", ".", ".."):
        raise ConfigError(f"{name!r} is no name of anything")
    return quote(name, safe="")


_STEP = re.compile(r"(^|[\\/])\.\.?($|[\\/])|^base64=")


def _machine(name: str) -> str:
    """Return a machine's name as one part of a path, in which neither clients nor proxies see a step such as ``..``."""
    if not name:
        raise ConfigError("the name of the machine is empty; Client.machines() lists them")
    if _STEP.search(name):
        name = f"base64={base64.urlsafe_b64encode(name.encode()).decode().rstrip('=')}"
    return _part(name)


def _is_clips(data: Any) -> bool:
    return isinstance(data, list | tuple) and len(data) > 0 and all(isinstance(each, Clip) for each in data)
