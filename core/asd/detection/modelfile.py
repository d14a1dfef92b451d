"""The model file ``*.asd``: one safetensors file whose metadata holds a JSON manifest. No pickle, no code.

Writing goes to a file beside the target, which is renamed when it is whole: a full disk or a kill leaves the old file
as it was. A digest over the manifest and every array tells an altered file from an intact one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asd.errors import ModelFileError

FORMAT = 1
Arrays = dict[str, npt.NDArray[Any]]


def write(path: Path, manifest: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write a model file, replacing an old one only when the new one is whole.

    Raises
    ------
    ModelFileError
        If the file cannot be written; an old file stays as it was.
    """
    from safetensors.numpy import save

    plain = {name: _storable(name, array) for name, array in sorted(arrays.items())}
    text = json.dumps({"format": FORMAT, **manifest}, sort_keys=True)
    content = save(plain, metadata={"asd": text, "sha256": _digest(text, plain)})
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise ModelFileError(
            f"{path}: the model cannot be saved here ({error.strerror}); nothing was overwritten; "
            f"free {len(content) / 1e6:.1f} MB or choose another folder"
        ) from error


def read(path: Path) -> tuple[dict[str, Any], Arrays]:
    """Return the manifest and the arrays of a model file, verified.

    Raises
    ------
    ModelFileError
        If the file is missing, not a model, cut off, altered, or of a newer format.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ModelFileError(f"{path}: no such model file; make one with 'asd fit DATA -o {path}'")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays: Arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path}: not a model file, or cut off ({error}); copy it again or fit anew") from error
    if "asd" not in metadata:
        raise ModelFileError(f"{path}: a safetensors file, but not a model of asd; make one with 'asd fit'")
    manifest: dict[str, Any] = json.loads(metadata["asd"])
    if manifest["format"] > FORMAT:
        raise ModelFileError(
            f"{path}: written in format {manifest['format']}, this asd reads up to {FORMAT}: "
            "pip install --upgrade asd-framework"
        )
    if metadata.get("sha256") != _digest(metadata["asd"], arrays):
        raise ModelFileError(
            f"{path}: altered since it was saved (its digest does not match); copy it again or fit anew"
        )
    return manifest, arrays


def _storable(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    plain = np.array(array, order="C")
    if plain.dtype.kind not in "biuf":
        raise ModelFileError(f"array {name!r} has type {plain.dtype}; a model file holds numbers and booleans only")
    return plain


def _digest(text: str, arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
