"""Checks of parameters and arrays; each failure is one line: what was given, what was expected, how to correct it."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from asd.contract.interfaces import Component, Dataset, Detector, Extractor, Frontend, Sink, Source
from asd.contract.messages import as_array
from asd.errors import ConfigError, DataError, PluginError
from asd.records import Float32, Rows

Features = npt.NDArray[np.floating[Any]]
"""Features of windows: float32 or float64 of shape (windows, features)."""

Choice = TypeVar("Choice")
Number = TypeVar("Number", np.float32, np.float64)

_LARGEST = float(np.finfo(np.float32).max)


def name_of(component: Component) -> str:
    """Return what messages call a component: its attribute `name`, or else the name of its class."""
    return getattr(component, "name", "") or type(component).__name__


def whole_number(component: Component, parameter: str, value: Any, minimum: int) -> int:
    """Return `value` if it is a whole number of at least `minimum`.

    Parameters
    ----------
    component : Component
        Whose parameter it is; the message has its name and the option that sets it, such as ``--detector.seed``.
    parameter : str
        The parameter's name.
    value : Any
        What was given.
    minimum : int
        The smallest value allowed.

    Raises
    ------
    ConfigError
        If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise ConfigError(
            f"{name_of(component)}: {parameter} must be a whole number of at least {minimum}, got {value!r}; "
            f"use {_option(component, parameter)} {minimum} or more"
        )
    return int(value)


