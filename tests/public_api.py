"""The public interface as lines of text: names with signatures, commands with options, components with parameters.

``python tests/public_api.py > tests/public_api.txt`` keeps it at a release (see CONTRIBUTING.md).
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from asd.contract.installed import registry
from asd.contract.parameters import REQUIRED, describe, parameters_of
from asd_registry import Component
from asd_registry.discovery import import_target

MODULES = (
    "asd",
    "asd.client",
    "asd.command",
    "asd.errors",
    "asd.experiment",
    "asd.plugin",
    "asd.sklearn",
    "asd.testing",
    "asd_listen",
    "asd_registry",
)
"""Every public name of these."""

OWN = {path.parent.name for path in (Path(__file__).resolve().parent.parent / "plugins").glob("*/pyproject.toml")}
"""The distributions whose components are public too."""


class _Text(str):
    """An annotation that is shown without quotes."""

    __repr__ = str.__str__


def interface() -> dict[str, str]:
    """Return the signature of each public object by its name."""
    found: dict[str, str] = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        found[module_name] = "module"
        for name in getattr(module, "__all__", None) or _own_names(module):
            found |= _described(f"{module_name}.{name}", getattr(module, name))
    return dict(sorted({**found, **_commands(), **_components()}.items()))


def undocumented(before: dict[str, str], now: dict[str, str], changelog: str) -> list[str]:
    """Return the objects that were added, changed or removed and that `changelog` names nowhere in backticks.

    Whoever names a class or a command has named what came or went with it.
    """
    changed = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    appeared = {name for name in changed if name not in before or name not in now}
    named = {name for name in changed if f"`{name}`" in changelog}
    return [
        name
        for name in changed
        if name not in named and not (name in appeared and appeared & named & set(_owners(name)))
    ]


def _owners(name: str) -> Iterator[str]:
    """Yield what holds an object: class, module; command, group."""
    command, option, _ = name.partition(" --")
    if option:
        yield command
        return
    while (name := name.rpartition("." if "." in name else " ")[0]) not in ("", "asd"):
        yield name


def _own_names(module: Any) -> list[str]:
    return [name for name, value in vars(module).items() if name[0] != "_" and _is_from(value, module.__name__)]


def _is_from(value: Any, module: str) -> bool:
    return getattr(value, "__module__", None) == module and callable(value)


def _described(path: str, value: Any) -> dict[str, str]:
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__)
        members = {
            f"{path}.{name}": _signature(member)
            for name, member in vars(value).items()
            if name[0] != "_" and (callable(member) or isinstance(member, property | classmethod | staticmethod))
        }
        return {path: f"({bases}) {_signature(value)}", **members}
    return {
        path: _signature(value)
        if callable(value)
        else f"= {sorted(value) if isinstance(value, frozenset) else value!r}"
    }


def _signature(value: Any) -> str:
    if isinstance(value, property):
        return "property " + _signature(value.fget)
    function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    try:
        signature = inspect.signature(function)
    except ValueError:
        return ""
    parameters = [p.replace(annotation=_plain(p.annotation)) for p in signature.parameters.values()]
    text = str(signature.replace(parameters=parameters, return_annotation=_plain(signature.return_annotation)))
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def _plain(annotation: Any) -> Any:
    return _Text(annotation) if isinstance(annotation, str) else annotation


def _commands() -> dict[str, str]:
    main = importlib.import_module("asd.cli.main")
    return {
        key: text
        for name, target in {
            **{name: target for name, (target, _) in main._COMMANDS.items()},
            **{name: spec.target for name, (spec, plugin) in registry().commands.items() if plugin.distribution in OWN},
        }.items()
        for key, text in _options(f"asd {name}", import_target(target, name))
    }


def _components() -> dict[str, str]:
    """Return the parameters, and the former names, of each component of ours by ``KIND NAME``."""
    return {
        f"{component.spec.kind} {component.spec.name}": _parameters(component)
        for component in registry().of_kind()
        if component.plugin.distribution in OWN
    }


def _parameters(component: Component) -> str:
    cls = import_target(component.spec.target, component.qualified_name)
    listed = [
        f"{p.name}: {describe(p.annotation)}" + ("" if p.default is REQUIRED else f" = {p.default!r}")
        for p in parameters_of(cls).values()
        if p.name not in component.spec.preset
    ]
    former = [f"formerly {old}: {new}" for old, new in cls.renamed.items()]
    former += [f"alias {name}" for name in component.spec.aliases]
    return "; ".join([f"({', '.join(listed)})", *former])


def _options(path: str, command: click.Command) -> Iterator[tuple[str, str]]:
    arguments = " ".join(
        p.make_metavar(click.Context(command)) for p in command.params if p.param_type_name == "argument"
    )
    yield path, arguments
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            for option in (*parameter.opts, *parameter.secondary_opts):
                if option.startswith("--"):
                    yield f"{path} {option}", "flag" if parameter.is_flag else "takes a value"
    if isinstance(command, click.Group):
        for name, inner in sorted(command.commands.items()):
            yield from _options(f"{path} {name}", inner)


if __name__ == "__main__":
    for name, signature in interface().items():
        print(f"{name}\t{signature}")
