"""What the distribution offers, as data."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import ComponentSpec, hookimpl

_LICENCE = "Apache-2.0; PyTorch BSD-3-Clause"


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the detectors."""
    for architecture, summary in (
        ("lenet", "Convolutional autoencoder 32/64/128 with bottleneck 128: reconstruction error of a patch"),
        ("small", "Convolutional autoencoder 12/24/48: reconstruction error of a patch"),
    ):
        yield ComponentSpec(
            kind="detector",
            name=f"{architecture}-dcae",
            summary=summary,
            target="asd_autoencoder.detectors:ConvolutionalAutoencoder",
            preset={"architecture": architecture},
            licence=_LICENCE,
            requires=("torch>=2.6",),
            frontend="mel-patch",
            extractor="identity",
        )
    yield ComponentSpec(
        kind="detector",
        name="dense-ae",
        summary="Dense autoencoder 64-64-8-64-64, the MIMII baseline: reconstruction error of stacked frames",
        target="asd_autoencoder.detectors:DenseAutoencoder",
        licence=_LICENCE,
        requires=("torch>=2.6",),
        frontend="mel-stack",
        extractor="identity",
    )
