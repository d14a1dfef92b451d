"""A fitted model as one ONNX graph, from samples to scores and a p-value."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from asd.errors import AsdError
from asd.experiment import Model
from asd.plugin import Component, registry
from asd_onnx.export import scores
from asd_onnx.export.graph import Graph
from asd_onnx.export.sound import cut


@dataclass(frozen=True)
class Exported:
    """A graph, and how its outputs are called.

    Parameters
    ----------
    content : bytes
        The ONNX model.
    windows : dict of str to str
        For each branch the output that holds its window scores.
    """

    content: bytes
    windows: dict[str, str]


def export(model: Model) -> Exported:
    """Return a fitted model as an ONNX graph.

    Its inputs are ``samples_<rate>``, float32 (any number,), one for each rate in Hz that front ends need. Its outputs
    are ``score`` and ``p_value``, float64 (), and for each branch its window scores, float64 (any number,). The
    metadata holds the level of the alarm, the channel, and the configuration.

    Raises
    ------
    AsdError
        If a component cannot write itself as a graph.
    """
    graph = Graph()
    embeddings: dict[int, str] = {}
    by_member, windows = [], {}
    outputs: dict[str, Any] = {}
    for number, branch in enumerate(model.branches):
        embedder = model.pipeline.embedder(number)
        config = branch.config
        if id(embedder) not in embeddings:
            frontend, extractor = embedder.frontend, embedder.extractor
            sound = cut(graph, graph.samples(frontend.sample_rate), frontend, config)
            made = _written(frontend, "frontend", config.frontend.name)(graph, sound)
            graph.declare(made, frontend.produces.shape)
            embeddings[id(embedder)] = _written(extractor, "extractor", config.extractor.name)(graph, made)
        for member in branch.members:
            _written(member.detector, "detector", config.detector.name)
        clip, of_windows = scores.branch_scores(graph, embeddings[id(embedder)], branch)
        by_member.append(clip)
        public = f"window_scores_{number + 1}" if len(model.branches) > 1 else "window_scores"
        windows[branch.name] = public
        outputs[public] = (of_windows, np.float64, (public,))
    score, p_value = scores.judged(graph, by_member, model.calibration)
    outputs |= {"score": (score, np.float64, ()), "p_value": (p_value, np.float64, ())}
    return Exported(graph.model(outputs, _metadata(model, windows)), windows)


def _metadata(model: Model, windows: dict[str, str]) -> dict[str, str]:
    config = model.full_config()
    return {
        "level": repr(model.decision.level),
        "false_alarms_per_hour": repr(model.decision.false_alarms_per_hour),
        "clip_seconds": repr(model.calibration.clip_seconds),
        "channel": str(model.config.channel),
        "branches": json.dumps(windows),
        "config": json.dumps(config),
    }


def _written(component: Component, kind: Any, name: str) -> Callable[[Graph, str], str]:
    """Return the method by which a component writes itself."""
    write = getattr(component, "to_onnx", None)
    if write is None:
        raise AsdError(
            f"{kind} {name!r} cannot be part of an ONNX graph: it has no method to_onnx; fit with another "
            f"{kind}, or use the model file with asd itself"
        )

    def checked(graph: Graph, values: str) -> str:
        try:
            result: str = write(graph, values)
        except (ValueError, NotImplementedError) as error:
            qualified = registry().find(kind, name).qualified_name
            raise AsdError(f"{qualified} cannot be part of an ONNX graph: {error}") from error
        return result

    return checked
