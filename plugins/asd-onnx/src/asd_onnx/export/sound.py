"""From samples to windows of samples, as the core cuts them."""

from __future__ import annotations

import numpy as np

from asd.experiment import ResolvedConfig
from asd.plugin import Frontend
from asd_onnx.export.graph import Graph


def cut(graph: Graph, samples: str, frontend: Frontend, config: ResolvedConfig) -> str:
    """Return windows, float32 (windows, samples), of samples, float32 (any number,).

    What is shorter than a window is repeated; silence before and after, and a window that ends with the last sample,
    come as the front end and the configuration say.
    """
    length, hop = frontend.window_length, frontend.window_hop
    if length is None:
        return graph.op("Unsqueeze", samples, graph.constant([0]))
    samples = _long_enough(graph, samples, length)
    if frontend.pad_start:
        samples = graph.op("Concat", graph.constant(np.zeros(frontend.pad_start, np.float32)), samples, axis=0)
    beyond = graph.op("Sub", graph.op("Shape", samples), graph.constant([length]))
    if frontend.pad_end:
        # The hop's multiple that is not below: ONNX divides towards zero, as nothing here is negative.
        steps = graph.op("Div", graph.op("Add", beyond, graph.constant([hop - 1])), graph.constant([hop]))
        filled = graph.op("Mul", steps, graph.constant([hop]))
        missing = graph.op("Sub", filled, beyond)
        silence = graph.op("Expand", graph.constant(np.zeros(1, np.float32)), missing)
        samples, beyond = graph.op("Concat", samples, silence, axis=0), filled
    moves = config.tail == "move"
    end = graph.op("Add", beyond, graph.constant([hop if moves else 1]))
    scalars = (graph.constant(np.int64(0)), graph.op("Squeeze", end), graph.constant(np.int64(hop)))
    starts = graph.op("Range", *scalars)
    if moves:  # the last window ends with the last sample
        starts = graph.op("Min", starts, beyond)
    offsets = graph.constant(np.arange(length, dtype=np.int64)[np.newaxis])
    return graph.op("Gather", samples, graph.op("Add", graph.op("Unsqueeze", starts, graph.constant([1])), offsets))


def _long_enough(graph: Graph, samples: str, length: int) -> str:
    size = graph.op("Shape", samples)
    times = graph.op("Div", graph.op("Add", size, graph.constant([length - 1])), size)
    wanted = graph.op("Max", size, graph.constant([length]))
    return graph.op("Slice", graph.op("Tile", samples, times), graph.constant([0]), wanted)
