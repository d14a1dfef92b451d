"""What this distribution offers to asd."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import CommandSpec, ComponentSpec, hookimpl


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the networks."""
    yield from ()


@hookimpl
def asd_commands() -> Iterator[CommandSpec]:
    """Yield ``asd export``."""
    yield CommandSpec(
        name="export",
        summary="Write a model as one ONNX graph, with a script that runs it without asd",
        target="asd_onnx.export.command:export",
    )
