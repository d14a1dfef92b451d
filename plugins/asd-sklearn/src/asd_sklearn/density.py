"""Kernel density estimation."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from asd.plugin import Features, Float64, OnnxGraph, number
from asd_sklearn import onnx
from asd_sklearn.base import FeatureDetector, logsumexp
from asd_sklearn.distances import Points


class KernelDensity(FeatureDetector):
    """Negative log-density under Gaussians of one width around every training window.

    Parameters
    ----------
    bandwidth : float or "scott" or "silverman"
        Deviation of the Gaussian kernel; 0.1 in arXiv:2006.03429. ``"scott"``: n^(-1 / (d + 4)); ``"silverman"``:
        (n (d + 2) / 4)^(-1 / (d + 4)), for n windows of d standardised features.

    Notes
    -----
    The score is the exact negated logarithm, which scikit-learn's ``score_samples`` gives with one leaf for all windows
    (``leaf_size`` = windows); the bounds of its default tree round the tails away. Every training window is part of
    the state, and scoring time grows with their number.
    Source: Müller et al. 2020, arXiv:2006.03429; Silverman 1986, Density Estimation, 3.4 and 4.3.
    """

    name = "kde"
    windows_: Any
    bandwidth_: Any

    def __init__(self, *, bandwidth: float | Literal["scott", "silverman"] = 0.1) -> None:
        is_rule = bandwidth in ("scott", "silverman")
        self.bandwidth = bandwidth if is_rule else number(self, "bandwidth", bandwidth, above=0)

    def _learn(self, features: Features) -> None:
        count, dimension = features.shape
        if self.bandwidth == "scott":
            self.bandwidth_ = count ** (-1 / (dimension + 4))
        elif self.bandwidth == "silverman":
            self.bandwidth_ = (count * (dimension + 2) / 4) ** (-1 / (dimension + 4))
        else:
            self.bandwidth_ = self.bandwidth
        self.windows_ = features.copy()

    def _score_block(self, features: Features) -> Float64:
        exponents = self._derive(self.windows_, Points).squared_distances(features)
        exponents *= -0.5 / self.bandwidth_**2
        return np.asarray(self._log_normaliser() - logsumexp(exponents))

    def _log_normaliser(self) -> float:
        count, dimension = self.windows_.shape
        return float(np.log(count) + dimension * (np.log(self.bandwidth_) + 0.5 * np.log(2 * np.pi)))

    def to_onnx(self, graph: OnnxGraph, features: str) -> str:
        """Add the scores, float64 (rows,), to `graph`; see `asd.plugin.OnnxGraph`."""
        distances = onnx.squared_distances(graph, onnx.doubled(graph, features), Points(self.windows_))
        exponents = graph.op("Mul", distances, graph.constant(np.array(-0.5 / float(self.bandwidth_) ** 2)))
        return graph.op("Sub", graph.constant(np.array(self._log_normaliser())), onnx.logsumexp(graph, exponents))

    def _values_per_row(self) -> int:
        return sum(self.windows_.shape)
