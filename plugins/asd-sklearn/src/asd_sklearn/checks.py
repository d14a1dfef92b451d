"""Checks of parameters and features; each failure is one line that says how to mend it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from asd.errors import ConfigError, DataError

Features = npt.NDArray[np.floating[Any]]

_LARGEST = float(np.finfo(np.float32).max)


def whole_number(owner: str, parameter: str, value: Any, minimum: int) -> int:
    """Return `value` if it is a whole number of at least `minimum`; raise ConfigError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise ConfigError(
            f"{owner}: {parameter} must be a whole number of at least {minimum}, got {value!r}; "
            f"use --detector.{parameter} {minimum} or more"
        )
    return int(value)


def number(
    owner: str, parameter: str, value: Any, above: float, below: float = np.inf, *, closed: bool = False
) -> float:
    """Return `value` if it lies between `above` and `below` (`closed`: or on them); raise ConfigError otherwise."""
    is_number = not isinstance(value, bool) and isinstance(value, int | float | np.integer | np.floating)
    if is_number and (above < value < below or (closed and value in (above, below) and np.isfinite(value))):
        return float(value)
    limits = f"above {above:g}" if below == np.inf else f"between {above:g} and {below:g}"
    if closed:
        limits = f"of at least {above:g}" if below == np.inf else f"from {above:g} to {below:g}"
    raise ConfigError(f"{owner}: {parameter} must be a number {limits}, got {value!r}; change --detector.{parameter}")


def matrix(owner: str, features: Any) -> Features:
    """Return `features` as a matrix of finite floating-point numbers, without copying where it is one.

    Raises
    ------
    DataError
        If they are not numbers of shape (windows, features), or some are not finite in single precision.
    """
    array = np.asarray(features)
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "fiu":
        raise DataError(
            f"{owner}: expected numbers of shape (windows, features), got shape {array.shape} of {array.dtype}; "
            f"reshape them to one row per window"
        )
    values: Features = array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
    # One pass without a temporary matrix: a NaN makes the minimum NaN, and NaN compares as false.
    if values.size and not (values.min() >= -_LARGEST and values.max() <= _LARGEST):
        bad = np.flatnonzero(~(np.abs(values) <= _LARGEST).all(axis=1))
        raise DataError(
            f"{owner}: {len(bad)} of {len(values)} windows hold NaN or infinite features (the first is window "
            f"{bad[0] + 1}); check those recordings and the extractor's weights"
        )
    return values


def training(owner: str, features: Any) -> Features:
    """Return `features` as `matrix` does, if there is something to learn from them.

    Raises
    ------
    DataError
        As `matrix`; or if there are fewer than two windows, or all are the same.
    """
    values = matrix(owner, features)
    if len(values) < 2:
        count = "1 training window" if len(values) else "no training windows"
        raise DataError(f"{owner}: {count}, at least 2 are needed; give more or longer recordings")
    if count_distinct(values, 2) < 2:
        raise DataError(
            f"{owner}: all {len(values)} training windows have the same features, there is nothing to learn; "
            f"check that the recordings are not silent or copies of one"
        )
    return values


def count_distinct(features: Features, enough: int) -> int:
    """Return how many rows differ from all before them, counting no further than `enough`."""
    seen: set[bytes] = set()
    for row in features:
        seen.add((row + 0.0).tobytes())  # adding zero makes -0.0 and 0.0 one
        if len(seen) >= enough:
            break
    return len(seen)


def same_dimension(owner: str, features: Features, dimension: int) -> None:
    """Raise DataError if `features` do not have the `dimension` that the detector was fitted with."""
    if features.shape[1] != dimension:
        raise DataError(
            f"{owner}: got {features.shape[1]} features a window, was fitted with {dimension}; "
            f"score with the extractor and parameters of the fit, or fit again"
        )
