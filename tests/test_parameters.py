"""Constructor parameters: what a command line or a TOML file may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from asd.contract.parameters import convert, convert_all, describe, parameters_of
from asd.errors import ConfigError, RenamedWarning
from asd_registry.renamed import former_names_allowed


class Example:
    """A component.

    Parameters
    ----------
    size : int
        How large,
        in metres.
    first, second : float
        A pair.

    Attributes
    ----------
    other : int
        Not a parameter.
    """

    def __init__(self, *, size: int = 3, first: float = 1.0, second: float | None = None, mode: str = "a") -> None:
        self.size, self.first, self.second, self.mode = size, first, second, mode


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        ("20", int, 20),
        (20, int, 20),
        (20.0, int, 20),
        ("0.5", float, 0.5),
        (1, float, 1.0),
        ("true", bool, True),
        ("No", bool, False),
        ("none", int | None, None),
        ("3", int | None, 3),
        ("8", int | str, 8),
        ("all", int | str, "all"),
        ("mix", Literal["mix"] | int, "mix"),
        ("2", Literal["mix"] | int, 2),
        ("a, b", tuple[str, ...], ("a", "b")),
        ([1, 2], tuple[int, ...], (1, 2)),
        ("64,64", tuple[int, int], (64, 64)),
        ("x", Any, "x"),
        ("a/b", Path, Path("a/b")),
        ("none", Path | None, None),
        ("a/b", str | Path, "a/b"),
        (".98", float, 0.98),
        ("+3", int, 3),
        (".5, 1.", tuple[float, ...], (0.5, 1.0)),
        ("8,all", tuple[int | str, ...], (8, "all")),
        ("YES", bool, True),
        ("0", bool, False),
        ("0.98", float | Literal["auto"] | None, 0.98),
        ("none", str | None, None),
        ("null", str | None, "null"),
        ("3,4", int | tuple[int, ...], (3, 4)),
        (np.float64(0.5), float, 0.5),
        (np.int64(3), int | None, 3),
        ("-6", Literal[-6, 0, 6], -6),
    ],
)
def test_converts(value: Any, annotation: Any, expected: Any) -> None:
    converted = convert(value, annotation)
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [("many", int), (2.5, int), (True, int), ("x", float), (1, str), ("maybe", bool), ("c", Literal["a", "b"]),
     (3, tuple[int, ...]), (None, int), ("1,2,3", tuple[int, int]), ("1,x", tuple[int, ...]), ("null", int | None)],
)  # fmt: skip
def test_refuses(value: Any, annotation: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        convert(value, annotation)


def test_describes_parameters_from_signature_and_docstring() -> None:
    found = parameters_of(Example)
    assert list(found) == ["size", "first", "second", "mode"]
    assert found["size"].description == "How large, in metres."
    assert found["first"].description == found["second"].description == "A pair."
    assert found["mode"].description == ""
    assert describe(found["second"].annotation) == "a number or none"
    assert describe(tuple[str, ...]) == "a comma-separated list of text"
    assert describe(tuple[int, ...]) == "a comma-separated list of whole numbers"
    assert describe(tuple[int, int]) == "a comma-separated list of 2 values, each a whole number"


def test_errors_name_owner_parameter_and_expectation() -> None:
    with pytest.raises(ConfigError, match=r"^detector 'x' has no parameter 'sise'; did you mean size\?$"):
        convert_all(Example, "detector 'x'", {"sise": 1})
    with pytest.raises(ConfigError, match=r"has no parameter 'qq'; known: size, first, second, mode"):
        convert_all(Example, "detector 'x'", {"qq": 1})
    with pytest.raises(ConfigError, match=r"^detector 'x': parameter 'size' takes a whole number, got 'many'$"):
        convert_all(Example, "detector 'x'", {"size": "many"})


class Modern(Example):
    renamed: ClassVar = {"length": "size", "extent": "size"}


def test_a_former_name_works_with_a_warning() -> None:
    with pytest.warns(RenamedWarning, match=r"^detector 'x': parameter 'length' is now called 'size'$"):
        assert convert_all(Modern, "detector 'x'", {"length": "4"}) == {"size": 4}
    with former_names_allowed():  # as in a model file; a warning would be an error here
        assert convert_all(Modern, "detector 'x'", {"length": "4"}) == {"size": 4}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"size": 1, "length": 2}, "'length' and 'size'"),
        ({"length": 2, "size": 1}, "'length' and 'size'"),
        ({"length": 2, "extent": 1}, "'extent' and 'length'"),
    ],
)
def test_one_parameter_by_two_names_is_refused(given: dict[str, int], names: str) -> None:
    text = f"^detector 'x': {names} are the same parameter: give 'size' only$"
    with former_names_allowed(), pytest.raises(ConfigError, match=text):
        convert_all(Modern, "detector 'x'", given)


def test_a_mistyped_former_name_is_answered_with_the_present_one() -> None:
    with pytest.raises(ConfigError, match=r"has no parameter 'lenght'; did you mean size\?"):
        convert_all(Modern, "detector 'x'", {"lenght": 1})
    with pytest.raises(ConfigError, match=r"has no parameter 'qq'; known: size, first, second, mode$"):
        convert_all(Modern, "detector 'x'", {"qq": 1})
