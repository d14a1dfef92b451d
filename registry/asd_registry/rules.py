"""What the fields of specs must be: a plugin that gets one wrong reads which, when it is listed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from asd_registry.text import is_line, shown

_NAME = r"[a-z0-9][a-z0-9_.-]{0,99}"
_DISTRIBUTION = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"


class Rule(NamedTuple):
    """What a value must be: a test, and the words for it."""

    holds: Callable[[Any], bool]
    expected: str


Rules = Mapping[str, Rule]


def check(spec: object, what: str, rules: Rules) -> None:
    """Raise a ValueError if a field of `spec` is not what its rule asks for."""
    for name, rule in rules.items():
        value = getattr(spec, name)
        if not rule.holds(value):
            owner = f"{what} {shown(getattr(spec, 'name', None))}"
            raise ValueError(f"{owner}: {name} must be {rule.expected}, got {shown(value)}")


def optional(rule: Rule) -> Rule:
    """Return the rule that also allows None."""
    return Rule(lambda value: value is None or rule.holds(value), f"{rule.expected}, or None")


def tuple_of(rule: Rule, items: str) -> Rule:
    """Return the rule of a tuple whose items all follow `rule`."""
    return Rule(lambda value: isinstance(value, tuple) and all(map(rule.holds, value)), f"a tuple of {items}")


def one_of(choices: tuple[str, ...]) -> Rule:
    """Return the rule of a choice."""
    return Rule(lambda value: isinstance(value, str) and value in choices, f"one of {', '.join(choices)}")


def instance_of(kind: type) -> Rule:
    """Return the rule of an object of exactly this class."""
    return Rule(lambda value: type(value) is kind, f"a {kind.__name__}")


def _matching(pattern: str, expected: str) -> Rule:
    compiled = re.compile(pattern)
    return Rule(lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None, expected)


def _is_mapping_of_parameters(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) and key.isidentifier() for key in value)


NAME = _matching(_NAME, "lower-case letters, digits, '.', '_' or '-'")
REFERENCE = _matching(rf"(?:{_DISTRIBUTION}:)?{_NAME}", "a component's name")
DISTRIBUTION = _matching(_DISTRIBUTION, "letters, digits, '.', '_' or '-'")
"""Name of a distribution (PEP 503)."""
TARGET = _matching(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", "like 'package.module:Class'")
DIGEST = _matching(r"[0-9a-f]{8,64}", "8 to 64 hexadecimal digits")
FILE_NAME = Rule(lambda v: is_line(v) and not set("/\\") & set(v) and v not in (".", ".."), "a file name")
LINE = Rule(is_line, "one line of text")
COUNT = Rule(lambda value: type(value) is int and value > 0, "a whole number above 0")
PARAMETER = Rule(lambda value: isinstance(value, str) and value.isidentifier(), "a parameter's name")
PARAMETERS = Rule(_is_mapping_of_parameters, "a mapping of parameter names to values")
RESTRICTED = Rule(
    lambda v: _is_mapping_of_parameters(v) and all(isinstance(values, tuple | None) for values in v.values()),
    "a mapping of parameters' names to tuples of values, or None",
)
