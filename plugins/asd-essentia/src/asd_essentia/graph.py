"""Read the nodes of a TensorFlow graph (.pb) without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from asd.errors import AsdError, WeightError
from asd_registry import did_you_mean

# What reads constants, or belongs to training or control flow, has no activations to give.
_NO_LAYERS = frozenset(
    {"Const", "Placeholder", "PlaceholderWithDefault", "NoOp", "Shape", "StridedSlice", "Pack", "Switch", "Merge",
     "RandomUniform", "Floor", "StopGradient", "ExpandDims", "Pad", "Transpose", "Reshape", "ConcatV2",
     "SquaredDifference", "Rsqrt", "Sub", "RealDiv"}
)  # fmt: skip
_INSIDE = ("dropout", "/cond", "batchnorm/", "batch_normalization")
"""Parts of names that stand inside a layer."""
_SHOWN = 12
_MOST_BYTES = 1_000_000_000
_LONGEST_NAME = 1000
_MOST_BITS = 64
"""Bits after which a number of variable length must have ended."""
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


def nodes(path: Path) -> dict[str, str]:
    """Return the operation of each node by the node's name, in the graph's order.

    Raises
    ------
    WeightError
        If the file cannot be read, is too long, cut off, or no graph.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise WeightError(f"{path}: longer than {_MOST_BYTES:,} bytes, which is more than Essentia's graphs take")
        content = path.read_bytes()
    except OSError as error:
        raise WeightError(f"{path}: cannot read this graph ({error.strerror})") from error
    try:
        found = dict(_node(value) for number, value in _fields(content) if number == 1)
    except (IndexError, KeyError, ValueError):
        found = {}
    if not found:
        raise WeightError(
            f"{path}: damaged, cut off, or not a TensorFlow graph (.pb); copy it again from its publisher"
        )
    return found


def check_node(path: Path, name: str) -> None:
    """Raise an AsdError that lists the nodes that fit if the graph has no node `name` (``name`` or ``name:output``)."""
    found = nodes(path)
    if name.partition(":")[0] in found:
        return
    fitting = [
        node
        for node, operation in found.items()
        if operation not in _NO_LAYERS and not node.endswith("/read") and not any(part in node for part in _INSIDE)
    ]
    more = len(fitting) - _SHOWN
    listed = ", ".join(fitting[-_SHOWN:]) + (f" and {more} before them" if more > 0 else "")
    hint = did_you_mean(name, fitting, otherwise="")
    raise AsdError(f"{path.name} has no node {name!r}; {hint}{' ' if hint else ''}the last that fit: {listed}")


def _node(content: bytes) -> tuple[str, str]:
    """Return the name and the operation of a NodeDef."""
    fields = dict(field for field in _fields(content) if field[0] in (1, 2))
    name, operation = fields[1].decode(), fields[2].decode()
    if not name.isprintable() or len(name) > _LONGEST_NAME:
        raise ValueError(name)
    return name, operation


def _fields(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (number, content) of each field of a protocol buffer message; the content of a number is left empty."""
    position = 0
    while position < len(content):
        tag, position = _varint(content, position)
        kind, length = tag & 7, 0
        if kind == _VARINT:
            _, position = _varint(content, position)
        elif kind == _BYTES:
            length, position = _varint(content, position)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(kind)
        if position + length > len(content):
            raise IndexError(position)
        yield tag >> 3, content[position : position + length]
        position += length


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """Return a number of variable length, and where it ends."""
    value = shift = 0
    while True:
        byte = content[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
        if shift > _MOST_BITS:
            raise ValueError(shift)
