"""What the detectors have in common: scoring in blocks, quiet fitting."""

from __future__ import annotations

import logging
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import numpy as np

from asd.plugin import CheckedDetector, Features, Float64

log = logging.getLogger("asd")

_BLOCK_VALUES = 2**22
"""Numbers that a block of intermediate results may hold (32 MiB in float64): bounds memory, whatever is scored."""

Derived = TypeVar("Derived")


class FeatureDetector(CheckedDetector):
    """A detector that scores block by block."""

    name: ClassVar[str]
    """What users type; begins every message."""

    _derived: tuple[Any, Any] = (None, None)

    @abstractmethod
    def _score_block(self, features: Features) -> Float64:
        """Return the scores of a block of features."""

    @abstractmethod
    def _values_per_row(self) -> int:
        """Return about how many numbers scoring one row takes."""

    def _score(self, features: Features) -> Float64:
        return np.concatenate([self._score_block(features[block]) for block in self._blocks(len(features))])

    def _blocks(self, count: int) -> Iterator[slice]:
        """Yield slices that divide `count` rows so that what scoring a block takes stays bounded."""
        rows = max(1, _BLOCK_VALUES // self._values_per_row())
        for first in range(0, count, rows):
            yield slice(first, min(first + rows, count))

    def _derive(self, learned: Any, make: Callable[[Any], Derived]) -> Derived:
        """Return what `make` makes of a learned array, made once as long as it is the same array."""
        known, derived = self._derived
        if known is not learned:
            derived = make(learned)
            self._derived = learned, derived  # in one step: threads may score at the same time
        found: Derived = derived
        return found


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
    for text in dict.fromkeys(_line(warning, hint) for warning in caught):
        log.warning("%s: %s", owner, text)


def _line(warning: warnings.WarningMessage, hint: str) -> str:
    if hint and warning.category.__name__ == "ConvergenceWarning":
        return hint
    return str(warning.message).strip().partition("\n")[0]
