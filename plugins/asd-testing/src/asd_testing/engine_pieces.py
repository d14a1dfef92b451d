"""Pieces of work that the checks of engines have workers do: functions that another process can import."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asd.errors import DataError
from asd.experiment import Clip


@dataclass
class Counted:
    """A value that leaves a file in a folder each time when it is pickled."""

    folder: Path
    value: int

    def __getstate__(self) -> dict[str, Any]:
        (self.folder / uuid.uuid4().hex).touch()
        return self.__dict__


def add(one: int, other: int) -> int:
    """Return a sum."""
    return one + other


def plus(counted: Counted, number: int) -> int:
    """Return a number added to a shared value."""
    return counted.value + number


def process(pause: float) -> int:
    """Return the number of the process, after a pause."""
    time.sleep(pause)
    return os.getpid()


def refuse(path: str) -> None:
    """Raise an error of asd."""
    raise DataError(f"{path}: refused")


def mark(folder: Path, number: int, pause: float, patience: float) -> None:
    """Leave a file that says that this piece has begun; end, unless it is the first, a pause after there is ``go``."""
    (folder / str(number)).touch()
    if number == 0:
        return
    end = time.monotonic() + patience
    while not (folder / "go").exists() and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(pause)


def spectra(state: int, clips: Sequence[Clip]) -> Iterator[tuple[str, bytes]]:
    """Yield numbers that a clip's name and the state decide, the later clips faster than the first."""
    for clip in clips:
        number = int(clip.path.stem)
        time.sleep(0.1 if number == 0 else 0.0)
        drawn = np.random.default_rng(number).normal(size=(4, 64)).astype(np.float32)
        yield clip.path.name, np.abs(np.fft.rfft(drawn * state)).astype(np.float32).tobytes()


def deadly(name: str, clips: Sequence[Clip]) -> Iterator[str]:
    """Yield the name of each clip; one of them kills the process that works on it."""
    for clip in clips:
        if clip.path.name == name:
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        yield clip.path.name
