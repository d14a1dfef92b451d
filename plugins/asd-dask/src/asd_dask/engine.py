"""The engine ``dask``: pieces of work on the workers of a Dask cluster."""

from __future__ import annotations

import math
import re
import sys
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from asd.errors import ConfigError, EngineError, PluginError, WorkerLost
from asd.plugin import WorkEngine, number

if TYPE_CHECKING:
    from distributed import Client, Future
    from distributed.deploy.cluster import Cluster

    from asd_dask.pieces import Shared

SCHEMES = ("tcp", "tls", "ws", "wss")
PULSE = 2.0
"""Seconds between two looks at the scheduler and its workers while pieces are waited for."""

_LOCAL = re.compile(r"local(:[1-9]\d*)?")
_ADDRESS = re.compile(rf"(?!local:)((?:{'|'.join(SCHEMES)})://)?([\w.-]+|\[[0-9a-fA-F:]+\]):\d+|.+\.json")


@dataclass(eq=False)
class Task:
    """A piece of work: what is to be called, and its present attempt."""

    call: bytes
    needs: Mapping[str, float] = field(default_factory=dict)
    worker: str | None = None
    """The only worker that may run it."""
    handles: tuple[Shared, ...] = ()
    """What it needs is not forgotten before it is."""
    token: str = field(init=False)
    future: Future[Any] = field(init=False)


