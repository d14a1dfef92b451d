"""Levels of a machine in 1/3-octave bands over any span, as a table that can be drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from asd_listen.reader import Reader

_MINUTE = 60.0
_decode = msgspec.json.Decoder(dict[str, tuple[float, float]]).decode
_MOST = 4
"""Minutes that are looked at for a point: a year of minutes takes seconds to read, and steady sound needs few."""


@dataclass(frozen=True)
class LevelSeries:
    """Levels over time.

    Parameters
    ----------
    bands : list of float
        Nominal centre frequencies in Hz.
    times : list of float
        When each point begins, in seconds since 1970; stretches without sound have none.
    step : float
        Seconds from one point to the next.
    levels : list of list of float or None
        Mean level (of power) of each point in each band, in dB of full scale.
    level : list of float or None
        The same of the whole.
    sampled : bool
        Whether the points are means of some of their minutes, evenly spread, and not of all.
    """

    bands: list[float]
    times: list[float]
    step: float
    levels: list[list[float | None]]
    level: list[float | None]
    sampled: bool


def level_series(reader: Reader, machine: str, since: float, until: float, points: int = 600) -> LevelSeries:
    """Return the levels of a machine as at most so many points.

    Parameters
    ----------
    reader : Reader
        The history.
    machine : str
        Name of the machine.
    since, until : float
        First time, and the time before which it ends, in seconds since 1970.
    points : int
        How many at most.

    Raises
    ------
    HistoryError
        If the history cannot be read.
    """
    step = max((until - since) / max(points, 1), _MINUTE)
    sampled = step > _MOST * _MINUTE
    rows = _sampled(reader, machine, since, until, step) if sampled else _all(reader, machine, since, until)
    points_of = np.array([(time - since) // step for time, _, _ in rows], np.int64)
    held, row_of = np.unique(points_of, return_inverse=True)
    decoded = [_decode(bands) for _, _, bands in rows]
    names = sorted({name for bands in {tuple(each) for each in decoded} for name in map(float, bands)})
    powers = np.zeros((len(held), len(names) + 1))
    counts = np.zeros_like(powers)
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, bands in enumerate(decoded):
        groups.setdefault(tuple(bands), []).append(index)
    for own, members in groups.items():  # minutes at one sample rate have the same bands
        columns = np.array([names.index(float(name)) for name in own], np.int64)
        means = np.array([[mean for mean, _ in decoded[index].values()] for index in members]).reshape(len(members), -1)
        place = np.ix_(row_of[np.array(members)], columns)
        np.add.at(powers, place, 10 ** (means / 10))
        np.add.at(counts, place, 1)
    whole = np.array([np.nan if level is None else level for _, level, _ in rows], float)
    known = np.flatnonzero(np.isfinite(whole))
    np.add.at(powers[:, -1], row_of[known], 10 ** (whole[known] / 10))
    np.add.at(counts[:, -1], row_of[known], 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        decibels = 10 * np.log10(powers / counts)
    rounded = np.round(decibels, 1).astype(object)
    rounded[~np.isfinite(decibels)] = None
    table: list[list[float | None]] = rounded.tolist()
    return LevelSeries(
        names,
        [since + point * step for point in held.tolist()],
        step,
        [row[:-1] for row in table],
        [row[-1] for row in table],
        sampled,
    )


def _all(reader: Reader, machine: str, since: float, until: float) -> Any:
    return reader.ask(
        "SELECT time, level, bands FROM levels WHERE machine = (SELECT id FROM machines WHERE name = ?) "
        "AND time >= ? AND time < ? ORDER BY time",
        (machine, since, until),
    )


def _sampled(reader: Reader, machine: str, since: float, until: float, step: float) -> Any:
    """Return the first minute of each of some equal parts of each point."""
    return reader.ask(
        "WITH RECURSIVE part(begin) AS (SELECT :since UNION ALL SELECT begin + :width FROM part "
        "WHERE begin + :width < :until), own(id) AS (SELECT id FROM machines WHERE name = :machine) "
        "SELECT l.time, l.level, l.bands FROM own, part CROSS JOIN levels l ON l.machine = own.id AND l.time = "
        "(SELECT time FROM levels WHERE machine = own.id AND time >= begin AND time < min(begin + :width, :until) "
        "ORDER BY time LIMIT 1) ORDER BY l.time",
        {"machine": machine, "since": since, "until": until, "width": step / _MOST},
    )
