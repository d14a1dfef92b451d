"""Groups of clips: states, speeds, machines or places that a detector may keep references of by themselves."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

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
    names = [str(clip.path.parent) if group == FOLDER else clip.group for clip in clips]
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
