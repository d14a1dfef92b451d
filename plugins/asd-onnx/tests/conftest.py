"""Fixtures of the tests; those that write small ONNX files are functions that return the path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from asd.plugin import Audio, Clip, ClipReader, Float32, Runtime, create

RECORDING = Clip(next((Path(__file__).resolve().parents[3] / "examples" / "data").rglob("*.flac")))

Sizes = Sequence[int | str | None]


def _saved(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    *,
    inputs: dict[str, Sizes] | None = None,
    outputs: dict[str, Sizes] | None = None,
    initialisers: Sequence[onnx.TensorProto] = (),
    opset: int = 18,
    version: int = 9,
    domains: Sequence[str] = (),
    metadata: dict[str, str] | None = None,
    kind: int = TensorProto.FLOAT,
) -> Path:
    """Write a model with these nodes; return its path."""
    ends = [
        [helper.make_tensor_value_info(name, kind, sizes) for name, sizes in each.items()]
        for each in (inputs or {"x": ["n", 3, "t"]}, outputs or {"y": ["n", 3]})
    ]
    graph = helper.make_graph(nodes, "test", *ends, list(initialisers))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=version)
    helper.set_model_props(model, metadata or {})
    path.write_bytes(model.SerializeToString())
    return path


def _mean(path: Path, **options: Any) -> Path:
    """Write a network that gives the mean over the last axis of windows (3, t)."""
    axes = numpy_helper.from_array(np.array([2]), "axes")
    return _saved(
        path, [helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)], initialisers=[axes], **options
    )


def _external(path: Path, location: str, *, offset: str = "0", length: str = "12") -> Path:
    """Write a network whose weight of three values lies in another file."""
    weight = TensorProto(name="w", dims=[3, 1], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        if value:
            weight.external_data.add(key=key, value=value)
    return _saved(
        path, [helper.make_node("Add", ["x", "w"], ["y"])], outputs={"y": ["n", 3, "t"]}, initialisers=[weight]
    )


@pytest.fixture
def saved() -> Callable[..., Path]:
    """Write a model with the given nodes."""
    return _saved


@pytest.fixture
def mean() -> Callable[..., Path]:
    """Write a network that gives the mean over the last axis of windows (3, t)."""
    return _mean


@pytest.fixture
def external() -> Callable[..., Path]:
    """Write a network whose weight lies in another file."""
    return _external


@pytest.fixture(scope="session")
def windows() -> Callable[[str], Float32]:
    """Return a function that gives windows of a real recording, as a front end makes them."""

    def made(name: str) -> Float32:
        frontend = create("frontend", name)
        samples = np.concatenate(list(ClipReader(RECORDING, sample_rate=frontend.sample_rate)))
        return frontend(Audio(samples[np.newaxis], frontend.sample_rate)).values

    return made


@pytest.fixture(scope="session")
def extractor() -> Callable[..., Any]:
    """Return a function that creates an extractor that computes in float32 on the processor."""

    def made(name: str, engine: Any = "onnx", batch: int | None = None, **parameters: Any) -> Any:
        component = create("extractor", name, parameters)
        component.runtime = Runtime(device="cpu", precision="fp32", engine=engine, batch_size=batch)
        return component

    return made
