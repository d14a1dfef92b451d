"""A user's own recordings in folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from asd.data import ANOMALOUS_LABELS, AUDIO_SUFFIXES, NORMAL_LABELS
from asd.errors import DataError
from asd.interfaces import Dataset
from asd.records import Recording

Split = Literal["train", "test"]


class Folder(Dataset):
    """Recordings in folders that are named after their label, ``normal`` and ``abnormal``, by machine if you like.

    Above the folders of labels there may be ``train`` and ``test``, above those a folder for each machine, and above or
    below it one for each section: ``fan/id_00/train/normal/…``. Without ``train`` and ``test`` the split is left to the
    experiment. ``train`` may hold recordings without a folder of their label: they are normal.
    """

    def recordings(self, folder: Path) -> Sequence[Recording]:
        """Return the recordings below `folder`, ordered by path; errors as for `Dataset.recordings`."""
        found = list(_recordings(folder))
        if not any(recording.anomalous is False for recording in found):
            raise DataError(
                f"{folder}: found no recordings below a folder 'normal' (or {', '.join(sorted(NORMAL_LABELS))}); "
                "expected normal/ and abnormal/, with train/ and test/ or a folder for each machine above them"
            )
        return found


def _recordings(folder: Path) -> Iterator[Recording]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".") and path.is_file():
            recording = _described(path, path.relative_to(folder).parts[:-1])
            if recording is not None:
                yield recording


def _described(path: Path, parts: tuple[str, ...]) -> Recording | None:
    """Return what the folders' names say of a recording; None if they say no label."""
    label = next((_label(part) for part in reversed(parts) if _label(part) is not None), None)
    split = next((_split(part) for part in reversed(parts) if _split(part) is not None), None)
    if label is None and split == "train":
        label = False
    if label is None:
        return None
    names = [part for part in parts if _label(part) is None and _split(part) is None]
    return Recording(path, machine="/".join(names[:1]), section="/".join(names[1:]), split=split, anomalous=label)


def _label(name: str) -> bool | None:
    word = name.lower()
    return False if word in NORMAL_LABELS else True if word in ANOMALOUS_LABELS else None


def _split(name: str) -> Split | None:
    splits: dict[str, Split] = {"train": "train", "test": "test"}
    return splits.get(name.lower())
