"""Machines from folders: what a user names as data, in the layouts of data sets or in folders of one's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from asd.errors import DataError
from asd.plugin import AUDIO_SUFFIXES, Recording, create, registry

_LEAST_OF_GROUP = 5
_LEAST_GROUPS = 3


@dataclass(frozen=True)
class Machine:
    """A machine with its recordings.

    Parameters
    ----------
    collection : str
        What it is counted under: the folder's name, with the machine type where the folder holds several.
    name : str
        The machine's own name, different from that of any other.
    normal : tuple of Path
        Recordings of the healthy machine; of a data set with a split those to learn from.
    anomalous : tuple of Path
        Recordings with faults; empty if there are none, or if they belong to a test of their own.
    test_normal, test_anomalous : tuple of Path
        The data set's own test.
    groups : mapping of str to tuple of Path
        The normal recordings by a fact that is known of them, such as which car it is; empty: nothing is known.
    """

    collection: str
    name: str
    normal: tuple[Path, ...]
    anomalous: tuple[Path, ...] = ()
    test_normal: tuple[Path, ...] = ()
    test_anomalous: tuple[Path, ...] = ()
    groups: dict[str, tuple[Path, ...]] = field(default_factory=dict)


def read_machines(data: Iterable[Path]) -> list[Machine]:
    """Return the machines in folders, or in CSV manifests.

    A folder is read as a data set of DCASE Task 2, whose file names hold the labels; else as folders ``normal`` and
    ``abnormal``, below a folder for each machine if there are several; else every recording is healthy, and each
    folder in it is a machine.

    Raises
    ------
    DataError
        If there are no recordings, two of the data are called alike, or there are no healthy recordings.
    """
    machines: list[Machine] = []
    for folder in data:
        found = _machines(folder.resolve().name.removesuffix(".csv"), _recordings(folder))
        if known := {each.name for each in machines} & {each.name for each in found}:
            raise DataError(f"{folder}: machine {min(known)!r} is there twice; rename one of the folders")
        machines += found
    return machines


def _recordings(folder: Path) -> Sequence[Recording]:
    if not folder.exists():
        raise DataError(f"{folder}: no such folder; name folders of healthy recordings, or of normal/ and abnormal/")
    if folder.is_file() or (folder / "manifest.csv").is_file():
        return _listed("manifest", folder)
    names = [each.spec.name for each in registry().components if each.spec.kind == "dataset"]
    for name in [*(name for name in names if name.startswith("dcase")), "folder"]:
        with suppress(DataError):  # it has another layout
            return _listed(name, folder)
    return _healthy(folder)


def _listed(dataset: str, folder: Path) -> Sequence[Recording]:
    found: Sequence[Recording] = create("dataset", dataset, {}).recordings(folder)
    return found


def _healthy(folder: Path) -> list[Recording]:
    """Return every recording below a folder as healthy, the first folder below it as the machine."""
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()]
    paths = [path for path in paths if not path.name.startswith(".")]
    if not paths:
        raise DataError(f"{folder}: found no recordings ({', '.join(sorted(AUDIO_SUFFIXES)[:6])} …)")
    parts = [path.relative_to(folder).parts[:-1] for path in paths]
    return [Recording(path, "", "/".join(part[:1]), None, False) for path, part in zip(paths, parts, strict=True)]


def _machines(name: str, recordings: Sequence[Recording]) -> list[Machine]:
    by_machine: dict[tuple[str, str], list[Recording]] = {}
    for recording in recordings:
        by_machine.setdefault((recording.machine, recording.section), []).append(recording)
    types = {machine for machine, _ in by_machine}
    found = []
    for (machine, section), own in by_machine.items():
        collection = f"{name}/{machine}" if machine and len(types) > 1 else name
        full = f"{collection}/{section}" if section and len(by_machine) > 1 else collection
        if not any(each.anomalous is False for each in own):
            raise DataError(f"{name}: machine {full!r} has no healthy recording to learn from")
        found.append(_machine(collection, full, own))
    return found


def _machine(collection: str, name: str, recordings: Sequence[Recording]) -> Machine:
    def those(anomalous: bool, *, test: bool) -> tuple[Path, ...]:
        return tuple(r.path for r in recordings if r.anomalous is anomalous and (r.split == "test") is test)

    normal = those(False, test=False)
    trained = [r for r in recordings if r.path in set(normal)]
    if not normal:  # a test alone: its healthy clips are what there is
        return Machine(collection, name, those(False, test=True), those(True, test=True))
    return Machine(
        collection, name, normal, those(True, test=False), those(False, test=True), those(True, test=True),
        _groups(trained),
    )  # fmt: skip


def _groups(recordings: Sequence[Recording]) -> dict[str, tuple[Path, ...]]:
    """Return the recordings by the first attribute that makes enough groups of enough recordings."""
    for attribute in dict.fromkeys(name for r in recordings for name in r.attributes):
        counts = Counter(r.attributes.get(attribute, "") for r in recordings)
        large = [value for value, count in counts.items() if value and count >= _LEAST_OF_GROUP]
        if len(large) >= _LEAST_GROUPS:
            return {
                f"{attribute} {value}": tuple(r.path for r in recordings if r.attributes.get(attribute) == value)
                for value in sorted(large)
            }
    return {}
