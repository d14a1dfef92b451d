"""YAMNet up to its classifier, from TensorFlow Hub's TFLite file; its 8-bit kernels stay in 8 bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tflite
from graph import Array, Graph

_SHAPE = (96, 64)
_STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
"""Of each layer: tensorflow/models, research/audioset/yamnet/yamnet.py."""


def build(path: Path) -> Graph:
    """Return the graph: log-mel patches (96 frames, 64 bands) to ``layer1`` … ``layer14``, averaged over the map."""
    graph = Graph("yamnet", _SHAPE, "float32")
    convolutions = _convolutions(path)
    features = graph.with_channel()
    for number, stride in enumerate(_STRIDES, 1):
        # The first layer is one convolution, the others one for each channel and then one across channels.
        for step in (stride,) if number == 1 else (stride, 1):
            convolution = next(convolutions)
            features = convolution.added(graph, features, step)
        vector = graph.flat(graph.node("GlobalAveragePool", features))
        graph.output(f"layer{number}", vector, len(convolution.bias))
    return graph


@dataclass(frozen=True)
class _Convolution:
    """A convolution of the file: kernel (outputs, inputs / groups, height, width), its scale, bias, and groups."""

    kernel: Array
    scale: Array | None
    bias: Array
    groups: int

    def added(self, graph: Graph, features: str, stride: int) -> str:
        """Add it to the graph, with its rectifier."""
        edge = self.kernel.shape[2] // 2
        # TensorFlow's "same" padding of an even length at stride 2: one row and one column, at the end.
        pads = (edge, edge, edge, edge) if stride == 1 else (0, 0, 1, 1)
        return graph.convolution(
            features, self.kernel, scale=self.scale, bias=self.bias, pads=pads, stride=stride, groups=self.groups,
            activation="Relu",
        )  # fmt: skip


def _convolutions(path: Path) -> Iterator[_Convolution]:
    """Yield the file's convolutions in the order in which they are computed; batch norms are folded in already."""
    model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
    graph = model.Subgraphs(0)
    for position in range(graph.OperatorsLength()):
        operator = graph.Operators(position)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if kind not in (tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D):
            continue
        kernel, scale = _tensor(model, graph.Tensors(operator.Inputs(1)))
        bias, _ = _tensor(model, graph.Tensors(operator.Inputs(2)))
        if kind == tflite.BuiltinOperator.DEPTHWISE_CONV_2D:  # (1, height, width, channels)
            yield _Convolution(kernel.transpose(3, 0, 1, 2), scale, bias, len(bias))
        else:  # (outputs, height, width, inputs)
            yield _Convolution(kernel.transpose(0, 3, 1, 2), scale, bias, 1)


def _tensor(model: tflite.Model, tensor: tflite.Tensor) -> tuple[Array, Array | None]:
    """Return a tensor's numbers and, of integers, the value of one step in each channel."""
    types = {tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.INT8: np.int8}
    values = model.Buffers(tensor.Buffer()).DataAsNumpy().view(types[tensor.Type()]).reshape(tensor.ShapeAsNumpy())
    quantisation = tensor.Quantization()
    if quantisation is None or not quantisation.ScaleLength():
        return values, None
    if np.any(quantisation.ZeroPointAsNumpy()):
        raise ValueError(f"{tensor.Name().decode()}: expected integers around zero")
    return values, quantisation.ScaleAsNumpy()
