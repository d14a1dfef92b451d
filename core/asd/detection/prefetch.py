"""Iterate several sources in order while threads work ahead, with bounded memory."""

from __future__ import annotations

import atexit
import functools
import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_AHEAD = 2
"""Items that wait ready, for each thread."""


@dataclass
class _Lane(Generic[T]):
    """What one source has ready: ``(item, None)``, or ``(None, error)`` / ``(None, None)`` at its end."""

    ready: queue.Queue[tuple[Any, BaseException | None]] = field(default_factory=lambda: queue.Queue(_AHEAD))


def prefetch(sources: Sequence[Callable[[], Iterator[T]]], workers: int) -> Generator[Iterator[T]]:
    """Yield one iterator per source, in order, each filled by one of `workers` threads.

    An error in a source is raised where its items are iterated; the other sources go on. An iterator must be
    exhausted, or have raised, before the next is asked for. Closing the generator stops the threads.
    """
    if workers < 1:
        yield from (source() for source in sources)
        return
    stop = threading.Event()
    lanes: deque[_Lane[T]] = deque()
    waiting = iter(sources)
    begun: _Begun[T] = queue.SimpleQueue()
    # Threads of a pool are waited for at the end of the program, for ever, if somebody still holds the generator then.
    threads = [
        threading.Thread(target=_work, args=(begun, stop), name=f"asd-prefetch-{number}", daemon=True)
        for number in range(min(workers, len(sources)))
    ]

    def start_next() -> None:
        source = next(waiting, None)
        if source is not None:
            lanes.append(_Lane())
            begun.put((source, lanes[-1]))

    end = functools.partial(_end, stop, begun, threads)
    atexit.register(end)
    try:
        for thread in threads:
            thread.start()
        for _ in range(workers + 1):
            start_next()
        while lanes:
            lane = lanes.popleft()
            yield _drain(lane)
            start_next()
    finally:
        atexit.unregister(end)
        end()


@contextmanager
def one_ahead(calls: Iterable[Callable[[], T]]) -> Iterator[Callable[[], T]]:
    """Have what returns, each time it is called, the result of the next call, while a thread does the one after it.

    An error of a call is raised at its place. The end of the block waits for the call that runs, and no other begins.
    """
    from concurrent.futures import Future, ThreadPoolExecutor  # takes time, and many runs have all in the cache

    thread = ThreadPoolExecutor(1, "asd-ahead")
    waiting, begun = iter(calls), deque[Future[T]]()

    def take() -> T:
        begun.extend(thread.submit(call) for call in itertools.islice(waiting, 2 - len(begun)))
        return begun.popleft().result()

    try:
        yield take
    finally:
        thread.shutdown(cancel_futures=True)


_Begun = queue.SimpleQueue[tuple[Callable[[], Iterator[T]], _Lane[T]] | None]


def _work(begun: _Begun[T], stop: threading.Event) -> None:
    while (job := begun.get()) is not None and not stop.is_set():
        _fill(*job, stop)


def _end(stop: threading.Event, begun: _Begun[T], threads: Sequence[threading.Thread]) -> None:
    stop.set()
    for _ in threads:
        begun.put(None)
    for thread in threads:
        if thread.ident is not None:
            thread.join()


def _fill(source: Callable[[], Iterator[T]], lane: _Lane[T], stop: threading.Event) -> None:
    try:
        for item in source():
            if not _put(lane, (item, None), stop):
                return
        _put(lane, (None, None), stop)
    except BaseException as error:  # handed over to whoever iterates
        _put(lane, (None, error), stop)


def _put(lane: _Lane[T], entry: tuple[Any, BaseException | None], stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            lane.ready.put(entry, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False


def _drain(lane: _Lane[T]) -> Iterator[T]:
    while True:
        item, error = lane.ready.get()
        if error is not None:
            raise error
        if item is None:
            return
        yield item
