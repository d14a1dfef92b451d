"""Pieces of work for the tests, and what workers do to them."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

_running = 0


def double(number: int) -> int:
    return 2 * number


def process() -> int:
    return os.getpid()


def environment(name: str) -> str:
    return os.environ.get(name, "")


def first_of(values: list[int]) -> int:
    return values[0]


def identity_of(value: object) -> tuple[int, int]:
    return os.getpid(), id(value)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def note_and_wait(folder: str, name: str, seconds: float) -> str:
    """Leave a file when it begins, named by itself and its process; what ran twice has two."""
    (Path(folder) / f"{name}-{os.getpid()}").touch()
    time.sleep(seconds)
    return name


def note_and_hold(folder: str, name: str) -> str:
    """Leave a file when it begins, and end when there is a file ``go``."""
    (Path(folder) / f"{name}-{os.getpid()}").touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.02)
    return name


def some_wait(dask_scheduler: Any) -> bool:
    """Return whether the scheduler still has pieces that are not done."""
    return any(task.state not in ("memory", "erred") for task in dask_scheduler.tasks.values())


def fail(text: str) -> None:
    raise ValueError(text)


def be_late() -> None:
    raise TimeoutError("the function's own")


def alone(seconds: float) -> bool:
    """Return whether no other piece runs in this process meanwhile."""
    global _running
    _running += 1
    was_alone = _running == 1
    time.sleep(seconds)
    was_alone = was_alone and _running == 1
    _running -= 1
    return was_alone and threading.active_count() > 1


def kept_by(dask_scheduler: Any) -> tuple[int, int]:
    """Return how many marks and values the scheduler keeps for pieces."""
    plugin = dask_scheduler.plugins["asd"]
    return len(plugin._begun), len(plugin._values)


def clock() -> float:
    return time.time()
