"""Gaussian mixtures with diagonal covariances."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from asd.errors import DataError
from asd.records import Float64
from asd_sklearn import checks
from asd_sklearn.base import FeatureDetector, log, quiet
from asd_sklearn.checks import Features


class _DiagonalMixture(FeatureDetector):
    """Negative log-likelihood under a mixture, fitted by scikit-learn.

    A window x scores ``-log Σₖ exp(offsetₖ - ½ Σⱼ precisionₖⱼ (xⱼ - meanₖⱼ)²)``.
    """

    centre_: Any
    means_: Any
    precisions_: Any
    offsets_: Any

    def __init__(self, *, components: int, max_iter: int, tolerance: float, regularisation: float, seed: int) -> None:
        self.components = checks.whole_number(self.name, "components", components, 1)
        self.max_iter = checks.whole_number(self.name, "max_iter", max_iter, 1)
        self.tolerance = checks.number(self.name, "tolerance", tolerance, 0, closed=True)
        self.regularisation = checks.number(self.name, "regularisation", regularisation, 0, closed=True)
        self.seed = checks.whole_number(self.name, "seed", seed, 0)

    def _learn(self, features: Features) -> None:
        self._check_count(features)
        varying = self._varying(features)
        # Centred data keeps the expanded squares of scikit-learn's likelihood from cancelling.
        centre = features.mean(axis=0, dtype=np.float64)
        centred = (features - centre)[:, varying]
        hint = (
            f"the mixture was still improving after {self.max_iter} iterations and is used as it is; "
            f"--detector.max_iter {2 * self.max_iter} gives it more"
        )
        try:
            with quiet(self.name, hint):
                means, precisions, offsets = self._estimate(centred)
        except ValueError as error:
            raise DataError(
                f"{self.name}: a component has collapsed onto a few windows; use --detector.regularisation 1e-3 "
                f"or fewer --detector.components"
            ) from error
        # A precision of zero leaves a feature out of every distance.
        self.means_, self.precisions_ = np.zeros((2, self.components, len(centre)))
        self.means_[:, varying], self.precisions_[:, varying] = means, precisions
        self.centre_, self.offsets_ = centre, offsets

    def _check_count(self, features: Features) -> None:
        windows = len(features)
        if windows < self.components:
            raise DataError(
                f"{self.name}: {windows} windows for {self.components} components; "
                f"record more or use --detector.components {windows // 2}"
            )
        distinct = checks.count_distinct(features, self.components)
        if distinct < self.components:
            raise DataError(
                f"{self.name}: only {distinct} of {windows} windows are distinct, for {self.components} components; "
                f"check for silent or repeated recordings or use --detector.components {distinct // 2}"
            )

    def _varying(self, features: Features) -> np.ndarray[Any, np.dtype[np.bool_]]:
        lowest, highest = features.min(axis=0), features.max(axis=0)
        resolution = 4 * np.finfo(features.dtype).eps * np.maximum(np.abs(lowest), np.abs(highest))
        varying = np.asarray(highest - lowest > resolution)
        constant = len(varying) - int(varying.sum())
        if constant:
            log.warning(
                "%s: %d of %d features are the same in all training windows and are left out of the score",
                self.name,
                constant,
                len(varying),
            )
        return varying

    @abstractmethod
    def _estimate(self, features: Float64) -> tuple[Float64, Float64, Float64]:
        """Return means and precisions, float64[components, d], and offsets, float64[components]."""

    def _score(self, features: Features) -> Float64:
        centred = features - self.centre_
        exponents = centred @ (self.means_ * self.precisions_).T
        exponents += self.offsets_ - 0.5 * (self.means_**2 * self.precisions_).sum(axis=1)
        np.square(centred, out=centred)
        exponents -= 0.5 * (centred @ self.precisions_.T)
        highest = exponents.max(axis=1, keepdims=True)
        likelihoods = np.exp(exponents - highest).sum(axis=1)
        return np.asarray(-np.log(likelihoods) - highest[:, 0])

    def _values_per_row(self) -> int:
        return sum(self.means_.shape)


class GaussianMixture(_DiagonalMixture):
    """Negative log-likelihood under a mixture of Gaussians with diagonal covariances.

    Parameters
    ----------
    components : int
        Gaussians; P1 takes 80, P2 takes 20.
    max_iter : int
        Most iterations of expectation maximisation; a mixture that still improves then is used as it is, with a
        line in the log.
    tolerance : float
        Stop when the mean log-likelihood gains less than this in an iteration.
    regularisation : float
        Added to each variance.
    seed : int
        Seed of the k-means initialisation.

    Notes
    -----
    Features that are constant in training say nothing about likelihood and are left out, with a line in the log.
    Source: Müller et al. 2020, arXiv:2006.03429 (P1).
    """

    name = "gmm"

    def __init__(
        self,
        *,
        components: int = 80,
        max_iter: int = 150,
        tolerance: float = 1e-3,
        regularisation: float = 1e-6,
        seed: int = 0,
    ) -> None:
        super().__init__(
            components=components, max_iter=max_iter, tolerance=tolerance, regularisation=regularisation, seed=seed
        )

    def _estimate(self, features: Float64) -> tuple[Float64, Float64, Float64]:
        from sklearn import mixture

        model = mixture.GaussianMixture(
            self.components,
            covariance_type="diag",
            init_params="kmeans",
            max_iter=self.max_iter,
            tol=self.tolerance,
            reg_covar=self.regularisation,
            random_state=self.seed,
        ).fit(features)
        offsets = np.log(model.weights_) + 0.5 * np.log(model.precisions_ / (2 * np.pi)).sum(axis=1)
        return model.means_, model.precisions_, offsets
