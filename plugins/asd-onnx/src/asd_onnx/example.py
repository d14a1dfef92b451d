"""A network of a few bytes, for quick trials without a library that writes ONNX files."""

from __future__ import annotations

from pathlib import Path

from asd_onnx.wire import encoded, encoded_number

_IR, _OPSET = 8, 17
_FLOAT = 1


def write_example(path: Path) -> Path:
    """Write a network that gives mean, largest and smallest value of each window, of any shape; return `path`.

    Its input is ``windows``, its output ``statistics``, (n_windows, 3).
    """
    # Flatten keeps the first axis and joins the others; each reduction then leaves one value of a window.
    nodes = [_node("Flatten", ["windows"], "flat")]
    parts = {"ReduceMean": "mean", "ReduceMax": "largest", "ReduceMin": "smallest"}
    nodes += [_node(operator, ["flat"], name, axes=[1]) for operator, name in parts.items()]
    nodes.append(_node("Concat", list(parts.values()), "statistics", axis=1))
    ends = encoded(11, _value("windows", None)) + encoded(12, _value("statistics", 3))
    graph = b"".join(encoded(1, node) for node in nodes) + encoded(2, b"example") + ends
    path.write_bytes(encoded_number(1, _IR) + encoded(7, graph) + encoded(8, encoded_number(2, _OPSET)))
    return path


def _node(operator: str, inputs: list[str], output: str, **attributes: int | list[int]) -> bytes:
    """Return a ``NodeProto``."""
    named = b"".join(encoded(1, name.encode()) for name in inputs) + encoded(2, output.encode())
    return (
        named + encoded(4, operator.encode()) + b"".join(encoded(5, _attribute(*pair)) for pair in attributes.items())
    )


def _attribute(name: str, value: int | list[int]) -> bytes:
    """Return an ``AttributeProto`` of one or several whole numbers."""
    if isinstance(value, int):
        return encoded(1, name.encode()) + encoded_number(3, value) + encoded_number(20, 2)
    numbers = b"".join(encoded_number(8, each) for each in value)
    return encoded(1, name.encode()) + numbers + encoded_number(20, 7)


def _value(name: str, size: int | None) -> bytes:
    """Return a ``ValueInfoProto`` of float32: any shape, or (windows, `size`)."""
    tensor = encoded_number(1, _FLOAT)
    if size is not None:
        tensor += encoded(2, encoded(1, encoded(2, b"windows")) + encoded(1, encoded_number(1, size)))
    return encoded(1, name.encode()) + encoded(2, encoded(1, tensor))
