"""Which events go to which sink, and when."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asd.errors import ConfigError
from asd.plugin import Event, Severity, Sink

_RANKS: Mapping[str, int] = {"info": 0, "warning": 1, "alarm": 2}
_ENDED: Mapping[str, Severity] = {"cleared": "alarm", "condition-over": "warning", "unlike-over": "warning"}
"""Severity of what is over by an event of such a kind."""
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True)
class Route:
    """A sink, and the events that go there.

    Parameters
    ----------
    name : str
        What the user calls it; its queue in the history has this name.
    sink : Sink
        Where events go.
    at_least : {"info", "warning", "alarm"}
        Severity below which events are not sent; that something is over is sent to whom it was told.
    quiet_hours : str
        Local time of day such as ``"22:00-06:00"`` in which events are held back; afterwards one summary tells of them.
        Empty: none.
    quiet_alarms : bool
        Whether events of severity ``"alarm"`` are sent in quiet hours too.
    machines : sequence of str
        Names of the machines whose events are sent; empty: all.

    Raises
    ------
    ConfigError
        If the severity or the quiet hours are none.
    """

    name: str
    sink: Sink
    at_least: Severity = "info"
    quiet_hours: str = ""
    quiet_alarms: bool = True
    machines: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.at_least not in _RANKS:
            raise ConfigError(f"sink {self.name!r}: at_least must be info, warning or alarm, got {self.at_least!r}")
        if self.quiet_hours and not _HOURS.fullmatch(self.quiet_hours):
            raise ConfigError(
                f"sink {self.name!r}: quiet_hours must be two times of day such as '22:00-06:00', got "
                f"{self.quiet_hours!r}"
            )

    def takes(self, event: Event) -> bool:
        """Return whether an event goes here at all; one that ends something goes where that went."""
        rank = max(_RANKS[event.severity], _RANKS[_ENDED.get(event.kind, "info")])
        return rank >= _RANKS[self.at_least] and (not self.machines or event.machine in ("", *self.machines))

    def holds(self, severity: Severity, now: float) -> bool:
        """Return whether an event is held back now."""
        return self.is_quiet(now) and not (severity == "alarm" and self.quiet_alarms)

    def is_quiet(self, now: float) -> bool:
        """Return whether a moment is in the quiet hours, by the local clock."""
        hours = _HOURS.fullmatch(self.quiet_hours)
        if hours is None:
            return False
        moment = datetime.datetime.fromtimestamp(now).time()
        first, last = datetime.time(int(hours[1]), int(hours[2])), datetime.time(int(hours[3]), int(hours[4]))
        return first <= moment < last if first <= last else moment >= first or moment < last
