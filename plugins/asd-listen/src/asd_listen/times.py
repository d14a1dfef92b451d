"""Times for people: local, with the distance from UTC, so that the hour that summer time repeats is told apart."""

from __future__ import annotations

import datetime
import re

from asd.errors import ConfigError

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d|w)")


def local(moment: float) -> str:
    """Return a time, in seconds since 1970, as local time, such as ``2026-11-27 00:12:37+01:00``."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).astimezone().isoformat(" ", "seconds")


def minute(moment: float) -> str:
    """Return a time as people say it, local and to the minute: ``2026-11-27 00:12``."""
    return f"{datetime.datetime.fromtimestamp(moment):%Y-%m-%d %H:%M}"


def utc(moment: float) -> str:
    """Return a time as UTC, fit for file names: ``20261127T001237Z``, which `asd score` reads as a time stamp."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")


def moment_of(option: str, text: str, now: float) -> float:
    """Return the time that a user means: a date (local if it names no zone), seconds since 1970, or ``24h`` ago.

    Raises
    ------
    ConfigError
        If it is none.
    """
    if ago := _AGO.fullmatch(text.strip()):
        return now - float(ago[1]) * _UNITS[ago[2]]
    try:
        return datetime.datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError):
        pass
    try:
        seconds = float(text)
        datetime.datetime.fromtimestamp(seconds)  # refuses what is beyond all calendars
    except (ValueError, OverflowError, OSError):
        raise ConfigError(
            f"{option} takes a time such as 2026-11-26T20:15:00, an age such as 30min, 24h or 7d, or seconds since "
            f"1970; got {text!r}"
        ) from None
    return seconds


def span(seconds: float) -> str:
    """Return a length of time in words, such as ``2.5 min``."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
