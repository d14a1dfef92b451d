"""How the checks compare results and say that something differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asd_testing.errors import CheckFailedError
from asd_testing.use import Array

if TYPE_CHECKING:
    from asd_testing.under_test import ComponentUnderTest

CLOSE = 1e-4
"""Mean difference, as a fraction of the largest value, that the order of additions in float32 may cause."""


def require(holds: bool, found: str) -> None:
    """Raise a CheckFailedError that says what was found, unless it `holds`."""
    if not holds:
        raise CheckFailedError(found)


def require_close(got: Array, expected: Array, what: str, tolerance: float = CLOSE) -> None:
    """Raise a CheckFailedError if two results differ by more than rounding."""
    require(got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}")
    if not expected.size:
        return
    difference = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    scale = max(float(np.abs(expected).max()), 1e-12)
    mean = float(difference.mean())
    require(
        mean <= tolerance * scale,  # a NaN is not
        f"{what}: results differ by {mean:.3g} on average where values reach {scale:.3g}",
    )


def require_finite(values: Array, what: str) -> None:
    """Raise a CheckFailedError if a result holds NaN or infinity."""
    bad = int((~np.isfinite(values)).sum())
    require(not bad, f"{what}: {bad} of {values.size} results are NaN or infinite; give finite ones")


def as_json(tested: ComponentUnderTest, value: Any) -> str:
    """Return parameters as JSON; those of sources and sinks may be paths, which their settings file has as text.

    Raises
    ------
    TypeError
        If one cannot be written.
    """

    def text(other: Any) -> str:
        if tested.kind in ("source", "sink") and isinstance(other, Path):
            return str(other)
        raise TypeError(f"Object of type {type(other).__name__} is not JSON serializable")

    return json.dumps(value, default=text)


def same(one: Any, other: Any) -> bool:
    """Return whether two parameters are the same, arrays included."""
    if one is other:
        return True
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return bool(type(one) is type(other) and one == other)
