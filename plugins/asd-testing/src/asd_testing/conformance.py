"""Check one component."""

from __future__ import annotations

from collections.abc import Mapping

from asd.plugin import Component
from asd_registry import Kind
from asd_testing import kit
from asd_testing.report import Report
from asd_testing.under_test import component_under_test

_NONE: Mapping[str, str] = {}


def check_component(
    component: str | Component | type[Component],
    *,
    kind: Kind | None = None,
    expected_failures: Mapping[str, str] = _NONE,
) -> Report:
    """Check whether a component keeps the framework's promises.

    Parameters
    ----------
    component : str, Component or type
        A registered name (``name`` or ``distribution:name``), or a class or an instance that need not be registered;
        checks of what a plugin says are then skipped. An instance is checked with its parameters.
    kind : {"frontend", "extractor", "detector", "dataset", "source", "sink", "engine"} or None
        Needed if several kinds have a component of this name.
    expected_failures : mapping of str to str
        Names of checks that are known to fail, each with the reason. One that passes is a failure.

    Returns
    -------
    Report
        The outcome of every check; ``report.ok`` says whether all is well.

    Raises
    ------
    PluginError
        If the name is unknown or ambiguous.
    ConfigError
        If what was given is no component, or an expected failure names no check or gives no reason.
    """
    tested = component_under_test(component, kind)
    try:
        return kit.report(tested, expected_failures)
    finally:
        tested.close()
