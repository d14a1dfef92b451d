"""What the distribution offers, as data."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import ComponentSpec, hookimpl

_DETECTORS = {
    "gmm": ("Gaussian mixture, diagonal covariances: negative log-likelihood", "mixture:GaussianMixture"),
    "bayesian-gmm": (
        "Bayesian Gaussian mixture, uses as many components as it needs: negative log-likelihood",
        "mixture:BayesianGaussianMixture",
    ),
    "ocsvm": ("One-class support vector machine, radial kernel: distance outside the boundary", "svm:OneClassSVM"),
    "isolation-forest": ("Isolation forest: how few random cuts isolate a window", "forest:IsolationForest"),
    "kde": ("Kernel density, Gaussian kernel: negative log-density", "density:KernelDensity"),
    "mahalanobis": ("Squared Mahalanobis distance, shrunk covariance", "subspace:Mahalanobis"),
    "pca-residual": ("Squared error of reconstruction from principal components", "subspace:PCAResidual"),
    "knn": ("Distance to the nearest normal windows, relative to local density", "neighbours:NearestNeighbours"),
    "deviation": (
        "Largest deviation of a feature from similar healthy clips, with the reason",
        "deviation:Deviation",
    ),
    "ensemble": ("Mean or minimum of several detectors' standardised scores", "ensemble:Ensemble"),
}
_NUMPY_ALONE = ("deviation", "ensemble", "kde", "knn")
_EXTRACTORS = {"deviation": "band-levels"}


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the detectors."""
    for name, (summary, target) in _DETECTORS.items():
        uses_sklearn = name not in _NUMPY_ALONE
        yield ComponentSpec(
            kind="detector",
            name=name,
            summary=summary,
            target=f"asd_sklearn.{target}",
            extractor=_EXTRACTORS.get(name),
            licence="Apache-2.0; scikit-learn BSD-3-Clause" if uses_sklearn else "Apache-2.0",
            requires=("scikit-learn>=1.4",) if uses_sklearn else (),
        )
