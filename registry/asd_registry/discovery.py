"""Find the installed plugins, each behind its own guard, and look their components up by name."""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import importlib.metadata
import os
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pluggy

from asd_registry import hookspecs
from asd_registry.errors import PluginError
from asd_registry.files import make_importable, remedy, version_of
from asd_registry.known import distribution_of
from asd_registry.renamed import warn_renamed
from asd_registry.specs import API_VERSION, KINDS, CommandSpec, ComponentSpec, Kind
from asd_registry.watch import Watch

S = TypeVar("S")

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

    pluggy calls the hooks, plugin by plugin, so that one that fails is an entry of `plugins` with its error and the
    others go on. ``tryfirst`` and ``trylast`` decide which plugin's command is taken if two have one of the same name.
    What each plugin offers passes through the hook wrappers of all plugins that were loaded by then.

    Parameters
    ----------
    entry_points : sequence of importlib.metadata.EntryPoint, optional
        Where to look; default: the installed entry points of group ``asd.plugins``, limited to those that the
        environment variable ``ASD_PLUGINS`` names (comma-separated entry points or distributions; empty: none).
    """

    entry_points: Sequence[importlib.metadata.EntryPoint] | None = None
    components: list[Component] = field(default_factory=list, init=False)
    commands: dict[str, tuple[CommandSpec, Plugin]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._manager = pluggy.PluginManager("asd")
        self._manager.add_hookspecs(hookspecs)
        self._failures: dict[str, BaseException] = {}
        entry_points = _selected_entry_points() if self.entry_points is None else self.entry_points
        found = [(Plugin(each.name, *_distribution(each)), each) for each in entry_points]
        found.sort(key=lambda pair: (pair[0].distribution, pair[0].name))
        self._plugins = {plugin.qualified_name: plugin for plugin, _ in found}
        for plugin, entry_point in reversed(found):  # pluggy calls first what was registered last
            self._load(plugin.qualified_name, entry_point.load)
        self._collect(self._plugins)

    @property
    def plugins(self) -> list[Plugin]:
        """All plugins, broken ones included, ordered by distribution and name; plugin files come last."""
        return list(self._plugins.values())

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
        make_importable(file)
        name = plugin.qualified_name
        self._plugins[name] = plugin
        self._load(name, functools.partial(importlib.import_module, file.stem))
        offered = self._collect([name])
        if error := self._plugins[name].error:
            del self._plugins[name]
            raise PluginError(f"{path}: this plugin file does not load: {error}") from self._failures[name]
        if not offered:
            raise PluginError(f"{path}: offers nothing: give it a function asd_components marked with @hookimpl")
        return self._plugins[name]

    def _load(self, name: str, load: Callable[[], types.ModuleType]) -> None:
        """Import a plugin and register it with pluggy, which checks its hooks against their specifications."""
        try:
            with self._watched(name):
                self._manager.register(load(), name)
            self._manager.check_pending()
        except (Exception, SystemExit) as error:
            self._fail(name, error)

    def _collect(self, names: Collection[str]) -> int:
        """Add what the plugins called `names` offer; return how many components and commands that are."""
        components = list(self._offers(self._manager.hook.asd_components, ComponentSpec, names))
        commands = list(self._offers(self._manager.hook.asd_commands, CommandSpec, names))
        for name, command in commands:
            plugin = self._plugins[name]
            if not plugin.error and (holder := self.commands.setdefault(command.name, (command, plugin))[1]) != plugin:
                self._remark(name, [f"its command {command.name!r} is left out: {holder.distribution} has one"])
        found = ((spec, self._plugins[name]) for name, spec in components)
        self.components += [Component(spec, plugin) for spec, plugin in found if not plugin.error]
        return len(components) + len(commands)

    def _offers(self, hook: pluggy.HookCaller, kind: type[S], names: Collection[str]) -> Iterator[tuple[str, S]]:
        """Yield (plugin, spec) for each spec that the plugins return, in the order in which pluggy calls them."""
        for implementation in reversed(hook.get_hookimpls()):
            name = implementation.plugin_name
            if name not in names or _is_wrapper(implementation):
                continue
            try:
                with self._watched(name):
                    specs = self._ask(hook, implementation, kind)
            except (Exception, SystemExit) as error:
                self._fail(name, error, _place(hook, implementation))
            else:
                yield from ((name, spec) for spec in specs)

    def _ask(self, hook: pluggy.HookCaller, implementation: pluggy.HookImpl, kind: type[S]) -> list[S]:
        """Return one plugin's specs, passed through the wrappers; a wrapper that fails is that plugin's failure."""
        plugins = [implementation.plugin]
        specs = self._call(hook, plugins, kind)
        for wrapper in filter(_is_wrapper, hook.get_hookimpls()):
            try:
                specs = self._call(hook, [*plugins, wrapper.plugin], kind)
            except (Exception, SystemExit) as error:
                self._fail(wrapper.plugin_name, error, _place(hook, wrapper))
            else:
                plugins.append(wrapper.plugin)
        return specs

    def _call(self, hook: pluggy.HookCaller, plugins: Sequence[object], kind: type[S]) -> list[S]:
        """Let pluggy call the hook of `plugins` alone."""
        others = self._manager.get_plugins() - set(plugins)
        specs: list[S] = []
        for result in self._manager.subset_hook_caller(hook.name, others)() or [None]:
            if not isinstance(result, Iterable):
                raise TypeError(f"hook {hook.name} must return {kind.__name__} objects, got {result!r}")
            for spec in result:
                if not isinstance(spec, kind):
                    raise TypeError(f"hook {hook.name} must return {kind.__name__} objects, got {spec!r}")
                specs.append(spec)
        _check_unique(specs)
        return specs

    @contextlib.contextmanager
    def _watched(self, name: str) -> Iterator[None]:
        with Watch() as watch:
            yield
        self._remark(name, watch.remarks)

    def _remark(self, name: str, remarks: Iterable[str]) -> None:
        plugin = self._plugins[name]
        self._plugins[name] = replace(plugin, remarks=(*plugin.remarks, *remarks))

    def _fail(self, name: str, error: BaseException, place: str = "") -> None:
        """Note why and where a plugin is broken, and unregister it."""
        self._plugins[name] = replace(self._plugins[name], error=f"{_describe(error)}{place}")
        self._failures[name] = error
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)

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


def _check_unique(specs: Iterable[object]) -> None:
    names = [(spec.kind, name) for spec in specs if isinstance(spec, ComponentSpec) for name in spec.names]
    if twice := [f"{kind} {name!r}" for kind, name in dict.fromkeys(names) if names.count((kind, name)) > 1]:
        raise ValueError(f"offers {', '.join(twice)} more than once, by name or alias")


def _is_wrapper(implementation: pluggy.HookImpl) -> bool:
    return implementation.wrapper or implementation.hookwrapper


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
    lines = str(error).strip().splitlines()
    text = "; ".join(lines) if isinstance(error, pluggy.PluginValidationError) else "".join(lines[:1])
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place(hook: pluggy.HookCaller, implementation: pluggy.HookImpl) -> str:
    """Return hook, file and line of a hook's implementation, to stand behind an error."""
    code = getattr(implementation.function, "__code__", None)
    definition = f" at {Path(code.co_filename).name}:{code.co_firstlineno}" if code else ""
    return f" (hook {hook.name}{definition})"
