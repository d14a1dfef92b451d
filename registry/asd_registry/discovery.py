"""Find the installed plugins, each behind its own guard, and look their components up by name."""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.metadata
import os
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pluggy

from asd_registry import hookspecs
from asd_registry.errors import PluginError
from asd_registry.files import import_file, remedy, version_of
from asd_registry.known import distribution_of
from asd_registry.renamed import warn_renamed
from asd_registry.specs import API_VERSION, KINDS, CommandSpec, ComponentSpec, Kind
from asd_registry.watch import Watch

ENTRY_POINT_GROUP = "asd.plugins"


@dataclass(frozen=True)
class Plugin:
    """One entry point: where it comes from, what is wrong with it, and what users should know of it, if anything."""

    name: str
    distribution: str
    version: str
    error: str | None = None
    remarks: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Component:
    """A component spec together with the plugin that offers it."""

    spec: ComponentSpec
    plugin: Plugin

    @property
    def qualified_name(self) -> str:
        """``distribution:name``, which is never ambiguous."""
        return f"{self.plugin.distribution}:{self.spec.name}"

    def answers_to(self, name: str) -> bool:
        """Return whether ``name`` or ``distribution:name`` is one of its names, present or former."""
        distribution, _, short = name.rpartition(":")
        return short in self.spec.names and distribution in ("", self.plugin.distribution)

    @property
    def problem(self) -> str | None:
        """What keeps the component from working here (a newer contract, a missing requirement), or None."""
        if self.spec.api_version > API_VERSION:
            return f"needs plugin contract {self.spec.api_version}, this asd-framework has {API_VERSION}: upgrade it"
        missing = [requirement for requirement in self.spec.requires if not _is_installed(requirement)]
        return f"missing requirement: pip install {' '.join(map(repr, missing))}" if missing else None


