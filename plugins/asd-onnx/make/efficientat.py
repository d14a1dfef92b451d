"""EfficientAT mn04_as up to its classifier, from a file with torchvision's names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from graph import BLOCK, Activation, Array, Graph, batch_norm, filled

_EPSILON = 1e-3
_BANDS = 128
# Kernel, stride and activation of each block: Howard et al. 2019, arXiv:1905.02244, table 1.
_BLOCKS: tuple[tuple[int, Activation], ...] = (
    (1, "Relu"), (2, "Relu"), (1, "Relu"), (2, "Relu"), (1, "Relu"), (1, "Relu"), (2, "HardSwish"), (1, "HardSwish"),
    (1, "HardSwish"), (1, "HardSwish"), (1, "HardSwish"), (1, "HardSwish"), (2, "HardSwish"), (1, "HardSwish"),
    (1, "HardSwish"),
)  # fmt: skip


def build(tensors: Mapping[str, Array]) -> Graph:
    """Return the graph: log-mel windows (128 bands, frames) to ``layer0_global`` … ``layer16_time``."""
    graph = Graph("efficientat-mn04", (_BANDS, "frames"), "float16")
    network = _Network(graph, tensors)
    features = network.convolution(graph.with_channel(), "features.0", stride=2, activation="HardSwish")
    rows = _BANDS // 2
    channels = len(tensors["features.0.0.weight"])
    _offer(graph, 0, features, channels, rows)
    for number, (stride, activation) in enumerate(_BLOCKS, 1):
        features, outputs = network.block(features, f"features.{number}.block", stride, activation, channels)
        rows, channels = -(-rows // stride), outputs
        _offer(graph, number, features, channels, rows)
    last = len(_BLOCKS) + 1
    features = network.convolution(features, f"features.{last}", activation="HardSwish")
    _offer(graph, last, features, len(tensors[f"features.{last}.0.weight"]), rows)
    return graph


def _offer(graph: Graph, layer: int, features: str, channels: int, rows: int) -> None:
    over_both = graph.node("GlobalAveragePool", features)
    over_time = graph.node("ReduceMean", features, axes=[3], keepdims=0)
    for pool, mean, length in (("global", over_both, channels), ("time", over_time, channels * rows)):
        mean = graph.first(mean, channels) if channels % BLOCK else mean
        graph.output(f"layer{layer}_{pool}", graph.flat(mean), length)


class _Network:
    def __init__(self, graph: Graph, tensors: Mapping[str, Array]) -> None:
        self._graph = graph
        self._tensors = tensors

    def convolution(self, features: str, name: str, *, stride: int = 1, activation: Activation | None = None) -> str:
        """Add a convolution with its batch norm and activation."""
        kernel = self._tensors[f"{name}.0.weight"]
        scale, shift = batch_norm(self._tensors, f"{name}.1", _EPSILON)
        is_depthwise = kernel.shape[1] == 1 and name != "features.0"
        if kernel.shape[1] > 1:
            kernel = filled(kernel, 1)
        kernel, scale, shift = filled(kernel), filled(scale), filled(shift)
        groups = len(kernel) if is_depthwise else 1
        return self._graph.convolution(
            features, kernel, scale=scale, bias=shift, stride=stride, groups=groups, activation=activation
        )

    def block(self, features: str, name: str, stride: int, activation: Activation, inputs: int) -> tuple[str, int]:
        """Expand, convolve each channel, gate, project; added to the input where the shapes agree."""
        count = 1 + max(int(key.split(".")[3]) for key in self._tensors if key.startswith(f"{name}."))
        changed = features
        for number in range(count - 1):
            part = f"{name}.{number}"
            if f"{part}.fc1.weight" in self._tensors:
                changed = self._gated(changed, part)
            else:
                depthwise = self._tensors[f"{part}.0.weight"].shape[2] > 1
                changed = self.convolution(changed, part, stride=stride if depthwise else 1, activation=activation)
        changed = self.convolution(changed, f"{name}.{count - 1}")
        outputs = len(self._tensors[f"{name}.{count - 1}.0.weight"])
        if stride == 1 and inputs == outputs:
            changed = self._graph.node("Add", changed, features)
        return changed, outputs

    def _gated(self, features: str, name: str) -> str:
        """Squeeze and excitation: scale each channel by a function of the means of all channels."""
        gate = self._graph.node("GlobalAveragePool", features)
        for part, activation in (("fc1", "Relu"), ("fc2", "Sigmoid")):
            kernel, bias = (filled(self._tensors[f"{name}.{part}.{which}"]) for which in ("weight", "bias"))
            kernel = filled(kernel, 1)
            gate = self._graph.convolution(gate, kernel, bias=bias.astype(np.float32), activation=activation)  # type: ignore[arg-type]
        return self._graph.node("Mul", features, gate)
