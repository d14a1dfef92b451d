"""Constructor parameters of components: listed from the signature, converted from text or TOML by annotation."""

from __future__ import annotations

import functools
import inspect
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import msgspec
import numpy as np

from asd.errors import ConfigError
from asd_registry import did_you_mean
from asd_registry.renamed import warn_renamed

T = TypeVar("T")

REQUIRED = inspect.Parameter.empty

_SEVERAL = {int: "whole numbers", float: "numbers"}


@dataclass(frozen=True)
class Parameter:
    """A constructor parameter: its name, annotation, default (`REQUIRED` if none) and description."""

    name: str
    annotation: Any
    default: Any
    description: str = ""


def parameters_of(cls: type) -> dict[str, Parameter]:
    """Return the constructor parameters of `cls` by name, in order, described by its numpydoc docstring."""
    return dict(_parameters_of(cls))


@functools.lru_cache(maxsize=1024)
def _parameters_of(cls: type) -> dict[str, Parameter]:
    constructor: Any = cls.__init__  # type: ignore[misc]  # it is this very class's constructor that matters
    hints = typing.get_type_hints(constructor)
    described = _descriptions(inspect.getdoc(cls) or "")
    return {
        p.name: Parameter(p.name, hints.get(p.name, Any), p.default, described.get(p.name, ""))
        for p in list(inspect.signature(constructor).parameters.values())[1:]
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }


def convert_all(cls: type, owner: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given` with each value converted to the annotation of the constructor parameter it names.

    Former names (`asd.plugin.Component.renamed`) are accepted with a warning.

    Raises
    ------
    ConfigError
        If `cls` has no such parameter, one is given by two names, or a value does not fit; the text names `owner`.
    """
    known = parameters_of(cls)
    converted = {}
    for name, value in present_names(cls, owner, given).items():
        if name not in known:
            names = {**_renamed(cls), **{present: present for present in known}}
            raise ConfigError(f"{owner} has no parameter {name!r}; {did_you_mean(name, names, shown_as=names)}")
        annotation = known[name].annotation
        try:
            converted[name] = convert(value, annotation)
        except (TypeError, ValueError):
            raise ConfigError(f"{owner}: parameter {name!r} takes {describe(annotation)}, got {value!r}") from None
    return converted


def present_names(cls: type, owner: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given` with former parameter names of `cls` replaced by the present ones; `owner` is named in texts.

    Raises
    ------
    ConfigError
        If one parameter is given by two names.
    """
    given_as: dict[str, str] = {}
    for name in given:
        present = _renamed(cls).get(name, name)
        if present in given_as:
            names = " and ".join(sorted((repr(name), repr(given_as[present]))))
            raise ConfigError(f"{owner}: {names} are the same parameter: give {present!r} only")
        given_as[present] = name
    for present, name in given_as.items():
        if name != present:
            warn_renamed(f"{owner}: parameter", name, present)
    return {present: given[name] for present, name in given_as.items()}


def accepts_former_names(cls: type[T]) -> type[T]:
    """Let the fields of a record be given and read by the former names in ``cls.renamed``, with a warning."""
    construct: Any = cls.__init__

    @functools.wraps(construct)
    def __init__(self: T, *args: Any, **given: Any) -> None:  # noqa: N807  # it becomes the class's own
        construct(self, *args, **present_names(cls, cls.__name__, given))

    cls.__init__ = __init__  # type: ignore[assignment]
    for former, present in _renamed(cls).items():
        setattr(cls, former, property(functools.partial(_read_by_former_name, former, present)))
    return cls


def _read_by_former_name(former: str, present: str, record: Any) -> Any:
    warn_renamed(f"{type(record).__name__}: attribute", former, present)
    return getattr(record, present)


def _renamed(cls: type) -> Mapping[str, str]:
    renamed: Mapping[str, str] = getattr(cls, "renamed", {})
    return renamed


def convert(value: Any, annotation: Any) -> Any:
    """Convert `value` (text from a command line, or a TOML value) to `annotation`.

    Raises
    ------
    TypeError, ValueError
        If the value does not fit.
    """
    if isinstance(value, np.generic):
        value = value.item()
    union = typing.get_origin(annotation) in (Union, types.UnionType)
    choices = typing.get_args(annotation) if union else (annotation,)
    if value in (None, "none") and types.NoneType in choices:
        return None
    # Text is the last resort: "8" for `int | str` is the number.
    for choice in sorted((c for c in choices if c is not types.NoneType), key=lambda choice: choice in (str, Path)):
        try:
            return msgspec.convert(_read(value, choice) if isinstance(value, str) else value, choice, strict=False)
        except (TypeError, ValueError):
            continue
    raise ValueError(value)


def _read(text: str, annotation: Any) -> Any:
    """Return what people mean by `text` where msgspec, which reads JSON's spelling, does not know it."""
    if annotation is bool:
        return {"yes": True, "no": False}.get(text.lower(), text)
    if annotation in (int, float, Path):
        return annotation(text)
    if typing.get_origin(annotation) in (tuple, list):
        return [convert(item.strip(), typing.get_args(annotation)[0]) for item in text.split(",")]
    return text


def describe(annotation: Any) -> str:
    """Return how a user would say what `annotation` takes."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(a) for a in arguments)
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in (tuple, list):
        if Ellipsis in arguments or origin is list:
            return f"a comma-separated list of {_SEVERAL.get(arguments[0]) or describe(arguments[0])}"
        return f"a comma-separated list of {len(arguments)} values, each {describe(arguments[0])}"
    names: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    names |= {Path: "a path", types.NoneType: "none"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


_SPOKEN = {"None": "none", "True": "true", "False": "false"}


def spoken(text: str) -> str:
    """Return a parameter's description or default in the words that a user types: no code, ``none`` for ``None``."""
    plain = re.sub(r"`+", "", text)
    return re.sub(r"\b(None|True|False)\b", lambda found: _SPOKEN[found[0]], plain)


def _descriptions(docstring: str) -> dict[str, str]:
    """Read ``name : type`` entries with their indented text from a numpydoc ``Parameters`` section."""
    _, _, section = docstring.partition("Parameters\n----------\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if line.startswith("---") or (line and not line.startswith(" ") and ":" not in line):
            break
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.partition(":")[0].split(",")]
            found.update(dict.fromkeys(names, ""))
        elif line.strip():
            found.update({name: f"{found[name]} {line.strip()}".strip() for name in names})
    return found
