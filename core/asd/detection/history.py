"""What a model file keeps of where it comes from: the recordings that it knows, and what was done to it."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from asd.detection.manifest import HISTORY_LIMIT, HistoryEntry, TrainingEntry
from asd.records import Clip

Action = Literal["fitted", "recalibrated", "calibration extended", "updated"]

_WHOLE: list[tuple[float, float | None]] = [(0.0, None)]
"""The parts of a recording that is one clip."""


def entries_of(clips: Sequence[Clip], contents: Mapping[Path, str]) -> list[TrainingEntry]:
    """Return what a model file keeps of the recordings that clips are parts of.

    Parameters
    ----------
    clips : sequence of Clip
        The clips.
    contents : mapping of Path to str
        SHA-256 of each recording.
    """
    parts: dict[Path, list[tuple[float, float | None]]] = {}
    for clip in clips:
        parts.setdefault(clip.path, []).append((clip.start, clip.duration))
    return [_entry(path.name, contents[path], own) for path, own in parts.items()]


def _entry(name: str, sha256: str, parts: list[tuple[float, float | None]]) -> TrainingEntry:
    if parts == _WHOLE:
        return {"name": name, "sha256": sha256}
    return {"name": name, "sha256": sha256, "clips": parts}


def parts_of(entry: TrainingEntry) -> list[tuple[float, float | None]]:
    """Return start and duration in seconds of each clip of a recording; None: to its end."""
    return entry.get("clips", _WHOLE)


def event(action: Action, clips: int, entries: Sequence[TrainingEntry], when: str | None = None) -> HistoryEntry:
    """Return a line of a model's history.

    Parameters
    ----------
    action : {"fitted", "recalibrated", "calibration extended", "updated"}
        What was done.
    clips : int
        By how many clips.
    entries : sequence of TrainingEntry
        The recordings that they are parts of.
    when : str, optional
        Date and time; default: now.
    """
    digest = hashlib.sha256("\n".join(sorted(entry["sha256"] for entry in entries)).encode()).hexdigest()
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"action": action, "when": when or now, "clips": clips, "recordings": len(entries), "sha256": digest}


def continued(history: Sequence[HistoryEntry], added: HistoryEntry) -> list[HistoryEntry]:
    """Return a history with a line more: the first line and the latest ones stay, `HISTORY_LIMIT` in all."""
    whole = [*history, added]
    return whole if len(whole) <= HISTORY_LIMIT else [whole[0], *whole[-(HISTORY_LIMIT - 1) :]]
