"""Load the installed plugins, each behind its own guard, and look their components up by name."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import itertools
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import pluggy

from asd_registry import hookspecs
from asd_registry.entries import Plugin, installed_plugins, plugins_of
from asd_registry.errors import PluginError
from asd_registry.files import make_importable, remedy, version_of
from asd_registry.known import KNOWN_DISTRIBUTIONS, distribution_of
from asd_registry.renamed import warn_renamed
from asd_registry.specs import API_VERSION, KINDS, CommandSpec, ComponentSpec, Kind, TrackerSpec
from asd_registry.text import describe, did_you_mean, printable, shown, text_of
from asd_registry.watch import Watch

S = TypeVar("S")

MOST_SPECS = 1000
"""Components, and commands, that a plugin may offer."""


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

    def has_moved_from(self, name: str) -> bool:
        """Return whether ``distribution:name`` is its former name elsewhere; names of ours move among ours alone."""
        is_ours = name.partition(":")[0] in KNOWN_DISTRIBUTIONS
        return name in self.spec.moved_from and (self.plugin.is_ours or not is_ours)

    @property
    def problem(self) -> str | None:
        """What keeps the component from working here (a newer contract, a missing requirement), or None."""
        return _problem(self.spec)


@dataclass
class Registry:
    """The installed plugins, their components and their commands.

    pluggy calls the hooks, plugin by plugin, so that one that fails is an entry of `plugins` with its error and the
    others go on. Whatever a plugin raises is its failure, but Ctrl-C. What each plugin offers passes through the hook
    wrappers of all plugins that were loaded by then.

    A name that one of the project's own distributions has (`asd_registry.known`) means theirs. Of two other plugins'
    commands of one name, ``tryfirst`` and ``trylast`` decide which is taken.

    Parameters
    ----------
    entry_points : sequence of importlib.metadata.EntryPoint, optional
        Where to look; default: the installed entry points of group ``asd.plugins``, limited to those that the
        environment variable ``ASD_PLUGINS`` names (comma-separated entry points or distributions; empty: none).

    Attributes
    ----------
    components : list of Component
        What the plugins offer.
    commands : dict of str to tuple of (CommandSpec, Plugin)
        Commands by name.
    left_out : dict of str to list of Plugin
        By name of a command, plugins whose command of this name is not used.
    trackers : dict of str to tuple of (TrackerSpec, Plugin)
        Experiment trackers by name; of two of one name, ours and then the first counts.
    """

    entry_points: Sequence[importlib.metadata.EntryPoint] | None = None
    components: list[Component] = field(default_factory=list, init=False)
    commands: dict[str, tuple[CommandSpec, Plugin]] = field(default_factory=dict, init=False)
    left_out: dict[str, list[Plugin]] = field(default_factory=dict, init=False)
    trackers: dict[str, tuple[TrackerSpec, Plugin]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._manager = pluggy.PluginManager("asd")
        self._manager.add_hookspecs(hookspecs)
        self._failures: dict[str, BaseException] = {}
        found = installed_plugins() if self.entry_points is None else plugins_of(self.entry_points)
        self._plugins = {plugin.qualified_name: plugin for plugin, _ in found}
        # pluggy calls first what was registered last. Ours are registered first: who registers a module has it.
        found.sort(key=lambda each: each[0].is_ours)
        for plugin, entry_point in reversed(found):
            if entry_point is not None and plugin.error is None:
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
            If the file is not there, cannot be imported, offers nothing, or was changed after this process loaded it.
        """
        file = Path(path).resolve()
        plugin = Plugin(file.stem, printable(file.name), version_of(file))
        name = plugin.qualified_name
        if name in self._plugins:
            if plugin in self.plugins:
                return plugin
            raise PluginError(
                f"{path}: another state of this plugin file is loaded, and what was made with it is in use: restart "
                "Python to load this one"
            )
        make_importable(file)
        self._plugins[name] = plugin
        self._load(name, functools.partial(importlib.import_module, file.stem))
        offered = self._collect([name])
        if offered and not self._plugins[name].error:
            return self._plugins[name]
        # Nothing of it stays, so that it can be mended and loaded in the same process.
        sys.modules.pop(file.stem, None)
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)
        if error := self._plugins.pop(name).error:
            raise PluginError(f"{path}: this plugin file does not load: {error}") from self._failures[name]
        raise PluginError(f"{path}: offers nothing: give it a function asd_components marked with @hookimpl")

    def _load(self, name: str, load: Callable[[], object]) -> None:
        """Import a plugin and register it with pluggy, which checks its hooks against their specifications."""
        with self._guarded(name):
            self._manager.register(load(), name)
            self._manager.check_pending()

    def _collect(self, names: Collection[str]) -> int:
        """Add what the plugins called `names` offer; return how many components, commands and trackers that are."""
        components = list(self._offers(self._manager.hook.asd_components, ComponentSpec, names))
        commands = list(self._offers(self._manager.hook.asd_commands, CommandSpec, names))
        # Ours come first in the list: their commands are not anybody else's.
        for name, command in sorted(commands, key=lambda pair: not self._is_at_home("command", pair[1].name, pair[0])):
            if not self._plugins[name].error:
                self._add_command(command, name)
        trackers = list(self._offers(self._manager.hook.asd_trackers, TrackerSpec, names))
        for name, tracker in sorted(trackers, key=lambda pair: not self._plugins[pair[0]].is_ours):
            if not self._plugins[name].error:
                self.trackers.setdefault(tracker.name, (tracker, self._plugins[name]))
        found = ((spec, self._plugins[name]) for name, spec in components)
        self.components += [Component(spec, plugin) for spec, plugin in found if not plugin.error]
        return len(components) + len(commands) + len(trackers)

    def _add_command(self, command: CommandSpec, name: str) -> None:
        plugin = self._plugins[name]
        if distribution_of(command.name, "command") == "asd-framework":
            holder = "asd-framework"
        else:
            holder_plugin = self.commands.setdefault(command.name, (command, plugin))[1]
            if holder_plugin.qualified_name == name:
                return
            holder = holder_plugin.distribution
        self.left_out.setdefault(command.name, []).append(plugin)
        self._remark(name, [f"its command {command.name!r} is left out: {holder} has one"])

    def _is_at_home(self, kind: Kind | Literal["command"], short: str, name: str) -> bool:
        """Return whether a name is that of a component or command of ours, and the plugin called `name` is ours."""
        return distribution_of(short, kind) == self._plugins[name].distribution

    def _offers(self, hook: pluggy.HookCaller, kind: type[S], names: Collection[str]) -> Iterator[tuple[str, S]]:
        """Yield (plugin, spec) for each spec that the plugins return, in the order in which pluggy calls them."""
        for implementation in reversed(hook.get_hookimpls()):
            name = implementation.plugin_name
            if name not in names or _is_wrapper(implementation):
                continue
            specs: list[S] = []
            with self._guarded(name, hook, implementation):
                specs = self._ask(hook, implementation, kind)
            yield from ((name, spec) for spec in specs)

    def _ask(self, hook: pluggy.HookCaller, implementation: pluggy.HookImpl, kind: type[S]) -> list[S]:
        """Return one plugin's specs, passed through the wrappers; a wrapper that fails is that plugin's failure."""
        plugins = [implementation.plugin]
        specs = self._call(hook, plugins, kind)
        for wrapper in filter(_is_wrapper, hook.get_hookimpls()):
            with self._guarded(wrapper.plugin_name, hook, wrapper):
                specs = self._call(hook, [*plugins, wrapper.plugin], kind)
                plugins.append(wrapper.plugin)
        return specs

    def _call(self, hook: pluggy.HookCaller, plugins: Sequence[object], kind: type[S]) -> list[S]:
        """Let pluggy call the hook of `plugins` alone."""
        others = self._manager.get_plugins() - set(plugins)
        specs: list[S] = []
        for result in self._manager.subset_hook_caller(hook.name, others)() or [None]:
            if not isinstance(result, Iterable):
                raise TypeError(f"hook {hook.name} must return {kind.__name__} objects, got {shown(result)}")
            for spec in itertools.islice(result, MOST_SPECS + 1):
                if type(spec) is not kind:  # a class derived from it may lack its checks
                    raise TypeError(f"hook {hook.name} must return {kind.__name__} objects, got {shown(spec)}")
                specs.append(spec)
            if len(specs) > MOST_SPECS:
                raise ValueError(f"hook {hook.name} returns more than {MOST_SPECS} {kind.__name__} objects")
        _check_unique(specs)
        return specs

    @contextlib.contextmanager
    def _guarded(
        self, name: str, hook: pluggy.HookCaller | None = None, implementation: pluggy.HookImpl | None = None
    ) -> Iterator[None]:
        """Make whatever the block raises, but Ctrl-C, the failure of the plugin called `name`."""
        watch = Watch()
        try:
            with watch:
                yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._fail(name, error, _place(hook, implementation) if hook and implementation else "")
        self._remark(name, watch.remarks)

    def _remark(self, name: str, remarks: Iterable[str]) -> None:
        plugin = self._plugins[name]
        new = (remark for remark in map(printable, remarks) if remark not in plugin.remarks)
        self._plugins[name] = replace(plugin, remarks=(*plugin.remarks, *new))

    def _fail(self, name: str, error: BaseException, place: str = "") -> None:
        """Note why and where a plugin is broken, and unregister it."""
        self._plugins[name] = replace(self._plugins[name], error=f"{_reason(error)}{place}")
        self._failures[name] = error
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)

    def taken_by(self, component: Component) -> list[str]:
        """Return ``distribution:name`` of the components for which a short name of `component` may stand instead.

        A name of one of the project's own distributions stands for theirs alone, whether that is installed or not.
        """
        spec, own = component.spec, component.plugin.distribution
        owners = {name: distribution_of(name, spec.kind) for name in spec.names}
        taken = [f"{owner}:{name}" for name, owner in owners.items() if owner not in (None, own)]
        free = {name for name, owner in owners.items() if owner is None}
        if free:
            rivals = (other for other in self.components if other.spec.kind == spec.kind and other is not component)
            taken += [other.qualified_name for other in rivals if not free.isdisjoint(other.spec.names)]
        return list(dict.fromkeys(taken))

    def of_kind(self, kind: Kind | None = None) -> list[Component]:
        """Return the components of one kind (all kinds: None), ordered by kind and name."""
        chosen = [component for component in self.components if kind in (None, component.spec.kind)]
        return sorted(chosen, key=lambda c: (KINDS.index(c.spec.kind), c.spec.name, c.plugin.distribution))

    def find(self, kind: Kind | None, name: str) -> Component:
        """Return the component called `name` (``name`` or ``distribution:name``), now or formerly.

        A former name (`ComponentSpec.aliases`) is warned of. A short name that one of the project's own distributions
        has means theirs. ``distribution:name`` that this distribution does not offer, or no more, is the component that
        has moved from there.

        Raises
        ------
        PluginError
            If no such component is installed (with close matches and, if known, the pip command), or if several
            distributions offer it under the short name.
        """
        if not isinstance(name, str):
            raise PluginError(f"a {kind or 'component'} is chosen by its name, got {shown(name)}")
        found = self._called(kind, name)
        if len(found) == 1:
            spec, short = found[0].spec, name.rpartition(":")[2]
            if name in spec.moved_from:
                warn_renamed(spec.kind, name, found[0].qualified_name)
            elif short != spec.name:
                warn_renamed(spec.kind, short, spec.name)
            return found[0]
        if not found:
            raise PluginError(self._unknown(kind, name))
        choices = " or ".join(c.qualified_name if kind else f"{c.qualified_name} ({c.spec.kind})" for c in found)
        raise PluginError(f"{kind or 'component'} {name!r} is offered more than once: write {choices}")

    def offers(self, kind: Kind | None, name: str) -> bool:
        """Return whether a component is called `name`, as `find` understands names."""
        return bool(self._called(kind, name))

    def tracker(self, name: str) -> Callable[[Mapping[str, Any]], str | None]:
        """Import and return the function of an experiment tracker.

        Raises
        ------
        PluginError
            If there is none of this name, if it needs what is not installed, or if it cannot be imported.
        """
        if name not in self.trackers:
            known = ", ".join(sorted(self.trackers)) or "none"
            raise PluginError(f"unknown tracker {name!r}; known: {known}; a plugin adds one by the hook asd_trackers")
        spec, plugin = self.trackers[name]
        if problem := _problem(spec):
            raise PluginError(f"tracker {name!r} cannot run: {problem}")
        function: Callable[[Mapping[str, Any]], str | None] = import_target(spec.target, plugin.distribution)
        return function

    def default_of(self, component: Component, kind: Literal["frontend", "extractor"]) -> str | None:
        """Return the name of the front end or extractor that a component's spec names.

        It is the short name, unless that stands for another one than the component's own distribution offers.
        """
        name: str | None = getattr(component.spec, kind)
        if name is None or ":" in name:
            return name
        qualified = f"{component.plugin.distribution}:{name}"
        own = self._called(kind, qualified)
        return name if not own or self._called(kind, name) == own else qualified

    def _called(self, kind: Kind | None, name: str) -> list[Component]:
        distribution, _, short = name.rpartition(":")
        of_kind = self.of_kind(kind)
        found = [
            component
            for component in of_kind
            if component.answers_to(name)
            and (distribution or distribution_of(short, component.spec.kind) in (None, component.plugin.distribution))
        ]
        return found or [component for component in of_kind if component.has_moved_from(name)]

    def unknown_command(self, name: str, known: Iterable[str]) -> str:
        """Return the error about a command that is not among those `known`: what brings it, or one like it."""
        obstacle = self._obstacle(f"command {name!r}", distribution_of(name, "command") or "")
        return obstacle or f"unknown command {name!r}; {did_you_mean(name, known)}"

    def _unknown(self, kind: Kind | None, name: str) -> str:
        what = kind or "component"
        distribution, _, short = name.rpartition(":")
        distribution = distribution or distribution_of(short, kind) or ""
        others = [c.qualified_name for c in self.of_kind(kind) if c.answers_to(short)]
        others_hint = f"; another one of this name is {' or '.join(others)}" if others else ""
        if obstacle := self._obstacle(f"{what} {name!r}", distribution):
            return f"{obstacle}{others_hint}"
        if others:
            return f"unknown {what} {name!r}{others_hint}"
        names = {name: component.spec.name for component in self.of_kind(kind) for name in component.spec.names}
        return f"unknown {what} {name!r}; {did_you_mean(short, names, shown_as=names)} ('asd plugins' lists all)"

    def _obstacle(self, what: str, distribution: str) -> str:
        """Return why what a distribution brings is not there, and what to do; nothing if it is not by its absence."""
        installed = {plugin.distribution: plugin for plugin in self.plugins}
        if distribution in installed and (broken := installed[distribution].error):
            return f"{what} is not available: plugin {distribution} is broken: {broken}"
        return (
            f"{what} is not installed: {remedy(distribution)}" if distribution and distribution not in installed else ""
        )


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
    """Import ``"package.module:attribute"``; `owner` is named in errors. What is printed goes to standard error."""
    module_name, _, attribute = target.partition(":")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return getattr(importlib.import_module(module_name), attribute)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(f"{owner}: cannot import its target {target!r}: {describe(error)}") from error


