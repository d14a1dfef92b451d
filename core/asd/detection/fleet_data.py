"""Which machine each recording is of: by a column of a manifest, or by folders."""

from __future__ import annotations

import functools
import glob
import itertools
import logging
import os
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from asd.detection.groups import FOLDER
from asd.errors import DataError
from asd.files.remote import RemotePath, as_path, url_of
from asd.records import Clip
from asd.sound.data import Entry, Table
from asd.sound.finding import find_clips
from asd.sound.manifest import MANIFEST_SUFFIXES, Row, read_manifest
from asd.sound.memory import held
from asd_registry.text import counted, printable

LONGEST_NAME = 300
"""Characters in the name of a machine."""
_NAMED = 3

_log = logging.getLogger("asd")


@dataclass(frozen=True)
class MachineData:
    """Recordings by the machine that they are of.

    Parameters
    ----------
    clips : mapping of str to list of Clip
        Of each machine, in the order in which machines first appear.
    errors : mapping of str to DataError
        Why a machine that is named has no clips.
    nobody : list of Clip
        Clips that no machine is named for.
    why : str
        Why, of each of them.
    by : str
        What told the machines: ``"folder"``, or the column.
    """

    clips: Mapping[str, list[Clip]]
    errors: Mapping[str, DataError] = field(default_factory=dict)
    nobody: Sequence[Clip] = ()
    why: str = ""
    by: str = FOLDER

    @property
    def count(self) -> int:
        """How many clips are of a machine."""
        return sum(map(len, self.clips.values()))


def machine_data(
    data: Sequence[Entry],
    by: str,
    *,
    label: str | None = None,
    split: str | None = None,
    group: str | None = None,
    known: Collection[str] = (),
) -> MachineData:
    """Return the clips that `data` names, by machine.

    Parameters
    ----------
    data : sequence of str, Path, Clip or Table
        As for `asd.sound.finding.find_clips`.
    by : str
        The column of the manifests that names the machine; or ``"folder"``: machines are the first folders below DATA,
        or, where several DATA are named, below the folder that they share. Recordings that all lie in that folder
        itself are of one machine, which is called as the folder. A column where there is no manifest: the same.
    label, split, group
        As for `find_clips`.
    known : collection of str
        Machines that there are models of: a folder of such a name anywhere in a recording's path, as the user wrote it,
        tells the machine where the first folder does not.

    Raises
    ------
    DataError
        As for `find_clips`; if a manifest has no such column, or beside manifests other DATA are named; if there is no
        machine.
    """
    wanted = _wanted(by)
    tables = {index: table for index, entry in enumerate(data) if (table := _table(entry))}
    if wanted != FOLDER and tables:
        if others := [str(entry) for index, entry in enumerate(data) if index not in tables]:
            raise DataError(
                f"{others[0]}: is no manifest and has no column {by!r} that names machines; name manifests alone, or "
                f"use --by {FOLDER}"
            )
        return _by_column(list(tables.values()), wanted, label, split, group)
    if wanted != FOLDER and data:
        _log.info("no manifest with a column %r was named: machines are told by folders (--by %s)", by, FOLDER)
    return _by_folder(data, find_clips(data, label=label, split=split, group=group), known)


def _wanted(by: str) -> str:
    wanted = by.strip().lower() if isinstance(by, str) else ""
    if not wanted:
        raise DataError(f"by takes the column of a manifest that names the machines, or {FOLDER!r}, got {by!r}")
    return wanted


def _table(entry: Entry) -> Table | None:
    """Return the rows of a manifest or a frame; None: it is neither."""
    if isinstance(entry, Table):
        return entry
    if isinstance(entry, Clip) or held(entry) or Path(url_of(entry)).suffix.lower() not in MANIFEST_SUFFIXES:
        return None
    path = as_path(url_of(entry))
    return Table(str(path), read_manifest(path)) if path.is_file() else None


