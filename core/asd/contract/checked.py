"""Base classes that check what goes into a detector or an extractor and what comes out of it.

A complete detector::

    class Distance(CheckedDetector):
        centre_: Float64

        def _learn(self, features):
            self.centre_ = features.mean(axis=0)

        def _score(self, features):
            return abs(features - self.centre_).sum(axis=1)

Messages call a component by its class attribute `name`, or else by the name of its class.
"""

from __future__ import annotations

import functools
import inspect
from abc import abstractmethod
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from asd.contract.checks import (
    Features,
    check_rows,
    feature_matrix,
    name_of,
    result_array,
    training_matrix,
    window_array,
)
from asd.contract.interfaces import Detector, Extractor, State
from asd.errors import ConfigError, DataError, ModelFileError
from asd.records import Float32, Float64, Rows


class CheckedDetector(Detector):
    """A detector that only learns (`_learn`) and scores (`_score`): the features are checked before, the scores after.

    With ``takes_rows = True``, `_learn` takes a second argument: ``def _learn(self, features, rows=None)``.

    What `_learn` sets belongs into attributes that end in an underscore. A model file that lacks one of those that
    the class annotates (``centre_: Float64``) is refused.

    Attributes
    ----------
    dimension_ : int
        Features of a window that the detector was fitted with.
    """

    dimension_: int

    @abstractmethod
    def _learn(self, features: Features) -> None:
        """Learn from features of normal windows.

        Parameters
        ----------
        features : float32 or float64 array of shape (n, d)
            Finite; at least two rows, not all the same. They may be read-only.
        """

    @abstractmethod
    def _score(self, features: Features) -> npt.NDArray[Any]:
        """Return one finite anomaly score per row, of shape (n,); higher is more anomalous.

        Parameters
        ----------
        features : float32 or float64 array of shape (n, d)
            Finite; at least one row, as wide as those of the fit. They may be read-only.
        """

    def fit(self, features: Float32, rows: Rows | None = None) -> Self:
        """Learn from float32 or float64 [n, d] features of normal windows.

        Parameters
        ----------
        features : float32 or float64 array of shape (n, d)
            One row a window.
        rows : Rows or None
            Where the rows come from; passed to `_learn` as a second argument if the class says ``takes_rows = True``.

        Raises
        ------
        DataError
            If they are not finite numbers of that shape, fewer than two windows, or all the same; or if `rows` are
            not as many.
        """
        values = training_matrix(self, features)
        if rows is not None:
            check_rows(self, rows, len(values))
        vars(self).pop("dimension_", None)  # if learning fails, it is not fitted
        learn: Any = self._learn
        if self.takes_rows:
            learn(values, rows)
        else:
            learn(values)
        self.dimension_ = values.shape[1]
        return self

    def score(self, features: Float32) -> Float64:
        """Return one anomaly score per row of `features`, float64[n]; higher is more anomalous.

        Raises
        ------
        ConfigError
            If the detector is not fitted.
        DataError
            If the features are not finite numbers, or not as many per window as in the fit.
        PluginError
            If the scores are not one finite number per row.
        """
        if not all(hasattr(self, name) for name in self._learned_names()):
            raise ConfigError(f"{name_of(self)}: not fitted yet; call fit or load a model before scoring")
        values = feature_matrix(self, features)
        if values.shape[1] != self.dimension_:
            raise DataError(
                f"{name_of(self)}: got {values.shape[1]} features a window, was fitted with {int(self.dimension_)}; "
                "score with the front end, extractor and parameters of the fit, or fit again"
            )
        if not len(values):
            return np.empty(0)
        return result_array(self, "_score", self._score(values), (len(values),), np.float64)

    def set_state(self, state: State) -> None:
        """Restore what `get_state` returned.

        Raises
        ------
        ModelFileError
            If arrays are missing.
        """
        missing = [name for name in self._learned_names() if name not in state]
        if missing:
            raise ModelFileError(
                f"{name_of(self)}: the model lacks {', '.join(missing)}; it is damaged or of another version: "
                "fit it again"
            )
        super().set_state(state)

    @classmethod
    @functools.cache  # scores are asked for by clip, member and branch
    def _learned_names(cls) -> tuple[str, ...]:
        """Return the attributes that were annotated as learned: those that end in one underscore."""
        annotated = (name for base in cls.__mro__ for name in inspect.get_annotations(base))
        return tuple(name for name in annotated if name.endswith("_") and not name.startswith("_"))


class CheckedExtractor(Extractor):
    """An extractor that only embeds (`_embed`): the windows are checked before, the embeddings after."""

    @abstractmethod
    def _embed(self, windows: Float32) -> npt.NDArray[Any]:
        """Return the embeddings, of shape (n_windows, dimension).

        Parameters
        ----------
        windows : float32 array of shape (n_windows, *shape)
            Finite, of the shape that `consumes` states. They may be read-only.
        """

    def embed(self, values: Any) -> Float32:
        """Return the embeddings, float32[n_windows, dimension].

        Parameters
        ----------
        values : array of shape (n_windows, *shape)
            Windows as `consumes` states; NumPy or anything with ``__dlpack__``.

        Raises
        ------
        DataError
            If the windows have another shape or are not finite.
        PluginError
            If the embeddings are not finite numbers of shape (n_windows, dimension).
        """
        takes, dimension = self.consumes, self.dimension
        windows = window_array(self, values, None if takes.kind == "any" else takes.shape)
        if not len(windows) and dimension is not None:
            return np.empty((0, dimension), np.float32)
        return result_array(self, "_embed", self._embed(windows), (len(windows), dimension), np.float32)
