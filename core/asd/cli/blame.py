"""Name the plugin in whose code an unexpected exception was raised."""

from __future__ import annotations

import traceback

from asd.contract.installed import registry
from asd_registry import Plugin
from asd_registry.text import describe, printable


def blame(error: BaseException) -> str:
    """Return a line for an unexpected exception: a plugin's error with its place, or one of asd itself."""
    text, packages = f"unexpected {describe(error)}", _packages_of_plugins()
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in packages:
            plugin, place = packages[package], f"{frame.f_code.co_filename}, line {line}"
            return printable(
                f"{text} in the plugin {plugin.distribution} {plugin.version} ({place}; report it to its author)"
            )
        if package == "asd":
            break
    return f"{text} (-v shows where; please report it)"


def _packages_of_plugins() -> dict[str, Plugin]:
    """Return plugins by the packages that their components and commands are in."""
    components = [(each.spec.target, each.plugin) for each in registry().components]
    commands = [(spec.target, plugin) for spec, plugin in registry().commands.values()]
    return {target.partition(":")[0].partition(".")[0]: plugin for target, plugin in components + commands}
