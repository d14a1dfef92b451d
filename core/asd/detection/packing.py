"""Small model files: rows that several members share are kept once.

The members of the folds learn from four fifths of the clips each. Where nothing that depends on the fold comes before
the detector (no standardisation, no PCA), their references are rows of one and the same matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from asd.contract.interfaces import Detector, State
from asd.detection.modelfile import Arrays

SHARED = "shared"
"""Begins the names of arrays of shared rows; a member then has the rows' numbers, int32, in place of the rows."""

_LEAST_BYTES = 50_000
_WORTH = 0.7
"""Sharing must save at least this fraction's rest; otherwise the arrays stay as they are."""


_HALF_RANGE = (1e-2, 6e4)
"""Largest values of arrays that half precision holds without loss that matters."""


def halved(detector: Detector, name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array of a detector's state in half precision, if the detector allows it and the values fit."""
    if name not in detector.half_precision or array.dtype != np.float32 or not array.size:
        return array
    lowest, highest = _HALF_RANGE
    return array.astype(np.float16) if lowest <= np.abs(array).max() <= highest else array


def detector_state(detector: Detector) -> State:
    """Return what a detector learned as a model file holds it."""
    return {name: halved(detector, name, array) for name, array in detector.get_state().items()}


def restored_state(detector: Detector, state: State) -> State:
    """Return a detector's state with what `halved` made of it in single precision."""
    return {
        name: array.astype(np.float32) if name in detector.half_precision and array.dtype == np.float16 else array
        for name, array in state.items()
    }


def share_rows(arrays: Arrays) -> Arrays:
    """Return the arrays of a model with rows that several members have in common kept once.

    Parameters
    ----------
    arrays : dict of str to array
        Members' arrays, named by their number and a dot first.
    """
    packed = dict(arrays)
    members: dict[str, list[str]] = {}
    for name in arrays:
        number, _, rest = name.partition(".")
        if number.isdigit():
            members.setdefault(rest, []).append(name)
    for rest, names in members.items():
        own = [arrays[name] for name in names]
        if len(own) < 2 or any(each.ndim != 2 or each.dtype != own[0].dtype or not each.size for each in own):
            continue
        if len({each.shape[1] for each in own}) > 1 or sum(each.nbytes for each in own) < _LEAST_BYTES:
            continue
        rows = np.concatenate(own)
        raw = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))[:, 0]
        _, first, number_of = np.unique(raw, return_index=True, return_inverse=True)
        if len(first) > _WORTH * len(rows):
            continue
        packed[f"{SHARED}.{rest}"] = rows[first]
        ends = np.cumsum([len(each) for each in own])[:-1]
        packed |= dict(zip(names, np.split(number_of.astype(np.int32), ends), strict=True))
    return packed


def restore_rows(arrays: Arrays) -> Arrays:
    """Return what `share_rows` was given.

    Raises
    ------
    ValueError
        If numbers of rows are missing or out of range.
    """
    shared = {name.partition(".")[2]: rows for name, rows in arrays.items() if name.partition(".")[0] == SHARED}
    restored = {name: array for name, array in arrays.items() if name.partition(".")[0] != SHARED}
    for rest, rows in shared.items():
        for name, numbers in restored.items():
            member, _, own = name.partition(".")
            if own != rest or not member.isdigit():
                continue
            if not (numbers.dtype == np.int32 and numbers.ndim == 1 and rows.ndim == 2 and len(rows)):
                raise ValueError(f"array {name[:80]} must be numbers of rows, int32")
            if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(rows):
                raise ValueError(f"array {name[:80]} must have numbers from 0 to {len(rows) - 1}")
            restored[name] = rows[numbers]
    return restored


def section(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays whose names begin with ``prefix.``, by the rest of the name."""
    return {name.removeprefix(f"{prefix}."): value for name, value in arrays.items() if name.startswith(f"{prefix}.")}
