"""Turn what a Python caller gives as data into what `asd.sound.finding.find_clips` takes."""

from __future__ import annotations

import array
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np

from asd.errors import DataError
from asd.files.remote import as_path
from asd.records import Clip
from asd.sound.manifest import Row, rows_of
from asd.sound.memory import ArrayPath, sound_of

_log = logging.getLogger("asd")

_NARROW = (16, 24)
"""Bits of samples that are often held in integers of 32; sound in full use of these comes above their range."""

Data = Any
"""Files, folders, globs and CSV manifests (`str` or `Path`); arrays with a rate, pairs (samples, rate); lists of these;
or a frame (pandas, Polars) with a column ``path``."""

_TEXT = "OTU"
"""NumPy's kinds of arrays that may hold text."""
_SHOWN = 60
"""Characters of a refused value that a message shows."""


@dataclass(frozen=True)
class Table:
    """The rows of a frame, as those of a manifest; `name` is what messages call it."""

    name: str
    rows: Sequence[Row]


Entry = str | Path | Clip | Table
"""Something that names recordings."""


def entries_of(data: Data, *, rate: Any = None) -> list[Entry]:
    """Return what `data` names, one by one; arrays become recordings in memory.

    Arrays are copied, so that changing them later changes nothing. They are called by their number in `data`, counted
    from 1.

    Parameters
    ----------
    data : str, Path, array, pair (samples, rate), frame, or iterable of these
        Paths are those of files, folders, globs and CSV manifests. Arrays are of shape (n,), (n, channels) or
        (channels, n): the longer axis is time. Integers are divided by the full scale of their type, which is logged.
        A frame has a column ``path`` and may have the others of a manifest.
    rate : int, optional
        Sample rate in Hz of the arrays without one of their own.

    Raises
    ------
    DataError
        If something is none of these, or `rate` is given and nothing needs it.
    """
    return entries_of_each([data], rate=rate)[0]


def recording_path(named: Any) -> Path:
    """Return the path of one recording that a caller names, here or by address."""
    return as_path(named)


def entries_of_each(several: Sequence[Data], *, rate: Any = None) -> list[list[Entry]]:
    """Return what each of several data names; parameters and errors as for `entries_of`."""
    reader = _Reader(rate)
    found = [reader.entries(data) for data in several]
    reader.finish()
    return found


class _Reader:
    """Makes entries of what is given, and counts what is to be said of it."""

    def __init__(self, rate: Any) -> None:
        self._rate = rate
        self._needed = False
        self._integers: Counter[str] = Counter()
        self._peak: dict[str, float] = {}

    def entries(self, data: Data) -> list[Entry]:
        if paths := _paths(data):
            return paths
        if isinstance(data, memoryview | array.array):
            data = np.asarray(data)
        data = _objects(data) or data
        if isinstance(data, str | os.PathLike | Clip) or _is_frame(data) or _is_array(data) or _is_pair(data):
            return [self._entry(data, 1)]
        return [self._entry(each, number) for number, each in enumerate(_listed(data), start=1)]

    def _entry(self, given: Any, number: int) -> Entry:
        name = f"array {number}"
        if isinstance(given, Clip | Path):
            return given
        if isinstance(given, str | os.PathLike):
            return os.fsdecode(given)
        if _is_frame(given):
            return _table(given)
        if _is_pair(given):
            samples, rate = given
            if _is_number(samples):
                raise DataError(f"{name}: got the pair (rate, samples), expected (samples, rate): swap them")
            return self._array(samples, rate, name)
        if _is_array(given):
            self._needed = True
            return self._array(given, self._rate, name)
        if isinstance(given, memoryview | array.array):
            return self._entry(np.asarray(given), number)
        first = given[0] if isinstance(given, list) and given else given
        if _is_number(first) and not _is_missing(first):
            raise DataError(
                f"element {number} of the data is {_shown(given)}: samples are given as arrays, numpy.array(samples)"
            )
        raise DataError(
            f"element {number} of the data is {_shown(given)}; expected a path, an array, a pair "
            "(samples, rate) or a frame with a column 'path'"
        )

    def _array(self, samples: Any, rate: Any, name: str) -> ArrayPath:
        sound = sound_of(samples, rate, name)
        if not sound.given_as.startswith("float"):
            self._integers[sound.given_as] += 1
            peak = float(np.abs(sound.samples).max(initial=0.0))
            self._peak[sound.given_as] = max(peak, self._peak.get(sound.given_as, 0.0))
        return ArrayPath.of(name, sound)

    def finish(self) -> None:
        """Say what was done to integers; refuse a rate that nothing needs."""
        if self._rate is not None and not self._needed:
            raise DataError(
                f"rate={self._rate!r} is for arrays without a rate of their own, and there are none: recordings in "
                "files and (samples, rate) pairs say theirs; leave it out"
            )
        for kind, count in self._integers.items():
            bits = int("".join(filter(str.isdigit, kind)))
            arrays, their = ("array", "its") if count == 1 else ("arrays", "their")
            text = f"{count} {arrays} of {kind}: divided by {2 ** (bits - 1)}, the full scale of {their} type"
            if kind.startswith("u"):
                text += f", after {2 ** (bits - 1)} was subtracted"
            narrow = [each for each in _NARROW if 0 < self._peak[kind] <= 2.0 ** (each - 32)]
            if bits == 32 and narrow:
                mend = "array.astype('int16')" if narrow[0] == 16 else "array / 2**23"
                text += f"; samples stay below {narrow[0]} bits of it: if they are {narrow[0]}-bit, give {mend}"
            _log.warning("%s", text)


