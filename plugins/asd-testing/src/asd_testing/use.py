"""Use components of all kinds in one way: prepare a component, give it an array, get an array."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from asd.plugin import Audio, Component, Detector, Extractor, Frontend, Runtime
from asd_testing.errors import CheckFailedError

Array = npt.NDArray[Any]

RUNTIME = Runtime(device="cpu", precision="fp32")
"""How components compute in checks: bfloat16 would hide small differences, and not every machine has a GPU."""


def prepared(component: Any, name: str, training: Array | None) -> Any:
    """Return the component as a pipeline uses it: with a runtime, in a worker process if it asks for one, and fitted.

    Parameters
    ----------
    component : Component
        A new one.
    name : str
        For messages.
    training : float32 array of shape (n, d), or None
        Features for a detector's `fit`; None for other kinds.
    """
    if isinstance(component, Detector):
        component.runtime = RUNTIME
        assert training is not None
        return component.fit(training)
    if component.isolation:
        from asd.experiment import isolated

        component = isolated(component, name)
    component.runtime = RUNTIME
    return component


def compute(component: Component, values: Array) -> Array:
    """Return the component's output for an array.

    Parameters
    ----------
    component : Component
        A prepared front end, extractor or detector.
    values : array
        Samples of shape (1, n) for a front end, windows for an extractor, features for a detector.

    Returns
    -------
    array
        The windows' values, the embeddings, or the scores, unchanged.
    """
    if isinstance(component, Frontend):
        return as_array(component(Audio(values, component.sample_rate, "generated sound")).values)
    if isinstance(component, Extractor):
        return as_array(component.embed(values))
    assert isinstance(component, Detector)
    return as_array(component.score(values))


def as_array(values: Any) -> Array:
    """Return a component's output as a NumPy array.

    Raises
    ------
    CheckFailedError
        If it is none of NumPy, nor of a library that knows ``__dlpack__``.
    """
    if isinstance(values, np.ndarray):
        return values
    if not hasattr(values, "__dlpack__"):
        raise CheckFailedError(f"gives {type(values).__name__} instead of an array")
    return np.from_dlpack(values)
