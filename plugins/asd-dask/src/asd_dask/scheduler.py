"""What the engine keeps with the scheduler: the values that pieces share, and which pieces were begun.

One message each way for a piece: `distributed.Event` would take three for the same, and a client on each worker.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from distributed import SchedulerPlugin

if TYPE_CHECKING:
    from distributed import Client, Scheduler


class AtScheduler(SchedulerPlugin):
    """Answers workers and clients in the scheduler's process.

    Each public method but those that Dask calls is an operation of the scheduler, ``asd_`` before its name.
    """

    name = "asd"
    idempotent = True

    def __init__(self) -> None:
        self._begun: set[str] = set()
        self._values: dict[str, tuple[str, bytes]] = {}

    async def start(self, scheduler: Scheduler) -> None:
        """Offer the operations."""
        own = (self.share, self.forget, self.shared, self.begin, self.was_begun)
        scheduler.handlers.update({f"asd_{each.__name__}": each for each in own})

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Forget the values of a client that is gone, be it that it was killed."""
        self._values = {name: each for name, each in self._values.items() if each[0] != client}

    def share(self, name: str, value: bytes, owner: str) -> None:
        """Keep a value of a client."""
        self._values[name] = owner, value

    def forget(self, names: Collection[str]) -> None:
        """Forget values."""
        for name in names:
            self._values.pop(name, None)

    def shared(self, name: str) -> bytes | None:
        """Return a value; None: it is not here."""
        return self._values.get(name, (None, None))[1]

    def begin(self, token: str, ended: Collection[str]) -> bool:
        """Mark a piece that a worker is about to begin; return whether it had no mark, so that it may.

        The marks of those that ended in the worker's process are taken off.
        """
        self._begun.difference_update(ended)
        fresh = token not in self._begun
        self._begun.add(token)
        return fresh

    def was_begun(self, token: str) -> bool:
        """Return whether a piece had a mark, and take it off."""
        had = token in self._begun
        self._begun.discard(token)
        return had


def ask(client: Client, operation: str, **values: Any) -> Any:
    """Let the scheduler of a client do one of the operations."""
    return client.sync(getattr(client.scheduler, f"asd_{operation}"), **values)
