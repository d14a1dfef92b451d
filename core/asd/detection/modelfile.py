"""The model file ``*.asd``: one safetensors file whose metadata holds a JSON manifest. No pickle, no code.

A digest over the manifest and every array shows whether a file was altered; it is compared before the manifest
is read. It does not cover the header's own text, so that is accepted in one spelling only: the one that `write` gives.
The digest protects against damage: who forges a file computes it anew. Therefore nothing is allocated that the size of
the file does not bear out, and `asd.detection.manifest` checks what a model must hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt

from asd.detection.output import OutputFile, reserve
from asd.errors import ModelFileError, RemoteError
from asd.files.folders import like
from asd.files.remote import RemotePath, as_path

FORMAT = 3
"""Format 2 has scikit-learn's names of parameters, and the tail and conditions of recordings; 3 may have several
branches, pooled embeddings, and a history. All are read for ever."""
HEADER_LIMIT = 16_000_000
"""Bytes of the header, the manifest included: enough for the names and digests of 100,000 training recordings."""

Arrays = dict[str, npt.NDArray[Any]]

_TYPES = {
    "BOOL": np.dtype("|b1"),
    **{f"U{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    **{f"I{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
_OF_RECORDINGS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b"ID3")
"""What recordings begin with: read as the length of a header, more than any has."""
_METADATA = "__metadata__"
_EMPTY_LIMIT = 1 << 24
"""Product of the other dimensions of an array without elements, which the file's size does not limit."""
_NUMBER_LIMIT = 1 << 63


class _Entry(msgspec.Struct):
    """An array in the header of a safetensors file."""

    dtype: str
    shape: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0)], ...], msgspec.Meta(max_length=64)]
    data_offsets: tuple[int, int]


