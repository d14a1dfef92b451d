"""A monitor for looking at: what it watched, and what it would say of further clips. Nothing is saved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asd.detection.evidence import log_bets, shiryaev_roberts
from asd.detection.monitor import Monitor
from asd.detection.monitor_state import StateFile, digest_of
from asd.errors import MonitorError

if TYPE_CHECKING:
    from asd.detection.model import Model

_RESTARTS = frozenset({"started", "reset", "normal", "undo", "cleared", "unlike"})
"""Kinds of events after which evidence is counted anew."""


@dataclass(frozen=True)
class WatchedClip:
    """A clip that a monitor remembers.

    Parameters
    ----------
    time : float
        In seconds since 1970.
    clip : str
        Its name, without folders.
    p_value : float
        Its rank among the clips watched before it.
    evidence : float
        As in `asd.Status`, counted anew from the clips that are remembered.
    """

    time: float
    clip: str
    p_value: float
    evidence: float


def copy_of_monitor(path: str | Path, model: Model | None = None) -> Monitor:
    """Return a copy of the monitor in a file, which saves nothing; the file is only read.

    Parameters
    ----------
    path : str or Path
        The file.
    model : Model, optional
        The model that it must belong to; None: any.

    Raises
    ------
    MonitorError
        If the file is missing, damaged, or of another model.
    """
    monitor = Monitor.from_state(StateFile(Path(path)).read())
    if model is not None and monitor.state.model != digest_of(model):
        raise MonitorError(f"{path}: belongs to another model; give the model that it was started with")
    return monitor


def watched_clips(monitor: Monitor) -> list[WatchedClip]:
    """Return the clips that a monitor remembers, in the order of time."""
    state = monitor.state
    restarts = sorted(event.time for event in state.history if event.kind in _RESTARTS)
    found: list[WatchedClip] = []
    rows = state.recent.rows
    for part in _parts(rows["time"], restarts):
        own = rows[part]
        values = np.logaddexp(0.0, shiryaev_roberts(log_bets(own["p_value"]))) / math.log(10)
        columns = (*(own[name] for name in ("time", "clip", "p_value")), values)
        found += [WatchedClip(*each) for each in zip(*(column.tolist() for column in columns), strict=True)]
    return found


def _parts(times: np.ndarray[tuple[int], np.dtype[np.float64]], restarts: list[float]) -> list[slice]:
    """Return the stretches of clips between restarts that hold any."""
    ends = [0, *np.searchsorted(times, restarts, side="right").tolist(), len(times)]
    return [slice(a, b) for a, b in pairwise(ends) if a < b]
