"""The one-class support vector machine."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from asd.plugin import Features, Float64, OnnxGraph, number
from asd_sklearn.base import FeatureDetector, quiet
from asd_sklearn.distances import Points
from asd_sklearn.onnx import doubled, matrix, squared_distances


class OneClassSVM(FeatureDetector):
    """Distance outside the boundary that a support vector machine draws around normal windows.

    Parameters
    ----------
    nu : float
        Upper bound (0–1] on the fraction of training windows outside the boundary; 1e-4 in arXiv:2006.03429.
    gamma : float or "scale"
        The kernel is exp(-gamma ‖x - y‖²); ``"scale"``: 1 / (dimension · variance of all features).

    Notes
    -----
    The score is scikit-learn's negated ``decision_function`` with a radial kernel. A `nu` below 1 / windows is the
    same problem as 1 / windows up to a factor of the scores; that is what is solved, since the solver's tolerance is
    meant for scores of that size. Time grows with the square of the number of windows.
    Source: Müller et al. 2020, arXiv:2006.03429; Schölkopf et al. 2001, Neural Computation 13(7).
    """

    name = "ocsvm"
    support_vectors_: Any
    coefficients_: Any
    intercept_: Any
    gamma_: Any

    def __init__(self, *, nu: float = 1e-4, gamma: float | Literal["scale"] = "scale") -> None:
        self.nu = number(self, "nu", nu, above=0, at_most=1)
        self.gamma = gamma if gamma == "scale" else number(self, "gamma", gamma, above=0)

    def _learn(self, features: Features) -> None:
        from sklearn.svm import OneClassSVM as Model

        centre = features.mean(axis=0, dtype=np.float64)
        values = features - centre  # the solver expands squared distances, which cancel far from the origin
        variance = features.var(dtype=np.float64)
        gamma = 1 / (values.shape[1] * variance) if self.gamma == "scale" else self.gamma
        model = Model(kernel="rbf", nu=max(self.nu, 1 / len(values)), gamma=gamma)
        model.random_state = 0  # nothing random comes of it, but None draws from NumPy's global generator
        with quiet(self.name):
            model.fit(values)
        self.support_vectors_ = model.support_vectors_ + centre
        self.coefficients_ = model.dual_coef_[0]
        self.intercept_ = model.intercept_[0]
        self.gamma_ = gamma

    def _score_block(self, features: Features) -> Float64:
        kernel = self._derive(self.support_vectors_, Points).squared_distances(features)
        kernel *= -self.gamma_
        np.exp(kernel, out=kernel)
        return np.asarray(-(kernel @ self.coefficients_ + self.intercept_))

    def to_onnx(self, graph: OnnxGraph, features: str) -> str:
        """Add the scores, float64 (rows,), to `graph`; see `asd.plugin.OnnxGraph`."""
        distances = squared_distances(graph, doubled(graph, features), Points(self.support_vectors_))
        kernel = graph.op("Exp", graph.op("Mul", distances, graph.constant(np.array(-float(self.gamma_)))))
        weighted = graph.op("MatMul", kernel, graph.constant(matrix(self.coefficients_)))
        return graph.op("Neg", graph.op("Add", weighted, graph.constant(np.array(float(self.intercept_)))))

    def _values_per_row(self) -> int:
        return sum(self.support_vectors_.shape)
