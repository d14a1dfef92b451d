"""How the checks compare results and say that something differs."""

from __future__ import annotations

from typing import Any

import numpy as np

from asd_testing.errors import CheckFailedError
from asd_testing.use import Array

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


def same(one: Any, other: Any) -> bool:
    """Return whether two parameters are the same, arrays included."""
    if one is other:
        return True
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return bool(type(one) is type(other) and one == other)
