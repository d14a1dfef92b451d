"""Distances from the mean and from the principal subspace of normal windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from asd.errors import ConfigError, DataError
from asd.plugin import Features, Float64, OnnxGraph, number
from asd_sklearn.base import FeatureDetector, log
from asd_sklearn.onnx import doubled, matrix


class Mahalanobis(FeatureDetector):
    """Squared Mahalanobis distance from the mean of normal windows.

    Parameters
    ----------
    shrinkage : float or "ledoit-wolf"
        How far (0–1) the covariance is drawn towards a multiple of the identity; ``"ledoit-wolf"`` estimates the
        best amount, so that fewer windows than features suffice.

    Notes
    -----
    The score equals scikit-learn's ``LedoitWolf().mahalanobis`` or ``ShrunkCovariance(...).mahalanobis``.
    Source: Ledoit, Wolf 2004, A well-conditioned estimator for large-dimensional covariance matrices, J. Multivariate
    Analysis 88(2); Lee et al. 2018, arXiv:1807.03888, for features of neural networks.
    """

    name = "mahalanobis"
    mean_: Any
    whitening_: Any

    def __init__(self, *, shrinkage: float | Literal["ledoit-wolf"] = "ledoit-wolf") -> None:
        is_rule = shrinkage == "ledoit-wolf"
        self.shrinkage = shrinkage if is_rule else number(self, "shrinkage", shrinkage, at_least=0, at_most=1)

    def _learn(self, features: Features) -> None:
        self.mean_ = features.mean(axis=0, dtype=np.float64)
        variances, directions = np.linalg.eigh(self._covariance(features - self.mean_))
        if variances[0] <= len(variances) * np.finfo(np.float64).eps * variances[-1]:
            raise DataError(
                f"{self.name}: {len(features)} windows do not determine the covariance of {len(variances)} features; "
                f"record more or use --detector.shrinkage ledoit-wolf"
            )
        self.whitening_ = directions / np.sqrt(variances)

    def _covariance(self, centred: Float64) -> Float64:
        if self.shrinkage == "ledoit-wolf":
            from sklearn.covariance import ledoit_wolf

            return np.asarray(ledoit_wolf(centred, assume_centered=True)[0])
        empirical = centred.T @ centred / len(centred)
        shrinkage = float(self.shrinkage)
        identity = np.trace(empirical) / len(empirical) * np.eye(len(empirical))
        return np.asarray((1 - shrinkage) * empirical + shrinkage * identity)

    def _score_block(self, features: Features) -> Float64:
        whitened = (features - self.mean_) @ self.whitening_
        return np.asarray(np.einsum("ij,ij->i", whitened, whitened))

    def to_onnx(self, graph: OnnxGraph, features: str) -> str:
        """Add the scores, float64 (rows,), to `graph`; see `asd.plugin.OnnxGraph`."""
        centred = graph.op("Sub", doubled(graph, features), graph.constant(matrix(self.mean_)))
        whitened = graph.op("MatMul", centred, graph.constant(matrix(self.whitening_)))
        return graph.op("ReduceSumSquare", whitened, axes=[1], keepdims=0)

    def _values_per_row(self) -> int:
        return 2 * int(self.dimension_)


class PCAResidual(FeatureDetector):
    """Squared error of reconstructing a window from the principal components of normal windows.

    Parameters
    ----------
    n_components : float
        Fraction (0–1, exclusive) of the variance that the components keep; 0.98 in arXiv:2012.06282. At least
        one direction is always left out, with a line in the log where that keeps less.

    Notes
    -----
    Source: Jackson, Mudholkar 1979, Control procedures for residuals associated with principal component analysis,
    Technometrics 21(3); the fraction: arXiv:2012.06282.
    """

    name = "pca-residual"
    renamed: ClassVar[Mapping[str, str]] = {"variance": "n_components"}
    mean_: Any
    components_: Any

    def __init__(self, *, n_components: float = 0.98) -> None:
        self.n_components = number(self, "n_components", n_components, above=0, below=1)

    def _learn(self, features: Features) -> None:
        if features.shape[1] < 2:
            raise ConfigError(f"{self.name}: 1 feature leaves no residual, at least 2 are needed; use --detector gmm")
        from sklearn.decomposition import PCA

        self.mean_ = features.mean(axis=0, dtype=np.float64)
        # Centred here too, since the fast solver's covariance would cancel far from the origin.
        model = PCA(n_components=self.n_components).fit(features - self.mean_)
        kept = min(len(model.components_), features.shape[1] - 1)
        if kept < len(model.components_):
            log.warning(
                "%s: %g of the variance takes all %d features; the last principal component is left out all the same",
                self.name,
                self.n_components,
                features.shape[1],
            )
        self.components_ = model.components_[:kept]

    def _score_block(self, features: Features) -> Float64:
        residual = features - self.mean_
        residual -= residual @ self.components_.T @ self.components_
        return np.asarray(np.einsum("ij,ij->i", residual, residual))

    def to_onnx(self, graph: OnnxGraph, features: str) -> str:
        """Add the scores, float64 (rows,), to `graph`; see `asd.plugin.OnnxGraph`."""
        centred = graph.op("Sub", doubled(graph, features), graph.constant(matrix(self.mean_)))
        weights = graph.op("MatMul", centred, graph.constant(matrix(self.components_.T)))
        kept = graph.op("MatMul", weights, graph.constant(matrix(self.components_)))
        return graph.op("ReduceSumSquare", graph.op("Sub", centred, kept), axes=[1], keepdims=0)

    def _values_per_row(self) -> int:
        return 2 * int(self.dimension_)
