"""A user's own recordings, listed in a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from asd.errors import DataError
from asd.plugin import Dataset, Recording, manifest_path
from asd_data.example import touch_files
from asd_data.folder import SPLITS, label_of

_DOMAINS: dict[str, Literal["source", "target"]] = {"source": "source", "target": "target"}
_KNOWN = ("path", "split", "label", "machine", "section", "domain")


class Manifest(Dataset):
    """Recordings that a CSV file lists: column ``path`` (relative to the file), and other facts about them.

    Columns: ``label`` (normal, anomalous and their like; empty: unknown), ``split`` (train, test; empty: left to the
    experiment), ``machine``, ``section``, ``domain`` (source, target). Every other column is an attribute.

    Parameters
    ----------
    file : str
        The manifest's name in the folder, if a folder is given and not the manifest itself.
    """

    def __init__(self, *, file: str = "manifest.csv") -> None:
        self.file = file

    def recordings(self, folder: Path) -> Sequence[Recording]:
        """Return the recordings that the manifest at or in `folder` lists; errors as for `Dataset.recordings`."""
        manifest = folder if folder.is_file() else folder / self.file
        found: dict[Path, tuple[int, Recording]] = {}
        for line, row in _rows(manifest):
            recording = _recording(manifest, line, row)
            first = found.setdefault(recording.path, (line, recording))
            if first[1] != recording:
                raise DataError(f"{manifest}: lines {first[0]} and {line} disagree about {recording.path.name}")
        _check_there(manifest, [recording.path for _, recording in found.values()])
        return [recording for _, (_, recording) in sorted(found.items())]

    def write_example(self, folder: Path) -> None:
        """Write a tiny manifest with empty recordings, for `asd.testing`."""
        (folder / self.file).write_text("path,label,machine\n1.wav,anomalous,fan\n0.wav,normal,fan\n", encoding="utf-8")
        touch_files(folder, ["0.wav", "1.wav"])


def _rows(manifest: Path) -> Iterator[tuple[int, dict[str, str]]]:
    if not manifest.is_file():
        raise DataError(f"{manifest}: no such file; expected a CSV manifest with a column 'path'")
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if "path" not in (reader.fieldnames or ()):
                raise DataError(f"{manifest}: found columns {reader.fieldnames or 'none'}, expected one called 'path'")
            for row in reader:
                yield reader.line_num, {key: (value or "").strip() for key, value in row.items() if key}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{manifest}: cannot be read as a CSV manifest ({error})") from error


def _recording(manifest: Path, line: int, row: dict[str, str]) -> Recording:
    where = f"{manifest}, line {line}"
    if not row["path"]:
        raise DataError(f"{where}: the path is empty")
    try:
        path = manifest_path(manifest.parent, row["path"])
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    label, split, domain = row.get("label", ""), row.get("split", "").lower(), row.get("domain", "").lower()
    for column, word, known in (("split", split, SPLITS), ("domain", domain, _DOMAINS)):
        if word and word not in known:
            raise DataError(f"{where}: {column} {word!r} is neither {' nor '.join(map(repr, known))}")
    if label and label_of(label) is None:
        raise DataError(f"{where}: label {label!r} is neither 'normal' nor 'anomalous'")
    anomalous = label_of(label) if label else None
    by_folder = label_of(path.parent.name)
    if None not in (anomalous, by_folder) and anomalous != by_folder:
        raise DataError(f"{where}: the label is {label!r}, but the recording lies in a folder {path.parent.name!r}")
    return Recording(
        path,
        row.get("machine", ""),
        row.get("section", ""),
        SPLITS.get(split),
        anomalous,
        _DOMAINS.get(domain),
        {key: value for key, value in row.items() if key not in _KNOWN and value},
    )


def _check_there(manifest: Path, paths: list[Path]) -> None:
    if not paths:
        raise DataError(f"{manifest}: lists no recordings; a header line and at least one row are needed")
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{manifest}: {len(missing)} of {len(paths)} recordings are missing, the first is {missing[0]}")
