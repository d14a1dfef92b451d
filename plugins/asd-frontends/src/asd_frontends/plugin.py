"""What this distribution offers to asd."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import ComponentSpec, hookimpl


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the front ends."""
    yield ComponentSpec(
        kind="frontend",
        name="mel-image",
        summary="Log-mel patches as colour images for image networks",
        target="asd_frontends.image:MelImage",
        licence="Apache-2.0",
        sample_rate=16000,
        shape=(3, 224, 224),
    )
