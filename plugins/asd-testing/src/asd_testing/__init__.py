"""The conformance kit: checks that a component does what the framework promises its users.

Three surfaces, one list of checks:

- `check_component` in a script or a notebook;
- `parametrize_with_checks` in a test of pytest, one item for each component and check;
- ``asd check NAME`` on the command line.

>>> from asd.testing import check_component
>>> check_component("gmm").raise_for_failures()  # doctest: +SKIP

A component can provide small parameters for a quick check by ``example_parameters`` (see `asd.plugin.Component`). An
extractor whose parameter ``weights`` accepts ``"random"`` is checked with random weights if its own are missing. A
dataset can provide a method ``write_example(folder)`` that writes a tiny tree of its layout, of empty files. A source
or a sink can provide a class method ``unreachable_parameters(folder)``: parameters that lead nowhere; a sink a method
``delivered()``, which returns the ids of the events that have arrived at its example, in order.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asd_testing.conformance import check_component
    from asd_testing.kit import Check, checks
    from asd_testing.parametrize import parametrize_with_checks
    from asd_testing.report import Report, Result

_HOMES = {
    "Check": "asd_testing.kit",
    "Report": "asd_testing.report",
    "Result": "asd_testing.report",
    "check_component": "asd_testing.conformance",
    "checks": "asd_testing.kit",
    "parametrize_with_checks": "asd_testing.parametrize",
}

__all__ = ["Check", "Report", "Result", "check_component", "checks", "parametrize_with_checks"]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: pytest loads this package at every start, for its plugin alone."""
    if name not in _HOMES:
        raise AttributeError(f"module 'asd_testing' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