def _listed(data: Any) -> Iterable[Any]:
    if isinstance(data, Mapping) or not isinstance(data, Iterable) or isinstance(data, bytes | bytearray):
        raise DataError(
            f"the data is {_shown(data)}; expected paths, arrays, pairs (samples, rate), a list of these, or a frame "
            "with a column 'path'"
        )
    return data


def _is_number(value: Any) -> bool:
    return isinstance(value, Number | np.generic)


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") and not isinstance(value, np.generic | type)


def _is_pair(value: Any) -> bool:
    """Return whether it is (samples, rate), or these in the wrong order."""
    if not (isinstance(value, tuple) and len(value) == 2):
        return False
    first, second = value
    if _is_array(first):
        return second is None or _is_number(second)
    return _is_number(first) and _is_array(second)


def _is_frame(value: Any) -> bool:
    # Asked of the type: a lazy frame would compute its columns.
    return all(hasattr(type(value), name) for name in ("columns", "__getitem__", "__len__"))


def _paths(value: Any) -> list[Entry]:
    """Return the paths that an array, or the column of a frame, holds; none: it holds something else."""
    if not _is_array(value) or _is_frame(value):
        return []
    try:
        given = np.asarray(value)
    except Exception:  # reading it as sound says what is wrong
        return []
    found = given.ravel().tolist() if given.dtype.kind in _TEXT else []
    return found if all(isinstance(each, str | os.PathLike) for each in found) else []


def _objects(value: Any) -> list[Any]:
    """Return what a column of objects holds, such as an array for each clip; none: it is no such column."""
    if not _is_array(value) or _is_frame(value):
        return []
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return list(value) if kind == "O" and getattr(value, "ndim", 0) == 1 else []


def _table(frame: Any) -> Table:
    """Return the rows of a frame of pandas, Polars or PyArrow."""
    given = getattr(frame, "column_names", None) or list(frame.columns)
    names = [str(name) for name in given]
    if len(set(names)) < len(names):
        raise DataError(f"the frame has columns of one name ({', '.join(names)}); rename them")
    columns = [frame[name] for name in given]
    cells = zip(*(column.to_pylist() if hasattr(column, "to_pylist") else column for column in columns), strict=True)
    rows = [(number, [_text(cell) for cell in row]) for number, row in enumerate(cells)]
    try:
        found = rows_of("the frame", [(-1, names), *rows], Path(), place="row")
    except DataError as error:
        mend = ""
        if getattr(getattr(frame, "index", None), "name", None) == "path":
            mend = "; the paths are its index: give frame.reset_index()"
        elif names and all(getattr(getattr(column, "dtype", None), "kind", "O") in "fiu" for column in columns):
            mend = "; sound is given as an array: frame.to_numpy()"
        raise DataError(str(error).replace("a manifest needs a header line with", "it needs") + mend) from None
    return Table("the frame", found)


def _text(cell: Any) -> str:
    """Return a cell as a manifest would hold it."""
    if _is_missing(cell):
        return ""
    if isinstance(cell, bool | np.bool_):
        return str(int(cell))
    if isinstance(cell, float) and cell.is_integer():  # a column of whole numbers in which one is missing
        return str(int(cell))
    return str(cell)


def _is_missing(cell: Any) -> bool:
    try:
        return cell is None or bool(cell != cell)  # NaN and NaT alone differ from themselves
    except (TypeError, ValueError):  # the missing value of pandas is neither equal nor unequal
        return True


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}"