@dataclass
class Registry:
    """The installed plugins, their components and their commands.

    Parameters
    ----------
    entry_points : sequence of importlib.metadata.EntryPoint, optional
        Where to look; default: the installed entry points of group ``asd.plugins``, limited to those that the
        environment variable ``ASD_PLUGINS`` names (comma-separated entry points or distributions; empty: none).
    """

    entry_points: Sequence[importlib.metadata.EntryPoint] | None = None
    plugins: list[Plugin] = field(default_factory=list, init=False)
    components: list[Component] = field(default_factory=list, init=False)
    commands: dict[str, tuple[CommandSpec, Plugin]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._manager = pluggy.PluginManager("asd")
        self._manager.add_hookspecs(hookspecs)
        entry_points = _selected_entry_points() if self.entry_points is None else self.entry_points
        for entry_point in sorted(entry_points, key=lambda e: (_distribution(e)[0], e.name)):
            plugin = Plugin(entry_point.name, *_distribution(entry_point))
            try:
                self._add(plugin, entry_point.load)
            except (Exception, SystemExit) as error:
                self.plugins.append(replace(plugin, error=_describe(error)))

    def add_file(self, path: str | Path) -> Plugin:
        """Load a plugin that is one Python file; its components are then found like any others.

        Parameters
        ----------
        path : str or Path
            The file, with the hooks of a plugin module. Its name stands for the distribution:
            ``my_detector.py:loudness``.

        Raises
        ------
        PluginError
            If the file is not there, cannot be imported, or offers nothing.
        """
        file = Path(path).resolve()
        plugin = Plugin(file.stem, file.name, version_of(file))
        if plugin in self.plugins:
            return plugin
        offered = len(self.components) + len(self.commands)
        try:
            self._add(plugin, functools.partial(import_file, file))
        except PluginError:
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(f"{path}: this plugin file does not load: {_describe(error)}") from error
        if len(self.components) + len(self.commands) == offered:
            raise PluginError(f"{path}: offers nothing: give it a function asd_components marked with @hookimpl")
        return plugin

    def _add(self, plugin: Plugin, load: Callable[[], types.ModuleType]) -> None:
        with Watch() as watch:
            module = load()
            components, commands = _collect(self._manager, module, f"{plugin.distribution}:{plugin.name}")
        taken = [
            f"its command {command.name!r} is left out: {self.commands[command.name][1].distribution} has one"
            for command in commands
            if command.name in self.commands
        ]
        plugin = replace(plugin, remarks=(*watch.remarks, *taken))
        self.plugins.append(plugin)
        self.components += [Component(spec, plugin) for spec in components]
        for command in commands:
            self.commands.setdefault(command.name, (command, plugin))

    def namesakes(self, component: Component) -> list[Component]:
        """Return the other components of the same kind that have one of its names, former ones included."""
        return [
            other
            for other in self.components
            if other != component
            and other.spec.kind == component.spec.kind
            and not set(other.spec.names).isdisjoint(component.spec.names)
        ]

    def of_kind(self, kind: Kind | None = None) -> list[Component]:
        """Return the components of one kind (all kinds: None), ordered by kind and name."""
        chosen = [component for component in self.components if kind in (None, component.spec.kind)]
        return sorted(chosen, key=lambda c: (KINDS.index(c.spec.kind), c.spec.name, c.plugin.distribution))

    def find(self, kind: Kind | None, name: str) -> Component:
        """Return the component called `name` (``name`` or ``distribution:name``), now or formerly.

        A former name (`ComponentSpec.aliases`) is warned of.

        Raises
        ------
        PluginError
            If no such component is installed (with close matches and, if known, the pip command), or if several
            distributions offer it under the short name.
        """
        distribution, _, short = name.rpartition(":")
        found = [component for component in self.of_kind(kind) if component.answers_to(name)]
        if len(found) == 1:
            spec = found[0].spec
            if short != spec.name:
                warn_renamed(spec.kind, short, spec.name)
            return found[0]
        if not found:
            raise PluginError(self._unknown(kind, name, distribution or distribution_of(short)))
        choices = " or ".join(c.qualified_name if kind else f"{c.qualified_name} ({c.spec.kind})" for c in found)
        raise PluginError(f"{kind or 'component'} {name!r} is offered more than once: write {choices}")

    def _unknown(self, kind: Kind | None, name: str, distribution: str | None) -> str:
        what = kind or "component"
        installed = {plugin.distribution: plugin for plugin in self.plugins}
        if distribution in installed and (broken := installed[distribution].error):
            return f"{what} {name!r} is not available: plugin {distribution} is broken: {broken}"
        if distribution and distribution not in installed:
            return f"{what} {name!r} is not installed: {remedy(distribution)}"
        names = {name: component.spec.name for component in self.of_kind(kind) for name in component.spec.names}
        close = dict.fromkeys(names[match] for match in difflib.get_close_matches(name.rpartition(":")[2], names, n=3))
        known = ", ".join(dict.fromkeys(names.values())) or "none"
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {known}"
        return f"unknown {what} {name!r}; {hint} ('asd plugins' lists all)"


def load_target(component: Component) -> Any:
    """Import and return the class or command that a component's spec names.

    Raises
    ------
    PluginError
        If a requirement is missing, or the module or the attribute cannot be imported.
    """
    if component.problem:
        spec = component.spec
        other = f"; or use {spec.alternative}, which does the same without" if spec.alternative else ""
        raise PluginError(f"{spec.kind} {spec.name!r} cannot run: {component.problem}{other}")
    return import_target(component.spec.target, component.qualified_name)


def import_target(target: str, owner: str) -> Any:
    """Import ``"package.module:attribute"``; `owner` is named in errors."""
    module_name, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except Exception as error:
        raise PluginError(f"{owner}: cannot import its target {target!r}: {_describe(error)}") from error


def _collect(
    manager: pluggy.PluginManager, module: types.ModuleType, name: str
) -> tuple[list[ComponentSpec], list[CommandSpec]]:
    manager.register(module, name)
    try:
        manager.check_pending()
        components = list(_call(manager.hook.asd_components, module, ComponentSpec))
        commands = list(_call(manager.hook.asd_commands, module, CommandSpec))
        _check_unique([(spec.kind, name) for spec in components for name in spec.names])
    except BaseException:
        manager.unregister(module)
        raise
    return components, commands


def _check_unique(names: list[tuple[Kind, str]]) -> None:
    if twice := [f"{kind} {name!r}" for kind, name in dict.fromkeys(names) if names.count((kind, name)) > 1]:
        raise ValueError(f"hook asd_components offers {', '.join(twice)} more than once, by name or alias")


def _call(hook: pluggy.HookCaller, module: types.ModuleType, kind: type[Any]) -> Iterator[Any]:
    """Call one plugin's implementation alone, so that its failure is its own."""
    for implementation in hook.get_hookimpls():
        if implementation.plugin is not module:
            continue
        result = implementation.function()
        if not isinstance(result, Iterable):
            raise TypeError(f"hook {hook.name} must return {kind.__name__} objects, got {result!r}")
        for item in result:
            if not isinstance(item, kind):
                raise TypeError(f"hook {hook.name} must return {kind.__name__} objects, got {item!r}")
            yield item


def _selected_entry_points() -> list[importlib.metadata.EntryPoint]:
    found = list(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP))
    selection = os.environ.get("ASD_PLUGINS")
    if selection is None:
        return found
    wanted = {name.strip() for name in selection.split(",")}
    return [entry_point for entry_point in found if wanted & {entry_point.name, _distribution(entry_point)[0]}]


def _distribution(entry_point: importlib.metadata.EntryPoint) -> tuple[str, str]:
    if entry_point.dist is None:
        return "unknown", "unknown"
    return entry_point.dist.name, entry_point.dist.version


@functools.cache
def _is_installed(requirement: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        parsed = Requirement(requirement)
        if parsed.marker is not None and not parsed.marker.evaluate():
            return True
        return parsed.specifier.contains(importlib.metadata.version(parsed.name), prereleases=True)
    except (InvalidRequirement, importlib.metadata.PackageNotFoundError):
        return False


def _describe(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
