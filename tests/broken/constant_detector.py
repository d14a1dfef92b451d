"""A detector that scores everything alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from asd.plugin import Detector
from asd_registry import ComponentSpec, hookimpl


class Constant(Detector):
    """Gives every row the score 1."""

    def fit(self, features: Any) -> Self:
        """Learn nothing."""
        self.learned_ = np.zeros(1)
        return self

    def score(self, features: Any) -> Any:
        """Return ones."""
        return np.ones(len(features))


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the detector."""
    yield ComponentSpec(
        kind="detector",
        name="constant",
        summary="Scores everything alike",
        target="constant_detector:Constant",
        licence="Apache-2.0",
    )
