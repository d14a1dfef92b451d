"""Gaussian mixtures with diagonal covariances."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from asd.errors import DataError
from asd.plugin import Features, Float64, OnnxGraph, number, whole_number
from asd_sklearn import onnx
from asd_sklearn.base import FeatureDetector, log, logsumexp, quiet

_CANCELLATION = 1e-5
"""Largest relative error of a variance that rounding may cause in the expanded square E[x²] - E[x]²."""


class _DiagonalMixture(FeatureDetector):
    """A mixture fitted by scikit-learn in the precision of the features.

    A window x scores ``-log Σₖ exp(offsetₖ - ½ Σⱼ precisionₖⱼ (xⱼ - meanₖⱼ)²)``.
    """

    renamed: ClassVar[Mapping[str, str]] = {
        "components": "n_components",
        "tolerance": "tol",
        "regularisation": "reg_covar",
    }

    means_: Any
    precisions_: Any
    offsets_: Any

    def __init__(self, *, n_components: int, max_iter: int, tol: float, reg_covar: float, seed: int) -> None:
        self.n_components = whole_number(self, "n_components", n_components, 1)
        self.max_iter = whole_number(self, "max_iter", max_iter, 1)
        self.tol = number(self, "tol", tol, at_least=0)
        self.reg_covar = number(self, "reg_covar", reg_covar, at_least=0)
        self.seed = whole_number(self, "seed", seed, 0)

    def _learn(self, features: Features) -> None:
        self._check_count(features)
        varying = self._varying(features)
        kept = features if varying.all() else features[:, varying]
        centre = kept.mean(axis=0, dtype=np.float64)
        model = None
        if not _cancels(kept, centre):
            model, shift = self._fitted(kept), np.zeros_like(centre)
        if model is None:
            model, shift = self._fitted(kept - centre), centre
        if model is None:
            raise DataError(
                f"{self.name}: a component has collapsed onto a few windows; use --detector.reg_covar 1e-3 "
                f"or fewer --detector.n_components"
            )
        # A precision of zero leaves a feature out of every distance.
        self.means_, self.precisions_ = np.zeros((2, self.n_components, len(varying)))
        self.means_[:, varying] = model.means_ + shift
        self.precisions_[:, varying] = np.square(model.precisions_cholesky_, dtype=np.float64)
        log_determinants = np.log(model.precisions_cholesky_, dtype=np.float64).sum(axis=1)
        self.offsets_ = log_determinants - 0.5 * len(centre) * np.log(2 * np.pi) + self._log_weights(model)

    def _fitted(self, features: Features) -> Any:
        """Return the fitted scikit-learn model, or None if a variance was lost to rounding."""
        hint = (
            f"the mixture was still improving after {self.max_iter} iterations and is used as it is; "
            f"--detector.max_iter {2 * self.max_iter} gives it more"
        )
        try:
            with quiet(self.name, hint):
                model = self._model().fit(features)
        except ValueError:  # the features are sound: scikit-learn has met a variance that is not positive
            return None
        is_sound = features.dtype == np.float64 or model.covariances_.min() > 0.5 * self.reg_covar
        return model if is_sound else None

    def _check_count(self, features: Features) -> None:
        windows = len(features)
        if windows < self.n_components:
            raise DataError(
                f"{self.name}: {windows} windows for {self.n_components} components; "
                f"record more or use --detector.n_components {windows // 2}"
            )
        distinct = _count_distinct(features, self.n_components)
        if distinct < self.n_components:
            raise DataError(
                f"{self.name}: only {distinct} of {windows} windows are distinct, for {self.n_components} components; "
                f"check for silent or repeated recordings or use --detector.n_components {distinct // 2}"
            )

    def _varying(self, features: Features) -> npt.NDArray[np.bool_]:
        lowest, highest = features.min(axis=0), features.max(axis=0)
        resolution = 4 * np.finfo(features.dtype).eps * np.maximum(np.abs(lowest), np.abs(highest))
        varying = np.asarray(highest - lowest > resolution)
        if not varying.any():
            raise DataError(f"{self.name}: no feature differs between the training windows by more than rounding")
        if not varying.all():
            log.warning(
                "%s: %d of %d features are the same in all training windows and are left out of the score",
                self.name,
                len(varying) - varying.sum(),
                len(varying),
            )
        return varying

    @abstractmethod
    def _model(self) -> Any:
        """Return the scikit-learn estimator to fit."""

    @abstractmethod
    def _log_weights(self, model: Any) -> Float64:
        """Return the logarithm of what each component's density is multiplied with, float64[components]."""

    def _score_block(self, features: Features) -> Float64:
        centre = self.means_.mean(axis=0)
        means = self.means_ - centre  # the squares below would cancel far from the origin
        centred = features - centre
        exponents = centred @ (means * self.precisions_).T
        exponents += self.offsets_ - 0.5 * (means**2 * self.precisions_).sum(axis=1)
        np.square(centred, out=centred)
        exponents -= 0.5 * (centred @ self.precisions_.T)
        return -logsumexp(exponents)

    def to_onnx(self, graph: OnnxGraph, features: str) -> str:
        """Add the scores, float64 (rows,), to `graph`; see `asd.plugin.OnnxGraph`."""
        centre = self.means_.mean(axis=0)
        means = self.means_ - centre
        centred = graph.op("Sub", onnx.doubled(graph, features), graph.constant(onnx.matrix(centre)))
        linear = graph.op("MatMul", centred, graph.constant(onnx.matrix((means * self.precisions_).T)))
        squares = graph.op("Mul", centred, centred)
        quadratic = graph.op("MatMul", squares, graph.constant(onnx.matrix(-0.5 * self.precisions_.T)))
        constant = self.offsets_ - 0.5 * (means**2 * self.precisions_).sum(axis=1)
        exponents = graph.op("Add", graph.op("Add", linear, quadratic), graph.constant(onnx.matrix(constant)))
        return graph.op("Neg", onnx.logsumexp(graph, exponents))

    def _values_per_row(self) -> int:
        return sum(self.means_.shape)


