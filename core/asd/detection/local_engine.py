"""The engine ``local``: processes on this computer, a piece of work each at a time.

Pools of the standard library take all pieces for lost when one process dies, import the user's script again in each
process, and look for modules in the current folder first. Here each process is fed by a thread of its own, so that
exactly the piece is lost that it worked on, and it starts as `asd.contract.processes` says.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass, field
from typing import Any

from asd.contract.interfaces import WorkEngine
from asd.contract.processes import end_process, start_python
from asd.detection.local_worker import kept
from asd.errors import ConfigError, EngineError, WorkerLost

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables that say how many threads a process computes with."""

# Ctrl-C goes to the whole process group: this process ends its workers.
_START = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from asd.detection.local_worker import main; main()"
)
_MOST = 256


class LocalEngine(WorkEngine):
    """Runs pieces in processes on this computer.

    Parameters
    ----------
    scheduler : str or None
        How many processes, ``"local:4"`` or ``"4"``; None: one for each processor core.

    Raises
    ------
    ConfigError
        If `scheduler` is something else.
    """

    def __init__(self, *, scheduler: str | None = None) -> None:
        self.scheduler = scheduler
        self._count = _count(scheduler)
        self._lock = threading.Condition()
        self._waiting: deque[_Task] = deque()
        self._workers: list[_Worker] = []
        self._handles = 0
        self._failure: EngineError | None = None

    def start(self) -> None:
        """Start the processes; they import what the first piece needs when it comes."""
        with self._lock:
            if not self._workers:
                self._failure = None
                self._workers = [_Worker(self, number) for number in range(1, self._count + 1)]

    @property
    def slots(self) -> int:
        """How many processes there are."""
        return self._count

    def scatter(self, value: Any) -> _Handle:
        """Return a handle for `value`, which goes to each process with the first piece that needs it."""
        self._handles += 1
        return _Handle(self._handles, pickle.dumps(value, pickle.HIGHEST_PROTOCOL))

    def submit(
        self, function: Callable[..., Any], /, *args: Any, needs: Mapping[str, float] | None = None
    ) -> Future[Any]:
        """Let the next process that is free call ``function(*args)``; `needs` does not count on one computer."""
        task = _Task(function, args)
        with self._lock:
            self._check()
            self._waiting.append(task)
            self._lock.notify_all()
        return task.future

    def wait(self, tasks: Collection[Future[Any]]) -> None:
        """Return when at least one of the tasks is done."""
        wait(tasks, return_when=FIRST_COMPLETED)

    def done(self, task: Future[Any]) -> bool:
        """Return whether a task is done."""
        return task.done()

    def result(self, task: Future[Any]) -> Any:
        """Return what the function returned, or raise what it raised."""
        try:
            return task.result()
        except CancelledError:
            raise EngineError("the engine 'local' was closed while it worked") from None

    def cancel(self, tasks: Collection[Future[Any]]) -> None:
        """Give up tasks that have not begun."""
        for task in tasks:
            task.cancel()

    def everywhere(self, function: Callable[..., Any], /, *args: Any) -> dict[str, Any]:
        """Call ``function(*args)`` once in each process."""
        self.start()
        tasks = [_Task(function, args) for _ in self._workers]
        with self._lock:
            self._check()
            for worker, task in zip(self._workers, tasks, strict=True):
                worker.own.append(task)
            self._lock.notify_all()
        return {str(worker): self.result(task.future) for worker, task in zip(self._workers, tasks, strict=True)}

    def close(self) -> None:
        """End the processes, whatever they do."""
        with self._lock:
            workers, self._workers = self._workers, []
            tasks = [*self._waiting, *(task for worker in workers for task in worker.own)]
            self._waiting.clear()
            for worker in workers:
                worker.stopped = True
            self._lock.notify_all()
        for task in tasks:
            task.future.cancel()
        for worker in workers:
            worker.end()

    def next_task(self, worker: _Worker) -> _Task | None:
        """Return what a worker is to do next, when there is something; None: nothing ever."""
        with self._lock:
            while not worker.stopped:
                for tasks in (worker.own, self._waiting):
                    while tasks:
                        task = tasks.popleft()
                        if task.future.set_running_or_notify_cancel():
                            return task
                self._lock.wait()
            return None

    def fail(self, error: EngineError) -> None:
        """Give up all work: no process can be started."""
        with self._lock:
            self._failure = error
            tasks = [*self._waiting, *(task for worker in self._workers for task in worker.own)]
            self._waiting.clear()
            for worker in self._workers:
                worker.own.clear()
        for task in tasks:
            if task.future.set_running_or_notify_cancel():
                task.future.set_exception(error)

    def environment(self) -> dict[str, str]:
        """Return the processes' environment: what the user did not limit computes with a fair part of the cores."""
        share = str(max(1, cores() // self._count))
        return {**dict.fromkeys(THREADS, share), **os.environ} if not _is_limited() else dict(os.environ)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if not self._workers:
            raise EngineError("the engine 'local' is closed; start it, or make another one")


@dataclass(eq=False)
class _Handle:
    """Stands for a value that processes keep; knows which processes have it."""

    number: int
    content: bytes
    holders: weakref.WeakSet[subprocess.Popen[bytes]] = field(default_factory=weakref.WeakSet)

    def __reduce__(self) -> tuple[Any, ...]:
        return kept, (self.number,)  # unpickled, it is the value itself


class _Task:
    """A call, and the future of what it returns."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.function, self.args = function, args
        self.future: Future[Any] = Future()


class _Worker:
    """A process, and the thread that feeds it."""

    def __init__(self, engine: LocalEngine, number: int) -> None:
        self._engine, self._number = engine, number
        self._process: subprocess.Popen[bytes] | None = None
        self._forgotten: deque[int] = deque()
        self.own: deque[_Task] = deque()
        self.stopped = False
        self._thread = threading.Thread(target=self._run, name=f"asd-local-{number}", daemon=True)
        self._thread.start()

    def __str__(self) -> str:
        return f"process {self._number} of this computer"

    def _run(self) -> None:
        while (task := self._engine.next_task(self)) is not None:
            try:
                succeeded, value = self._done(task)
            except BaseException as error:  # handed over to whoever asks for the result
                task.future.set_exception(error)
            else:
                task.future.set_result(value) if succeeded else task.future.set_exception(value)
        self._end()

    def _done(self, task: _Task) -> tuple[bool, Any]:
        """Return whether the call succeeded, and what it returned or raised."""
        process = self._running()
        handles = [each for each in task.args if isinstance(each, _Handle)]
        new = {each.number: each.content for each in handles if process not in each.holders}
        forgotten = [self._forgotten.popleft() for _ in range(len(self._forgotten))]
        message = pickle.dumps((task.function, task.args), pickle.HIGHEST_PROTOCOL)
        try:
            pickle.dump((forgotten, new, message), process.stdin, pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            content: bytes = pickle.load(process.stdout)  # noqa: S301  # our own process
        except (BrokenPipeError, EOFError, pickle.UnpicklingError, ValueError, OSError):
            raise WorkerLost(f"{self} died ({self._end()})") from None
        for each in handles:
            if each.number in new:
                each.holders.add(process)
                weakref.finalize(each, self._forgotten.append, each.number).atexit = False
        answer: tuple[bool, Any] = pickle.loads(content)  # noqa: S301
        return answer

    def _running(self) -> Any:
        """Return the process, started if it does not run."""
        if self._process is None:
            process = start_python(
                _START, environment=self._engine.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self._process = process
            if process.stdout is None or process.stdout.read(1) != b"\n":
                error = EngineError(
                    f"{self} of the engine 'local' ended while it started ({self._end()}); what it wrote to standard "
                    "error says why; if memory ran out, use fewer (--scheduler local:N)"
                )
                self._engine.fail(error)
                raise error
        return self._process

    def _end(self) -> str:
        """End the process; return by what it ended."""
        process, self._process = self._process, None
        if process is None:
            return "it had ended"
        code = end_process(process, patience=0.0 if self.stopped else 1.0)
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def end(self) -> None:
        """End process and thread."""
        if (process := self._process) is not None:
            process.kill()
        self._thread.join()


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_limited() -> bool:
    return any(os.environ.get(name) for name in THREADS)


def _count(scheduler: str | None) -> int:
    if scheduler is None:
        return cores()
    number = scheduler.removeprefix("local:")
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= _MOST):
        raise ConfigError(
            f"scheduler {scheduler!r}: the engine 'local' starts processes on this computer and takes local:N, their "
            f"number, 1 to {_MOST}; an address is for the engine of a cluster, such as --engine dask"
        )
    return int(number)
