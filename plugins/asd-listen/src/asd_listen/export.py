"""A history's tables as CSV or Parquet."""

from __future__ import annotations

import contextlib
import csv
import datetime
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from asd.errors import ConfigError
from asd_listen.reader import Row
from asd_listen.schema import HistoryError

_TIMES = ("time", "began", "over", "done", "deleted", "acknowledged", "changed", "seen")
_BATCH = 10_000
SUFFIXES = (".csv", ".parquet")


def export(rows: Iterator[Row], columns: list[str], path: Path) -> int:
    """Write rows to a file, whole or not at all, and return their number.

    Times are kept as seconds since 1970, and beside them, as ``…_utc``, as dates in UTC.

    Parameters
    ----------
    rows : iterator of dict
        From `asd_listen.reader.Reader.rows`.
    columns : list of str
        Their keys, in order; they say what an empty table holds.
    path : Path
        A new file; its suffix, ``.csv`` or ``.parquet``, chooses the format.

    Raises
    ------
    ConfigError
        If the suffix is another one, or pyarrow is missing.
    HistoryError
        If the file is there already, or cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{path}: the name must end in .csv or .parquet, which chooses the format")
    if path.exists():
        raise HistoryError(f"{path}: is there already; name a new file")
    part = path.with_name(f".{path.name}.part")
    names = [each for name in columns for each in ([name, f"{name}_utc"] if name in _TIMES else [name])]
    write = _write_csv if path.suffix.lower() == ".csv" else _write_parquet
    try:
        count = write(map(_plain, rows), names, part)
        part.replace(path)
    except OSError as error:
        raise HistoryError(f"{path}: cannot be written ({error.strerror or error}); choose another folder") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return count


def _plain(row: Row) -> Row:
    plain: Row = {}
    for name, value in row.items():
        plain[name] = json.dumps(value) if isinstance(value, dict | list) else value
        if name in _TIMES:
            moment = None if value is None else datetime.datetime.fromtimestamp(value, datetime.UTC)
            plain[f"{name}_utc"] = None if moment is None else moment.isoformat(timespec="milliseconds")
    return plain


def _write_csv(rows: Iterable[Row], names: list[str], path: Path) -> int:
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for count, row in enumerate(rows, start=1):  # noqa: B007  # how many is returned
            writer.writerow(row)
    return count


def _write_parquet(rows: Iterable[Row], names: list[str], path: Path) -> int:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError("Parquet needs pyarrow: pip install 'asd-listen[parquet]', or export to .csv") from None
    kinds = {name: _kind(name, pyarrow) for name in names}
    texts = [name for name, kind in kinds.items() if kind == pyarrow.string()]
    schema = pyarrow.schema(list(kinds.items()))
    count, rows = 0, iter(rows)
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        while batch := list(itertools.islice(rows, _BATCH)):
            for row in batch:
                row.update({name: str(row[name]) for name in texts if row[name] is not None})
            writer.write_table(pyarrow.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count


def _kind(name: str, pyarrow: Any) -> Any:
    if name == "anomalous":
        return pyarrow.bool_()
    if name in ("attempts", "bytes"):
        return pyarrow.int64()
    numbers = (*_TIMES, "score", "p_value", "state_p_value", "watched_p_value", "evidence", "threshold", "seconds")
    return pyarrow.float64() if name in (*numbers, "level") else pyarrow.string()
