"""Errors as a Python caller needs them: what they call options of a command are arguments here."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Generator, Iterator
from typing import ParamSpec, TypeVar

from asd.detection.features import Failure
from asd.errors import AsdError

P = ParamSpec("P")
R = TypeVar("R")

_COMMANDS = r"'asd [^']*'|\(asd [^)]*\)|asd weights import [^;,:]*|pip install [^;,:]*"
"""What is to be typed at a shell stays as it is."""
_BOTH = re.compile(r"--[\w-]+ \(in Python:? ([^)]+)\)")
"""Where a text says it for both."""
_KINDS = "frontend|extractor|detector|dataset|source|sink"
_RUNTIME = {"device", "precision", "batch_size", "engine"}
_NAMES = {"data": "old_data", "scheduler": "using_engine"}
"""Arguments of another name than their options."""
_ARGUMENTS = {
    *("by", "channel", "detector", "extractor", "folds", "force", "frontend", "group", "healthy", "quality", "seed"),
    *("segment", "short", "state", "states", "strict", "tail", "trust", "false_alarms_per_hour", "on_branch_error"),
    *("workers", *_RUNTIME, *_NAMES),
}
_WORDS = "above|and|at|below|by|for|if|in|is|lets|lists|names|of|or|out|says|to|which|with"
"""What may follow an option and is no value of it."""
_VALUE = rf"(?: (?!(?:{_WORDS})\b)(\w(?:[\w.,-]*\w)?))?"
_OPTION = re.compile(rf"{_COMMANDS}|(?:--({_KINDS})\.(\w+)|--([a-z][a-z-]*[a-z])(?![\w.-])){_VALUE}")


def in_python(text: str) -> str:
    """Return a text in which options of a command are called as the arguments of a function that they are.

    ``--short pad`` becomes ``short='pad'``, ``--device cpu`` ``asd.Runtime(device='cpu')``, and ``--detector.seed 1``
    the parameter ``seed=1`` of the detector; what is to be typed at a shell stays.
    """
    return _OPTION.sub(_spelled, _BOTH.sub(r"\1", text))


def _spelled(found: re.Match[str]) -> str:
    kind, parameter, option, value = found.groups()
    if kind:
        return f"the {kind}'s parameter {parameter}" + (f"={value}" if value else "")
    name = (option or "").replace("-", "_")
    if name not in _ARGUMENTS:
        return found[0]
    given = f"{_NAMES.get(name, name)}={_literal(value) if value else ''}"
    if name not in _RUNTIME:
        return given
    return f"asd.Runtime({given})" if value else f"{given} of asd.Runtime"


def _literal(value: str) -> str:
    """Return a value as Python writes it; numbers and stand-ins in capitals are as they were."""
    if value == "none":
        return "None"
    return value if value[0].isdigit() or value.isupper() else repr(value)


def _respelled(error: AsdError) -> None:
    error.args = tuple(in_python(each) if isinstance(each, str) else each for each in error.args)


def told_in_python(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function so that its errors, and the failures that it yields, name arguments in place of options."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = function(*args, **kwargs)
        except AsdError as error:
            _respelled(error)
            raise
        return _told(result) if isinstance(result, Generator) else result  # type: ignore[return-value]

    return called


def _told(results: Iterator[R]) -> Iterator[R]:
    try:
        for result in results:
            if isinstance(result, Failure):
                _respelled(result.error)
            yield result
    except AsdError as error:
        _respelled(error)
        raise
    finally:
        if isinstance(results, Generator):
            results.close()