class DaskEngine(WorkEngine):
    """Runs pieces of work on the workers of a Dask cluster.

    A worker process runs one piece at a time. A piece whose process dies is not begun again: `result` raises
    `asd.errors.WorkerLost`. Pieces that only waited for that process go on elsewhere, and all do when a scheduler that
    was restarted, or a connection, comes back in time.

    Parameters
    ----------
    scheduler : str, optional
        ``"local:N"``: N worker processes of one thread each on this computer, started here and ended by `close`;
        ``"local"``: as many as cores. An address such as ``"tcp://host:8786"`` or ``"tls://host:8786"``, or the file
        ``*.json`` that ``dask scheduler --scheduler-file`` writes: that scheduler. Default: the scheduler that Dask's
        own configuration names (``scheduler-address``, ``DASK_SCHEDULER_ADDRESS``), or else ``"local"``. Certificates
        are those of Dask's configuration (``distributed.comm.tls``).
    patience : float, optional
        Seconds to wait for a scheduler that does not answer, and for workers while there are none. Default: Dask's
        ``distributed.comm.timeouts.connect``, 30 s.
    """

    def __init__(self, *, scheduler: str | None = None, patience: float | None = None) -> None:
        if scheduler is not None and not (_LOCAL.fullmatch(scheduler) or _ADDRESS.fullmatch(scheduler)):
            raise ConfigError(
                f"dask: scheduler must be local:N (N worker processes on this computer), an address such as "
                f"tcp://HOST:8786 ({', '.join(SCHEMES)}) or the file *.json of a scheduler, got {scheduler!r}"
            )
        self.scheduler = scheduler
        self.patience = None if patience is None else number(self, "patience", patience, above=0)
        self._given: Client | Cluster | None = None
        self._opened: AbstractContextManager[Client] | None = None
        self._client: Client | None = None
        self._connection: Any = None
        self._shared: dict[str, bytes] = {}
        self._unused: deque[str] = deque()
        self._workers: dict[str, Mapping[str, float]] = {}
        """The resources that each declares, by address, as the scheduler said last."""
        self._asked = self._staffed = -math.inf
        """When the scheduler was asked last, and when it last had a worker for what is waited for."""

    @classmethod
    def adopt(cls, thing: object) -> Self | None:
        """Return an engine for a `distributed.Client` or a cluster object (``LocalCluster``, ``SLURMCluster``)."""
        if "distributed" not in sys.modules:
            return None
        from distributed import Client
        from distributed.deploy.cluster import Cluster

        if not isinstance(thing, Client | Cluster):
            return None
        engine = cls()
        engine._given = thing
        return engine

    # The cluster

    def start(self) -> None:
        """Connect to the scheduler, or start one with its workers here, and wait for a first worker."""
        if self._client is not None:
            return
        from asd_dask.clusters import opened

        self._opened = opened(self.scheduler, self._given, self._seconds)
        self._client = self._opened.__enter__()
        self._connection = self._client.scheduler_comm
        self._staffed = time.monotonic()
        try:
            self._look()
            while not self._workers:
                time.sleep(0.1)
                self._look()
            self._check_imports()
            self._introduce()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Leave the cluster; end the processes that were started here."""
        client, opened = self._client, self._opened
        self._client = self._opened = None
        if client is not None and client.status == "running":
            from asd_dask.scheduler import ask

            with suppress(OSError):
                ask(client, "forget", names=list(self._shared))
        self._shared.clear()
        self._unused.clear()
        if opened is not None:
            opened.__exit__(None, None, None)

    @property
    def slots(self) -> int:
        """How many worker processes there are: each runs one piece at a time."""
        self._look_now_and_then()
        return max(len(self._workers), 1)

    @property
    def _seconds(self) -> float:
        if self.patience is not None:
            return self.patience
        import dask
        import distributed  # noqa: F401  # its defaults
        from dask.utils import parse_timedelta

        return float(parse_timedelta(dask.config.get("distributed.comm.timeouts.connect")))

    @property
    def _connected(self) -> Client:
        if self._client is None:
            raise EngineError("dask: the engine was not started, or is closed: call start() first")
        return self._client

    @property
    def _name(self) -> str:
        return self.scheduler or str(getattr(self._connected.scheduler, "address", "of Dask"))

    def _look_now_and_then(self, needs: Mapping[str, float] | None = None) -> None:
        if time.monotonic() - self._asked > PULSE:
            self._look(needs)

    def _look(self, needs: Mapping[str, float] | None = None) -> None:
        """Ask the scheduler for its workers.

        Raises
        ------
        EngineError
            If it is gone, does not answer, or had no worker that has what `needs` names for as long as the patience.
        """
        client = self._connected
        while client.status == "connecting":  # for as long as its own timeout, which is the patience
            time.sleep(0.1)
        try:
            if client.status != "running":
                raise OSError("the connection broke off, and nothing answers at the address any more")
            scheduler: Any = client.scheduler
            answer = client.sync(scheduler.identity, n_workers=-1, callback_timeout=self._seconds)
        except (OSError, RuntimeError, TimeoutError) as error:
            if client.status == "connecting":
                return
            from asd_dask.clusters import reason_of

            raise EngineError(
                f"scheduler {self._name}: lost while it was at work ({reason_of(error)}); what is done is kept: start "
                "the scheduler and its workers again and repeat the command"
            ) from None
        self._asked = time.monotonic()
        self._workers = {address: each["resources"] for address, each in answer["workers"].items()}
        if self._offered(needs or {}):
            self._staffed = self._asked
        elif self._asked - self._staffed > self._seconds:
            wanted = "".join(f" with {name}={need:g}" for name, need in (needs or {}).items())
            raise EngineError(
                f"scheduler {self._name}: it has had no worker{wanted} for {self._seconds:g} s; what is done is kept: "
                f"start workers ('dask worker {self._name} --nthreads 1 --nworkers N') and repeat the command"
            )

    def _check_imports(self) -> None:
        """Find out whether scheduler and workers have this module: a worker that lacks it ends with its first piece.

        Raises
        ------
        PluginError
            If one has not.
        """
        client = self._connected
        code = "import asd_dask.pieces"  # a function of ours would have to be imported to be called
        answers = {f"worker {name}": each for name, each in client.run(exec, code, on_error="return").items()}
        try:
            client.run_on_scheduler(exec, code)
        except ImportError as error:
            answers[f"scheduler {self._name}"] = error
        for who, answer in answers.items():
            if isinstance(answer, ImportError):
                raise PluginError(
                    f"{who}: {answer}; the scheduler and its workers need asd-dask and whatever else asd uses here, in "
                    "the same versions: pip install them there"
                )

    def _introduce(self) -> None:
        """Let the scheduler know the operations that pieces need."""
        from asd_dask.scheduler import AtScheduler

        self._reaching(self._connected.register_plugin, AtScheduler())

    def _offered(self, needs: Mapping[str, float]) -> bool:
        """Return whether one worker has all that is needed."""
        return any(all(own.get(name, 0) >= need for name, need in needs.items()) for own in self._workers.values())

    # Pieces of work

    def scatter(self, value: Any) -> Shared:
        """Leave `value` with the scheduler; a worker process that meets the handle fetches it once."""
        from distributed.protocol.serialize import serialize_bytes

        from asd_dask.pieces import Shared

        handle = Shared(f"asd-shared-{uuid.uuid4().hex}")
        weakref.finalize(handle, self._unused.append, handle.name).atexit = False
        self._shared[handle.name] = serialize_bytes(value)
        self._share(handle.name)
        return handle

    def _share(self, *names: str) -> None:
        """Leave values with the scheduler, and let it forget those that nobody will ask for."""
        client = self._connected
        while self._unused:
            name = self._unused.popleft()
            self._shared.pop(name, None)
            self._ask("forget", names=[name])
        for name in names:
            self._ask("share", name=name, value=self._shared[name], owner=client.id)

    def submit(self, function: Callable[..., Any], /, *args: Any, needs: Mapping[str, float] | None = None) -> Task:
        """Have a worker call ``function(*args)``; of `needs` counts what any worker declares."""
        self._look_now_and_then()
        return self._submit(function, args, {k: v for k, v in (needs or {}).items() if self._offered({k: v})})

    def _submit(
        self, function: Callable[..., Any], args: Any, needs: Mapping[str, float], worker: str | None = None
    ) -> Task:
        from distributed.protocol.serialize import serialize_bytes

        from asd_dask.pieces import Shared

        handles = tuple(each for each in args if isinstance(each, Shared))
        task = Task(serialize_bytes((function, args)), needs, worker, handles)
        self._attempt(task)
        return task

    def _attempt(self, task: Task) -> None:
        """Submit a task, for the first time or again, under a name that no other attempt has."""
        from asd_dask.pieces import run

        client = self._connected
        if client.scheduler_comm is not self._connection:  # maybe another scheduler, which knows nothing of us
            self._introduce()
            self._share()
            self._share(*self._shared)
            self._connection = client.scheduler_comm
        task.token = f"asd-piece-{uuid.uuid4().hex}"
        task.future = client.submit(
            run,
            task.token,
            str(Path.cwd()),
            task.call,
            key=task.token,
            pure=False,
            workers=task.worker,
            resources=dict(task.needs) or None,
            fifo_timeout="0 ms",
        )

    def _ask(self, operation: str, **values: Any) -> Any:
        """Let the scheduler do one of the operations of `asd_dask.scheduler.AtScheduler`."""
        from asd_dask.scheduler import ask

        return self._reaching(ask, self._connected, operation, **values)

    def _reaching(self, function: Callable[..., Any], *args: Any, **values: Any) -> Any:
        """Call what talks with the scheduler, again when the connection broke off and was made again."""
        while True:
            try:
                return function(*args, **values)
            except OSError:
                self._look()

    def wait(self, tasks: Collection[Task]) -> None:
        """Return when at least one of the tasks is done."""
        from distributed import wait

        while not any(self.done(task) for task in tasks):
            self._look_now_and_then({name: need for task in tasks for name, need in task.needs.items()})
            # Told of a cancelled one when the connection breaks off, which `done` submits again.
            with suppress(TimeoutError, CancelledError), self._connected.as_current():
                wait([task.future for task in tasks], timeout=PULSE, return_when="FIRST_COMPLETED")

    def done(self, task: Task) -> bool:
        """Return whether `result` would answer at once."""
        if task.future.cancelled() and self._connected.status == "running":
            self._attempt(task)  # the connection broke off and was made again
        return task.future.status in ("finished", "error")

    def result(self, task: Task) -> Any:
        """Return what the function returned, or raise what it raised."""
        from distributed import KilledWorker
        from distributed.protocol.pickle import loads

        while True:
            self.wait([task])
            try:
                content = task.future.result(timeout=PULSE)
                break
            except KilledWorker:  # Dask's own limit, which counts the pieces that only waited, too
                if self._ask("was_begun", token=task.token):
                    raise WorkerLost(f"scheduler {self._name}: the process that ran a piece of work died") from None
                self._attempt(task)
            except CancelledError:
                continue
            except OSError:
                if task.future.status == "error":  # the function's own
                    raise
        return loads(content)

    def cancel(self, tasks: Collection[Task]) -> None:
        """Give up tasks: those that wait are forgotten, what runs ends unheard."""
        for task in tasks:
            task.future.release()

    def everywhere(self, function: Callable[..., Any], /, *args: Any) -> dict[str, Any]:
        """Call ``function(*args)`` once on each worker there is, between two pieces; one that leaves is left out."""
        self._look()
        self._check_imports()
        if not self._workers:
            raise EngineError(f"scheduler {self._name}: it has no worker; start some: dask worker {self._name}")
        from asd_dask.pieces import apply

        shared = self.scatter(args)  # the scheduler has them once, not once for each worker
        tasks = {address: self._submit(apply, (function, shared), {}, address) for address in self._workers}
        results = {}
        while tasks:
            self.wait(tasks.values())
            for address, task in list(tasks.items()):
                if self.done(task):
                    results[address] = self.result(tasks.pop(address))
                elif address not in self._workers:
                    self.cancel([tasks.pop(address)])
        return results
