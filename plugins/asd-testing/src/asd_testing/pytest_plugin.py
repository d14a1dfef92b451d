"""Shield a plugin's tests from the other plugins that happen to be installed.

In a test suite's settings, for all of its tests::

    [tool.pytest.ini_options]
    asd_plugins = ["asd-my-plugin", "asd-frontends"]

or for one test, class or module, which goes before the settings::

    @pytest.mark.asd_plugins("asd-my-plugin")
    def test_alone(): ...

Inside, the registry knows only the distributions or entry points that are named, and so do the processes that a test
starts: the environment variable ``ASD_PLUGINS`` is set. Without the option and the marker nothing happens.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable

import pytest

_VARIABLE = "ASD_PLUGINS"
_before: list[str | None] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option ``asd_plugins``."""
    parser.addini("asd_plugins", "Plugins of asd that the tests see; all, if not given.", type="args", default=None)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and limit the plugins before test modules are imported."""
    config.addinivalue_line("markers", "asd_plugins(*names): let the test see only these plugins of asd")
    plugins = config.getini("asd_plugins")
    if plugins is not None:
        _before.append(os.environ.get(_VARIABLE))
        _limit(_joined(plugins))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Undo what `pytest_configure` did."""
    if _before:
        _limit(_before.pop())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Limit the plugins while a marked test and its fixtures run."""
    marker = item.get_closest_marker("asd_plugins")
    if marker is None:
        return (yield)
    before = os.environ.get(_VARIABLE)
    _limit(_joined(marker.args))
    try:
        return (yield)
    finally:
        _limit(before)


def _joined(names: Iterable[object]) -> str:
    return ",".join(map(str, names))


def _limit(plugins: str | None) -> None:
    """Let the registry find these plugins from now on; None: all."""
    if plugins is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = plugins
