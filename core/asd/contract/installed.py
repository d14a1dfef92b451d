"""The installed plugins, discovered once per process. Light: listing them must not wait for NumPy."""

from __future__ import annotations

import importlib.metadata
import os
from functools import cache
from pathlib import Path

from asd_registry import Component, ComponentSpec, Plugin, Registry

FRAMEWORK = "asd-framework"


def registry() -> Registry:
    """Return the registry of the installed plugins, as far as ``ASD_PLUGINS`` lets them load."""
    return _registry(os.environ.get("ASD_PLUGINS"))


@cache
def _registry(selection: str | None) -> Registry:
    found = Registry()
    found.components.append(_local_engine())
    return found


def _local_engine() -> Component:
    """Return the component that the framework brings itself."""
    spec = ComponentSpec(
        kind="engine",
        name="local",
        summary="Processes of this computer, one for each core (--scheduler local:N says how many)",
        target="asd.detection.local_engine:LocalEngine",
        licence="Apache-2.0",
    )
    return Component(spec, Plugin("local", FRAMEWORK, importlib.metadata.version(FRAMEWORK)))


def use_plugin_file(path: str | Path) -> Plugin:
    """Load a plugin that is one Python file, as ``--plugin-file`` does; errors as for `Registry.add_file`."""
    return registry().add_file(path)
