"""Parameters of components as plain data for JSON, and back: numbers, text, lists, and estimators among them."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np


class UnplainError(Exception):
    """A value that is no plain data; the text says what it holds."""


def to_plain(value: Any) -> Any:
    """Return a value as data for JSON.

    Raises
    ------
    UnplainError
        If it is, or holds, anything but numbers, text, lists, tuples, dictionaries and unfitted estimators.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if type(value) is list:
        return [to_plain(item) for item in value]
    if type(value) is tuple:
        return {"tuple": [to_plain(item) for item in value]}
    if type(value) is dict:
        return {"dict": [[to_plain(key), to_plain(item)] for key, item in value.items()]}
    if hasattr(value, "get_params") and hasattr(value, "fit") and not isinstance(value, type):
        cls = type(value)
        if cls.__module__ == "__main__" or getattr(sys.modules.get(cls.__module__), cls.__qualname__, None) is not cls:
            raise UnplainError(f"holds a {cls.__name__}, whose class cannot be imported: put it at the top of a module")
        try:
            given = value.get_params(deep=False)
        except TypeError:  # a component of ours, or an estimator of another library
            raise UnplainError(f"holds a {cls.__name__}, which a model file cannot keep") from None
        parameters = {name: to_plain(item) for name, item in given.items()}
        return {"estimator": f"{cls.__module__}:{cls.__qualname__}", "parameters": parameters}
    if hasattr(value, "state_dict"):
        raise UnplainError(
            f"holds a {type(value).__name__}, and a model file keeps neither code nor weights of a network; to save "
            "models, write a class that makes it, a subclass of asd.Extractor (docs/how-to/network.md)"
        )
    raise UnplainError(f"holds a {type(value).__name__}, which a model file cannot keep")


def from_plain(value: Any) -> Any:
    """Return what `to_plain` was given. Estimators are imported: the caller has the user's consent.

    Raises
    ------
    TypeError
        If what is to be imported is no class of estimators: nothing else is called.
    """
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "estimator" in value:
        module, _, name = value["estimator"].partition(":")
        cls = getattr(importlib.import_module(module), name)
        if not (isinstance(cls, type) and hasattr(cls, "get_params") and hasattr(cls, "fit")):
            raise TypeError(f"{module}:{name} is no class of estimators")
        return cls(**{key: from_plain(item) for key, item in value["parameters"].items()})
    ((kind, content),) = value.items()
    if kind == "float":
        return float(content)
    if kind == "tuple":
        return tuple(from_plain(item) for item in content)
    return {from_plain(key): from_plain(item) for key, item in content}


def imported_by(value: Any) -> Iterator[str]:
    """Yield the classes that `from_plain` imports for a value, as ``module:Class``."""
    if isinstance(value, dict):
        if isinstance(name := value.get("estimator"), str):
            yield name
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from imported_by(item)


def shown(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as they are, and objects among them, such as a network, by their class in angle brackets."""
    return {name: value if _is_simple(value) else f"<{type(value).__name__}>" for name, value in parameters.items()}


def _is_simple(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | list | tuple | dict | Path | np.generic | np.ndarray)
