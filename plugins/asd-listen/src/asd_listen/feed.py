"""A thread for each source: it connects, holds what comes, and connects again with growing pauses."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from asd.errors import AsdError, SourceError
from asd.plugin import Block, Source

HELD_SECONDS = 30.0
"""Sound that waits for the listener; then the source waits, or loses sound, which the times of its blocks tell."""
_HELD_BYTES = 64_000_000
_JITTER = 0.1
"""Seconds by which blocks that are joined may miss each other by their times."""
_LONGEST_BLOCK = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_STEADY = 10.0
"""Seconds of sound after which the next fault begins with the first pause again."""


@dataclass(frozen=True)
class Arrived:
    """A block, and when it came by a clock that nobody sets."""

    block: Block
    time: float


@dataclass(frozen=True)
class Lost:
    """The source failed; it is tried again after `pause` seconds."""

    text: str
    pause: float

    def __str__(self) -> str:
        return f"{self.text}; tried again in {self.pause:.0f} s"


class Feed(threading.Thread):
    """Reads a source.

    Parameters
    ----------
    name : str
        Name of the machine.
    make : callable
        Returns a new source.
    arrived : threading.Event
        Set whenever something came.

    Attributes
    ----------
    ended : bool
        Whether the source has come to its end.
    paced : bool
        Whether sound comes at its own pace.
    last : float
        When sound came last, by ``time.monotonic``.
    refused : SourceError or None
        Why the source can never be reached, found by the first attempt; nothing comes then.
    """

    def __init__(self, name: str, make: Callable[[], Source], arrived: threading.Event) -> None:
        super().__init__(name=f"asd-listen {name}", daemon=True)
        self.ended = False
        self.source = make()
        self.paced = bool(self.source.paced)
        self.last = time.monotonic()
        self.refused: SourceError | None = None
        self._arrived = arrived
        self._items: deque[Arrived | Lost] = deque()
        self._seconds = 0.0
        self._bytes = 0
        self._room = threading.Condition()
        self._stopping = threading.Event()

    @property
    def held(self) -> float:
        """Seconds of sound that wait."""
        return self._seconds

    @property
    def done(self) -> bool:
        """Whether nothing waits, and nothing will come."""
        return self.ended and not self._items

    def stop(self) -> None:
        """Take nothing more; what came stays."""
        self._stopping.set()
        with self._room:
            self._room.notify_all()

    def take(self, seconds: float) -> list[Arrived | Lost]:
        """Return what came, so many seconds of sound at most; blocks without a gap become one, which costs less."""
        found: list[Arrived | Lost] = []
        with self._room:
            while self._items and seconds > 0:
                item = self._items.popleft()
                if isinstance(item, Arrived):
                    length = len(item.block.samples) / item.block.sample_rate
                    seconds -= length
                    self._seconds -= length
                    self._bytes -= item.block.samples.nbytes
                found.append(item)
            if not self._items:
                self._seconds = 0.0  # sums of floats leave a rest, which would never wait less
            self._room.notify_all()
        return list(_joined(found))

    def run(self) -> None:
        """Read until the source ends, or `stop` is called."""
        pause, is_first = _FIRST_PAUSE, True
        while not self._stopping.is_set():
            heard = 0.0
            try:
                with closing(_generator(self.source)) as blocks:
                    for block in blocks:
                        if self._stopping.is_set():
                            break
                        heard += len(block.samples) / block.sample_rate
                        self._put(Arrived(block, time.monotonic()))
                break
            except Exception as error:  # a plugin's own failure must not end the listening to others
                if is_first and not heard and isinstance(error, SourceError) and error.permanent:
                    self.refused = error
                    break
                is_first = False
                pause = _FIRST_PAUSE if heard >= _STEADY else pause
                text = str(error) if isinstance(error, AsdError) else _described(self.source, error)
                self._put(Lost(text, pause))
                self._stopping.wait(pause * random.uniform(0.9, 1.1))
                pause = min(_LONGEST_PAUSE, 2 * pause)
        self.ended = True
        self._arrived.set()

    def _put(self, item: Arrived | Lost) -> None:
        with self._room:
            while self._is_full() and not self._stopping.is_set():
                self._room.wait()
            self._items.append(item)
            if isinstance(item, Arrived):
                self._seconds += len(item.block.samples) / item.block.sample_rate
                self._bytes += item.block.samples.nbytes
                if len(item.block.samples):
                    self.last = time.monotonic()
        self._arrived.set()

    def _is_full(self) -> bool:
        return self._seconds >= HELD_SECONDS or self._bytes >= _HELD_BYTES


def _joined(items: list[Arrived | Lost]) -> Iterator[Arrived | Lost]:
    waiting: list[Arrived] = []
    for item in items:
        if waiting and not (isinstance(item, Arrived) and _follows(waiting, item)):
            yield _one(waiting)
            waiting = []
        if isinstance(item, Arrived) and len(item.block.samples):
            waiting.append(item)
        else:
            yield item
    if waiting:
        yield _one(waiting)


def _follows(waiting: list[Arrived], item: Arrived) -> bool:
    before, after = waiting[-1].block, item.block
    return (
        (before.sample_rate, before.name, before.samples.shape[1])
        == (after.sample_rate, after.name, after.samples.shape[1])
        and abs(before.time + len(before.samples) / before.sample_rate - after.time) <= _JITTER
        and after.time - waiting[0].block.time < _LONGEST_BLOCK
    )


def _one(waiting: list[Arrived]) -> Arrived:
    if len(waiting) == 1:
        return waiting[0]
    samples = np.concatenate([each.block.samples for each in waiting])
    return Arrived(dataclasses.replace(waiting[0].block, samples=samples), waiting[-1].time)


def _generator(source: Source) -> Any:
    blocks = source.blocks()
    return blocks if hasattr(blocks, "close") else (each for each in blocks)


def _described(source: Source, error: Exception) -> str:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{source.origin or type(source).__name__} failed by itself: {reason}; report it to the plugin's author"
