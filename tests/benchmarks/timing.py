"""How the benchmarks take times."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path


def installed(folder: Path) -> dict[str, str]:
    """Return the environment of commands whose modules are compiled once, as an installation by pip has them.

    Parameters
    ----------
    folder : Path
        Where they are kept.
    """
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**own, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}


def seconds(function: Callable[[], object]) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def in_turns(rounds: int, **functions: Callable[[], object]) -> dict[str, float]:
    """Return the median seconds of each function, called in turns so that a drift of the machine meets all alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return {name: statistics.median(values) for name, values in times.items()}
