"""Write TensorFlow graphs without TensorFlow, and with that the example graph that asd-essentia ships.

    python plugins/asd-essentia/tests/make_example.py

A small graph stands for networks that must be downloaded: it tests everything but the network.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asd_essentia.published import PUBLISHED, Published

DATA = Path(__file__).resolve().parent.parent / "src" / "asd_essentia" / "data"
_INPUTS = {
    "vggish": ("model/Placeholder", (-1, 96, 64)),
    "discogs-effnet": ("serving_default_melspectrogram", (64, 128, 96)),
}
"""Placeholder and shape of a batch that Essentia's algorithm feeds."""

_FLOAT_CODE, _INTEGER_CODE = 1, 3


def example_graph() -> bytes:
    """Encode a graph that serves every published model.

    A patch's embedding is its mean over time after as many zeros as the published model's dimension needs, by the node
    that this model names.
    """
    return b"".join(_published(name, model) for name, model in PUBLISHED.items())


def example_metadata() -> str:
    """Return what Essentia's site would offer beside the graph, as JSON."""
    usual = PUBLISHED["vggish"]
    output = {"name": usual.output, "shape": [1, usual.dimension], "output_purpose": "embeddings"}
    stated = {"schema": {"outputs": [output]}, "inference": {"algorithm": usual.algorithm, "sample_rate": 16000}}
    return json.dumps(stated) + "\n"


def _published(name: str, model: Published) -> bytes:
    source, shape = _INPUTS[name]
    output, _, index = model.output.partition(":")
    parts = int(index or 0) + 1  # a node's second output is what a split into two gives
    padded = f"{name}/padded" if parts > 1 else output
    zeros = parts * model.dimension - shape[-1]
    graph = averaging(source, shape, f"{name}/mean") + constant(f"{name}/zeros", np.int32([[0, 0], [zeros, 0]]))
    graph += node(padded, "Pad", f"{name}/mean", f"{name}/zeros", T=FLOAT, Tpaddings=INTEGER)
    if parts > 1:
        graph += constant(f"{name}/axis", np.int32(1))
        graph += node(output, "Split", f"{name}/axis", padded, T=FLOAT, num_split=field(3, parts))
    return graph


def averaging(source: str, shape: tuple[int, ...], output: str) -> bytes:
    """Encode the nodes that average a batch over its second dimension; -1 is a dimension of any size."""
    sizes = field(7, b"".join(field(2, field(1, size)) for size in shape))
    return (
        node(source, "Placeholder", dtype=FLOAT, shape=sizes)
        + constant(f"{output}/axis", np.int32(1))
        + node(output, "Mean", source, f"{output}/axis", T=FLOAT, Tidx=INTEGER, keep_dims=field(5, 0))
    )


def constant(name: str, value: npt.NDArray[np.int32] | np.int32) -> bytes:
    """Encode a node that gives `value`."""
    code = _INTEGER_CODE
    shape = b"".join(field(2, field(1, size)) for size in value.shape)
    tensor = field(1, code) + field(2, shape) + field(4, value.tobytes())
    return node(name, "Const", dtype=field(6, code), value=field(8, tensor))


def node(name: str, operation: str, *inputs: str, **attributes: bytes) -> bytes:
    """Encode a node of a graph."""
    parts = [field(1, name.encode()), field(2, operation.encode()), *(field(3, i.encode()) for i in inputs)]
    parts += [field(5, field(1, key.encode()) + field(2, value)) for key, value in attributes.items()]
    return field(1, b"".join(parts))


def field(number: int, content: bytes | int) -> bytes:
    """Encode a field of a protocol buffer message."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    encoded = b""
    while value >= 0x80:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


FLOAT, INTEGER = field(6, _FLOAT_CODE), field(6, _INTEGER_CODE)


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    (DATA / "example.pb").write_bytes(example_graph())
    (DATA / "example.json").write_text(example_metadata(), encoding="utf-8")
