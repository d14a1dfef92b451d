"""Functions that the processes of an engine run in tests: they must be importable there."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from asd.experiment import Clip, track
from waiting import until


def stems(prefix: str, clips: Sequence[Clip]) -> Iterator[str]:
    """Yield the prefix with each clip's stem; a clip called ``kill`` kills the process."""
    for clip in clips:
        if clip.path.stem.startswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if clip.path.stem == "bad":
            raise KeyError(clip.path.stem)
        time.sleep(0.001)
        yield prefix + clip.path.stem


def once_only(folder: Path, clips: Sequence[Clip]) -> Iterator[str]:
    """Yield each clip's stem; the first process that sees the clip ``10`` is killed."""
    for clip in clips:
        if clip.path.stem == "10" and not (mark := folder / "seen").exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield clip.path.stem


def warning(text: str, clips: Sequence[Clip]) -> Iterator[int]:
    """Yield zeros; warn of each clip."""
    for _ in track(clips, "unseen"):
        logging.getLogger("asd").warning("%s", text)
        logging.getLogger("asd").info("%d of %d", 1, 2)
        yield 0


def square(factor: int, item: int) -> int:
    """Return the square of an item; 7 ends the process."""
    if item == 7:
        os._exit(3)
    return factor * item * item


def awaited(file: Path, item: int) -> int:
    """Return an item; 5 only when there is a file."""
    if item == 5:
        until(file.exists)
    return item


def touched(folder: Path, item: int) -> int:
    """Note an item by a file."""
    (folder / str(item)).touch()
    return item


class OddError(Exception):
    """An error that cannot be made again of its text."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


def odd(_: None, item: int) -> int:
    """Raise an error that pickle cannot carry."""
    raise OddError(item, 2)


def variable(name: str, _: int) -> str | None:
    """Return an environment variable of the process."""
    return os.environ.get(name)
