"""The modules of the benchmark and of the data sets import each other without a circle."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.mark.parametrize("package", ["asd_bench", "asd_data"])
def test_no_import_runs_in_a_circle(package: str) -> None:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    needs: dict[str, set[str]] = {}
    for path in Path(spec.origin).parent.glob("*.py"):  # imports inside functions and for types count, too
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == package:
                inside = {node.module} if "." in node.module else {f"{package}.{alias.name}" for alias in node.names}
                needs.setdefault(f"{package}.{path.stem}", set()).update(inside)
    assert len(list(TopologicalSorter(needs).static_order())) > 10
