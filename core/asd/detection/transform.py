"""What happens to embeddings before the detector: standardisation and PCA, learned on training windows."""

from __future__ import annotations

from typing import Self

import numpy as np

from asd.contract.interfaces import State
from asd.errors import ModelFileError
from asd.records import Float32, Float64

_LARGE = 50_000
"""Values of principal components from which they are rounded to half precision: they would fill the model file."""

_ONE_THREAD = 2**18
"""Multiplications up to which OpenBLAS computes a product in one thread."""
_FEWEST_ROWS, _MOST_PIECES = 4, 100
"""Beyond these, one product of all rows in several threads is faster (measured on two cores)."""


class FeatureTransform:
    """Standardise features, then rotate them onto their principal components.

    Parameters
    ----------
    standardise : bool
        Shift and scale each feature to mean 0 and deviation 1; a feature that never varies is only shifted.
    deviation_floor : float
        Least deviation that a feature is divided by, as a multiple of the median deviation of the features that vary.
        0 is plain standardisation, which blows up features that are almost always silent in training.
    pca : float or None
        Keep the components that together explain this fraction (0–1] of the variance; None: no PCA.
    """

    def __init__(self, *, standardise: bool = True, deviation_floor: float = 0.0, pca: float | None = None) -> None:
        self.standardise = standardise
        self.deviation_floor = deviation_floor
        self.pca = pca

    def fit(self, features: Float32) -> Self:
        """Learn from float32[n, d] features."""
        values = features.astype(np.float64)
        self.mean = values.mean(axis=0) if self.standardise or self.pca is not None else np.zeros(values.shape[1])
        self.scale = np.ones(values.shape[1])
        if self.standardise:
            deviation = values.std(axis=0)
            # Rounding leaves a constant feature a tiny deviation: dividing by it would blow noise up.
            varies = deviation > 1e-6 * np.maximum(np.abs(self.mean), 1e-6)
            if varies.any():
                floor = self.deviation_floor * float(np.median(deviation[varies]))
                self.scale[varies] = np.maximum(deviation[varies], floor)
        self.components: Float64 | None = None
        if self.pca is not None:
            self.components = _principal_components((values - self.mean) / self.scale, self.pca)
            if self.components.size >= _LARGE:  # before a detector learns by them, so that nothing else changes
                self.components = self.components.astype(np.float16).astype(np.float64)
        return self

    def transform(self, features: Float32) -> Float32:
        """Return the transformed features, float32[n, d or fewer]."""
        values = (features - self.mean) / self.scale
        if self.components is not None:
            values = _product(values, self.components)
        return values.astype(np.float32)

    def get_state(self) -> State:
        """Return what was learned."""
        state: State = {"mean": self.mean, "scale": self.scale}
        if self.components is not None:
            large = self.components.size >= _LARGE
            state["components"] = self.components.astype(np.float16) if large else self.components
        return state

    def set_state(self, state: State) -> None:
        """Restore what `get_state` returned.

        Raises
        ------
        ModelFileError
            If arrays are missing or too many, do not fit each other, or hold what cannot be computed with.
        """
        if state.keys() - {"components"} != {"mean", "scale"}:
            raise ModelFileError(f"the transform must have the arrays mean and scale, got {', '.join(state) or 'none'}")
        mean, scale, components = state["mean"], state["scale"], state.get("components")
        if components is not None and components.dtype == np.float16:
            components = components.astype(np.float64)
        given = [mean, scale] if components is None else [mean, scale, components]
        if not all(array.dtype == np.float64 and np.isfinite(array).all() for array in given) or not scale.all():
            raise ModelFileError("the transform must be finite float64 numbers, its scale not 0; fit the model again")
        if (
            mean.ndim != 1
            or scale.shape != mean.shape
            or (components is not None and (components.ndim != 2 or len(components) != len(mean)))
        ):
            shapes = ", ".join(str(array.shape) for array in given)
            raise ModelFileError(f"the transform's arrays do not fit each other ({shapes}); fit the model again")
        self.mean, self.scale, self.components = mean, scale, components


def _product(rows: Float64, matrix: Float64) -> Float64:
    """Return ``rows @ matrix``; of a clip's rows in pieces that OpenBLAS does not spread over threads.

    They are done in less time than it takes to wake a thread, which on a busy machine is tens of milliseconds.
    """
    together = _ONE_THREAD // matrix.size
    if together < _FEWEST_ROWS or len(rows) > _MOST_PIECES * together:
        return np.asarray(rows @ matrix)
    return np.concatenate([rows[first : first + together] @ matrix for first in range(0, max(len(rows), 1), together)])


def _principal_components(values: Float64, fraction: float) -> Float64:
    """Return float64[d, k]: the fewest leading eigenvectors of the covariance that explain `fraction` of it."""
    n, d = values.shape
    if d <= n:
        variances, vectors = np.linalg.eigh(values.T @ values)
    else:  # the Gram matrix has the same non-zero eigenvalues and is the smaller one
        variances, left = np.linalg.eigh(values @ values.T)
        vectors = values.T @ (left / np.sqrt(np.maximum(variances, 1e-12)))
    variances, vectors = np.maximum(variances[::-1], 0.0), vectors[:, ::-1]
    explained = np.cumsum(variances) / max(variances.sum(), 1e-300)
    count = min(int(np.searchsorted(explained, fraction - 1e-12)) + 1, int((variances > 1e-9 * variances[0]).sum()))
    return np.ascontiguousarray(vectors[:, : max(count, 1)])
