"""Fixtures of the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asd.plugin import Audio, Clip, ClipReader, Float32, Runtime, create

RECORDING = Clip(next((Path(__file__).resolve().parents[3] / "examples" / "data").rglob("*.flac")))


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