def number(
    component: Component,
    parameter: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> float:
    """Return `value` if it is a finite number within the limits that are given.

    Parameters
    ----------
    component, parameter, value
        As for `whole_number`.
    above, at_least : float, optional
        Lower limit, which is itself excluded (`above`) or allowed (`at_least`).
    below, at_most : float, optional
        Upper limit, which is itself excluded (`below`) or allowed (`at_most`).

    Raises
    ------
    ConfigError
        If it is not.
    """
    limits = [
        (words, limit, holds)
        for words, limit, holds in (
            ("above", above, operator.gt),
            ("of at least", at_least, operator.ge),
            ("below", below, operator.lt),
            ("at most", at_most, operator.le),
        )
        if limit is not None
    ]
    is_number = not isinstance(value, bool) and isinstance(value, int | float | np.integer | np.floating)
    if is_number and math.isfinite(value) and all(holds(value, limit) for _, limit, holds in limits):
        return float(value)
    expected = " and ".join(f"{words} {limit:g}" for words, limit, _ in limits) or "that is finite"
    raise ConfigError(
        f"{name_of(component)}: {parameter} must be a number {expected}, got {value!r}; "
        f"change {_option(component, parameter)}"
    )


def one_of(component: Component, parameter: str, value: Choice, choices: Iterable[Choice]) -> Choice:
    """Return `value` if it is one of `choices`.

    Parameters
    ----------
    component, parameter, value
        As for `whole_number`.
    choices : iterable
        What is allowed; ``typing.get_args`` lists the choices of a ``Literal``.

    Raises
    ------
    ConfigError
        If it is not.
    """
    known = list(choices)
    if value not in known:
        *others, last = map(str, known)
        listed = f"{', '.join(others)} or {last}" if others else last
        raise ConfigError(
            f"{name_of(component)}: {parameter} must be {listed}, got {value!r}; change {_option(component, parameter)}"
        )
    return value


def _option(component: Component, parameter: str) -> str:
    """Return the option that sets a parameter, or only its name for what is no component of a known kind."""
    for interface in (Frontend, Extractor, Detector, Dataset, Source, Sink):
        if isinstance(component, interface):
            return f"--{interface.__name__.lower()}.{parameter}"
    return parameter


def feature_matrix(component: Component, features: Any) -> Features:
    """Return `features` as a matrix of finite floating-point numbers, without copying where it is one.

    Raises
    ------
    DataError
        If they are not numbers of shape (windows, features), or some are not finite in single precision.
    """
    owner, array = name_of(component), np.asarray(features)
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "fiu":
        raise DataError(
            f"{owner}: expected numbers of shape (windows, features), got shape {array.shape} of {array.dtype}; "
            f"reshape them to one row per window"
        )
    values: Features = array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
    _require_finite(component, values, "features", "those recordings, the front end and the extractor")
    return values


def training_matrix(component: Component, features: Any) -> Features:
    """Return `features` as `feature_matrix` does, if there is something to learn from them.

    Raises
    ------
    DataError
        As for `feature_matrix`; or if there are fewer than two windows, or all are the same.
    """
    owner = name_of(component)
    values = feature_matrix(component, features)
    if len(values) < 2:
        count = "1 training window" if len(values) else "no training windows"
        raise DataError(f"{owner}: {count}, at least 2 are needed; give more or longer recordings")
    if not any((row != values[0]).any() for row in values[1:]):
        raise DataError(
            f"{owner}: all {len(values)} training windows have the same features, there is nothing to learn; "
            f"check that the recordings are not silent or copies of one"
        )
    return values


def check_rows(component: Component, rows: Rows, count: int) -> None:
    """Refuse `rows` that are not one whole number for each of `count` training rows.

    Raises
    ------
    DataError
        If they are not.
    """
    for name, numbers in (("clip", rows.clip), ("group", rows.group)):
        if numbers is not None and (numbers.shape != (count,) or numbers.dtype.kind not in "iu"):
            raise DataError(
                f"{name_of(component)}: rows.{name} is {numbers.dtype} of shape {numbers.shape}, expected one whole "
                f"number for each of the {count} rows of features"
            )


def window_array(component: Component, values: Any, shape: tuple[int | None, ...] | None) -> Float32:
    """Return windows as finite float32, without copying where they are.

    Parameters
    ----------
    component : Component
        Whose windows they are, for messages.
    values : array of shape (n_windows, *shape)
        NumPy array or anything with ``__dlpack__``.
    shape : tuple of (int or None), or None
        Shape of one window, None for any size; None: any shape.

    Raises
    ------
    DataError
        If they have another shape or hold other than numbers, or some are not finite in single precision.
    """
    owner = name_of(component)
    is_foreign = not isinstance(values, np.ndarray) and hasattr(values, "__dlpack__")
    array = np.from_dlpack(values) if is_foreign else np.asarray(values)
    if array.ndim == 0 or array.dtype.kind not in "fiu" or not _fits(array.shape[1:], shape):
        takes = "windows" if shape is None else f"windows of shape {_text(shape)}"
        raise DataError(
            f"{owner}: expected {takes}, got {array.dtype} of shape {_text(array.shape[1:])}; "
            "use the front end that belongs to the extractor"
        )
    _require_finite(component, array, "values", "those recordings and the front end")
    return array.astype(np.float32, copy=False)


def result_array(
    component: Component, method: str, given: Any, shape: tuple[int | None, ...], dtype: type[Number]
) -> npt.NDArray[Number]:
    """Return what a component's method computed, as `dtype`.

    Raises
    ------
    PluginError
        If it is not finite numbers of that shape (None: any size).
    """
    owner = component.origin or name_of(component)
    try:
        computed = as_array(given)
    except ValueError:  # a list of lists of several lengths
        computed = np.asarray(given, object)
    if computed.dtype.kind not in "fiu" or not _fits(computed.shape, shape):
        raise PluginError(
            f"{owner}: {method} returned {computed.dtype} of shape {_text(computed.shape)}, expected "
            f"numbers of shape {_text(shape)}; report it to the plugin's author"
        )
    with np.errstate(over="ignore"):  # what becomes infinite is found below
        results = computed.astype(dtype, copy=False)
    if not np.isfinite(results).all():
        bad = np.flatnonzero(~np.isfinite(results).reshape(len(results), -1).all(axis=1))
        raise PluginError(
            f"{owner}: {method} returned NaN or infinity for {len(bad)} of {len(results)} windows (the "
            f"first is window {bad[0] + 1}), which hold finite values; report it to the plugin's author"
        )
    return results


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...] | None) -> bool:
    return expected is None or (
        len(shape) == len(expected) and all(want in (None, size) for size, want in zip(shape, expected, strict=True))
    )


def _text(shape: tuple[int | None, ...]) -> str:
    return str(shape).replace("None", "any")


def _require_finite(component: Component, values: npt.NDArray[Any], what: str, suspects: str) -> None:
    owner = name_of(component)
    # One pass without a temporary array: a NaN makes the minimum NaN, and NaN compares as false.
    if values.size and not (values.min() >= -_LARGEST and values.max() <= _LARGEST):
        bad = np.flatnonzero(~(np.abs(values) <= _LARGEST).reshape(len(values), -1).all(axis=1))
        raise DataError(
            f"{owner}: {len(bad)} of {len(values)} windows hold NaN or infinite {what} (the first is window "
            f"{bad[0] + 1}); check {suspects}"
        )
