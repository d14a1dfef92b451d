"""Threads that ask a history, so that nobody waits for a disk in the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from asd_listen import HistoryError, Reader

_T = TypeVar("_T")
_P = ParamSpec("_P")


class Readers:
    """Threads with a reader each; one whose file is no longer there, or is another one, is opened anew.

    Parameters
    ----------
    place : callable
        Returns the history that is to be read, or its folder.
    count : int
        How many questions are answered at a time.
    """

    def __init__(self, place: Callable[[], Path], count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="asd-serve-history")
        self._place = place
        self._own = threading.local()
        self._all: list[Reader] = []

    async def ask(self, question: Callable[Concatenate[Reader, _P], _T], *given: _P.args, **named: _P.kwargs) -> _T:
        """Return what `question` answers to a reader and what else is given."""
        work = lambda: question(self._mine(), *given, **named)  # noqa: E731 - for the thread, in which readers are found
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Wait for what is being asked, and release the files."""
        self._pool.shutdown(cancel_futures=True)
        for reader in self._all:
            reader.close()

    def _mine(self) -> Reader:
        kept: tuple[Reader, tuple[Path, int]] | None = getattr(self._own, "reader", None)
        if kept is not None:
            if kept[1] == self._identity(kept[0].path):
                return kept[0]
            self._all.remove(kept[0])
            kept[0].close()
            self._own.reader = None
        reader = Reader(self._place())
        self._own.reader = (reader, self._identity(reader.path))
        self._all.append(reader)
        return reader

    def _identity(self, path: Path) -> tuple[Path, int]:
        """Return what is to be read, and which file that is: a copy may have been put back in its place."""
        try:
            return self._place(), path.stat().st_ino
        except OSError as error:
            raise HistoryError(
                f"{path}: the history is gone ({error.strerror}); put it back, or start again"
            ) from error
