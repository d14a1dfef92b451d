"""What runs on a worker: a piece of work, at most once begun, with the state that it shares with others.

Dask begins a task again when the worker that ran it died, up to three times on others. A recording that kills whoever
reads it would thus kill four workers. A piece therefore leaves a mark with the scheduler before it begins; who finds
the mark does not begin it, but says that its process died. Pieces that only waited on that worker have no mark.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from distributed import get_worker
from distributed.protocol.pickle import dumps
from distributed.protocol.serialize import deserialize_bytes
from distributed.utils import sync

from asd.errors import EngineError, WorkerLost

MOST_HELD = 8
"""Shared values that a worker process keeps; older ones are fetched again when they are needed."""

_one_at_a_time = threading.Lock()
_held: OrderedDict[str, Any] = OrderedDict()
_ended: list[str] = []
"""Pieces whose marks the scheduler has still."""


@dataclass(frozen=True, eq=False)
class Shared:
    """Stands for a value that the scheduler keeps and every worker process fetches once."""

    name: str


def run(token: str, folder: str, call: bytes) -> bytes:
    """Call what `call` holds, a function with its arguments, and return the result in one piece of bytes.

    Dask would send each array of it apart, through worker, scheduler and client: there are hundreds, and small ones.

    Relative paths mean the same as where the piece comes from, if its working folder is here, too.

    A process runs one piece at a time, whatever number of threads its worker has: a process that dies takes no other
    piece along, and what a piece keeps for the next one is used by one alone.

    Raises
    ------
    WorkerLost
        If the piece was begun before, by a process that died.
    """
    with _one_at_a_time, _marked(token):
        with suppress(OSError):
            os.chdir(folder)
        function, args = deserialize_bytes(call)
        content: bytes = dumps(function(*args) if function is apply else function(*map(fetched, args)))
        return content


@contextmanager
def _marked(token: str) -> Iterator[None]:
    """Leave a mark with the scheduler before the piece begins; it is taken off when this process begins the next."""
    fresh = _asked("begin", token=token, ended=list(_ended))
    _ended.clear()
    try:
        if not fresh:
            where = get_worker().address
            raise WorkerLost(f"the process that ran a piece of work died; it is not begun again by {where}")
        yield
    finally:
        _ended.append(token)


def _asked(operation: str, **values: Any) -> Any:
    """Let the scheduler do one of the operations of `asd_dask.scheduler.AtScheduler`."""
    worker = get_worker()
    return sync(worker.loop, getattr(worker.scheduler, f"asd_{operation}"), **values)


def apply(function: Callable[..., Any], arguments: Shared) -> Any:
    """Call a function with shared arguments, which may be large and are not kept."""
    return function(*map(fetched, _content(arguments)))


def fetched(shared: Any) -> Any:
    """Return the value that a `Shared` stands for, and anything else as it is."""
    if not isinstance(shared, Shared):
        return shared
    if shared.name not in _held:
        _held[shared.name] = _content(shared)
        while len(_held) > MOST_HELD:
            _held.popitem(last=False)
    _held.move_to_end(shared.name)
    return _held[shared.name]


def _content(shared: Shared) -> Any:
    content = _asked("shared", name=shared.name)
    if content is None:
        raise EngineError(
            f"worker {get_worker().address}: the scheduler has lost {shared.name}, what the pieces share, as one does "
            "that was restarted: repeat the command; what is done is kept"
        )
    return deserialize_bytes(content)
