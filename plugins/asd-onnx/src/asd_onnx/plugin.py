"""What this distribution offers to asd."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from asd_onnx import catalogue
from asd_registry import CommandSpec, ComponentSpec, hookimpl

_ONNXRUNTIME = "onnxruntime>=1.20,!=1.21.0"
"""1.21.0 ends with an illegal instruction on a Raspberry Pi 4 (github.com/microsoft/onnxruntime/issues/23957)."""


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the networks."""
    for spec in catalogue.components():
        yield replace(spec, any_threads=True)  # each window is computed by one thread, with whatever others
    yield ComponentSpec(
        kind="extractor",
        name="onnx",
        summary="An output of any network in an ONNX file, named by --extractor.model",
        target="asd_onnx.extractor:OnnxExtractor",
        licence="Apache-2.0; ONNX Runtime MIT",
        requires=(_ONNXRUNTIME,),
        needs=("model",),
        engines=("onnx",),
        restricted={"model": ()},
    )


@hookimpl
def asd_commands() -> Iterator[CommandSpec]:
    """Yield ``asd export``."""
    yield CommandSpec(
        name="export",
        summary="Write a model as one ONNX graph, with a script that runs it without asd.",
        target="asd_onnx.export.command:export",
    )
