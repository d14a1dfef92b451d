"""What a model file keeps of where it comes from: the recordings that it knows, and what was done to it."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from asd.detection.groups import group_labels
from asd.detection.manifest import HISTORY_LIMIT, HistoryEntry, TrainingEntry
from asd.records import Clip

Action = Literal["fitted", "recalibrated", "calibration extended", "updated"]

_WHOLE: list[tuple[float, float | None]] = [(0.0, None)]
"""The parts of a recording that is one clip."""


def entries_of(clips: Sequence[Clip], contents: Mapping[Path, str], group: str | None = None) -> list[TrainingEntry]:
    """Return what a model file keeps of the recordings that clips are parts of.

    Parameters
    ----------
    clips : sequence of Clip
        The clips.
    contents : mapping of Path to str
        SHA-256 of each recording.
    group : str, optional
        What names the group of each clip, as in `asd.Config`; None: there are none.
    """
    entries: dict[Path, TrainingEntry] = {}
    for clip, label in zip(clips, group_labels(clips, group), strict=True):
        entry = entries.setdefault(clip.path, {"name": clip.path.name, "sha256": contents[clip.path], "clips": []})
        entry["clips"].append((clip.start, clip.duration))
        if group is not None:
            entry.setdefault("groups", []).append(label)
    for entry in entries.values():
        if entry["clips"] == _WHOLE:
            del entry["clips"]
    return list(entries.values())


def parts_of(entry: TrainingEntry) -> list[tuple[float, float | None]]:
    """Return start and duration in seconds of each clip of a recording; None: to its end."""
    return entry.get("clips", _WHOLE)


def clips_of(entry: TrainingEntry, path: Path) -> list[Clip]:
    """Return the clips of a recording that lies at a path, with their groups where they are known."""
    parts = parts_of(entry)
    groups = entry.get("groups", [None] * len(parts))
    return [Clip(path, *part, group) for part, group in zip(parts, groups, strict=True)]


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