def _by_column(
    tables: Sequence[Table], column: str, label: str | None, split: str | None, group: str | None
) -> MachineData:
    rows: dict[str, list[Row]] = {}
    owners: dict[str, dict[str, None]] = {}
    for table in tables:
        if not any(column in row.columns for row in table.rows):
            columns = ", ".join(table.rows[0].columns)
            raise DataError(f"{table.name}: has no column {column!r} that names machines; it has {columns}")
        for row in table.rows:
            name = _machine(row.columns.get(column) or "", table.name)
            rows.setdefault(name, []).append(row)
            owners.setdefault(name, {})[table.name] = None
    clips: dict[str, list[Clip]] = {}
    errors: dict[str, DataError] = {}
    for name, own in rows.items():
        try:
            clips[name] = find_clips([Table(", ".join(owners[name]), own)], label=label, split=split, group=group)
        except DataError as error:  # no row of this label and split, say
            errors[name] = error
    nobody = clips.pop("", [])
    errors.pop("", None)
    if not clips and not errors:
        raise DataError(f"{tables[0].name}: no row with a machine: its column {column!r} is empty")
    return MachineData(clips, errors, nobody, f"the column {column!r} of {tables[0].name} is empty there", column)


def _by_folder(data: Sequence[Entry], clips: Sequence[Clip], known: Collection[str]) -> MachineData:
    if any(held(clip.path) for clip in clips):
        raise DataError("arrays lie in no folder that names a machine; give files, or a frame with their machines")
    base = _shared(_parts(folder) for entry in data for folder in _folders(entry))
    is_one = all(_parts(clip.path.parent) == base for clip in clips)

    @functools.cache
    def machine(folder: Path) -> str:
        parts = _parts(folder)
        below = parts[len(base) :] if parts[: len(base)] == base else ()
        own = base[-1] if len(base) > 1 else ""
        first = below[0] if below else own if is_one else ""
        if _machine(first, str(folder)) in known or not known:
            return _machine(first, str(folder))
        written = [name for name in _written(folder) if _machine(name, str(folder)) in known]
        return _machine(written[0] if written else first or own, str(folder))

    found: dict[str, list[Clip]] = {}
    for clip in clips:
        found.setdefault(machine(clip.path.parent), []).append(clip)
    nobody = found.pop("", [])
    if not found:
        where = "/".join(base)
        raise DataError(f"{where}: no folder below it names a machine; put the recordings of each into a folder")
    return MachineData(found, {}, nobody, f"it lies in {nobody[0].path.parent} itself, beside them" if nobody else "")


def _folders(entry: Entry) -> Iterator[Path]:
    """Yield the folder that what the user named searches, or those that its files are in."""
    if isinstance(entry, Clip):
        yield entry.path.parent
    elif (table := _table(entry)) is not None:
        yield from {row.path.parent for row in table.rows}
    elif not isinstance(entry, Table):
        path = as_path(url_of(entry))
        while glob.has_magic(str(path)):
            path = path.parent
        yield path if path.is_dir() else path.parent


def _shared(folders: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return what the parts of all folders begin with."""
    different = list(set(folders))
    return tuple(
        same[0] for same in itertools.takewhile(lambda same: len(set(same)) == 1, zip(*different, strict=False))
    )


def _parts(folder: Path) -> tuple[str, ...]:
    """Return the folders on the way to one, after the root, or of an address what stands before its path."""
    if isinstance(folder, RemotePath):
        address = folder.address
        path = unquote(address.path) if address.is_web else address.path
        return (f"{address.before}{address.scheme}://{address.archive}", *filter(None, path.split("/")))
    return Path(os.path.abspath(folder)).parts  # noqa: PTH100  # links keep the names that the user gave


def _written(folder: Path) -> list[str]:
    """Return the folders that the user named, or that were found below, the innermost first."""
    return list(reversed(_parts(folder)[1:] if isinstance(folder, RemotePath) else folder.parts))


def _machine(name: str, owner: str) -> str:
    """Return a machine's name in one spelling: systems differ in how they write accents, and names must be text."""
    text = printable(unicodedata.normalize("NFC", name)).replace("\n", " ")
    if len(text) > LONGEST_NAME:
        raise DataError(
            f"{owner}: a machine's name has {len(text)} characters ({text[:40]}…); at most {LONGEST_NAME}: is this the "
            "column of machines?"
        )
    return text


def describe_machines(machines: Collection[str]) -> str:
    """Return how many machines there are, with the names of the first ones."""
    named = ", ".join(list(machines)[:_NAMED]) + (", …" if len(machines) > _NAMED else "")
    return f"{counted(len(machines), 'machine')}: {named}"
