"""Checks of parameters and features; each failure is one line that says how to mend it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from asd.errors import ConfigError, DataError
from asd.plugin import Float32


def whole_number(owner: str, parameter: str, value: Any, minimum: int) -> None:
    """Raise ConfigError unless `value` is a whole number of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise ConfigError(
            f"{owner}: {parameter} must be a whole number of at least {minimum}, got {value!r}; "
            f"change --detector.{parameter}"
        )


def number(
    owner: str, parameter: str, value: Any, above: float, below: float = math.inf, *, closed: bool = False
) -> None:
    """Raise ConfigError unless `value` lies between `above` (`closed`: or on it) and `below`."""
    is_number = not isinstance(value, bool) and isinstance(value, int | float | np.integer | np.floating)
    if is_number and (above < value < below or (closed and value == above)):
        return
    limits = f"{'of at least' if closed else 'above'} {above:g}"
    if below != math.inf:
        limits += f" and below {below:g}"
    raise ConfigError(f"{owner}: {parameter} must be a number {limits}, got {value!r}; change --detector.{parameter}")


def matrix(owner: str, features: Any) -> Float32:
    """Return `features` as float32[n, d] in one writable piece of memory, copied only if need be.

    Raises
    ------
    DataError
        If they are not of that shape, or some are NaN or infinite.
    """
    values: Float32 = np.require(features, np.float32, ["C", "W"])
    if values.ndim != 2 or values.shape[1] == 0:
        raise DataError(
            f"{owner}: expected features of shape (windows, values), got {values.shape}; give one row per window"
        )
    # One pass without a temporary matrix: a NaN makes the minimum NaN.
    if values.size and not (math.isfinite(values.min()) and math.isfinite(values.max())):
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        raise DataError(
            f"{owner}: {len(bad)} of {len(values)} windows hold NaN or infinite features (the first is window "
            f"{bad[0] + 1}); check those recordings and the front end"
        )
    return values


def level_and_scale(owner: str, features: Float32) -> tuple[float, float]:
    """Return the mean and the standard deviation of all values together.

    Raises
    ------
    DataError
        If all values are the same.
    """
    level = float(features.mean(dtype=np.float64))
    blocks = np.array_split(features, -(-features.size // 2**20))
    square = sum(float(np.square(block - level, dtype=np.float64).sum()) for block in blocks)
    scale = math.sqrt(square / features.size)
    if scale == 0.0:
        raise DataError(
            f"{owner}: all {len(features)} training windows hold nothing but the value {level:g}, there is nothing to "
            "learn; check that the recordings are not silent"
        )
    return level, scale
