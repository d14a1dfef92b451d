"""The recordings that a history says were kept: where they lie, and what is known of them."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asd_listen.reader import Reader

_log = logging.getLogger("asd")
_COLUMNS = "machine, event, kind, began, seconds, file, data, deleted, reason"


@dataclass(frozen=True)
class Kept:
    """A recording that was kept.

    Parameters
    ----------
    machine : str
        Name of the machine.
    event : str or None
        Id of the event of which it is evidence; None: it was healthy.
    kind : str
        Kind of the event, or ``"healthy"``.
    began, seconds : float
        When it begins, in seconds since 1970, and its length.
    file : str
        Its name below the folder of evidence.
    explanation : dict
        ``text``, ``sentences`` and ``findings``; or ``failed``, why there is none; or nothing.
    deleted : float or None
        When it was deleted.
    reason : str or None
        Why it was deleted.
    folder : Path
        The folder of evidence.
    """

    machine: str
    event: str | None
    kind: str
    began: float
    seconds: float
    file: str
    explanation: dict[str, Any]
    deleted: float | None
    reason: str | None
    folder: Path

    def path(self, suffix: str = ".flac") -> Path | None:
        """Return the recording, or what lies beside it; None: it is not there, or leads out of the folder.

        A name with ``..``, or a link to elsewhere, is not followed: the history may be a copy from somewhere else.

        Parameters
        ----------
        suffix : {".flac", ".json", ".png"}
            What of it.
        """
        folder = self.folder.resolve()
        path = (folder / self.file).with_suffix(suffix).resolve()
        if not path.is_relative_to(folder):
            _log.warning("%s: leads out of the folder of evidence %s: it is not opened", self.file, self.folder)
            return None
        return path if path.is_file() else None


def kept_of(reader: Reader, event: str) -> Kept | None:
    """Return the recording that was kept of an event, deleted or not; None: none was."""
    found = _found(reader, "event = ? ORDER BY deleted IS NOT NULL, began DESC, id DESC LIMIT 1", (event,))
    return found[0] if found else None


def healthy_clips(reader: Reader, machine: str, *, last: int = 100) -> list[Kept]:
    """Return the healthy recordings of a machine that are still there, the newest first."""
    where = "machine = ? AND kind = 'healthy' AND deleted IS NULL ORDER BY began DESC, id DESC LIMIT ?"
    return _found(reader, where, (machine, last))


def _found(reader: Reader, where: str, values: tuple[Any, ...]) -> list[Kept]:
    folder = reader.path.parent / "evidence"
    rows = reader.ask(f"SELECT {_COLUMNS} FROM evidence WHERE {where}", values)
    return [_kept(folder, *row) for row in rows]


def _kept(folder: Path, *row: Any) -> Kept:
    machine, event, kind, began, seconds, file, data, deleted, reason = row
    return Kept(machine, event, kind, began, seconds, file, json.loads(data), deleted, reason, folder)
