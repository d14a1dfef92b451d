"""SqueezeNet 1.0 up to its classifier, from a file with torchvision's names."""

from __future__ import annotations

from collections.abc import Mapping

from graph import Array, Graph

_SIZE = 224
_LAST = 12
_POOLINGS = (2, 6, 11)
"""Positions of the maximum poolings among ``features``."""


def build(tensors: Mapping[str, Array]) -> Graph:
    """Return the graph: pictures (3, 224, 224) to ``features.1_average`` … ``features.12_flatten``."""
    graph = Graph("squeezenet1_0", (3, _SIZE, _SIZE), "float16")
    kernel, bias = (tensors[f"features.0.{part}"] for part in ("weight", "bias"))
    maps = graph.convolution(graph.WINDOWS, kernel, bias=bias, pads=(0, 0, 0, 0), stride=2, activation="Relu")
    size, channels = (_SIZE - 7) // 2 + 1, len(kernel)
    _offer(graph, 1, maps, channels, size)
    for number in range(2, _LAST + 1):
        if number in _POOLINGS:
            maps = graph.node("MaxPool", maps, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
            size = -(-(size - 3) // 2) + 1
        else:
            maps, channels = _fire(graph, maps, tensors, f"features.{number}")
        _offer(graph, number, maps, channels, size)
    return graph


def _fire(graph: Graph, maps: str, tensors: Mapping[str, Array], name: str) -> tuple[str, int]:
    def convolution(features: str, part: str) -> str:
        kernel, bias = (tensors[f"{name}.{part}.{which}"] for which in ("weight", "bias"))
        return graph.convolution(features, kernel, bias=bias, activation="Relu")

    squeezed = convolution(maps, "squeeze")
    expanded = [convolution(squeezed, part) for part in ("expand1x1", "expand3x3")]
    return graph.node("Concat", *expanded, axis=1), 2 * len(tensors[f"{name}.expand1x1.weight"])


def _offer(graph: Graph, number: int, maps: str, channels: int, size: int) -> None:
    """Offer a layer in each way in which a feature map becomes a vector."""
    kernel, stride = (size + 1) // 2, size // 2  # quarters of an odd map share its middle row and column
    quarters = graph.node("AveragePool", maps, kernel_shape=[kernel, kernel], strides=[stride, stride])
    vectors = {
        "average": (graph.node("GlobalAveragePool", maps), channels),
        "max": (graph.node("GlobalMaxPool", maps), channels),
        "2x2": (quarters, 4 * channels),
        "flatten": (maps, channels * size * size),
    }
    for pool, (values, length) in vectors.items():
        graph.output(f"features.{number}_{pool}", graph.flat(values), length)
