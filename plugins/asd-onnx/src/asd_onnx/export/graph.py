"""Grow an ONNX graph operator by operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

OPSET = 17
_OUTPUTS = {"TopK": 2}
"""Operators that have more than one output."""
_IR_VERSION = 8
"""The oldest that opset 17 goes with: older runtimes load it, too."""


class Graph:
    """The graph of `asd.plugin.OnnxGraph`; it makes names, and keeps one constant of each value."""

    def __init__(self) -> None:
        self._inputs: list[str] = []
        self._shapes: dict[str, tuple[int | None, ...]] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}
        self._count = 0

    def samples(self, sample_rate: int) -> str:
        """Return the name of the input for samples, float32 (any number,), at a rate in Hz; it holds the rate."""
        name = f"samples_{sample_rate}"
        if name not in self._inputs:
            self._inputs.append(name)
        return name

    def declare(self, windows: str, shape: tuple[int | None, ...]) -> None:
        """Say what `shape` returns for windows."""
        self._shapes[windows] = shape

    def shape(self, windows: str) -> tuple[int | None, ...]:
        """Return the shape of a window, as the front end states it."""
        return self._shapes[windows]

    def constant(self, value: npt.ArrayLike) -> str:
        """Return the name of a constant; floats become float32, whole numbers int64, arrays keep their type."""
        array = value if isinstance(value, np.ndarray) else np.asarray(value)
        if not isinstance(value, np.ndarray):
            array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._initializers:
            self._initializers[key] = numpy_helper.from_array(np.asarray(array, order="C"), self._name("constant"))
        return self._initializers[key].name

    def op(self, kind: str, *inputs: str, output: int = 0, **attributes: Any) -> str:
        """Add an operator and return the name of an output; a NumPy type as an attribute is its ONNX number."""
        plain: dict[str, Any] = {
            name: helper.np_dtype_to_tensor_dtype(np.dtype(value)) if isinstance(value, type | np.dtype) else value
            for name, value in attributes.items()
        }
        outputs = [self._name(kind.lower()) for _ in range(_OUTPUTS.get(kind, 1))]
        self._nodes.append(helper.make_node(kind, inputs, outputs, **plain))
        return outputs[output]

    def network(self, model: Path | bytes, output: str, windows: str) -> str:
        """Add a whole ONNX model with one input, `windows`, and return the name of its `output` here.

        Raises
        ------
        ValueError
            If it has several inputs, no such output, or operators of other domains or of a newer opset.
        """
        loaded = onnx.load_model_from_string(model) if isinstance(model, bytes) else onnx.load_model(str(model))
        newest = max(each.version for each in loaded.opset_import)
        if {each.domain for each in loaded.opset_import} - {"", "ai.onnx"} or newest > OPSET:
            raise ValueError(f"it needs opset {newest} or operators of other domains; expected opset up to {OPSET}")
        graph = loaded.graph
        constants = {tensor.name: tensor for tensor in graph.initializer}
        inputs = [each.name for each in graph.input if each.name not in constants]
        if len(inputs) != 1 or output not in {each.name for each in graph.output}:
            raise ValueError(f"expected one input and an output {output!r}")
        names = {"": "", inputs[0]: windows}
        for node in _needed(list(graph.node), output):
            used = {each: constants[each] for each in node.input if each in constants}
            names |= {each: self.constant(numpy_helper.to_array(tensor)) for each, tensor in used.items()}
            own = onnx.NodeProto()
            own.CopyFrom(node)
            names |= {each: self._name(node.op_type.lower()) for each in node.output if each}
            own.input[:] = [names[each] for each in node.input]
            own.output[:] = [names[each] for each in node.output]
            own.name = ""
            self._nodes.append(own)
        return names[output]

    def model(self, outputs: dict[str, tuple[str, type, tuple[int | str, ...]]], metadata: dict[str, str]) -> bytes:
        """Return the model, serialised and checked.

        Parameters
        ----------
        outputs : dict of str to (str, type, tuple)
            For each output its public name: what it is called in the graph, its NumPy type and its shape.
        metadata : dict of str to str
            The model's ``metadata_props``.
        """
        declared = []
        for public, (name, dtype, shape) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [name], [public]))
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            declared.append(helper.make_tensor_value_info(public, kind, shape))
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [name]) for name in self._inputs]
        graph = helper.make_graph(self._nodes, "asd", inputs, declared, list(self._initializers.values()))
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION, producer_name="asd"
        )
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{what}_{self._count}"


def _needed(nodes: list[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    """Return the nodes that an output needs, in order."""
    needed, kept = {output}, []
    for node in reversed(nodes):
        if any(attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for attribute in node.attribute):
            raise ValueError(f"it has branches or loops ({node.op_type})")
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    return kept[::-1]