def _problem(spec: ComponentSpec | TrackerSpec) -> str | None:
    """Return what keeps it from working here (a newer contract, a missing requirement), or None."""
    if spec.api_version > API_VERSION:
        return f"needs plugin contract {spec.api_version}, this asd-framework has {API_VERSION}: upgrade it"
    missing = [requirement for requirement in spec.requires if not _is_installed(requirement)]
    if not missing:
        return None
    # A requirement that names an address, or none at all, gets no command that users would copy.
    what = "pip install" if all(map(_has_plain_name, missing)) else "the requirement"
    present = [f"{name} {version}" for name, version in map(_present, missing) if version]
    here = f" (installed: {', '.join(present)})" if present else ""
    return f"needs {what} {' '.join(map(repr, missing))}{here}"


def _check_unique(specs: Iterable[object]) -> None:
    named = [(spec, (*spec.names, *spec.moved_from)) for spec in specs if isinstance(spec, ComponentSpec)]
    names = [(spec.kind, name) for spec, its in named for name in its]
    if twice := [f"{kind} {name!r}" for kind, name in dict.fromkeys(names) if names.count((kind, name)) > 1]:
        raise ValueError(f"offers {', '.join(twice)} more than once, by name or alias")


def _is_wrapper(implementation: pluggy.HookImpl) -> bool:
    return implementation.wrapper or implementation.hookwrapper


