"""Read arrays from HDF5 files of weights that may be damaged or forged.

HDF5 lets a file name other files as the place of its content, and state any size. Here an array is read when it lies in
this file, has the shape that the caller expects, and the file is long enough for it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from asd.errors import WeightError
from asd.plugin import Float32
from asd_torch.files import reason_of

_LONGEST_NAME = 10_000
_VARIABLE_LENGTH = 9
"""Class of datatypes."""
_HEAP = b"GCOL\x01\0\0\0"
"""How a global heap begins: signature, version, reserved bytes; its size follows (HDF5 specification, III.E)."""
_MOST_NAMES = 10_000
"""Entries of an attribute that lists names."""


@contextmanager
def open_hdf5(path: Path, what: str, mend: str, content: bytes | None = None) -> Iterator[Any]:
    """Open an HDF5 file; what is wrong inside the block becomes an error of one line.

    Parameters
    ----------
    path : Path
        The file.
    what, mend : str
        What is wrong then, and what to do, for messages.
    content : bytes, optional
        What it holds, if that is known already, or was compressed.

    Yields
    ------
    h5py.File

    Raises
    ------
    WeightError
        If it is damaged or no HDF5 file, or anything but a WeightError is raised inside the block.
    """
    import h5py

    try:
        _check_heaps(content or b"")
        with h5py.File(path if content is None else io.BytesIO(content), "r") as file:
            yield file
    except WeightError:
        raise
    except Exception as error:  # h5py meets a damaged structure with whatever error comes of it
        raise WeightError(f"{path}: {what} ({reason_of(error)}); {mend}") from error


def read_dataset(group: Any, name: str, shape: tuple[int, ...] | None = None) -> Float32:
    """Return an array of numbers as float32.

    Parameters
    ----------
    group : h5py.Group
        Where it lies.
    name : str
        Its path from there.
    shape : tuple of int, optional
        What it must have; without it, its size is limited by that of the file alone.

    Raises
    ------
    KeyError
        If there is nothing of this name.
    ValueError
        If it is no array of numbers, is kept in another file, or claims more than the file holds.
    """
    dataset = _at(group, name)
    if not hasattr(dataset, "is_virtual") or dataset.dtype.kind not in "fiu":
        raise ValueError(f"{name!r} is no array of numbers")
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{name!r} is kept in another file")
    if shape is not None and dataset.shape != shape:
        raise ValueError(f"{name!r} has shape {dataset.shape}, expected {shape}")
    stored, claimed = dataset.id.get_storage_size(), math.prod(dataset.shape) * dataset.dtype.itemsize
    if stored != claimed or claimed > dataset.file.id.get_filesize():
        # Compressed, or never written: a few bytes could stand for any number of them.
        raise ValueError(f"{name!r} takes {claimed} bytes, {stored} are stored")
    return np.asarray(dataset[()], dtype=np.float32)


def read_names(group: Any, attribute: str, content: bytes) -> list[str]:
    """Return the names that an attribute lists; errors as for `read_dataset`.

    Parameters
    ----------
    group : h5py.Group
        Whose attribute it is.
    attribute : str
        Its name.
    content : bytes
        The whole file: HDF5 would allocate whatever an attribute states as the length of a name.
    """
    shape = group.attrs.get_id(attribute).shape
    if len(shape) != 1 or shape[0] > _MOST_NAMES or any(_claims(content, attribute)):
        raise ValueError(f"{attribute!r} is no list of names")
    return [name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs[attribute]]


def group_at(group: Any, name: str) -> Any:
    """Return a group inside `group`; errors as for `read_dataset`."""
    found = _at(group, name)
    if not hasattr(found, "keys"):
        raise ValueError(f"{name!r} is no group")
    return found


def _claims(content: bytes, attribute: str) -> Iterator[bool]:
    """Yield whether an attribute of this name states too long a text, for each that the file has.

    A message of an attribute (HDF5 specification, IV.A.2.m) holds the sizes of name, datatype and dataspace, these
    three, and for each text its length (4 bytes) and where it lies (12 bytes).
    """
    name = attribute.encode() + b"\0"
    place = content.find(name)
    while place >= 0:
        for version, header in ((1, 8), (2, 8), (3, 9)):
            if content[place - header : place - header + 1] == bytes([version]):
                sizes = [_number(content, place - header + at, 2) for at in (2, 4, 6)]
                if version == 1:
                    sizes = [-(-size // 8) * 8 for size in sizes]
                datatype, dataspace, texts = place + sizes[0], place + sum(sizes[:2]), place + sum(sizes)
                extent = dataspace + (8 if _number(content, dataspace, 1) == 1 else 4)
                count = min(_number(content, extent, 8), _MOST_NAMES)
                longest = max((_number(content, texts + 16 * i, 4) for i in range(count)), default=0)
                yield _number(content, datatype, 1) & 0x0F == _VARIABLE_LENGTH and longest > _LONGEST_NAME
        place = content.find(name, place + 1)


def _number(content: bytes, place: int, size: int) -> int:
    return int.from_bytes(content[place : place + size], "little")


def _check_heaps(content: bytes) -> None:
    """Raise if a heap, where texts of any length lie, claims more than the file holds: HDF5 would allocate that."""
    place = content.find(_HEAP)
    while place >= 0:
        field = place + len(_HEAP)
        if int.from_bytes(content[field : field + 8], "little") > len(content) - place:
            raise ValueError("a heap claims more than the file holds")
        place = content.find(_HEAP, field)


def _at(group: Any, name: str) -> Any:
    """Follow a path by links that stay in the file."""
    import h5py

    for part in name.split("/"):
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise KeyError(name)
        group = group[part]
    return group
