"""What is wrong with the listening itself, such as a full disk, told like the conditions of a recording."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from asd.plugin import Event
from asd_listen.alerts import id_of
from asd_listen.history import History
from asd_listen.schema import HistoryError
from asd_listen.times import local

CONDITIONS = ("history", "evidence", "disk", "monitors")
"""Their names: the history or evidence cannot be written, evidence is deleted for lack of space, monitors not saved."""


@dataclass
class _Standing:
    began: float
    text: str
    told: bool = False

    def id_of(self, name: str) -> str:
        return id_of("", f"condition {name}", self.began)


class OwnConditions:
    """Makes events of what is wrong with the listening itself.

    Parameters
    ----------
    history : History
        Where events and conditions go, and what stood before a restart. While it takes nothing, events reach the sinks
        all the same.
    seconds : float
        A condition is told once it has stood for so long, and then that it is over.
    """

    def __init__(self, history: History, seconds: float) -> None:
        self._history, self._seconds = history, seconds
        self._standing: dict[str, _Standing] = {}
        with contextlib.suppress(HistoryError):  # told by the history
            rows = history.ask("SELECT name, began, text FROM conditions WHERE machine IS NULL AND over IS NULL")
            for name, began, text in rows:
                if name in CONDITIONS:
                    standing = _Standing(began, text)
                    found = history.ask("SELECT count(*) FROM events WHERE id = ?", (standing.id_of(name),))
                    standing.told = bool(found[0][0])
                    self._standing[name] = standing

    def take(self, name: str, text: str | None, now: float) -> list[Event]:
        """Take that a condition stands, in such words, or that it does not (None); return the events that follow."""
        standing = self._standing.get(name)
        if text is None:
            return [] if standing is None else self._over(name, self._standing.pop(name), now)
        if standing is None:
            standing = self._standing[name] = _Standing(now, text)
            self._history.condition(None, name, now, None, text)
        if standing.told or 0 <= now - standing.began < self._seconds:
            return []
        standing.told = True
        words = f"{text} (since {local(standing.began)})"
        return [self._event(standing.id_of(name), "condition", name, words, now, standing)]

    def _over(self, name: str, standing: _Standing, now: float) -> list[Event]:
        self._history.condition(None, name, standing.began, now, standing.text)
        if not standing.told:
            return []
        words = f"over since {local(now)}: {standing.text}"
        return [self._event(id_of("", f"condition-over {name}", now), "condition-over", name, words, now, standing)]

    def _event(self, number: str, kind: str, name: str, text: str, now: float, standing: _Standing) -> Event:
        data = {"condition": name, "began": standing.began}
        if kind == "condition-over":
            data["event"] = standing.id_of(name)
        event = Event(number, now, "", kind, "warning" if kind == "condition" else "info", text, data)
        self._history.event(event)
        return event
