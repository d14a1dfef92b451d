"""Read and write protocol buffers field by field, without a schema and without copying what is not looked at.

Encoding: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 10
_MOST_SHOWN = 80


class WireError(ValueError):
    """The bytes are no message, or end too early."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message.

    Parameters
    ----------
    number : int
        Its number in the message's definition.
    value : int or memoryview
        An integer as it is stored, without a sign; or the content of what has a length; or the 4 or 8 bytes of a
        number of fixed size.
    raw : memoryview
        The field with its key, as it lies in the message.
    """

    number: int
    value: int | memoryview
    raw: memoryview


def fields(message: memoryview) -> Iterator[Field]:
    """Yield the fields of a message in order.

    Raises
    ------
    WireError
        If it is cut off, or no message.
    """
    position, end = 0, len(message)
    while position < end:
        start = position
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        value: int | memoryview
        if kind == _VARINT:
            value, position = _varint(message, position)
        else:
            if kind == _BYTES:
                size, position = _varint(message, position)
            elif kind in _FIXED_SIZES:
                size = _FIXED_SIZES[kind]
            else:
                raise WireError(f"a field of the unknown kind {kind}")
            if position + size > end:
                raise WireError(f"a field of {size} bytes where {end - position} are left")
            value = message[position : position + size]
            position += size
        if number == 0:
            raise WireError("a field without a number")
        yield Field(number, value, message[start:position])


def integers(field: Field) -> list[int]:
    """Return the signed integers of a repeated field, one or many of them."""
    if isinstance(field.value, int):
        return [_signed(field.value)]
    found, position = [], 0
    while position < len(field.value):
        value, position = _varint(field.value, position)
        found.append(_signed(value))
    return found


def text(field: Field) -> str:
    """Return a field's text; what is no UTF-8 is shown as such."""
    return "" if isinstance(field.value, int) else bytes(field.value).decode(errors="replace")


def shown(name: str) -> str:
    """Return a name from a file as messages show it: on one line, and not endless."""
    return repr(name)[1:-1][:_MOST_SHOWN]


def embedded(field: Field) -> memoryview:
    """Return the message or the bytes that a field holds.

    Raises
    ------
    WireError
        If it holds a number.
    """
    if isinstance(field.value, int):
        raise WireError("a number where a message should be")
    return field.value


def encoded(number: int, content: bytes) -> bytes:
    """Return `content`, a message or text, as field `number`."""
    return _as_varint(number << 3 | _BYTES) + _as_varint(len(content)) + content


def encoded_number(number: int, value: int) -> bytes:
    """Return `value`, which is not negative, as field `number`."""
    return _as_varint(number << 3 | _VARINT) + _as_varint(value)


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(message[position : position + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + index + 1
    raise WireError("a number that does not end")


def _signed(value: int) -> int:
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
