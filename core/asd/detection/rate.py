"""How many false alarms are allowed, in the user's unit: ``1/hour``, ``2/day``, ``1/week``, ``1/month``, ``1/year``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from asd.errors import ConfigError

Unit = Literal["hour", "day", "week", "month", "year"]
SECONDS: dict[Unit, float] = {"hour": 3600, "day": 86400, "week": 604800, "month": 30 * 86400, "year": 365 * 86400}
"""Seconds in each unit; a month has 30 days, a year 365."""

_TEXT = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*/\s*([a-z]+)\s*")


@dataclass(frozen=True)
class Rate:
    """A number of false alarms in a unit of time of sound that is judged.

    Parameters
    ----------
    alarms : float
        Above 0, finite.
    unit : {"hour", "day", "week", "month", "year"}
        A month has 30 days, a year 365.

    Raises
    ------
    ConfigError
        If it is none.
    """

    alarms: float
    unit: Unit

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit) or not 0 < self.alarms < math.inf or not math.isfinite(self.seconds):
            raise _unfit(f"{self.alarms:g}/{self.unit}")

    @classmethod
    def of(cls, given: str | Rate) -> Rate:
        """Return the rate that a text such as ``2/day`` names.

        Raises
        ------
        ConfigError
            If it names none.
        """
        if isinstance(given, Rate):
            return given
        match = _TEXT.fullmatch(given.lower()) if isinstance(given, str) else None
        if match is None or match[2] not in get_args(Unit):
            raise _unfit(given)
        return cls(float(match[1]), match[2])  # type: ignore[arg-type]  # compared with the units above

    @classmethod
    def from_hourly(cls, per_hour: float) -> Rate:
        """Return `per_hour` alarms an hour in the shortest unit that has one alarm or more."""
        for unit in get_args(Unit):
            alarms = per_hour * SECONDS[unit] / 3600
            if alarms >= 0.995 or unit == "year":
                break
        return cls(alarms, unit)

    @property
    def per_hour(self) -> float:
        """Alarms an hour."""
        return self.alarms * 3600 / SECONDS[self.unit]

    @property
    def seconds(self) -> float:
        """Seconds of sound for each alarm."""
        return SECONDS[self.unit] / self.alarms

    def __str__(self) -> str:
        return f"{self.alarms:.12g}/{self.unit}"

    @property
    def words(self) -> str:
        """Such as ``1 false alarm a month``."""
        number = f"{self.alarms:.3g}"
        article = "an" if self.unit == "hour" else "a"
        return f"{number} false alarm{'' if number == '1' else 's'} {article} {self.unit}"


def _unfit(given: object) -> ConfigError:
    return ConfigError(
        f"a rate of false alarms is a number above 0 per hour, day, week, month or year, such as 1/month; got {given!r}"
    )