def write(path: str | Path | OutputFile, manifest: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write a model file, replacing an old one only when the new one is whole.

    Parameters
    ----------
    path : str, Path or OutputFile
        File to write, an old one is replaced; or what `asd.detection.output.reserve` gave.
    manifest : mapping of str to Any
        Plain data for JSON.
    arrays : mapping of str to array
        Numbers or booleans.

    Raises
    ------
    ModelFileError
        If the file cannot be written; an old file stays as it was.
    """
    plain = {name: _storable(name, array) for name, array in arrays.items()}
    try:
        text = json.dumps({"format": FORMAT, **manifest}, sort_keys=True, allow_nan=False)
        header = _new_header(text, plain)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"the manifest cannot be written as JSON ({error})") from error
    if len(header) > HEADER_LIMIT:
        raise ModelFileError(
            f"the model's description takes {len(header) / 1e6:.0f} MB, a model file holds {HEADER_LIMIT / 1e6:.0f} MB "
            "of it: fit on fewer recordings"
        )
    content: list[bytes | memoryview] = [header, *(_bytes(plain[name]) for name in _layout(plain))]
    with (
        contextlib.nullcontext(path) if isinstance(path, OutputFile) else reserve(as_path(path), overwrite=True) as file
    ):
        file.write(content)


def read(path: Path) -> tuple[dict[str, Any], Arrays]:
    """Return the manifest and the arrays of a model file, verified.

    Raises
    ------
    ModelFileError
        If the file is missing, not a model, cut off, altered, or of a newer format.
    """
    try:
        # Opening a pipe would wait.
        if not isinstance(path, RemotePath) and not stat.S_ISREG(path.stat().st_mode):
            what = "a folder" if path.is_dir() else "not a regular file"
            raise ModelFileError(f"{path}: {what}; name a model file that 'asd fit' wrote, before any recordings")
        with path.open("rb") as file:
            text, sha256, arrays = _parts(path, file)
    except RemoteError as error:
        raise ModelFileError(str(error)) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        otherwise = f"; make one with 'asd fit DATA -o {path}'"
        raise ModelFileError(f"{path}: no such model file{like(path, otherwise)}") from error
    except OSError as error:
        raise ModelFileError(f"{path}: this model file cannot be read ({error.strerror})") from error
    if sha256 != _digest(text, arrays):
        raise ModelFileError(
            f"{path}: altered since it was saved (its digest does not match); copy it again or fit anew"
        )
    try:
        manifest = _strict_json(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its manifest: {error}") from error
    if not (isinstance(manifest, dict) and type(manifest.get("format")) is int and manifest["format"] > 0):
        raise _damaged(path, "its manifest does not say its format")
    if manifest["format"] > FORMAT:
        raise ModelFileError(
            f"{path}: written in format {manifest['format']}, this asd reads up to {FORMAT}: "
            "pip install --upgrade asd-framework"
        )
    return manifest, arrays


def _parts(path: Path, file: BinaryIO) -> tuple[str, str | None, Arrays]:
    """Return the manifest's text, the digest and the arrays, not verified."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    begin = file.read(8)
    if begin.startswith(_OF_RECORDINGS):
        raise ModelFileError(f"{path}: a recording, not a model file; name the model before the recordings")
    length = int.from_bytes(begin, "little")
    if not 0 < length <= min(size - 8, HEADER_LIMIT):
        limit = f"at most {HEADER_LIMIT:,} are allowed" if length > HEADER_LIMIT else f"the file has {size:,}"
        raise _damaged(path, f"its header claims {length:,} bytes, {limit}")
    header = file.read(length)
    try:
        raw = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        metadata = msgspec.json.decode(raw.pop(_METADATA, b"{}"), type=dict[str, str])
        if "asd" not in metadata:
            raise ModelFileError(f"{path}: a safetensors file, but not a model of asd; make one with 'asd fit'")
        entries = {name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items()}
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _damaged(path, f"its header: {error}") from error
    position = 0
    for name, entry in entries.items():
        end = position + _size(path, name, entry)
        if entry.data_offsets != (position, end):
            raise _damaged(path, f"array {name[:80]!r} should take the bytes {position:,} to {end:,}")
        position = end
    if position != size - 8 - length:
        raise _damaged(path, f"its arrays take {position:,} bytes, {size - 8 - length:,} are there")
    if metadata.keys() - {"asd", "sha256"} or _header(metadata, entries) != header:
        raise _damaged(path, "its header is not written as asd writes it")
    arrays = {name: _array(path, file, entry) for name, entry in entries.items()}
    return metadata["asd"], metadata.get("sha256"), arrays


def _size(path: Path, name: str, entry: _Entry) -> int:
    if entry.dtype not in _TYPES:
        raise _damaged(path, f"array {name[:80]!r} has an unknown type")
    count = math.prod(entry.shape)
    if not count and math.prod(extent or 1 for extent in entry.shape) > _EMPTY_LIMIT:
        raise _damaged(path, f"array {name[:80]!r} is empty, but one of its sides is longer than {_EMPTY_LIMIT:,}")
    return count * _TYPES[entry.dtype].itemsize


def _array(path: Path, file: BinaryIO, entry: _Entry) -> npt.NDArray[Any]:
    array = np.empty(entry.shape, _TYPES[entry.dtype])
    if not _filled(file, _bytes(array)):
        raise _damaged(path, "it ended while it was read")
    if array.dtype == bool and array.size and array.view(np.uint8).max() > 1:
        raise _damaged(path, "a boolean is neither 0 nor 1")
    return array


def _filled(file: BinaryIO, view: memoryview) -> bool:
    """Fill a view from a file, which may give less at a time than is asked for; return whether there was enough."""
    while len(view):
        count = file.readinto(view)  # type: ignore[attr-defined]  # of every binary file that Python opens
        if not count:
            return False
        view = view[count:]
    return True


def _damaged(path: Path, reason: str) -> ModelFileError:
    return ModelFileError(f"{path}: not a model file, or cut off ({reason[:300]}); copy it again or fit anew")


def _new_header(text: str, arrays: Arrays) -> bytes:
    entries = {}
    position = 0
    for name in _layout(arrays):
        array = arrays[name]
        entries[name] = _Entry(_NAMES[array.dtype], array.shape, (position, position + array.nbytes))
        position += array.nbytes
    header = _header({"asd": text, "sha256": _digest(text, arrays)}, entries)
    return len(header).to_bytes(8, "little") + header


def _layout(arrays: Arrays) -> list[str]:
    """Return the order of the arrays in the file: by the size of their elements, so that all are aligned."""
    return sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))


def _header(metadata: Mapping[str, str], entries: Mapping[str, _Entry]) -> bytes:
    described = {name: msgspec.structs.asdict(entry) for name, entry in entries.items()}
    text = json.dumps({_METADATA: metadata, **described}, separators=(",", ":"), ensure_ascii=False).encode()
    return text + b" " * (-len(text) % 8)


def content_digest(manifest: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return the SHA-256 that identifies what a model file says and holds, however it is spelled there."""
    text = json.dumps({"format": FORMAT, **manifest}, sort_keys=True)
    return _digest(text, {name: _storable(name, array) for name, array in arrays.items()})


def _storable(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    plain = np.asarray(array, order="C")
    if plain.dtype.newbyteorder("<") not in _NAMES:
        raise ModelFileError(f"array {name!r} has type {plain.dtype}; a model file holds numbers and booleans only")
    return plain.astype(plain.dtype.newbyteorder("<"), copy=False)


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]  # numpy's arrays are buffers


def _digest(text: str, arrays: Arrays) -> str:
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(_bytes(array))
    return digest.hexdigest()


def _strict_json(text: str) -> Any:
    """Return what a JSON text holds.

    Raises
    ------
    ValueError
        If it is none, a key stands twice in an object, or a number is not finite or beyond 64 bits.
    """
    return json.loads(text, object_pairs_hook=_unique, parse_int=_integer, parse_float=_finite, parse_constant=_finite)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def _integer(digits: str) -> int:
    number = int(digits[:21])
    if len(digits) > 20 or not -_NUMBER_LIMIT <= number < _NUMBER_LIMIT:
        raise ValueError("an integer is beyond 64 bits")
    return number


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number
