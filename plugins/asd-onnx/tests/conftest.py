"""Fixtures of the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asd.experiment import Config, Pipeline
from asd.plugin import Clip, ClipReader, Float32, Runtime, create

RECORDING = Clip(next((Path(__file__).resolve().parents[3] / "examples" / "data").rglob("*.flac")))


@pytest.fixture(scope="session")
def windows() -> Callable[..., Float32]:
    """Return a function that gives windows of a real recording, as a front end makes them."""

    def made(frontend: str, extractor: str, **parameters: Any) -> Float32:
        config = {"frontend": {"name": frontend, **parameters}, "extractor": extractor}
        with Pipeline(Config.from_mapping(config)) as pipeline:
            reader = ClipReader(RECORDING, pipeline.sample_rate)
            found: Float32 = next(iter(pipeline.windows(reader))).values
        return np.ascontiguousarray(found)

    return made


@pytest.fixture(scope="session")
def extractor() -> Callable[..., Any]:
    """Return a function that creates an extractor that computes in float32 on the processor."""

    def made(name: str, engine: Any = "onnx", batch: int | None = None, **parameters: Any) -> Any:
        component = create("extractor", name, parameters)
        component.runtime = Runtime(device="cpu", precision="fp32", engine=engine, batch_size=batch)
        return component

    return made
