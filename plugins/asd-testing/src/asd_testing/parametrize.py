"""The checks as test items of pytest."""

from __future__ import annotations

import atexit
from collections.abc import Iterable, Mapping
from typing import Any

from asd.plugin import Component
from asd_testing import kit
from asd_testing.errors import SkippedError
from asd_testing.kit import Check
from asd_testing.under_test import ComponentUnderTest, component_under_test

_NONE: Mapping[str, str] = {}


def parametrize_with_checks(
    components: Iterable[str | Component | type[Component]], *, expected_failures: Mapping[str, str] = _NONE
) -> Any:
    """Return a decorator that runs a test once for each component and check.

    Parameters
    ----------
    components : iterable of str, Component or type
        Registered names, classes or instances, as for `check_component`.
    expected_failures : mapping of str to str
        Names of checks that are known to fail, each with the reason; they become strict xfails.

    Raises
    ------
    PluginError, ConfigError
        As for `check_component`, when the tests are collected; also if there is nothing to check.

    Examples
    --------
    The whole conformance test of a plugin::

        from asd.testing import parametrize_with_checks

        @parametrize_with_checks(["my-detector"])
        def test_conformance(check):
            check()
    """
    import pytest

    items = [
        pytest.param(_Item(tested, each), id=f"{tested.name}-{each.name}", marks=_marks(each, expected_failures))
        for tested in _tested(components, expected_failures)
        for each in kit.checks(tested.kind)
    ]
    return pytest.mark.parametrize("check", items)


def _tested(components: Any, expected_failures: Mapping[str, str]) -> list[ComponentUnderTest]:
    from asd.errors import ConfigError

    found = [component_under_test(component) for component in components]
    if not found:
        raise ConfigError("parametrize_with_checks: no component was given; zero checks show nothing")
    for tested in found:
        kit.refuse_unknown(expected_failures, kit.checks(tested.kind))
    return found


def _marks(each: Check, expected_failures: Mapping[str, str]) -> list[Any]:
    import pytest

    if each.name not in expected_failures:
        return []
    return [pytest.mark.xfail(reason=expected_failures[each.name], strict=True)]


class _Item:
    """One check of one component; checks of several components may run in any order."""

    _last: ComponentUnderTest | None = None

    def __init__(self, tested: ComponentUnderTest, each: Check) -> None:
        self._tested = tested
        self._check = each

    def __call__(self) -> None:
        """Run the check; skips the test if it cannot be made here."""
        import pytest

        if _Item._last is not self._tested:
            if _Item._last is not None:
                _Item._last.release()
            atexit.register(self._tested.close)  # nothing says which check is the last
        _Item._last = self._tested
        try:
            kit.run(self._check, self._tested)
        except SkippedError as skipped:
            pytest.skip(str(skipped))

    def __repr__(self) -> str:
        return f"{self._tested.name}: {self._check.promise}"
