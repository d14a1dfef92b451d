"""What this distribution offers to asd."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import ComponentSpec, hookimpl


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the detector."""
    yield ComponentSpec(
        kind="detector",
        name="subcluster-adacos",
        summary="Distance in a projection trained to tell machines, states or attributes apart",
        target="asd_discriminative.detector:SubClusterAdaCos",
        licence="Apache-2.0; PyTorch BSD-3-Clause; scikit-learn BSD-3-Clause",
        requires=("torch>=2.6", "scikit-learn>=1.4"),
    )
