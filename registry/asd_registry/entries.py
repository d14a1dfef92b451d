"""The entry points of the installed plugins, read so that one damaged distribution harms no other."""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from asd_registry.known import KNOWN_DISTRIBUTIONS
from asd_registry.rules import DISTRIBUTION
from asd_registry.text import describe, printable, shown

ENTRY_POINT_GROUP = "asd.plugins"


@dataclass(frozen=True)
class Plugin:
    """One entry point: where it comes from, what is wrong with it, and what users should know of it, if anything."""

    name: str
    distribution: str
    version: str
    error: str | None = None
    remarks: tuple[str, ...] = field(default=(), compare=False)

    @property
    def qualified_name(self) -> str:
        """``distribution:name``, which no two plugins share."""
        return f"{self.distribution}:{self.name}"

    @property
    def is_ours(self) -> bool:
        """Whether it belongs to one of the project's own distributions."""
        return self.distribution in KNOWN_DISTRIBUTIONS


Found = tuple[Plugin, importlib.metadata.EntryPoint | None]


def entry_points(group: str) -> list[importlib.metadata.EntryPoint]:
    """Return the installed entry points of any group, without those of damaged distributions."""
    found = (each for distribution in importlib.metadata.distributions() for each in _plugins_in(distribution, group))
    return [entry_point for plugin, entry_point in found if entry_point is not None and plugin.error is None]


def plugins_of(entry_points: Iterable[importlib.metadata.EntryPoint]) -> list[Found]:
    """Return the plugins that given entry points name."""
    return [
        (_plugin(each, *(_identity(each.dist) if each.dist else ("unknown", "unknown"))), each) for each in entry_points
    ]


def installed_plugins() -> list[Found]:
    """Return the installed plugins that ``ASD_PLUGINS`` lets load, by distribution and name.

    A distribution whose metadata cannot be used is a plugin with an error and no entry point. Of two distributions of
    one name the first on the path counts.
    """
    selection = os.environ.get("ASD_PLUGINS")
    wanted = None if selection is None else {name.strip() for name in selection.split(",")}
    found: dict[str, Found] = {}
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        offered = list(_plugins_in(distribution, ENTRY_POINT_GROUP))
        known = {re.sub(r"[-_.]+", "-", plugin.distribution).lower() for plugin, _ in offered}
        if not known & seen:
            for each in offered:
                found.setdefault(each[0].qualified_name, each)
        seen |= known
    chosen = [each for each in found.values() if wanted is None or wanted & {each[0].name, each[0].distribution}]
    return sorted(chosen, key=lambda each: (each[0].distribution, each[0].name))


def _plugins_in(distribution: importlib.metadata.Distribution, group: str) -> Iterator[Found]:
    try:
        text = distribution.read_text("entry_points.txt")
        if text is None or group not in text:
            return
        name, version = _identity(distribution)
        entry_points = [each for each in distribution.entry_points if each.group == group]
    except Exception as error:  # whatever damaged files lead to
        folder = Path(str(getattr(distribution, "_path", "unknown")))
        reason = f"its metadata in {folder} cannot be used ({describe(error)}): install it again, or delete the folder"
        yield Plugin(printable(folder.stem), printable(folder.name), "unknown", printable(reason)), None
    else:
        yield from ((_plugin(each, name, version), each) for each in entry_points)


def _identity(distribution: importlib.metadata.Distribution) -> tuple[str, str]:
    """Return name and version of a distribution."""
    name = distribution.metadata["Name"]
    if not DISTRIBUTION.holds(name):
        raise ValueError(f"its name must be {DISTRIBUTION.expected}, got {shown(name)}")
    return name, printable(distribution.metadata["Version"] or "unknown")


def _plugin(entry_point: importlib.metadata.EntryPoint, distribution: str, version: str) -> Plugin:
    named = importlib.metadata.EntryPoint.pattern.match(entry_point.value)
    error = None if named else f"its entry point must be like 'package.module', got {shown(entry_point.value)}"
    return Plugin(printable(entry_point.name), distribution, version, error)
