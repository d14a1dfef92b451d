"""A tensor of an ONNX file (``TensorProto``): what it declares, and whether its data bear it out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from asd_onnx.wire import Field, WireError, embedded, fields, integers, text

_DIMS, _TYPE, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 2, 8, 9, 13, 14
_FIXED = {4: 4, 10: 8}
"""Fields of numbers of a fixed size in bytes: float_data, double_data."""
_VARINTS = (5, 7, 11)
"""Fields of numbers of any size: int32_data, int64_data, uint64_data."""
_STRINGS = 6
_EXTERNALLY = 1

_STRING, _INT64 = 8, 7
_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip
"""Size of an element by the number of its type (``TensorProto.DataType``)."""
_COMPLEX = (14, 15)

_MOST_AXES, _MOST_SHOWN = 64, 4
_MOST_SIZES = 16
"""Values of a tensor that may be a shape."""


@dataclass
class Tensor:
    """A tensor as it is declared, and how many values its data hold.

    Parameters
    ----------
    name : str
        Its name.
    dims : list of int
        Its declared shape.
    type : int
        The number of its type.
    raw : memoryview or None
        Its data as bytes, if it has them in this form.
    typed : int
        Values in the other forms.
    is_external : bool
        Whether its data lie in another file.
    entries : dict of str to str
        Where there: location, offset and length.
    """

    name: str = ""
    dims: list[int] = field(default_factory=list)
    type: int = 0
    raw: memoryview | None = None
    typed: int = 0
    is_external: bool = False
    entries: dict[str, str] = field(default_factory=dict)
    small: list[int] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Number of elements declared."""
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        """Bytes that its data take as they lie in memory."""
        return -(-self.size * _BITS.get(self.type, 8) // 8)

    def problem(self) -> str | None:
        """Return why it cannot be what it declares, or None."""
        if len(self.dims) > _MOST_AXES or any(size < 0 for size in self.dims):
            return f"declares the shape {self.dims[:_MOST_SHOWN]}"
        if self.type not in _BITS and self.type != _STRING:
            return f"is of the unknown type {self.type}"
        if self.is_external:
            return None
        if self.raw is not None:
            held, declared = len(self.raw), self.bytes
            return None if held == declared else f"declares {declared:,} bytes, but holds {held:,}"
        elements = self.typed
        if self.type in _COMPLEX:
            elements //= 2
        elif self.type != _STRING and _BITS.get(self.type, 8) < 8:
            elements *= 8 // _BITS[self.type]
        return None if self.size <= elements else f"declares {self.size:,} values, but holds {elements:,}"

    def integers(self) -> list[int]:
        """Return its values if they may be a shape: a few whole numbers; else nothing."""
        if self.type != _INT64 or self.size > _MOST_SIZES or self.is_external:
            return []
        return self.small if self.raw is None else [int(value) for value in np.frombuffer(self.raw, "<i8")]


def tensor_of(message: memoryview) -> Tensor:
    """Return what a ``TensorProto`` declares.

    Raises
    ------
    WireError
        If it is no such message.
    """
    tensor = Tensor()
    for each in fields(message):
        if each.number == _DIMS:
            tensor.dims += integers(each)
        elif each.number == _TYPE:
            tensor.type = integers(each)[0]
        elif each.number == _NAME:
            tensor.name = text(each)
        elif each.number == _RAW:
            tensor.raw = embedded(each)
        elif each.number == _LOCATION:
            tensor.is_external = integers(each)[0] == _EXTERNALLY
        elif each.number == _EXTERNAL:
            key, value = _entry(embedded(each))
            tensor.entries[key] = value
        else:
            _add_values(tensor, each)
    return tensor


def _add_values(tensor: Tensor, data: Field) -> None:
    if data.number in _FIXED:
        tensor.typed += len(embedded(data)) // _FIXED[data.number]
    elif data.number in _VARINTS:
        # Each ends with a byte below 128; to read millions of them would take minutes.
        count = 1 if isinstance(data.value, int) else int((np.frombuffer(data.value, np.uint8) < 0x80).sum())
        tensor.typed += count
        if tensor.typed <= _MOST_SIZES:
            tensor.small += integers(data)
    elif data.number == _STRINGS:
        tensor.typed += 1


def _entry(message: memoryview) -> tuple[str, str]:
    found = {each.number: text(each) for each in fields(message)}
    if 1 not in found:
        raise WireError("an entry without a key")
    return found[1], found.get(2, "")
