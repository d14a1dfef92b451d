"""Write a network as an ONNX graph, one layer at a time.

Weights are stored in few bits and become float32 by ``Cast`` and ``Mul``, which ONNX Runtime computes once, when it
loads the file. Every output is a vector for each window; ONNX Runtime computes only what a requested output needs
(`RunOptions.only_execute_path_to_fetches`), so that one file serves every layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
"""What ONNX Runtime 1.17 and later read."""

BLOCK = 16
"""Channels that ONNX Runtime computes together on processors with AVX-512 (8 with AVX). It reorders maps whose number
of channels is no multiple: so they get channels of zeros, which are dropped at the end."""

_SMALL = 2**16
"""Kernels of fewer values stay in float32 where others become integers: the first layers matter most for precision."""

Array = NDArray[Any]
Stored = Literal["float32", "float16", "int16"]
Activation = Literal["Relu", "HardSwish", "Sigmoid"]


class Graph:
    """A network that is being written: each method adds nodes and returns the name of their result.

    Parameters
    ----------
    name : str
        Of the network.
    shape : sequence of (int or str)
        Of one window; text names an axis of any length.
    stored : {"float32", "float16", "int16"}
        How kernels are kept: int16 with a scale for each output channel loses less than float16.
    """

    WINDOWS = "windows"

    def __init__(self, name: str, shape: Sequence[int | str], stored: Stored) -> None:
        self._name = name
        self._stored = stored
        self._input = helper.make_tensor_value_info(self.WINDOWS, TensorProto.FLOAT, ["n", *shape])
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator with one result."""
        result = f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [result], name=result, **attributes))
        return result

    def constant(self, values: Array) -> str:
        """Add an array as it is."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def weight(self, kernel: Array, scale: Array | None = None) -> str:
        """Add a kernel, stored in few bits; the first axis counts output channels.

        Parameters
        ----------
        kernel : array of shape (outputs, …)
            An integer array is kept as it is.
        scale : array of shape (outputs,), optional
            Multiplies each output channel: a batch norm's, or that of the integers.
        """
        if self._stored == "int16" and kernel.dtype.kind == "f" and kernel.size > _SMALL:
            kernel, steps = _as_integers(kernel)
            scale = steps if scale is None else steps * scale
        elif self._stored == "float16" and kernel.dtype.kind == "f":
            kernel = kernel.astype(np.float16)
        name = self.constant(kernel)
        if kernel.dtype != np.float32:
            name = self.node("Cast", name, to=TensorProto.FLOAT)
        if scale is None:
            return name
        spread = scale.reshape(-1, *[1] * (kernel.ndim - 1)).astype(np.float32)
        return self.node("Mul", name, self.constant(spread))

    def convolution(
        self,
        features: str,
        kernel: Array,
        *,
        scale: Array | None = None,
        bias: Array | None = None,
        pads: tuple[int, int, int, int] | None = None,
        stride: int = 1,
        groups: int = 1,
        activation: Activation | None = None,
    ) -> str:
        """Add a convolution of maps (n, channels, height, width).

        Parameters
        ----------
        features : str
            Its input.
        kernel : array of shape (outputs, inputs / groups, height, width)
            Weights.
        scale, bias : array of shape (outputs,), optional
            A batch norm's scale; what is added.
        pads : (top, left, bottom, right), optional
            Zeros around the map; None: half the kernel on each side.
        stride, groups : int
            As usual.
        activation : str, optional
            What follows.
        """
        height, width = kernel.shape[2:]
        inputs = [features, self.weight(kernel, scale)]
        if bias is not None:
            inputs.append(self.constant(bias.astype(np.float32)))
        around = (height // 2, width // 2) * 2 if pads is None else pads
        size = {"kernel_shape": [height, width], "strides": [stride, stride], "pads": list(around)}
        result = self.node("Conv", *inputs, **size, group=groups)
        return self.node(activation, result) if activation else result

    def affine(self, features: str, scale: Array, shift: Array) -> str:
        """Multiply and add, broadcast."""
        return self.node(
            "Add", self.node("Mul", features, self.constant(scale.astype(np.float32))),
            self.constant(shift.astype(np.float32)),
        )  # fmt: skip

    def dense(self, features: str, kernel: Array, bias: Array) -> str:
        """Add a fully connected layer; `kernel` has the shape (outputs, inputs)."""
        return self.node("Gemm", features, self.weight(kernel), self.constant(bias.astype(np.float32)), transB=1)

    def with_channel(self) -> str:
        """Return the windows as maps of one channel."""
        return self.node("Unsqueeze", self.WINDOWS, self.constant(np.array([1], np.int64)))

    def first(self, features: str, count: int) -> str:
        """Return the first channels (axis 1) alone."""
        bounds = (self.constant(np.array([number], np.int64)) for number in (0, count, 1))
        return self.node("Slice", features, *bounds)

    def flat(self, features: str) -> str:
        """Return all that belongs to a window as one vector."""
        return self.node("Flatten", features, axis=1)

    def output(self, name: str, vectors: str, length: int) -> None:
        """Offer `vectors` (n, length) by a name."""
        self._nodes.append(helper.make_node("Identity", [vectors], [name], name=name))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", length]))

    def model(self, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """Return the checked model."""
        graph = helper.make_graph(self._nodes, self._name, [self._input], self._outputs, self._constants)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="asd-onnx")
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return model


def filled(values: Array, axis: int = 0) -> Array:
    """Return `values` with zeros behind them up to a whole number of blocks of channels."""
    lacking = [(0, -values.shape[axis] % BLOCK if each == axis else 0) for each in range(values.ndim)]
    return np.pad(values, lacking)


def batch_norm(tensors: Mapping[str, Array], name: str, epsilon: float) -> tuple[Array, Array]:
    """Return the scale and the shift that a batch norm of torch's amounts to in inference, float64."""
    weight, bias, mean, variance = (
        tensors[f"{name}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = weight / np.sqrt(variance + epsilon)
    return scale, bias - mean * scale


def _as_integers(kernel: Array) -> tuple[Array, Array]:
    """Return the kernel as int16 and the value of one step in each output channel."""
    largest = np.abs(kernel).reshape(len(kernel), -1).max(axis=1)
    steps = np.where(largest > 0, largest, 1.0) / np.iinfo(np.int16).max
    return np.rint(kernel / steps.reshape(-1, *[1] * (kernel.ndim - 1))).astype(np.int16), steps
