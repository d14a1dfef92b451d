"""Groups of clips: states, speeds, machines or places that a detector may keep references of by themselves."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from asd.errors import DataError
from asd.records import Clip, Int64

FOLDER = "folder"
"""The group of a clip is the folder that its recording is in."""

_NAMED = 5

_log = logging.getLogger("asd")


def column_of(group: str | None) -> str | None:
    """Return the manifest's column that `asd.Config.group` names; None: none."""
    return None if group == FOLDER else group


def group_labels(clips: Sequence[Clip], group: str | None) -> list[str | None]:
    """Return what the group of each clip is called; None: not known, or there are no groups.

    A folder is called by as much of the end of its path as tells it from the others. Clips that a model knew before
    keep their labels, and so do the folders that these fit.
    """
    if group != FOLDER:
        return [None if group is None else clip.group for clip in clips]
    known = {clip.group for clip in clips if clip.group is not None}
    folders = {clip.path.absolute().parent for clip in clips if clip.group is None}
    label = {folder: _label(folder, folders, known) for folder in folders}
    return [clip.group or label[clip.path.absolute().parent] for clip in clips]


def _label(folder: Path, folders: Collection[Path], known: Collection[str]) -> str:
    ends = ["/".join(folder.parts[-count:]) for count in range(1, len(folder.parts) + 1)]
    former = [end for end in ends if end in known]
    if former:
        return former[-1]
    others = [f"/{other.as_posix()}" for other in folders if other != folder] + [f"/{each}" for each in known]
    return next((end for end in ends if not any(other.endswith(f"/{end}") for other in others)), ends[-1])


def groups_of(clips: Sequence[Clip], group: str | None) -> Int64 | None:
    """Return the number of each clip's group, int64[n_clips], -1 where none is known; None: there are no groups.

    Parameters
    ----------
    clips : sequence of Clip
        The clips.
    group : str or None
        ``"folder"``, or the manifest's column that `asd.sound.finding.find_clips` took the clips' groups from.

    Raises
    ------
    DataError
        If no clip has a group.
    """
    if group is None:
        return None
    names = group_labels(clips, group)
    counts = Counter(name for name in names if name is not None)
    if not counts:
        raise DataError(
            f"no clip has a group: group {group!r} is a column of a CSV manifest; name the manifest as DATA, or use "
            f"--group {FOLDER}"
        )
    shown = ", ".join(f"{name} ({count})" for name, count in counts.most_common(_NAMED))
    _log.info("%d groups of clips: %s%s", len(counts), shown, ", …" if len(counts) > _NAMED else "")
    if unknown := names.count(None):
        _log.warning("%d of %d clips have no %r: they are a group of their own", unknown, len(clips), group)
    if single := [name for name, count in counts.items() if count == 1]:
        _log.warning(
            "%d of %d groups have a single clip (%s): too few to know how such clips vary; record more of them",
            len(single), len(counts), ", ".join(single[:_NAMED]),
        )  # fmt: skip
    numbers = {name: number for number, name in enumerate(sorted(counts))}
    return np.array([-1 if name is None else numbers[name] for name in names], np.int64)
