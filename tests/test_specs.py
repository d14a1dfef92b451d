"""What plugins declare is checked when it is declared: type, form, and whether it says anything of its kind."""

from __future__ import annotations

import re
from typing import Any

import pytest

from asd_registry import CommandSpec, ComponentSpec, WeightFile

WEIGHT = WeightFile(name="w.pth", licence="MIT", sha256="0" * 64)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"kind": [1]}, "kind must be one of frontend, extractor, detector, dataset, source, sink, engine, got [1]"),
        ({"name": 3}, "component 3: name must be lower-case letters, digits, '.', '_' or '-', got 3"),
        ({"name": "x" * 200}, "name must be lower-case"),
        ({"summary": None}, "summary must be one line of text, got None"),
        ({"summary": "\x1b[31mred"}, "summary must be one line of text, got '\\x1b[31mred'"),
        ({"summary": "long " * 1000}, "summary must be one line of text, got 'long long"),
        ({"target": 1}, "target must be like 'package.module:Class', got 1"),
        ({"preset": [1]}, "component 'x': preset must be a mapping of parameter names to values, got [1]"),
        ({"preset": {1: 2}}, "preset must be a mapping of parameter names to values, got {1: 2}"),
        ({"requires": "numpy"}, "requires must be a tuple of requirements such as 'torch>=2.6', got 'numpy'"),
        ({"requires": (1,)}, "requires must be a tuple of requirements"),
        ({"weights": "x"}, "weights must be a tuple of WeightFile objects, got 'x'"),
        ({"weights": ("x",)}, "weights must be a tuple of WeightFile objects, got ('x',)"),
        ({"aliases": "old"}, "aliases must be a tuple of names"),
        ({"api_version": "1"}, "api_version must be a whole number above 0, got '1'"),
        ({"alternative": 1}, "alternative must be one line of text, or None, got 1"),
        ({"frontend": "a b"}, "frontend must be a component's name, or None, got 'a b'"),
        (
            {"kind": "frontend", "sample_rate": 16e3},
            "sample_rate must be a whole number above 0, or None, got 16000.0",
        ),
        ({"kind": "frontend", "sample_rate": True}, "sample_rate must be a whole number above 0, or None, got True"),
        (
            {"kind": "extractor", "shape": 64},
            "shape must be a tuple of whole numbers above 0 (None: any length), or None, got 64",
        ),
        ({"kind": "extractor", "dimension": 0}, "dimension must be a whole number above 0, or None, got 0"),
        ({"kind": "detector", "dimension": 4}, "component 'x': detector specs take no dimension: leave it out"),
        ({"kind": "detector", "sample_rate": 8000}, "detector specs take no sample_rate: leave it out"),
        ({"kind": "frontend", "extractor": "y"}, "frontend specs take no extractor: leave it out"),
        ({"kind": "frontend", "frontend": "y"}, "frontend specs take no frontend: leave it out"),
        ({"kind": "frontend", "weights": (WEIGHT,)}, "frontend specs take no weights: leave it out"),
        ({"kind": "extractor", "extractor": "y"}, "extractor specs take no extractor: leave it out"),
        ({"kind": "dataset", "shape": (1,)}, "dataset specs take no shape: leave it out"),
        ({"name": "Has Space"}, "name must be lower-case"),
        ({"summary": "two\nlines"}, "summary must be one line"),
        ({"target": "just.a.module"}, "target must be like 'package.module:Class'"),
        ({"licence": " "}, "licence must be one line of text"),
    ],
)
def test_specs_check_themselves(change: dict[str, Any], text: str) -> None:
    fields = {"kind": "detector", "name": "x", "summary": "s", "target": "a.b:C", "licence": "MIT", **change}
    with pytest.raises(ValueError, match=re.escape(text)):
        ComponentSpec(**fields)


def test_lists_do_for_tuples() -> None:
    spec = ComponentSpec(
        kind="extractor", name="x", summary="s", target="a.b:C", licence="MIT", requires=["numpy"], shape=[64, None],
        weights=[WEIGHT], aliases=["y"],
    )  # type: ignore[arg-type]  # what authors without a type checker write  # fmt: skip
    assert (spec.requires, spec.shape, spec.weights, spec.aliases) == (("numpy",), (64, None), (WEIGHT,), ("y",))


def test_command_and_weight_specs_check_themselves() -> None:
    with pytest.raises(ValueError, match="target must be like"):
        CommandSpec(name="serve", summary="s", target="nowhere")
    with pytest.raises(ValueError, match="sha256 must be 8 to 64 hexadecimal digits, got 'abc'"):
        WeightFile(name="w.pth", licence="MIT", sha256="abc")
    for name in ("../w.pth", "a/w.pth", "..", "", "a\nb"):
        with pytest.raises(ValueError, match=f"weight file {re.escape(repr(name))}: name must be a file name"):
            WeightFile(name=name, licence="MIT", sha256="0" * 64)
