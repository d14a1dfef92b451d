"""Outlier estimators of scikit-learn, and all that have their methods, as detectors."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any

import numpy as np

from asd.contract.checked import CheckedDetector
from asd.contract.checks import Features, name_of
from asd.contract.estimator import KEY, from_arrays, to_arrays
from asd.contract.interfaces import State
from asd.errors import ConfigError, DataError

_TRIALS = ((100, 8), (400, 64))
"""Windows and features of generated data: most estimators take the first, some need more windows or features."""


class OutlierDetector(CheckedDetector):
    """A detector made of an outlier estimator: `fit`, and `score_samples` or `decision_function`.

    As in scikit-learn, the estimator's scores are higher for what is more normal; the detector changes the sign. A
    complete detector::

        class Forest(OutlierDetector):
            def __init__(self, *, n_estimators: int = 100, seed: int = 0) -> None:
                self.n_estimators, self.seed = n_estimators, seed

            def make_estimator(self):
                return IsolationForest(n_estimators=self.n_estimators, random_state=self.seed)

    A model file keeps the constructor's parameters, and what fitting added to the estimator as arrays, without pickle.
    Values that are neither numbers, text nor arrays, such as trees, need ``pip install skops``.
    """

    _estimator: Any = None

    @abstractmethod
    def make_estimator(self) -> Any:
        """Return a new estimator, as the constructor's parameters say; the same each time but for what is random."""

    def check_saveable(self) -> None:
        """Try the estimator on a few generated windows; if it cannot learn from them, nothing is reported.

        Raises
        ------
        ConfigError
            If what it learns cannot be kept in a model file.
        """
        for shape in _TRIALS:
            estimator = self._made()
            windows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    estimator.fit(windows)
                except Exception:  # it needs other windows, or has a mistake that `fit` will show
                    continue
            to_arrays(name_of(self), estimator)
            return

    def _made(self) -> Any:
        estimator = self.make_estimator()
        if not (hasattr(estimator, "fit") and _scoring(estimator)):
            raise ConfigError(
                f"{name_of(self)}: make_estimator returned {type(estimator).__name__}, which lacks fit, or both of "
                "score_samples and decision_function; return an outlier estimator "
                "(LocalOutlierFactor with novelty=True)"
            )
        return estimator

    def _learn(self, features: Features) -> None:
        estimator = self._made()
        try:
            estimator.fit(features)
        except ValueError as error:
            windows, dimension = features.shape
            raise DataError(
                f"{name_of(self)}: {type(estimator).__name__} cannot learn from {windows} windows of {dimension} "
                f"features: {str(error).strip().partition(chr(10))[0]}"
            ) from error
        self._estimator = estimator

    def _score(self, features: Features) -> Any:
        return np.negative(_scoring(self._estimator)(features))

    def get_state(self) -> State:
        """Return what was learned; errors as for `check_saveable`."""
        return {**super().get_state(), **to_arrays(name_of(self), self._estimator)}

    def set_state(self, state: State) -> None:
        """Restore what `get_state` returned.

        Raises
        ------
        ModelFileError
            If arrays are missing or damaged, belong to another estimator, or take skops, which is not installed.
        """
        super().set_state({name: array for name, array in state.items() if not name.startswith(KEY)})
        estimator = self._made()
        from_arrays(name_of(self), estimator, state)
        self._estimator = estimator


def _scoring(estimator: Any) -> Any:
    """Return the method that gives the scores, or None."""
    return getattr(estimator, "score_samples", None) or getattr(estimator, "decision_function", None)
