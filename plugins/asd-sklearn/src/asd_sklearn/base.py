"""What the detectors have in common: checked features, scoring in blocks, quiet fitting."""

from __future__ import annotations

import logging
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from asd.errors import ConfigError, ModelFileError
from asd.plugin import Detector, Float32, Float64, State
from asd_sklearn import checks
from asd_sklearn.checks import Features

log = logging.getLogger("asd")

_BLOCK_VALUES = 2**22
"""Numbers that a block of intermediate results may hold (32 MiB in float64): bounds memory, whatever is scored."""

Derived = TypeVar("Derived")


class FeatureDetector(Detector):
    """A detector whose subclasses only learn (`_learn`) and score (`_score`) features that were checked before."""

    name: ClassVar[str]
    """What users type; begins every message."""

    dimension_: Any
    _derived: Any = None

    def fit(self, features: Float32) -> Self:
        """Learn from float32 or float64 [n, d] features of normal windows.

        Raises
        ------
        DataError
            If there is nothing to learn: see the texts in `asd_sklearn.checks`.
        """
        values = checks.training(self.name, features)
        self._derived = None
        self.dimension_ = values.shape[1]
        self._learn(values)
        return self

    def score(self, features: Float32) -> Float64:
        """Return one anomaly score per row of `features`, float64[n]; higher is more anomalous.

        Raises
        ------
        DataError
            If the features are not finite or not of the dimension that the detector was fitted with.
        """
        if not all(hasattr(self, name) for name in self._learned()):
            raise ConfigError(f"{self.name}: not fitted yet; call fit or load a model before scoring")
        values = checks.matrix(self.name, features)
        checks.same_dimension(self.name, values, int(self.dimension_))
        scores = np.empty(len(values))
        for block in self._blocks(len(values)):
            scores[block] = self._score(values[block])
        return scores

    def _blocks(self, count: int) -> Iterator[slice]:
        """Yield slices that divide `count` rows so that what scoring a block takes stays bounded."""
        rows = max(1, _BLOCK_VALUES // self._values_per_row())
        for first in range(0, count, rows):
            yield slice(first, min(first + rows, count))

    def set_state(self, state: State) -> None:
        """Restore what `get_state` returned.

        Raises
        ------
        ModelFileError
            If arrays are missing.
        """
        missing = [name for name in self._learned() if name not in state]
        if missing:
            raise ModelFileError(
                f"{self.name}: the model lacks {', '.join(missing)}; it is damaged or of another version: fit it again"
            )
        self._derived = None
        super().set_state({name: np.asarray(state[name]) for name in self._learned()})

    @classmethod
    def _learned(cls) -> list[str]:
        """Return the names of the arrays that were learned: the annotated attributes that end in an underscore."""
        annotated = (name for base in cls.__mro__ for name in vars(base).get("__annotations__", {}))
        return [name for name in annotated if name.endswith("_")]

    @abstractmethod
    def _learn(self, features: Features) -> None:
        """Learn from checked features, float32 or float64."""

    @abstractmethod
    def _score(self, features: Features) -> Float64:
        """Return the scores of a block of checked features."""

    @abstractmethod
    def _values_per_row(self) -> int:
        """Return about how many numbers scoring one row takes."""

    def _prepared(self, prepare: Callable[[], Derived]) -> Derived:
        """Return what `prepare` derives from the learned arrays, derived once until they change."""
        if self._derived is None:
            self._derived = prepare()
        derived: Derived = self._derived
        return derived


def logsumexp(exponents: Float64) -> Float64:
    """Return the logarithm of the sum of exponentials of each row of `exponents`, which is overwritten."""
    highest = exponents.max(axis=1, keepdims=True)
    exponents -= highest
    np.exp(exponents, out=exponents)
    return np.asarray(np.log(exponents.sum(axis=1)) + highest[:, 0])


@contextmanager
def quiet(owner: str, hint: str = "") -> Iterator[None]:
    """Turn the warnings inside the block into one log line each, a missing convergence with a `hint` for the user."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(_told(warning, hint) for warning in caught):
        log.warning("%s: %s", owner, text)


def _told(warning: warnings.WarningMessage, hint: str) -> str:
    if hint and warning.category.__name__ == "ConvergenceWarning":
        return hint
    return str(warning.message).strip().partition("\n")[0]
