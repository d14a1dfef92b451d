"""Create components by name from the installed plugins."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from numbers import Integral
from typing import Any, Literal, overload

from asd.contract import interfaces
from asd.contract.installed import registry
from asd.contract.own import INTERFACES, OwnSpec
from asd.contract.parameters import REQUIRED, Parameter, convert_all, parameters_of, present_names, spoken
from asd.contract.parameters import describe as taken
from asd.contract.permissions import check_parameters
from asd.contract.place import place_of
from asd.errors import AsdError, ConfigError
from asd_registry import Component as Registered
from asd_registry import Kind, PluginError
from asd_registry.discovery import load_target
from asd_registry.text import describe, shown

_INTERFACES: dict[Kind, type[interfaces.Component]] = {
    **INTERFACES,
    "dataset": interfaces.Dataset,
    "source": interfaces.Source,
    "sink": interfaces.Sink,
    "engine": interfaces.WorkEngine,
}


def load_class(registered: Registered) -> type[interfaces.Component]:
    """Import the class of a registered component.

    Raises
    ------
    PluginError
        If a requirement is missing, the class cannot be imported, or it does not implement its kind's interface.
    """
    if isinstance(registered.spec, OwnSpec):
        return registered.spec.cls
    target = load_target(registered)
    interface = _INTERFACES[registered.spec.kind]
    if not (isinstance(target, type) and issubclass(target, interface)):
        raise PluginError(
            f"{registered.qualified_name}: target {registered.spec.target!r} is not a subclass of "
            f"asd.plugin.{interface.__name__}"
        )
    return target


_CONVERTED = (str, int, float, list, type(None))
"""Values that a text, a table or a model file may hold."""

Given = Mapping[str, Any] | None


@overload
def create(kind: Literal["frontend"], name: str, parameters: Given = None) -> interfaces.Frontend: ...
@overload
def create(kind: Literal["extractor"], name: str, parameters: Given = None) -> interfaces.Extractor: ...
@overload
def create(kind: Literal["detector"], name: str, parameters: Given = None) -> interfaces.Detector: ...
@overload
def create(kind: Literal["dataset"], name: str, parameters: Given = None) -> interfaces.Dataset: ...
@overload
def create(kind: Literal["source"], name: str, parameters: Given = None) -> interfaces.Source: ...
@overload
def create(kind: Literal["sink"], name: str, parameters: Given = None) -> interfaces.Sink: ...
@overload
def create(kind: Literal["engine"], name: str, parameters: Given = None) -> interfaces.WorkEngine: ...
@overload
def create(kind: Kind, name: str, parameters: Given = None) -> interfaces.Component: ...
def create(kind: Kind, name: str, parameters: Given = None) -> interfaces.Component:
    """Create the component called `name` (``name`` or ``distribution:name``).

    Parameters
    ----------
    kind : {"frontend", "extractor", "detector", "dataset", "source", "sink", "engine"}
        What to create.
    name : str
        Its registered name.
    parameters : mapping of str to Any, optional
        Constructor parameters; text is converted as on the command line.

    Raises
    ------
    PluginError
        If the component is unknown, ambiguous, broken or lacks a requirement, its constructor fails, or it is a front
        end without a sample rate.
    ConfigError
        If a parameter is unknown, fixed by the name, missing or of the wrong type.
    ModelFileError
        If a model file's parameters need the user's consent (`asd.contract.permissions`).
    """
    registered = registry().find(kind, name)
    check_parameters(kind, name, parameters or {})
    cls = load_class(registered)
    preset = registered.spec.preset
    given = _converted(cls, registered, f"{kind} {name!r}", parameters or {})
    for key in given.keys() & preset.keys():
        if given[key] != preset[key]:
            raise ConfigError(f"{kind} {name!r} fixes {key} = {preset[key]!r}; leave it out or choose another {kind}")
    merged = {**preset, **given}
    missing = [p.name for p in parameters_of(cls).values() if p.default is REQUIRED and p.name not in merged]
    if missing:
        if isinstance(registered.spec, OwnSpec):
            raise ConfigError(f"{kind} {name!r} needs {missing[0]}: give an object, {cls.__name__}({missing[0]}=...)")
        raise ConfigError(f"{kind} {name!r} needs --{kind}.{missing[0]}")
    return _made(cls, merged, registered)


def _converted(
    cls: type[interfaces.Component], registered: Registered, owner: str, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return parameters converted to their annotations; an own class may be given objects, which stay as they are."""
    if not isinstance(registered.spec, OwnSpec):
        return convert_all(cls, owner, given)
    known = parameters_of(cls)
    kept = {
        name: value
        for name, value in present_names(cls, owner, given).items()
        if name in known and (known[name].annotation is Any or not isinstance(value, _CONVERTED))
    }
    return {**kept, **convert_all(cls, owner, {name: value for name, value in given.items() if name not in kept})}