def _cancels(features: Features, centre: Float64) -> bool:
    """Return whether variances would lose digits because features lie far from zero for their deviation."""
    deviation = np.maximum(features.std(axis=0, dtype=np.float64), np.finfo(np.float64).tiny)
    error = np.finfo(features.dtype).eps * np.square(centre / deviation)
    return bool(error.max() > _CANCELLATION)


def _count_distinct(features: Features, enough: int) -> int:
    """Return how many rows differ from all before them, counting no further than `enough`."""
    seen: set[bytes] = set()
    for row in features:
        seen.add((row + 0.0).tobytes())  # adding zero makes -0.0 and 0.0 one
        if len(seen) >= enough:
            break
    return len(seen)


class GaussianMixture(_DiagonalMixture):
    """Negative log-likelihood under a mixture of Gaussians with diagonal covariances.

    Parameters
    ----------
    n_components : int
        Gaussians; 80 in arXiv:2006.03429, 20 in arXiv:2012.06282.
    max_iter : int
        Most iterations of expectation maximisation; a mixture that still improves then is used as it is, with a
        line in the log.
    tol : float
        Stop when the mean log-likelihood gains less than this in an iteration.
    reg_covar : float
        Added to each variance.
    seed : int
        Seed of the k-means initialisation.

    Notes
    -----
    Features that are constant in training say nothing about likelihood and are left out, with a line in the log.
    Source: Müller et al. 2020, arXiv:2006.03429; Müller et al. 2020, arXiv:2012.06282.
    """

    name = "gmm"

    def __init__(
        self,
        *,
        n_components: int = 80,
        max_iter: int = 150,
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        seed: int = 0,
    ) -> None:
        super().__init__(n_components=n_components, max_iter=max_iter, tol=tol, reg_covar=reg_covar, seed=seed)

    def _model(self) -> Any:
        from sklearn.mixture import GaussianMixture as Model

        return Model(
            self.n_components,
            covariance_type="diag",
            max_iter=self.max_iter,
            tol=self.tol,
            reg_covar=self.reg_covar,
            random_state=self.seed,
        )

    def _log_weights(self, model: Any) -> Float64:
        return np.asarray(np.log(model.weights_, dtype=np.float64))


class BayesianGaussianMixture(_DiagonalMixture):
    """Negative log-likelihood under a variational Bayesian mixture, which switches off components it does not need.

    Parameters
    ----------
    n_components : int
        Most Gaussians in use.
    max_iter : int
        Most iterations; a mixture that still improves then is used as it is, with a line in the log.
    tol : float
        Stop when the lower bound on the likelihood gains less than this in an iteration.
    reg_covar : float
        Added to each variance.
    weight_concentration_prior : float or None
        Prior of the Dirichlet process: smaller values use fewer components; None: 1 / n_components.
    seed : int
        Seed of the k-means initialisation.

    Notes
    -----
    The score is scikit-learn's negated ``score_samples``: the expected log-density under the variational posterior.
    Features that are constant in training are left out, with a line in the log.
    Source: Müller et al. 2020, arXiv:2006.03429; Bishop 2006, Pattern Recognition and Machine Learning, 10.2.
    """

    name = "bayesian-gmm"
    renamed: ClassVar[Mapping[str, str]] = {
        **_DiagonalMixture.renamed,
        "weight_concentration": "weight_concentration_prior",
    }

    def __init__(
        self,
        *,
        n_components: int = 80,
        max_iter: int = 150,
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        weight_concentration_prior: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(n_components=n_components, max_iter=max_iter, tol=tol, reg_covar=reg_covar, seed=seed)
        if weight_concentration_prior is not None:
            number(self, "weight_concentration_prior", weight_concentration_prior, above=0)
        self.weight_concentration_prior = weight_concentration_prior

    def _model(self) -> Any:
        from sklearn.mixture import BayesianGaussianMixture as Model

        return Model(
            n_components=self.n_components,
            covariance_type="diag",
            max_iter=self.max_iter,
            tol=self.tol,
            reg_covar=self.reg_covar,
            weight_concentration_prior=self.weight_concentration_prior,
            random_state=self.seed,
        )

    def _log_weights(self, model: Any) -> Float64:
        """Return E[log weight] and what E[log precision] adds to the log-density (Bishop 2006, 10.65 to 10.67)."""
        from scipy.special import digamma

        taken, left = (np.asarray(c, np.float64) for c in model.weight_concentration_)
        log_total = digamma(taken + left)
        rest = np.concatenate([[0.0], np.cumsum(digamma(left) - log_total)[:-1]])
        freedom = np.asarray(model.degrees_of_freedom_, np.float64)
        dimension = model.means_.shape[1]
        log_precisions = digamma(0.5 * (freedom - np.arange(dimension)[:, np.newaxis])).sum(axis=0)
        log_precisions += dimension * (np.log(2 / freedom) - 1 / model.mean_precision_)
        return np.asarray(digamma(taken) - log_total + rest + 0.5 * log_precisions)
