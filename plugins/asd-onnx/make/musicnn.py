"""MusiCNN, from a file with TensorFlow's names.

Batch norm follows the rectifier, and the maximum over frequency follows that. Both are monotonic in each channel, so
that the maximum can be taken first, of bare convolutions whose kernels are scaled by the batch norm: then there is a
fiftieth of the values left. A rising channel is rectified from below, a falling one from above.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from graph import Array, Graph

_EPSILON = 1e-3
_BANDS = 96
_HUGE = float(np.finfo(np.float32).max)
_SIZES = {"timbral": 408, "temporal": 153, "cnn1": 64, "cnn2": 64, "cnn3": 64}
"""Layers whose means are the output of the mean pooling, in its order, and how many values they have."""


def build(tensors: Mapping[str, Array], name: str) -> Graph:
    """Return the graph: log-mel windows (frames, 96 bands) to every layer by its name."""
    graph = Graph(name, ("frames", _BANDS), "float32")
    scale, shift = _batch_norm(tensors, 0)
    scaled = graph.affine(graph.with_channel(), scale, shift)
    layers = {
        "timbral": graph.node("Concat", *(_front(graph, scaled, tensors, number) for number in (0, 1)), axis=1),
        "temporal": graph.node("Concat", *(_front(graph, scaled, tensors, number) for number in (2, 3, 4)), axis=1),
    }
    front = graph.node("Concat", layers["timbral"], layers["temporal"], axis=1)
    layers["cnn1"] = _convolution(graph, front, tensors, 5)
    for number, name in ((6, "cnn2"), (7, "cnn3")):
        before = layers[f"cnn{number - 5}"]
        layers[name] = graph.node("Add", _convolution(graph, before, tensors, number), before)
    _offer(graph, layers, tensors)
    return graph


def _offer(graph: Graph, layers: Mapping[str, str], tensors: Mapping[str, Array]) -> None:
    means = [graph.flat(graph.node("GlobalAveragePool", layers[name])) for name in _SIZES]
    maxima = [graph.flat(graph.node("GlobalMaxPool", layers[name])) for name in _SIZES]
    for (name, size), mean in zip(_SIZES.items(), means, strict=True):
        graph.output(name, mean, size)
    total = sum(_SIZES.values())
    mean, maximum = (graph.node("Concat", *values, axis=1) for values in (means, maxima))
    graph.output("mean-pool", mean, total)
    graph.output("max-pool", maximum, total)
    pooled = graph.node("Concat", maximum, mean, axis=1)
    kernel, bias = _dense(tensors, "dense", 9)
    # TensorFlow lays maximum and mean of a channel side by side; here all maxima come first.
    kernel = np.concatenate([kernel[:, 0::2], kernel[:, 1::2]], axis=1)
    penultimate = graph.dense(pooled, kernel, bias)
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
    found = graph.convolution(scaled, (kernel * scale[:, None, None, None]).astype(np.float32), pads=pads)
    highest = graph.node("MaxPool", found, kernel_shape=[1, bands], strides=[1, bands])
    low = np.where(scale >= 0, 0.0, -_HUGE)
    high = np.where(scale >= 0, _HUGE, 0.0)
    for operator, values in (("Add", scale * bias), ("Max", low), ("Min", high), ("Add", shift)):
        highest = graph.node(operator, highest, graph.constant(_by_channel(values)))
    return highest


def _convolution(graph: Graph, features: str, tensors: Mapping[str, Array], number: int) -> str:
    """Convolve over 7 frames and all channels, then rectifier and batch norm."""
    kernel, bias = _kernel(tensors, number)
    kernel = kernel.transpose(0, 3, 2, 1)  # what was frequency are the channels here
    scale, shift = _batch_norm(tensors, number + 1)
    found = graph.convolution(features, kernel, bias=bias, activation="Relu")
    return graph.affine(found, _by_channel(scale), _by_channel(shift))


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
