"""Spectrograms of what was kept: as they were drawn with the explanation, or drawn now, both sides on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from asd_listen import Kept
from asd_pages.pictures import Box, analyse, default_levels, spectrogram

_MARKED = 3
"""Places that are outlined, as by the listener."""


def picture_of(kept: Kept, path: Path) -> bytes:
    """Return the PNG of a recording: that which lies beside it, or one that is drawn now with what was found.

    Parameters
    ----------
    kept : Kept
        What was kept.
    path : Path
        Its recording.
    """
    drawn = kept.path(".png")
    if drawn is not None:
        return drawn.read_bytes()
    boxes = []
    for number, each in enumerate(kept.explanation.get("findings") or (), start=1):
        boxes.append(Box(each.get("start"), each.get("end"), each.get("low"), each.get("high"), str(number)))
    return _drawn(*_version(path), tuple(boxes[:_MARKED]), None)


def healthy_picture(healthy: Path, beside: Path | None) -> bytes:
    """Return the PNG of a healthy recording, with the colours of the one beside which it is shown.

    Parameters
    ----------
    healthy : Path
        The recording.
    beside : Path or None
        The recording with which it is compared; None: it is gone.
    """
    return _drawn(*_version(healthy), (), None if beside is None else _levels(*_version(beside)))


def _version(path: Path) -> tuple[str, int, int]:
    """Return what tells a recording from one that has taken its place."""
    status = path.stat()
    return str(path), status.st_mtime_ns, status.st_size


@lru_cache(64)
def _drawn(path: str, _changed: int, _size: int, boxes: Sequence[Box], levels: tuple[float, float] | None) -> bytes:
    samples, rate = _read(path)
    return spectrogram(samples, rate, boxes=boxes, levels=levels, file_format="png")


@lru_cache(64)
def _levels(path: str, _changed: int, _size: int) -> tuple[float, float]:
    samples, rate = _read(path)
    return default_levels(analyse(samples, rate))


def _read(path: str) -> tuple[Any, int]:
    import soundfile

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return samples.T, rate
