"""A user's own recordings in folders."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from asd.errors import ConfigError, DataError
from asd.plugin import ANOMALOUS_LABELS, AUDIO_SUFFIXES, NORMAL_LABELS, Dataset, Recording
from asd_data.example import touch_files
from asd_registry import did_you_mean

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
        touch_files(folder / "fan", ["train/normal/0.wav", "test/normal/1.wav", "test/abnormal/2.wav"])


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
    """Yield the recordings below `folder` in order; hidden files of a Mac or an editor are not recordings."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".") and path.is_file():
            yield path


def contents(folder: Path) -> str:
    """Return the names of the first few files and folders in `folder`, for an error's text."""
    return ", ".join(sorted(path.name for path in folder.iterdir())[:6]) or "nothing"


def check_machines(dataset: str, machines: Iterable[str], known: Collection[str]) -> None:
    """Raise a ConfigError for a machine that the data set does not have."""
    for machine in machines:
        if machine not in known:
            raise ConfigError(f"{dataset} has no machine {machine!r}; {did_you_mean(machine, known)}")


def check_both_labels(dataset: str, folder: Path, found: Iterable[Recording], words: Mapping[bool, str]) -> None:
    """Raise a DataError for a section of a machine without normal or without anomalous recordings.

    Parameters
    ----------
    dataset : str
        The data set's name.
    folder : Path
        The folder that was searched.
    found : iterable of Recording
        The recordings.
    words : mapping of bool to str
        The data set's own names of normal (False) and anomalous (True).
    """
    labels: dict[tuple[str, str], set[bool | None]] = {}
    for recording in found:
        labels.setdefault((recording.machine, recording.section), set()).add(recording.anomalous)
    for (machine, section), here in sorted(labels.items()):
        for label in words.keys() - here:
            raise DataError(
                f"{folder}: {dataset} is incomplete: {machine}, {section}: found {words[not label]} and no "
                f"{words[label]} clips; 'asd data fetch {dataset} {folder}' brings what is missing"
            )


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
