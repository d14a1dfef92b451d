"""What the distribution offers, as data."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import ComponentSpec, hookimpl


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the extractor; which network it runs is a parameter."""
    yield ComponentSpec(
        kind="extractor",
        name="huggingface",
        summary="Any audio encoder of the Hugging Face hub or a local folder (AST, CLAP, WavLM, Whisper …)",
        target="asd_transformers.extractor:HuggingFace",
        licence="Apache-2.0; PyTorch BSD-3-Clause; weights: see the model's card",
        requires=("transformers>=5.0", "torch>=2.6"),
        engines=("torch",),
        needs=("model",),
        frontend="waveform",
        restricted={"model": (), "revision": (), "trust_remote_code": (False,)},
    )
