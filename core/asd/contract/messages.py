"""Messages between this process and a worker process: a line of JSON, then the bytes of the arrays it describes.

The receiver trusts nothing: it unpickles nothing, and it checks type and size of an array before it reads the bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_TYPES = {np.dtype(code).name: np.dtype(code) for code in f"?{np.typecodes['AllInteger']}efdg"}
_MOST_LINE = 2**24
_MOST_BYTES = 2**32


class MessageError(Exception):
    """What arrived is no valid message; the text says what came and what was expected."""


def as_array(values: Any) -> Array:
    """Return an array of any library that knows ``__dlpack__`` as a NumPy array."""
    if isinstance(values, np.ndarray) or not hasattr(values, "__dlpack__"):
        return np.asarray(values)
    return np.from_dlpack(values)


def send(stream: IO[bytes], fields: Mapping[str, Any], arrays: Sequence[Array] = ()) -> None:
    """Write a message.

    Parameters
    ----------
    stream : binary file
        A pipe to the receiver.
    fields : mapping of str to plain data
        Anything that JSON can hold.
    arrays : sequence of array
        Of any shape. The receiver accepts booleans, integers and real floating-point numbers.
    """
    blocks = [np.asarray(array, array.dtype.newbyteorder("="), order="C") for array in arrays]
    described = [{"dtype": block.dtype.name, "shape": block.shape} for block in blocks]
    stream.write(json.dumps({**fields, "arrays": described}).encode() + b"\n")
    for block in blocks:
        if block.dtype.name in _TYPES:  # the receiver refuses any other type by its description
            stream.write(block.data)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], list[Array]]:
    """Return the fields and the arrays of the next message.

    Raises
    ------
    EOFError
        If the stream ends.
    MessageError
        If the line is no message, or an array's type or size is refused. The stream cannot be used any longer.
    """
    line = stream.readline(_MOST_LINE)
    if len(line) < _MOST_LINE and not line.endswith(b"\n"):
        raise EOFError
    try:
        fields = dict(json.loads(line))
        arrays = [_read(stream, **described) for described in fields.pop("arrays")]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise MessageError(f"{line[:80]!r} instead of a message") from None
    return fields, arrays


def _read(stream: Any, dtype: str, shape: list[int]) -> Array:
    what = f"an array of type {dtype!r:.40} and shape {tuple(shape)!r:.80}"
    if dtype not in _TYPES:
        raise MessageError(f"{what}; expected real numbers, not None or other objects")
    if math.prod(shape) * _TYPES[dtype].itemsize > _MOST_BYTES:
        raise MessageError(f"{what}; expected at most {_MOST_BYTES >> 30} GiB")
    array: Array = np.empty(shape, _TYPES[dtype])
    if stream.readinto(array.data) < array.nbytes:
        raise EOFError
    return array
