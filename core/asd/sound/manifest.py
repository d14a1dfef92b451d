"""CSV manifests: which recordings, or which parts of them, of which label and split."""

from __future__ import annotations

import codecs
import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asd.errors import DataError, RemoteError
from asd.files.address import manifest_path

NORMAL_LABELS = frozenset({"normal", "healthy", "ok", "good", "0"})
ANOMALOUS_LABELS = frozenset({"anomalous", "anomaly", "abnormal", "faulty", "bad", "1"})
MANIFEST_SUFFIXES = frozenset({".csv", ".tsv"})
_PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "file_path")
_TIME_COLUMNS = ("time", "timestamp", "datetime", "recorded")
_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class Row:
    """A line of a manifest.

    Parameters
    ----------
    path : Path
        The recording; the manifest's folder, or its address, stands before a relative path.
    label : {"normal", "anomalous"} or None
        None: not given.
    split : str or None
        None: not given.
    start : float
        Where the part begins, in seconds.
    duration : float or None
        Length of the part in seconds; None: to the end of the recording.
    time : str or None
        When it was recorded, as it is written there; None: not given.
    columns : mapping of str to str
        All columns by their names, in small letters.
    """

    path: Path
    label: str | None
    split: str | None
    start: float = 0.0
    duration: float | None = None
    time: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


def read_manifest(manifest: Path) -> list[Row]:
    """Return the rows of a manifest.

    Fields are separated by commas, semicolons or tabs; the text is UTF-8 or, with a byte order mark, UTF-16. A header
    line names the columns: ``path`` (or ``file``, ``filename``, ``filepath``) and, if wanted, ``label``, ``split``,
    ``start`` and ``end`` (seconds), and ``time`` (or ``timestamp``, ``datetime``, ``recorded``), in any order and in
    capitals or not; further columns are passed over. A path may be an address; a manifest that
    is elsewhere itself names no files of this computer.

    Raises
    ------
    DataError
        If the manifest cannot be read, lacks what it needs, or a line is wrong.
    """
    return rows_of(str(manifest), _table(manifest), manifest.parent)


def rows_of(owner: str, table: Sequence[tuple[Any, Sequence[str]]], folder: Path, *, place: str = "line") -> list[Row]:
    """Return the rows of a manifest from its fields.

    Parameters
    ----------
    owner : str
        What the manifest is called in texts.
    table : sequence of (number, sequence of str)
        The header, and each row, with the number by which the user finds it.
    folder : Path
        What stands before a relative path.
    place : str
        What the numbers count.

    Raises
    ------
    DataError
        If a column that is needed is missing, or a row is wrong.
    """
    header = [name.strip().lower() for name in table[0][1]] if table else []
    path_column = next((name for name in _PATH_COLUMNS if name in header), None)
    if path_column is None or len(table) < 2:
        found = f"found {', '.join(map(repr, header))}" if header else "it is empty"
        raise DataError(
            f"{owner}: a manifest needs a header line with a column 'path' and at least one row; {found}"
            + (" and no row" if path_column else "")
        )
    return [
        _row(dict(zip(header, (field.strip() for field in fields), strict=False)), path_column, folder, where)
        for where, fields in ((f"{owner}, {place} {number}", fields) for number, fields in table[1:])
    ]


def _row(row: dict[str, str], path_column: str, folder: Path, where: str) -> Row:
    if not row.get(path_column):
        raise DataError(f"{where}: the path is empty")
    start, end = _seconds(row, "start", where), _seconds(row, "end", where)
    if end is not None and end <= (start or 0.0):
        raise DataError(f"{where}: the part ends at {end:g} s, before it begins")
    try:
        path = manifest_path(folder, row[path_column])
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    return Row(
        path,
        _label(row.get("label", ""), where),
        row.get("split") or None,
        start or 0.0,
        None if end is None else end - (start or 0.0),
        next((row[name] for name in _TIME_COLUMNS if row.get(name)), None),
        row,
    )


def _table(manifest: Path) -> list[tuple[int, list[str]]]:
    """Return (number of the line, fields) of each line that is not blank."""
    try:
        data = manifest.read_bytes()
        is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        # File names need not be UTF-8; what is not stays as it is, as in names that the system lists.
        text = data.decode("utf-16") if is_utf16 else data.decode("utf-8-sig", "surrogateescape")
        header = text.lstrip().partition("\n")[0]
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(_DELIMITERS, key=header.count))
        return [(reader.line_num, fields) for fields in reader if any(field.strip() for field in fields)]
    except RemoteError as error:
        raise DataError(str(error)) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{manifest}: cannot be read as a CSV manifest ({error})") from error


def _seconds(row: dict[str, str], column: str, where: str) -> float | None:
    text = row.get(column, "")
    if not text:
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise DataError(f"{where}: {column} is {text!r}, expected seconds from the beginning of the recording")
    return value


def _label(text: str, where: str) -> str | None:
    word = text.lower()
    if not word:
        return None
    if word in NORMAL_LABELS:
        return "normal"
    if word in ANOMALOUS_LABELS:
        return "anomalous"
    raise DataError(f"{where}: label {text!r} is neither 'normal' nor 'anomalous'")
