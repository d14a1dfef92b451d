"""How front ends that are measured in seconds cut bands into windows: helpers that they share."""

from __future__ import annotations

import numpy as np

from asd.errors import ConfigError
from asd.plugin import Float32, Float64, Windows

STEP_SECONDS = 0.01
"""Distance of the frames of AudioSet's networks."""


def steps(owner: str, name: str, seconds: float) -> int:
    """Return how many frames, `STEP_SECONDS` apart, a parameter of a front end is.

    Raises
    ------
    ConfigError
        If it is not a whole number of them, above 0.
    """
    count = round(seconds / STEP_SECONDS) if np.isfinite(seconds) else 0
    if count < 1 or abs(count * STEP_SECONDS - seconds) > 1e-6:
        raise ConfigError(
            f"{owner}: {name} is {seconds:g} s, expected a multiple of {STEP_SECONDS:g} s, the distance of frames; "
            f"change --frontend.{name}"
        )
    return count


def runs(frames: Float32, length: int, hop: int) -> Float32:
    """Return a view (n, length, bands) of all runs of `length` frames, `hop` apart, of float32[frames, bands]."""
    return np.lib.stride_tricks.sliding_window_view(frames, length, axis=0)[::hop].transpose(0, 2, 1)


def windows(values: Float32, *, length: int, hop: int, sample_rate: int) -> Windows:
    """Return windows of `length` samples that begin `hop` samples apart."""
    start: Float64 = np.arange(len(values), dtype=np.float64) * (hop / sample_rate)
    return Windows(values, start, length / sample_rate)
