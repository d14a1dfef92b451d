"""aiSFX's embedding network, from a file with the names of the aisfx package."""

from __future__ import annotations

from collections.abc import Mapping

from graph import Array, Graph, batch_norm

_BANDS = 96
_BLOCKS = 4
_EPSILON = 1e-5


def build(tensors: Mapping[str, Array]) -> Graph:
    """Return the graph: log-mel blocks (frames, 96 bands) to ``layer1`` … ``layer4``.

    Each is the mean over bands of a block's last map, then its maximum over frames.
    """
    graph = Graph("aisfx", ("frames", _BANDS), "int16")
    features = graph.with_channel()
    for block in range(1, _BLOCKS + 1):
        for number in (1, 2):
            kernel = tensors[f"conv_block{block}.conv{number}.weight"]
            scale, shift = batch_norm(tensors, f"conv_block{block}.bn{number}", _EPSILON)
            features = graph.convolution(features, kernel, scale=scale, bias=shift, activation="Relu")
        over_bands = graph.node("ReduceMean", features, axes=[3], keepdims=0)
        graph.output(f"layer{block}", graph.node("ReduceMax", over_bands, axes=[2], keepdims=0), len(kernel))
        features = graph.node("MaxPool", features, kernel_shape=[2, 2], strides=[2, 2])
    return graph
