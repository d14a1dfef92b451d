"""What all tests of the workspace share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

_SHARED = Path(os.environ.get("ASD_SHARED", Path(__file__).resolve().parent.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real recordings, weights and golden arrays; skip the test on a clone without it."""
    if not _SHARED.is_dir():
        pytest.skip("the folder 'shared' with recordings and golden arrays is not beside this clone")
    return _SHARED


@pytest.fixture(scope="session")
def rumble() -> Callable[[int], npt.NDArray[np.float64]]:
    """Return a function that gives the same 3 s of sound at any rate.

    A throbbing of 300 partials below 3400 Hz, so that all of it can be recorded at 8 kHz.
    """

    def at(rate: int) -> npt.NDArray[np.float64]:
        rng = np.random.default_rng(7)
        time = np.arange(3 * rate) / rate
        drawn = rng.uniform(50, 3400, 300), rng.uniform(0, 2 * np.pi, 300), rng.uniform(0.2, 1, 300)
        sound = np.zeros(len(time))
        for frequency, phase, level in zip(*drawn, strict=True):
            sound += level * np.sin(2 * np.pi * frequency * time + phase)
        # A hard cut at the ends would be a click, which only the higher rates can hold.
        fade = np.minimum(1, np.minimum(time, 3 - time) / 0.05)
        return np.asarray(0.005 * fade * (1 + 0.5 * np.sin(2 * np.pi * 7 * time)) * sound)

    return at
