"""What the distribution offers, as data."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import ComponentSpec, hookimpl


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the detectors."""
    yield ComponentSpec(
        kind="detector",
        name="gmm",
        summary="Gaussian mixture, diagonal covariances: negative log-likelihood",
        target="asd_sklearn.mixture:GaussianMixture",
        licence="Apache-2.0; scikit-learn BSD-3-Clause",
        requires=("scikit-learn>=1.4",),
    )
