"""Work that takes longer than a request: one job at a time, in a thread, with progress, and an end before its time."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from asd.command import rendered_by
from asd.errors import AsdError
from asd_serve.errors import RequestError

_log = logging.getLogger("asd")
_REMEMBERED = 100
_WAITING = 4
"""Jobs that may wait: each takes minutes."""
_NICE = 10
"""How much a job stands back behind what the server and its listener do."""
_T = TypeVar("_T")
Phase = Literal["waiting", "running", "done", "failed", "cancelled"]


class CancelledError(AsdError):
    """A job that somebody has ended."""


@dataclass
class Job:
    """A piece of work.

    Parameters
    ----------
    id : str
        Not to be guessed.
    kind : str
        Such as ``"fit"``.
    by : str
        Who wanted it.

    Attributes
    ----------
    state : {"waiting", "running", "done", "failed", "cancelled"}
        How it stands.
    text : str
        What it does at present, or why it failed, in one line.
    done, total : int
        How much of that is done; 0: not known.
    result : dict or None
        What came of it.
    began, ended : float or None
        When, in seconds since 1970.
    """

    id: str
    kind: str
    by: str
    state: Phase = "waiting"
    text: str = "waits for the job before it"
    done: int = 0
    total: int = 0
    result: dict[str, Any] | None = None
    began: float | None = None
    ended: float | None = None
    _cancel: threading.Event = field(default_factory=threading.Event, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``GET /api/jobs/{id}`` says."""
        names = ("id", "kind", "by", "state", "text", "done", "total", "result", "began", "ended")
        return {name: getattr(self, name) for name in names}

    def say(self, text: str) -> None:
        """Say what comes next.

        Raises
        ------
        CancelledError
            If somebody has ended the job.
        """
        self.check()
        self.text, self.done, self.total = text, 0, 0

    def check(self) -> None:
        """Go on only if nobody has ended the job; errors as for `say`."""
        if self._cancel.is_set():
            raise CancelledError("ended before its time")

    def track(self, items: Iterable[_T], description: str, total: int | None) -> Iterator[_T]:
        """Yield items and note how far it is; what `asd.command.rendered_by` takes."""
        self.say(description)
        self.total = total or 0
        for item in items:
            self.check()
            yield item
            self.done += 1


class Jobs:
    """The jobs of a server; the last hundred are remembered."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="asd-serve-job")
        self._jobs: OrderedDict[str, tuple[Job, Future[None]]] = OrderedDict()
        self._lock = threading.Lock()

    def start(
        self,
        kind: str,
        by: str,
        work: Callable[[Job], Mapping[str, Any]],
        *,
        after: Callable[[], None] = lambda: None,
    ) -> Job:
        """Let a job begin, at once or after those before it.

        Parameters
        ----------
        kind, by : str
            As for `Job`.
        work : callable
            Takes the job, says how it goes by its methods, and returns the result.
        after : callable
            Called once when the job has ended, though it never began, or cannot begin.

        Raises
        ------
        RequestError
            If too many jobs wait.
        """
        job = Job(secrets.token_hex(8), kind, by)
        with self._lock:
            unfinished = sum(not future.done() for _, future in self._jobs.values())
            if unfinished > _WAITING:
                after()
                text = f"{unfinished} jobs wait or run already, which is the most; try again when one is done"
                raise RequestError(503, text, {"Retry-After": "30"})
            future = self._pool.submit(self._run, job, work)
            future.add_done_callback(lambda _: after())
            self._jobs[job.id] = (job, future)
            while len(self._jobs) > _REMEMBERED:
                self._jobs.popitem(last=False)
        return job

    def find(self, number: str) -> Job:
        """Return a job.

        Raises
        ------
        RequestError
            If there is none of this id.
        """
        with self._lock:
            found = self._jobs.get(number)
        if found is None:
            raise RequestError(404, f"no job {number[:40]!r}; jobs are forgotten when the server ends")
        return found[0]

    def cancel(self, number: str) -> Job:
        """End a job before its time; one that is done stays so. Errors as for `find`."""
        job = self.find(number)
        with self._lock:
            _, future = self._jobs[number]
        job._cancel.set()
        if future.cancel():
            job.state, job.text = "cancelled", "ended before it began"
        return job

    def close(self) -> None:
        """End all jobs; waits for the one that runs."""
        with self._lock:
            running = list(self._jobs.values())
        for job, _ in running:
            job._cancel.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, job: Job, work: Callable[[Job], Mapping[str, Any]]) -> None:
        with contextlib.suppress(OSError, AttributeError):  # on Linux a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        job.state, job.began = "running", time.time()
        try:
            job.say("begins")
            with rendered_by(job.track):
                job.result = dict(work(job))
            job.state, job.text = "done", job.result.get("text", "done")
        except CancelledError as error:
            job.state, job.text = "cancelled", str(error)
        except AsdError as error:
            job.state, job.text = "failed", " ".join(str(error).split())
        except Exception as error:  # of a plugin: the server goes on
            job.state, job.text = "failed", f"an unexpected error, {type(error).__name__}: {error}"
            _log.exception("the job %r failed", job.kind)
        finally:
            job.ended = time.time()
