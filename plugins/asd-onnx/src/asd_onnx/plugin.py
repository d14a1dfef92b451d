"""What this distribution offers to asd."""

from __future__ import annotations

from collections.abc import Iterator

from asd_onnx import catalogue
from asd_registry import ComponentSpec, hookimpl


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the networks."""
    yield from catalogue.components()
