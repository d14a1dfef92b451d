"""What may be wrong with recordings whose layout is right: missing clips, unreadable files, the same content twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from asd.errors import AudioError
from asd.experiment import duplicates
from asd.plugin import Dataset, Recording, digest_of, duration_of, track

LABELS = {False: "normal", True: "anomalous", None: "unlabelled"}

_SHOWN = 3
"""Clips that a problem names before it only counts."""


@dataclass(frozen=True)
class Part:
    """How many clips of a machine's section there are.

    Parameters
    ----------
    machine, section : str
        Which.
    counts : Counter of (str, str)
        Clips by split (``"train"``, ``"test"``, ``""``) and label (the values of `LABELS`).
    """

    machine: str
    section: str
    counts: Counter[tuple[str, str]]

    @property
    def name(self) -> str:
        """The name of the part in a message."""
        return ", ".join(filter(None, (self.machine, self.section and f"section {self.section}"))) or "the recordings"

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON holds them."""
        clips = [{"split": split or None, "label": label, "count": n} for (split, label), n in self.counts.items()]
        return {"machine": self.machine, "section": self.section, "clips": clips}


def parts_of(recordings: Iterable[Recording]) -> list[Part]:
    """Count the clips of each machine's sections."""
    counted: dict[tuple[str, str], Counter[tuple[str, str]]] = {}
    for recording in recordings:
        counter = counted.setdefault((recording.machine, recording.section), Counter())
        counter[recording.split or "", LABELS[recording.anomalous]] += 1
    return [Part(machine, section, counts) for (machine, section), counts in sorted(counted.items())]


def problems_of(dataset: Dataset, recordings: Sequence[Recording]) -> list[str]:
    """Read every file, and return what is wrong, a line each."""
    parts = parts_of(recordings)
    return [
        *_wrong_counts(dataset, parts),
        *_missing_classes(parts),
        *_unreadable(recordings),
        *_duplicates(recordings),
    ]


def absent_from(dataset: Dataset, recordings: Iterable[Recording]) -> list[str]:
    """Return the machines without any recording, if the dataset knows its machines."""
    here = {recording.machine for recording in recordings}
    return sorted({machine for machine, _, _ in _expected(dataset)} - here)


def _expected(dataset: Dataset) -> Mapping[tuple[str, str, str], int]:
    # An optional capability: datasets whose publisher states numbers have it.
    counts: Callable[[], Mapping[tuple[str, str, str], int]] | None = getattr(dataset, "expected_clips", None)
    return counts() if counts else {}


def _wrong_counts(dataset: Dataset, parts: Iterable[Part]) -> Iterator[str]:
    expected = _expected(dataset)
    for part in parts:
        for split in ("train", "test"):
            wanted = expected.get((part.machine, part.section, split))
            found = sum(part.counts[split, label] for label in LABELS.values())
            if wanted not in (None, found):
                yield f"{part.name}: found {found} {split} clips, expected {wanted}"


def _missing_classes(parts: Iterable[Part]) -> Iterator[str]:
    for part in parts:
        tested = {label for split, label in part.counts if split != "train"}
        for label in ("normal", "anomalous"):
            if not tested & {label, "unlabelled"}:
                yield f"{part.name}: no {label} test clips: AUC is undefined"


def _unreadable(recordings: Iterable[Recording]) -> Iterator[str]:
    wrong = []
    for recording in track(recordings, "reading headers"):
        try:
            duration_of(recording.path)
        except AudioError as error:
            wrong.append(str(error))
    yield from wrong[:_SHOWN]
    if len(wrong) > _SHOWN:
        yield f"{len(wrong) - _SHOWN} more files cannot be read"


def _duplicates(recordings: Sequence[Recording]) -> Iterator[str]:
    digest = cache(digest_of)
    training = [r for r in recordings if r.split == "train"]
    test = [r for r in recordings if r.split == "test"]
    normal = [r for r in recordings if r.anomalous is False]
    anomalous = [r for r in recordings if r.anomalous]
    for what, pairs in (
        ("in train and in test", duplicates(training, track(test, "comparing contents"), digest)),
        ("normal and anomalous", duplicates(normal, anomalous, digest)),
    ):
        if pairs:
            shown = "; ".join(f"{one.path.name} = {other.path.name}" for one, other in pairs[:_SHOWN])
            more = f" and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
            yield f"{len(pairs)} recordings are {what}: {shown}{more}"
