"""The installed plugins, discovered once per process. Light: listing them must not wait for NumPy."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from asd_registry import Plugin, Registry


def registry() -> Registry:
    """Return the registry of the installed plugins, as far as ``ASD_PLUGINS`` lets them load."""
    return _registry(os.environ.get("ASD_PLUGINS"))


@cache
def _registry(selection: str | None) -> Registry:
    return Registry()


def use_plugin_file(path: str | Path) -> Plugin:
    """Load a plugin that is one Python file, as ``--plugin-file`` does; errors as for `Registry.add_file`."""
    return registry().add_file(path)
