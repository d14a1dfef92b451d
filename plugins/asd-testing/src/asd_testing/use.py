"""Use a component of any kind alike: prepare it, feed it an array, get an array."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from asd.plugin import Audio, Component, Detector, Extractor, Frontend, Runtime

Array = npt.NDArray[Any]

RUNTIME = Runtime(device="cpu", precision="fp32")
"""What components are checked with: bfloat16 would hide small differences, a graphics card is not everywhere."""


def prepared(component: Any, name: str, training: Array | None) -> Any:
    """Return the component as a pipeline would use it: with a runtime, in a worker process if it asks for one, fitted.

    Parameters
    ----------
    component : Component
        As it was constructed.
    name : str
        For messages.
    training : float32 array of shape (n, d), or None
        What a detector learns from.
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
    """Return what a component makes of an array.

    Parameters
    ----------
    component : Component
        A prepared front end, extractor or detector.
    values : array
        Samples of shape (1, n) for a front end, windows for an extractor, features for a detector.

    Returns
    -------
    array
        The windows' values, the embeddings, or the scores; as the component made them.
    """
    if isinstance(component, Frontend):
        return as_array(component(Audio(values, component.sample_rate, "generated sound")).values)
    if isinstance(component, Extractor):
        return as_array(component.embed(values))
    assert isinstance(component, Detector)
    return as_array(component.score(values))


def as_array(values: Any) -> Array:
    """Return what a component gave as a NumPy array."""
    if isinstance(values, np.ndarray) or not hasattr(values, "__dlpack__"):
        return np.asarray(values)
    return np.from_dlpack(values)


def release(component: Any) -> None:
    """End the worker process of an isolated component."""
    close = getattr(component, "close", None)
    if callable(close):
        close()