def _made(cls: type[interfaces.Component], merged: Mapping[str, Any], registered: Registered) -> interfaces.Component:
    """Return a new component. What its constructor raises is the plugin's failure, what it prints no result."""
    try:
        with redirect_stdout(sys.stderr):
            component = cls(**merged)
    except (AsdError, KeyboardInterrupt):
        raise
    except BaseException as error:
        place = place_of(error, cls.__module__.partition(".")[0])
        mend = "correct it there" if isinstance(registered.spec, OwnSpec) else "report it to the plugin's author"
        raise PluginError(f"{_origin(registered)}: cannot be made: {describe(error)} ({place}); {mend}") from error
    return adopted(component, registered)


def adopted(component: interfaces.Component, registered: Registered) -> interfaces.Component:
    """Return a component that messages know by where it comes from.

    Raises
    ------
    PluginError
        If it is a front end without a sample rate, or its attributes cannot be set.
    """
    if registered.spec.kind == "frontend":
        rate = getattr(component, "sample_rate", None)
        if not isinstance(rate, Integral) or rate <= 0:
            raise PluginError(
                f"{registered.qualified_name}: a front end needs an attribute sample_rate in Hz, a whole number above "
                f"0, got {shown(rate)}"
            )
    try:
        component.origin = _origin(registered)
    except AttributeError as error:  # a frozen dataclass
        raise PluginError(
            f"{_origin(registered)}: its attributes cannot be set ({describe(error)}), so it can learn nothing; "
            "let the class be changed (frozen=False)"
        ) from error
    return component


def _origin(registered: Registered) -> str:
    """Return what messages call a component: where it comes from."""
    plugin, spec = registered.plugin, registered.spec
    if isinstance(spec, OwnSpec):
        return f"{spec.kind} {spec.name} (given in Python, of {plugin.distribution})"
    return f"{spec.kind} {spec.name!r} of {plugin.distribution} {plugin.version}"


def contradictions(registered: Registered, component: Any) -> list[str]:
    """Return where a front end or an extractor, made with its defaults, is not what its plugin declares."""
    spec = registered.spec
    found: list[str] = []
    if spec.kind not in ("frontend", "extractor"):
        return found
    if spec.kind == "frontend" and spec.sample_rate not in (None, component.sample_rate):
        found.append(f"declares {spec.sample_rate} Hz, but needs {component.sample_rate} Hz")
    shape = (component.produces if spec.kind == "frontend" else component.consumes).shape
    if spec.shape is not None and tuple(spec.shape) != tuple(shape):
        found.append(f"declares windows of shape {spec.shape}, but has {shape}")
    if spec.kind == "extractor" and spec.dimension not in (None, component.dimension):
        found.append(f"declares dimension {spec.dimension}, but its dimension is {component.dimension}")
    return found


def parameters(registered: Registered) -> list[Parameter]:
    """Return the parameters that a user may set: those of the class that the component's name does not fix."""
    cls = load_class(registered)
    return [p for p in parameters_of(cls).values() if p.name not in registered.spec.preset]


def described_parameters(registered: Registered) -> list[dict[str, Any]]:
    """Return what a form needs of each parameter: ``name``, ``takes``, ``default``, ``required``, ``description``.

    Raises
    ------
    PluginError
        If the component's class cannot be imported.
    """
    return [
        {
            "name": p.name,
            "takes": taken(p.annotation),
            "default": None if p.default is REQUIRED else p.default,
            "required": p.default is REQUIRED,
            "description": spoken(p.description),
        }
        for p in parameters(registered)
    ]
