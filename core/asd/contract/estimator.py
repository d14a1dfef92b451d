"""What an estimator learned, as arrays for a model file: no pickle, and no class that the file chooses.

The attributes that fitting set are stored, and set on a new estimator when they are loaded; what its constructor stored
is not. Numbers, text, arrays, and lists, tuples and dictionaries of them are stored as they are, other values by
`skops.io` where it is installed: a format that names types, of which only those that are trusted here are loaded.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from asd.contract.interfaces import State
from asd.errors import ConfigError, ModelFileError

_log = logging.getLogger("asd")

KEY = "estimator"
"""Begins the name of every array."""

_MEND = ": derive the detector from asd.plugin.CheckedDetector and keep arrays"

_METRICS = ("Euclidean", "SEuclidean", "Manhattan", "Chebyshev", "Minkowski", "Mahalanobis", "Haversine")

_TRUSTED = {
    "sklearn.tree._tree.Tree",
    *(f"sklearn.neighbors._{module}.{tree}" for module, tree in (("kd_tree", "KDTree"), ("ball_tree", "BallTree"))),
    *(f"sklearn.metrics._dist_metrics.{metric}Distance{bits}" for metric in _METRICS for bits in ("", "64")),
}
"""What is loaded besides the types that skops trusts by itself: scikit-learn's containers of numbers."""


class _UnstorableError(Exception):
    """A value that cannot be stored; the text says what it is, and what to do about it."""


def to_arrays(owner: str, estimator: Any) -> State:
    """Return what a fitted estimator learned.

    Raises
    ------
    ConfigError
        If an attribute cannot be stored; `owner` is named in the text.
    """
    arrays: list[npt.NDArray[Any]] = []
    parts: dict[str, Any] = {}
    for place, part in _parts(estimator).items():
        attributes = {}
        for name in sorted(vars(part).keys() - _settings(part).keys()):
            try:
                attributes[name] = _stored(vars(part)[name], arrays)
            except _UnstorableError as error:
                raise ConfigError(
                    f"{owner}: a fitted {type(estimator).__name__} cannot be kept in a model file, as its attribute "
                    f"{f'{place}.{name}'.lstrip('.')} {error}"
                ) from error
        parts[place] = {"class": type(part).__name__, "attributes": attributes}
    text = json.dumps({"versions": _versions(estimator), "parts": parts})
    return {KEY: np.frombuffer(text.encode(), np.uint8), **{f"{KEY}.{i}": array for i, array in enumerate(arrays)}}


def from_arrays(owner: str, estimator: Any, state: State) -> None:
    """Set the attributes of a new estimator to what `to_arrays` returned for one that was made alike.

    Raises
    ------
    ModelFileError
        If the arrays are damaged, belong to another estimator, or hold what must not be loaded; `owner` is named in
        the text.
    """
    parts = _parts(estimator)
    try:
        content = json.loads(state[KEY].tobytes())
        found = {place: part["class"] for place, part in content["parts"].items()}
        expected = {place: type(part).__name__ for place, part in parts.items()}
        if found != expected:
            raise ModelFileError(
                f"{owner}: the model holds {', '.join(found.values())}, but the plugin now makes "
                f"{', '.join(expected.values())}: install the version that it was fitted with, or fit again"
            )
        for place, part in content["parts"].items():
            for name, value in part["attributes"].items():
                if name.startswith("__") or name in _settings(parts[place]):
                    raise ValueError(f"{name} is not learned")
                setattr(parts[place], name, _loaded(value, state))
        for library, version in content["versions"].items():
            if (present := _versions(estimator).get(library)) != version:
                _log.warning(
                    "%s: fitted with %s %s, here is %s: scores may differ; fit again", owner, library, version, present
                )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"{owner}: the estimator in the model is damaged ({error!r}): fit it again") from error
    except _UnstorableError as error:
        raise ModelFileError(f"{owner}: the model {error}") from error


def _parts(estimator: Any) -> dict[str, Any]:
    """Return the estimator and the estimators among its parameters, such as a pipeline's steps, by their names."""
    found = {name: value for name, value in _settings(estimator, deep=True).items() if hasattr(value, "fit")}
    return {"": estimator, **{name: value for name, value in found.items() if not isinstance(value, type)}}


def _settings(part: Any, *, deep: bool = False) -> dict[str, Any]:
    """Return the constructor's parameters."""
    settings: dict[str, Any] = part.get_params(deep=deep) if hasattr(part, "get_params") else {}
    return settings


def _versions(estimator: Any) -> dict[str, str]:
    """Return the versions of the libraries that define the estimator and its parts."""
    libraries = {type(part).__module__.partition(".")[0] for part in _parts(estimator).values()}
    found = {name: getattr(sys.modules.get(name), "__version__", None) for name in sorted(libraries)}
    return {name: str(version) for name, version in found.items() if version is not None}


def _stored(value: Any, arrays: list[npt.NDArray[Any]]) -> Any:
    """Return a value as plain JSON that refers to `arrays`, to which it adds its own."""
    count = len(arrays)
    try:
        return _plain(value, arrays)
    except _UnstorableError:
        del arrays[count:]
    arrays.append(np.frombuffer(_dumped(value), np.uint8))
    return {"skops": count}


def _plain(value: Any, arrays: list[npt.NDArray[Any]]) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is np.ndarray or isinstance(value, np.generic):
        if value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
            arrays.append(np.asarray(value))
            return {"array": len(arrays) - 1}
    elif kind in (list, tuple):
        return {kind.__name__: [_plain(item, arrays) for item in value]}
    elif kind is dict:
        return {"dict": [[_plain(key, arrays), _plain(item, arrays)] for key, item in value.items()]}
    raise _UnstorableError


def _dumped(value: Any) -> bytes:
    try:
        import skops.io
    except ImportError:
        raise _UnstorableError(
            f"({type(value).__name__}) is more than numbers, text and arrays: pip install skops, or derive the "
            "detector from asd.plugin.CheckedDetector and keep arrays"
        ) from None
    try:
        data: bytes = skops.io.dumps(value)
        foreign = set(skops.io.get_untrusted_types(data=data)) - _TRUSTED
    except Exception as error:
        raise _UnstorableError(f"({type(value).__name__}) is nothing that skops can store ({error}){_MEND}") from error
    if foreign:
        raise _UnstorableError(f"holds {', '.join(sorted(foreign))}, which must not be loaded from a file{_MEND}")
    return data


def _loaded(stored: Any, state: State) -> Any:
    if not isinstance(stored, dict):
        return stored
    ((kind, content),) = stored.items()
    if kind == "array":
        array = state[f"{KEY}.{content}"]
        return array if array.ndim else array[()]
    if kind == "skops":
        return _undumped(state[f"{KEY}.{content}"].tobytes())
    if kind == "dict":
        return {_loaded(key, state): _loaded(item, state) for key, item in content}
    return {"list": list, "tuple": tuple}[kind](_loaded(item, state) for item in content)


def _undumped(data: bytes) -> Any:
    try:
        import skops.io
    except ImportError:
        raise _UnstorableError("was stored with the help of skops: pip install skops") from None
    try:
        found = set(skops.io.get_untrusted_types(data=data))
        if not found - _TRUSTED:
            return skops.io.loads(data, trusted=sorted(found))
    except Exception as error:  # of what kind depends on what is damaged
        raise ValueError(str(error)) from error
    raise _UnstorableError(
        f"holds {', '.join(sorted(found - _TRUSTED))}, which must not be loaded from a file; ask where it is from"
    )
