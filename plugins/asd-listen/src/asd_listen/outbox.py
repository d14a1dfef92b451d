"""A queue on disk for each sink: events wait there until they have arrived, in their order.

Each sink has a thread of its own, so that one that hangs delays no other. An event is marked as delivered right after
`asd.plugin.Sink.send` has returned, durably; it is never sent again. If the process is killed between the two, it is
sent once more, with the same id, by which the other side can tell.
"""

from __future__ import annotations

import contextlib
import time as clock
from collections.abc import Callable, Sequence

from asd.errors import ConfigError
from asd_listen.delivery import OutboxLimits, Queue, SinkState
from asd_listen.history import History
from asd_listen.routes import Route
from asd_listen.schema import HistoryError

__all__ = ["Outbox", "OutboxLimits", "Route", "SinkState"]


class Outbox:
    """Sends the events of a history to sinks, from one queue and thread for each.

    Parameters
    ----------
    history : History
        Where the queues are; it learns here which events go where.
    routes : sequence of Route
        The sinks; their names differ.
    limits : OutboxLimits, optional
        Limits of each queue.
    now : callable
        Gives the present time in seconds since 1970.
    """

    def __init__(
        self,
        history: History,
        routes: Sequence[Route],
        limits: OutboxLimits | None = None,
        now: Callable[[], float] = clock.time,
    ) -> None:
        names = [route.name for route in routes]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(f"two sinks are called {twice!r}; give each a name of its own")
        self._history = history
        self._queues = [Queue(history, route, limits or OutboxLimits(), now) for route in routes]
        history.sinks_for = lambda event: [route.name for route in routes if route.takes(event)]
        history.committed = self.wake
        self._leave_queues_of_others(names)

    def _leave_queues_of_others(self, names: Sequence[str]) -> None:
        """Give up what waits for sinks that the settings no longer name."""
        marks = ", ".join("?" * len(names))
        with contextlib.suppress(HistoryError):
            self._history.write(
                [
                    (
                        "UPDATE deliveries SET state = 'dropped', error = 'the settings name no such sink any more' "
                        f"WHERE state IN ('waiting', 'held', 'overflow') AND sink NOT IN ({marks})",
                        tuple(names),
                    )
                ]
            )

    def start(self) -> None:
        """Send what waits, and what comes."""
        for queue in self._queues:
            queue.start()

    def wake(self) -> None:
        """Let the queues look for new events."""
        for queue in self._queues:
            queue.wake()

    def states(self) -> list[SinkState]:
        """Return how the sinks fare."""
        return [queue.state() for queue in self._queues]

    def close(self, timeout: float = 10.0) -> None:
        """Send what waits, as far as the sinks take it at once, and end; what is left waits for the next start.

        Parameters
        ----------
        timeout : float
            Seconds after which sinks that are still busy are left alone.
        """
        until = clock.monotonic() + timeout
        for queue in self._queues:
            queue.stop()
        for queue in self._queues:
            queue.join(max(0.0, until - clock.monotonic()))
            queue.leave()