@functools.cache
def _is_installed(requirement: str) -> bool:
    from packaging.requirements import Requirement

    try:
        parsed = Requirement(requirement)
        if parsed.marker is not None and not parsed.marker.evaluate():
            return True
        return parsed.specifier.contains(importlib.metadata.version(parsed.name), prereleases=True)
    except Exception:  # it is not there, or what is there is damaged in whatever way
        return False


def _present(requirement: str) -> tuple[str, str | None]:
    """Return the name that a requirement asks for, and the version of it that is installed, which does not suffice."""
    from packaging.requirements import Requirement

    try:
        name = Requirement(requirement).name
        return name, importlib.metadata.version(name)
    except Exception:  # as above
        return requirement, None


def _has_plain_name(requirement: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(requirement).url is None
    except InvalidRequirement:
        return False


def _reason(error: BaseException) -> str:
    if isinstance(error, pluggy.PluginValidationError):  # says all that it knows in several lines
        return f"{type(error).__name__}: {'; '.join(text_of(error).splitlines())}"
    return describe(error)


def _place(hook: pluggy.HookCaller, implementation: pluggy.HookImpl) -> str:
    """Return hook, file and line of a hook's implementation, to stand behind an error."""
    code = getattr(implementation.function, "__code__", None)
    definition = f" at {Path(code.co_filename).name}:{code.co_firstlineno}" if code else ""
    return f" (hook {hook.name}{definition})"
