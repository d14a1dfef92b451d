"""From embeddings to scores: pooling, transform, detectors, fusion and p-value, as the core computes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from asd.experiment import LARGEST_DEVIATION, Calibration, FeatureTransform, FittedBranch, ResolvedConfig
from asd_onnx.export.graph import Graph

_ROUNDING = 1e-5
"""Relative difference up to which two scores count as equal: the graph computes spectra by other sums."""


def transformed(graph: Graph, rows: str, transform: FeatureTransform) -> str:
    """Return rows after standardisation and PCA, float32."""
    values = graph.op("Cast", rows, to=np.float64)
    values = graph.op("Div", graph.op("Sub", values, graph.constant(transform.mean)), graph.constant(transform.scale))
    if transform.components is not None:
        values = graph.op("MatMul", values, graph.constant(transform.components))
    return graph.op("Cast", values, to=np.float32)


def pooled_embeddings(graph: Graph, embeddings: str, config: ResolvedConfig) -> tuple[str, str]:
    """Return what the detector gets of a clip, and of each window as if the clip were like it throughout."""
    how = config.embedding_pooling
    if how == "none":
        return embeddings, embeddings
    if how == "max":
        return graph.op("ReduceMax", embeddings, axes=[0], keepdims=1), embeddings
    values = graph.op("Cast", embeddings, to=np.float64)
    mean = graph.op("ReduceMean", values, axes=[0], keepdims=1)
    plain = graph.op("Cast", mean, to=np.float32)
    if how == "mean":
        return plain, embeddings
    apart = graph.op("Sub", values, mean)
    variance = graph.op("ReduceMean", graph.op("Mul", apart, apart), axes=[0], keepdims=1)
    deviation = graph.op("Cast", graph.op("Sqrt", variance), to=np.float32)
    everywhere = graph.op("Expand", deviation, graph.op("Shape", embeddings))
    return graph.op("Concat", plain, deviation, axis=1), graph.op("Concat", embeddings, everywhere, axis=1)


def pooled_scores(graph: Graph, scores: str, config: ResolvedConfig) -> str:
    """Return a clip's score, float64 (1,), from its rows' scores, float64 (rows,)."""
    if config.pooling == "max":
        return graph.op("ReduceMax", scores, axes=[0], keepdims=1)
    if config.pooling == "top":
        count = graph.op("Cast", graph.op("Shape", scores), to=np.float64)
        share = graph.op("Round", graph.op("Mul", count, graph.constant(np.array([config.top_fraction]))))
        wanted = graph.op("Max", graph.op("Cast", share, to=np.int64), graph.constant([1]))
        scores = graph.op("TopK", scores, wanted)
    return graph.op("ReduceMean", scores, axes=[0], keepdims=1)


def branch_scores(graph: Graph, embeddings: str, branch: FittedBranch) -> tuple[str, str]:
    """Return a clip's score by each member, float64 (members, 1), and the mean scores of its windows, float64."""
    clip, windows = pooled_embeddings(graph, embeddings, branch.config)
    of_clip, of_windows = [], []
    for member in branch.members:
        detector: Any = member.detector

        def score(rows: str, member: Any = member, detector: Any = detector) -> str:
            return graph.op("Cast", detector.to_onnx(graph, transformed(graph, rows, member.transform)), to=np.float64)

        of_windows.append(score(windows))
        scores = of_windows[-1] if clip == windows else score(clip)
        of_clip.append(pooled_scores(graph, scores, branch.config))
    stacked = graph.op("Concat", *(graph.op("Unsqueeze", own, graph.constant([0])) for own in of_windows), axis=0)
    mean = graph.op("ReduceMean", stacked, axes=[0], keepdims=0)
    return graph.op("Unsqueeze", graph.op("Concat", *of_clip, axis=0), graph.constant([1])), mean


def judged(graph: Graph, scores: Sequence[str], calibration: Calibration) -> tuple[str, str]:
    """Return the clip's score and its p-value, float64 both, from each branch's scores, float64 (members, 1)."""
    by_member = graph.op("Concat", *scores, axis=1)
    branches = calibration.branches
    # One row more, the mean over the members: clips that none of them has learned from are scored by it.
    with_mean = graph.op("Concat", by_member, graph.op("ReduceMean", by_member, axes=[0], keepdims=1), axis=0)
    rows = graph.op("Gather", with_mean, graph.constant(np.asarray(calibration.member, np.int64)), axis=0)
    if branches is None:
        own, fused = calibration.scores, by_member
        new = graph.op("Squeeze", rows, graph.constant([1]))
    else:
        own, fused = branches.held_out, _fused(graph, by_member, *branches.scaling, branches)
        new = _fused(graph, rows, *branches.without_each, branches)
    # A calibration clip itself must not fall below its own score by rounding: ties count as at least as unusual.
    slack = graph.op("Mul", graph.op("Abs", new), graph.constant(np.array(_ROUNDING)))
    reached = graph.op("GreaterOrEqual", graph.constant(own), graph.op("Sub", new, slack))
    at_least = graph.op("Cast", reached, to=np.float64)
    count = graph.op("ReduceSum", at_least, graph.constant([0]), keepdims=0)
    one, total = graph.constant(np.array(1.0)), graph.constant(np.array(len(own) + 1.0))
    return graph.op("ReduceMean", fused, keepdims=0), graph.op("Div", graph.op("Add", count, one), total)


def _fused(graph: Graph, scores: str, location: Any, scale: Any, branches: Any) -> str:
    """Return fused scores, float64 (rows,), of scores, float64 (rows, branches); as `asd` fuses them."""
    z = graph.op("Div", graph.op("Sub", scores, graph.constant(location)), graph.constant(scale))
    limit = graph.constant(np.array(LARGEST_DEVIATION))
    z = graph.op("Max", graph.op("Min", z, limit), graph.op("Neg", limit))
    if branches.fusion == "max":
        return graph.op("ReduceMax", z, axes=[1], keepdims=0)
    gated = [gate is not None and branches.fusion == "gated" for gate in branches.gates]
    total = None
    for is_gated in (False, True):
        chosen = [number for number, own in enumerate(gated) if own is is_gated]
        if not chosen:
            continue
        part = graph.op("Gather", z, graph.constant(chosen), axis=1)
        if is_gated:
            gates = graph.constant(np.array([branches.gates[number] for number in chosen], np.float64))
            part = graph.op("Max", graph.op("Sub", part, gates), graph.constant(np.array(0.0)))
            part = graph.op("ReduceSum", part, graph.constant([1]), keepdims=0)
        else:
            part = graph.op("ReduceMean", part, axes=[1], keepdims=0)
        total = part if total is None else graph.op("Add", total, part)
    assert total is not None
    return total
