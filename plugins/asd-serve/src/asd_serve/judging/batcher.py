"""Joins the clips of requests and streams that come at the same time into one pass through the networks.

Threads read clips and cut windows; one thread takes all clips that are cut and judges them together. It waits for
others only while they are being cut, and not long: a caller who is alone waits for nobody. A caller has a few clips
under way at a time, so that a long recording does not keep out a short one. What waits is bounded everywhere: a full
queue stops the threads that cut, and they stop the callers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import asd
from asd.errors import AudioError
from asd.experiment import Cutters, cut_clip, judge_together
from asd_serve.errors import RequestError

_log = logging.getLogger("asd")

_TOGETHER = 32
"""Clips that a pass judges at most."""
_WAITING = 64
"""Clips that are cut and wait at most: their windows take memory."""
_ENOUGH = 8
"""Clips for which a pass is not put off: more at a time gain little (18, 10, 9 ms a clip of 1, 4, 24)."""
_LINGER = 0.02
"""Seconds that a clip waits at most for each other one, of `_ENOUGH`, that is being cut."""
_CUTTERS = 8
"""Threads that cut, at most, and processes that do so for them: more than one thread that judges keeps up with."""
_AHEAD = 4
"""Clips of one caller that are under way at a time."""

Result = asd.Verdict | asd.Failure


class Watcher(Protocol):
    """Who is told what the batcher does."""

    def passed(self, clips: int, seconds: float) -> None:
        """Note a pass of so many clips."""


@dataclass(eq=False)
class _Entry:
    model: asd.Model
    clip: asd.Clip
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    cut: Any = None

    @property
    def is_wanted(self) -> bool:
        return not self.future.done()


class Batcher:
    """Judges clips of many callers together.

    Parameters
    ----------
    watcher : Watcher
        Who is told of passes.
    cutters : int, optional
        Threads that have clips read and windows cut: of several at a time by processes of their own, as threads of one
        interpreter hinder each other. Default: one for each core, and at most 8.
    callers : int
        Callers that may wait at the same time.
    """

    def __init__(self, watcher: Watcher, *, cutters: int | None = None, callers: int = 512) -> None:
        self._watcher = watcher
        self._callers = callers
        self._present = 0
        count = cutters or min(len(os.sched_getaffinity(0)), _CUTTERS)
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="asd-serve-cut")
        self._cutters = Cutters(count)
        self._changed = threading.Condition()
        self._ready: deque[_Entry] = deque()
        self._cutting = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="asd-serve-judge", daemon=True)

    def begin(self) -> None:
        """Begin to judge."""
        self._thread.start()

    def close(self) -> None:
        """End; what waits is not judged any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._cutters.close()
        if self._thread.ident is not None:
            self._thread.join(20)

    @property
    def waiting(self) -> int:
        """Clips that are being cut, or are cut and wait."""
        return self._cutting + len(self._ready)

    async def judge(self, model: asd.Model, clips: Sequence[asd.Clip]) -> list[Result]:
        """Return a verdict or a failure per clip of recordings, in order. To cancel it is to give the clips up.

        Raises
        ------
        RequestError
            If too many callers wait already.
        """
        return await self._together(clips, lambda clip: self._begun(model, clip, None))

    async def judge_cut(self, model: asd.Model, cut: Sequence[asd.LiveClip]) -> list[Result]:
        """Return a verdict or a failure per clip of a stream; as `judge`."""
        return await self._together(cut, lambda live: self._begun(model, live.clip, live))

    async def _together(self, clips: Sequence[Any], begin: Callable[[Any], asyncio.Future[Result]]) -> list[Result]:
        if self._present >= self._callers:
            text = f"{self._present} callers wait already, which is the most; try again in 1 s"
            raise RequestError(503, text, {"Retry-After": "1"})
        self._present += 1
        under_way: deque[asyncio.Future[Result]] = deque()
        found: list[Result] = []
        try:
            for clip in clips:
                if len(under_way) == _AHEAD:
                    found.append(await under_way.popleft())
                under_way.append(begin(clip))
            while under_way:
                found.append(await under_way.popleft())
        finally:
            self._present -= 1
            for future in under_way:
                future.cancel()
        return found

    def _begun(self, model: asd.Model, clip: asd.Clip, cut: Any) -> asyncio.Future[Result]:
        loop = asyncio.get_running_loop()
        entry = _Entry(model, clip, loop, loop.create_future(), cut)
        with self._changed:
            self._cutting += 1
        self._pool.submit(self._cut, entry)
        return entry.future

    def _cut(self, entry: _Entry) -> None:
        """Read a clip and cut its windows, and put it into the queue, in which there may be no room for a while."""
        try:
            if entry.cut is None and entry.is_wanted:
                in_company = self._cutting > 1
                apart = self._cutters.cut(entry.model, entry.clip) if in_company else None
                entry.cut = apart or cut_clip(entry.model, entry.clip)
        except Exception as error:
            _deliver([(entry, error)])
        with self._changed:
            while len(self._ready) >= _WAITING and not self._closed:
                self._changed.wait()
            self._cutting -= 1
            if entry.cut is not None and entry.is_wanted:
                self._ready.append(entry)
            self._changed.notify_all()

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            began = time.perf_counter()
            if batch:
                results = _judged(batch)
                self._watcher.passed(len(batch), time.perf_counter() - began)  # before anybody can ask for the number
                _deliver(results)

    def _next(self) -> list[_Entry] | None:
        """Wait for clips, and a little for those that are being cut; None: it is over."""
        with self._changed:
            while not self._ready and not self._closed:
                self._changed.wait()
            until = time.monotonic() + _LINGER * min(self._cutting, _ENOUGH)
            while self._cutting and len(self._ready) < _ENOUGH and not self._closed:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            if self._closed:
                return None
            batch = [self._ready.popleft() for _ in range(min(_TOGETHER, len(self._ready)))]
            self._changed.notify_all()
            return [entry for entry in batch if entry.is_wanted]


def _judged(batch: Sequence[_Entry]) -> list[tuple[_Entry, Any]]:
    """Return what is said of each clip: a verdict, a failure or, if all went wrong, an error; nobody's is another's."""
    try:
        found = judge_together([(entry.model, entry.cut) for entry in batch])
        return list(zip(batch, found, strict=True))
    except Exception as error:
        if len(batch) > 1:  # one of them: the others must not suffer
            return [result for entry in batch for result in _judged([entry])]
        return [(batch[0], error)]


def _deliver(results: Sequence[tuple[_Entry, Any]]) -> None:
    """Hand results over to the loops that wait for them."""
    for loop in {entry.loop for entry, _ in results}:
        own = [each for each in results if each[0].loop is loop]
        try:
            loop.call_soon_threadsafe(_set, own)
        except RuntimeError:  # the loop is closed: nobody waits
            _log.debug("%d results came after the end", len(own))


def _set(results: Sequence[tuple[_Entry, Any]]) -> None:
    for entry, result in results:
        if entry.future.done():
            continue
        if isinstance(result, AudioError):
            entry.future.set_result(asd.Failure(entry.clip, result))
        elif isinstance(result, Exception):
            entry.future.set_exception(result)
        else:
            entry.future.set_result(result)
