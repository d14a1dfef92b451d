"""Engines, each with one mistake, and one without."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from asd.detection.local_engine import LocalEngine
from asd.errors import EngineError, WorkerLost


class SoundEngine(LocalEngine):
    """Makes no mistake."""


class Lazy(SoundEngine):
    """Starts no process: the pieces run in this one."""

    def submit(self, function: Callable[..., Any], /, *args: Any, needs: Any = None) -> Any:
        try:
            return True, function(*args)
        except Exception as error:
            return False, error

    def wait(self, tasks: Collection[Any]) -> None:
        pass

    def done(self, task: Any) -> bool:
        return True

    def result(self, task: Any) -> Any:
        if not task[0]:
            raise task[1]
        return task[1]

    def cancel(self, tasks: Collection[Any]) -> None:
        pass


class Repeating(SoundEngine):
    """Sends the state with every piece."""

    def scatter(self, value: Any) -> Any:
        return value


class Unanswering(SoundEngine):
    """Forgets its workers."""

    def everywhere(self, function: Callable[..., Any], /, *args: Any) -> dict[str, Any]:
        return {}


class Cancelless(SoundEngine):
    """Does everything that it was ever given."""

    def cancel(self, tasks: Collection[Any]) -> None:
        pass


class Altering(SoundEngine):
    """Returns something else than the pieces did."""

    def result(self, task: Any) -> Any:
        outcome = super().result(task)
        if not hasattr(outcome, "results"):
            return outcome
        return replace(outcome, results=[(each[0], each[1][::-1]) for each in outcome.results])


class Breaking(SoundEngine):
    """Takes the death of one process for its own."""

    def result(self, task: Any) -> Any:
        try:
            return super().result(task)
        except WorkerLost:
            raise EngineError("the pool is broken") from None


class Unclosing(SoundEngine):
    """Is closed once, and no more."""

    _closed = False

    def close(self) -> None:
        if self._closed:
            raise RuntimeError("closed already")
        self._closed = True
        super().close()
