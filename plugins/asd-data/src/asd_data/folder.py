"""A user's own recordings in folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from asd.errors import DataError
from asd.plugin import ANOMALOUS_LABELS, AUDIO_SUFFIXES, NORMAL_LABELS, Dataset, Recording

Split = Literal["train", "test"]
SPLITS: dict[str, Split] = {"train": "train", "test": "test"}


class Folder(Dataset):
    """Recordings in folders that are named after their label, ``normal`` and ``abnormal``, by machine if you like.

    Above the folders of labels there may be ``train`` and ``test``, above those a folder for each machine, and between
    them one for each section: ``fan/id_00/train/normal/…``. Without ``train`` and ``test`` the split is left to the
    experiment. ``train`` may hold recordings without a folder of their label: they are normal.
    """

    def recordings(self, folder: Path) -> Sequence[Recording]:
        """Return the recordings below `folder`, ordered by path; errors as for `Dataset.recordings`."""
        found = list(_recordings(existing(folder)))
        if not any(recording.anomalous is False for recording in found):
            raise DataError(
                f"{folder}: found no recordings below a folder 'normal' (or {', '.join(sorted(NORMAL_LABELS))}); "
                "expected normal/ and abnormal/, with train/ and test/ or a folder for each machine above them"
            )
        return found

    def write_example(self, folder: Path) -> None:
        """Write a tiny tree of this layout, of empty files, for `asd.testing`."""
        for name in ("train/normal/0.wav", "test/normal/1.wav", "test/abnormal/2.wav"):
            path = folder / "fan" / name
            path.parent.mkdir(parents=True)
            path.touch()


def existing(folder: Path, fetchable: str = "") -> Path:
    """Return `folder` if it is one.

    Parameters
    ----------
    folder : Path
        Where a dataset should be.
    fetchable : str
        The dataset's name if it can be fetched, for the error's text.

    Raises
    ------
    DataError
        If there is no such folder.
    """
    if not folder.is_dir():
        mend = f"; 'asd data fetch {fetchable} {folder}' brings it there" if fetchable else ""
        raise DataError(f"{folder}: no such folder{mend}")
    return folder


def audio_files(folder: Path) -> Iterator[Path]:
    """Yield the recordings below `folder` in order; what a Mac or an editor hides is not one."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".") and path.is_file():
            yield path


def label_of(word: str) -> bool | None:
    """Return whether `word` means anomalous (True) or normal (False); None if it is no label."""
    word = word.strip().lower()
    return False if word in NORMAL_LABELS else True if word in ANOMALOUS_LABELS else None


def _recordings(folder: Path) -> Iterator[Recording]:
    for path in audio_files(folder):
        parts = path.relative_to(folder).parts[:-1]
        label = next((label_of(part) for part in reversed(parts) if label_of(part) is not None), None)
        split = next((SPLITS[part.lower()] for part in reversed(parts) if part.lower() in SPLITS), None)
        if label is None and split == "train":
            label = False
        if label is not None:
            names = [part for part in parts if label_of(part) is None and part.lower() not in SPLITS]
            yield Recording(path, "/".join(names[:1]), "/".join(names[1:]), split, label)
