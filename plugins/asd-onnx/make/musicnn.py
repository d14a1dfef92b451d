"""MusiCNN, from a file with TensorFlow's names.

Batch norm follows the rectifier, and the maximum over frequency follows that. Both are monotonic in each channel, so
that the maximum can be taken first, of bare convolutions whose kernels are scaled by the batch norm: then there is a
fiftieth of the values left. A rising channel is rectified from below, a falling one from above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from graph import Array, Graph, filled

_EPSILON = 1e-3
_BANDS = 96
_HUGE = float(np.finfo(np.float32).max)
_FRONT = {"timbral": (0, 1), "temporal": (2, 3, 4)}
"""Numbers of the convolutions of each part of the front end."""


def build(tensors: Mapping[str, Array], name: str) -> Graph:
    """Return the graph: log-mel windows (frames, 96 bands) to every layer by its name."""
    graph = Graph(name, ("frames", _BANDS), "float32")
    scale, shift = _batch_norm(tensors, 0)
    scaled = graph.affine(graph.with_channel(), scale, shift)
    numbers = [number for part in _FRONT.values() for number in part]
    front = graph.node("Concat", *(_front(graph, scaled, tensors, number) for number in numbers), axis=1)
    # Rows of one frame become one row of all frames: along a row ONNX Runtime computes several places at once.
    front = graph.node("Transpose", front, perm=[0, 1, 3, 2])
    first = _convolution(graph, front, tensors, 5, _channels(tensors, numbers))
    second = graph.node("Add", _convolution(graph, first, tensors, 6), first)
    third = graph.node("Add", _convolution(graph, second, tensors, 7), second)
    means = _pooled(graph, tensors, front, (first, second, third), "GlobalAveragePool")
    maxima = _pooled(graph, tensors, front, (first, second, third), "GlobalMaxPool")
    for layer, (vector, length) in means.items():
        graph.output(layer, vector, length)
    total = sum(length for _, length in means.values())
    mean, maximum = (_joined(graph, [vector for vector, _ in pooled.values()]) for pooled in (means, maxima))
    graph.output("mean-pool", mean, total)
    graph.output("max-pool", maximum, total)
    _classify(graph, mean, maximum, tensors)
    return graph


def _pooled(
    graph: Graph, tensors: Mapping[str, Array], front: str, convolved: tuple[str, ...], operator: str
) -> dict[str, tuple[str, int]]:
    """Return each layer's activations pooled over time, in the order of the pooling layers, and their number."""
    pooled = graph.flat(graph.node(operator, front))
    found = {}
    before = 0
    for part, numbers in _FRONT.items():
        channels = _channels(tensors, numbers)
        vector = graph.node("Gather", pooled, graph.constant(before + np.flatnonzero(channels)), axis=1)
        found[part] = vector, int(channels.sum())
        before += len(channels)
    for number, features in enumerate(convolved, 1):
        found[f"cnn{number}"] = graph.flat(graph.node(operator, features)), len(tensors[f"conv2d_{number + 4}/bias"])
    return found


def _joined(graph: Graph, vectors: list[str]) -> str:
    return graph.node("Concat", *vectors, axis=1)


def _classify(graph: Graph, mean: str, maximum: str, tensors: Mapping[str, Array]) -> None:
    """Offer the dense layers."""
    kernel, bias = _dense(tensors, "dense", 9)
    # TensorFlow lays maximum and mean of a channel side by side; here all maxima come first.
    kernel = np.concatenate([kernel[:, 0::2], kernel[:, 1::2]], axis=1)
    penultimate = graph.dense(_joined(graph, [maximum, mean]), kernel, bias)
    graph.output("penultimate", penultimate, len(kernel))
    kernel, bias = _dense(tensors, "dense_1", 10)
    tags = graph.node("Sigmoid", graph.dense(graph.node("Relu", penultimate), kernel, bias))
    graph.output("taggram", tags, len(kernel))


def _front(graph: Graph, scaled: str, tensors: Mapping[str, Array], number: int) -> str:
    """Convolve, take the maximum over frequency, then rectifier and batch norm: maps (n, channels, frames, 1)."""
    kernel, bias = _kernel(tensors, number)
    scale, shift = _batch_norm(tensors, number + 1)
    taps, seen = kernel.shape[2:]
    pads = ((taps - 1) // 2, 0, taps // 2, 0)
    bands = _BANDS - seen + 1
    kernel = (kernel * scale[:, None, None, None]).astype(np.float32)
    found = graph.convolution(scaled, filled(kernel), pads=pads)
    highest = graph.node("MaxPool", found, kernel_shape=[1, bands], strides=[1, bands])
    low = np.where(scale >= 0, 0.0, -_HUGE)
    high = np.where(scale >= 0, _HUGE, 0.0)
    for operator, values in (("Add", scale * bias), ("Max", low), ("Min", high), ("Add", shift)):
        highest = graph.node(operator, highest, graph.constant(_by_channel(filled(values))))
    return highest


def _convolution(
    graph: Graph, features: str, tensors: Mapping[str, Array], number: int, used: Array | None = None
) -> str:
    """Convolve over 7 frames and all channels (of the input those that are `used`), then rectifier and batch norm."""
    kernel, bias = _kernel(tensors, number)
    kernel = kernel.transpose(0, 3, 1, 2)  # what was frequency are the channels here
    if used is not None:
        wider = np.zeros((len(kernel), len(used), *kernel.shape[2:]), np.float32)
        wider[:, used] = kernel
        kernel = wider
    scale, shift = _batch_norm(tensors, number + 1)
    found = graph.convolution(features, kernel, bias=bias, activation="Relu")
    return graph.affine(found, _by_channel(scale), _by_channel(shift))


def _channels(tensors: Mapping[str, Array], numbers: Sequence[int]) -> Array:
    """Return which channels of the convolutions' maps are real, bool."""
    return np.concatenate([filled(np.ones(_kernel(tensors, number)[0].shape[0], bool)) for number in numbers])


def _kernel(tensors: Mapping[str, Array], number: int) -> tuple[Array, Array]:
    """Return a convolution's kernel (outputs, inputs, time, frequency) and its bias."""
    name = "conv2d" + (f"_{number}" if number else "")
    return tensors[f"{name}/kernel"].transpose(3, 2, 0, 1), tensors[f"{name}/bias"]


def _dense(tensors: Mapping[str, Array], name: str, norm: int) -> tuple[Array, Array]:
    """Return the kernel (outputs, inputs) and the bias of a dense layer with the batch norm before it folded in."""
    kernel, bias = (tensors[f"{name}/{part}"].astype(np.float64) for part in ("kernel", "bias"))
    scale, shift = _batch_norm(tensors, norm)
    return (kernel * scale[:, None]).T.astype(np.float32), bias + shift @ kernel


def _batch_norm(tensors: Mapping[str, Array], number: int) -> tuple[Array, Array]:
    name = "batch_normalization" + (f"_{number}" if number else "")
    gamma, beta, mean, variance = (
        tensors[f"{name}/{part}"].astype(np.float64) for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / np.sqrt(variance + _EPSILON)
    return scale, beta - mean * scale


def _by_channel(values: Array) -> Array:
    return values.reshape(1, -1, 1, 1).astype(np.float32)
