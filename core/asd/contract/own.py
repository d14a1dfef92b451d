"""Components that are given as classes or objects in place of a name: own classes, estimators, networks.

A class becomes an entry of the registry called ``module:Class``, so that everything that goes by names goes by it, too.
A model file keeps that name and imports the class with the user's consent; of a class that cannot be imported, of
parameters that are no plain data, and of state that no parameter describes, `obstacle` says that it cannot be kept.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asd.contract import interfaces
from asd.contract.installed import registry
from asd.contract.parameters import parameters_of
from asd.contract.plain import UnplainError, to_plain
from asd.errors import ConfigError, ModelFileError
from asd_registry import Component as Registered
from asd_registry import ComponentSpec, Kind, Plugin
from asd_registry.files import version_of
from asd_registry.text import describe

INTERFACES: dict[Kind, type[interfaces.Component]] = {
    "frontend": interfaces.Frontend,
    "extractor": interfaces.Extractor,
    "detector": interfaces.Detector,
}

_ADAPTERS = {"torch.nn.modules.module:Module": ("asd_torch", "ModuleExtractor", "asd-torch")}
"""What makes an extractor of an object of a foreign class: module, class, distribution."""

_STATELESS = ("_thread.lock", "_thread.RLock")
"""Types of attributes that hold nothing to keep."""

_UNSET = object()


@dataclass(frozen=True, kw_only=True)
class OwnSpec(ComponentSpec):
    """The spec of a class that no plugin offers.

    Parameters
    ----------
    cls : type
        The class, a component.
    missing : str
        Why it cannot be imported when a model is loaded; empty: it can.
    """

    cls: type[interfaces.Component]
    missing: str = ""

    def __post_init__(self) -> None:
        """Check nothing: names of Python classes are not those of components."""


@dataclass(frozen=True)
class Chosen:
    """What was given in place of a name: the component's name, its parameters, and the object, if it is to be used."""

    name: str
    parameters: Mapping[str, Any]
    instance: interfaces.Component | None = None


def given_component(kind: Kind, given: Any) -> Chosen | None:
    """Return what a class or an object stands for; None: it is none that could be a component.

    Parameters
    ----------
    kind : {"frontend", "extractor", "detector"}
        What it is given as.
    given : Any
        A class of that kind or an object of one; as a detector an outlier estimator, as an extractor a network.

    Raises
    ------
    ConfigError
        If it is a component of another kind, an estimator without scores, or its parameters cannot be known.
    """
    cls = given if isinstance(given, type) else type(given)
    if not issubclass(cls, interfaces.Component):
        return _adapted(kind, given, cls)
    if not issubclass(cls, INTERFACES[kind]):
        raise ConfigError(f"{kind} takes a subclass of asd.{INTERFACES[kind].__name__}, {cls.__name__} is none")
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise ConfigError(f"{kind} {cls.__name__} lacks {missing}: define it in the class")
    parameters = {} if isinstance(given, type) else parameters_given(given)
    found = _offered(kind, cls, parameters)
    instance = None if isinstance(given, type) or kind == "detector" else given  # each member is a new detector
    if found and instance is not None and _state(instance, parameters) is None:
        instance = None  # one that is made by its name is the same
    parameters = set_parameters(cls, parameters)
    if found:
        parameters = {name: value for name, value in parameters.items() if name not in found.spec.preset}
        return Chosen(found.qualified_name, parameters, instance)
    name = register(kind, cls, cls, frontend=_text(given, "frontend"), extractor=_text(given, "extractor"))
    return Chosen(name, parameters, instance)


def _text(given: Any, attribute: str) -> str | None:
    try:
        value = getattr(given, attribute, None)
    except Exception:  # whatever the class does about attributes that it does not have
        return None
    return value if isinstance(value, str) else None


def parameters_given(component: interfaces.Component) -> dict[str, Any]:
    """Return the constructor's parameters of an object.

    Raises
    ------
    ConfigError
        If it does not keep one under its name, or its constructor's annotations cannot be read.
    """
    try:
        return component.get_params()
    except AttributeError as error:
        raise ConfigError(
            f"{type(component).__name__} does not keep its parameter {error.name!r}: its constructor must store each "
            "parameter under its name"
        ) from None
    except Exception as error:  # annotations that mean nothing, or a property that raises
        raise ConfigError(f"{type(component).__name__}: its parameters cannot be read ({describe(error)})") from error


def set_parameters(cls: type, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that are not the constructor's defaults."""
    known = parameters_of(cls)
    return {name: value for name, value in parameters.items() if not _same(value, known[name].default)}


def _offered(kind: Kind, cls: type, parameters: Mapping[str, Any]) -> Registered | None:
    """Return the component of a plugin that is made of the class, if the parameters are not against its preset."""
    target = f"{cls.__module__}:{cls.__qualname__}"
    found = [
        each
        for each in registry().of_kind(kind)
        if not isinstance(each.spec, OwnSpec)
        and each.spec.target == target
        and all(parameters.get(name) == value for name, value in each.spec.preset.items())
    ]
    return max(found, key=lambda each: len(each.spec.preset), default=None)


def _adapted(kind: Kind, given: Any, cls: type) -> Chosen | None:
    """Return what an adapter makes of an estimator or a network; None: there is no adapter for it."""
    lineage = {f"{base.__module__}:{base.__qualname__}" for base in cls.__mro__}
    for name, (module, adapter, distribution) in _ADAPTERS.items():
        if kind == "extractor" and name in lineage:
            if isinstance(given, type):
                raise ConfigError(f"extractor {cls.__name__}: give an object of the class, such as {cls.__name__}(...)")
            try:
                make = getattr(importlib.import_module(module), adapter)
            except ImportError as error:
                raise ConfigError(
                    f"extractor {cls.__name__}: networks of this library need pip install {distribution} ({error})"
                ) from error
            return given_component(kind, make(given))
    if kind == "detector" and _is_estimator(cls):
        from asd.contract.outlier import detector_of, parameters_of_estimator

        component = detector_of(given)
        return Chosen(register(kind, component, cls), set_parameters(component, parameters_of_estimator(given)))
    return None


def _is_estimator(cls: type) -> bool:
    return hasattr(cls, "fit") and hasattr(cls, "get_params")


def register(
    kind: Kind,
    component: type[interfaces.Component],
    cls: type,
    *,
    frontend: str | None = None,
    extractor: str | None = None,
) -> str:
    """Enter a class into the registry; return its name there.

    Parameters
    ----------
    kind : {"frontend", "extractor", "detector"}
        What it is.
    component : type
        What components are made of.
    cls : type
        The class that the user gave, and that a model file is to name.
    frontend, extractor : str, optional
        Components that it is used with where the user names none.
    """
    module, name, missing = _importable(cls)
    count = 1
    while (known := _known(kind, module, name)) and missing and getattr(known.spec, "cls", None) is not component:
        count += 1  # a class that was defined again, as a notebook's cell does, is another one
        name = f"{cls.__name__}-{count}"
    spec = OwnSpec(
        kind=kind,
        name=name,
        summary=f"{cls.__name__}, given in Python",
        target=f"{module}:{cls.__qualname__}",
        licence="unknown",
        frontend=frontend,
        extractor=extractor,
        cls=component,
        missing=missing,
    )
    registered = Registered(spec, Plugin(cls.__name__, module, _version(module)))
    if known:
        registry().components.remove(known)
    registry().components.append(registered)
    return registered.qualified_name


def _known(kind: Kind, module: str, name: str) -> Registered | None:
    wanted = (kind, module, name)
    return next(
        (each for each in _owned() if (each.spec.kind, each.plugin.distribution, each.spec.name) == wanted), None
    )


def _owned() -> Iterator[Registered]:
    return (each for each in registry().components if isinstance(each.spec, OwnSpec))


def _importable(cls: type) -> tuple[str, str, str]:
    """Return module and name by which a class is imported, the shortest; and why it cannot be, if it cannot."""
    parts = cls.__module__.split(".")
    if cls.__module__ == "__main__":
        return "__main__", cls.__name__, "is defined in a notebook or script (__main__): put it into a module"
    for length in range(1, len(parts) + 1):
        module = ".".join(parts[:length])
        if _attribute(sys.modules.get(module), cls.__qualname__) is cls:
            return module, cls.__qualname__, ""
    return cls.__module__, cls.__name__, "is not defined at the top of a module: move it there"


def _attribute(owner: Any, path: str) -> Any:
    for name in path.split("."):
        owner = getattr(owner, name, None)
    return owner


def _version(module: str) -> str:
    """Return what tells another state of the module: the library's version, or the digest of its file."""
    top = sys.modules.get(module.partition(".")[0])
    version = getattr(top, "__version__", None)
    if isinstance(version, str):
        return version
    file = getattr(sys.modules.get(module), "__file__", None)
    try:
        return version_of(Path(file)) if file else "unknown"
    except Exception:  # the file is gone, the class is not
        return "unknown"


def restore(kind: Kind, name: str) -> str:
    """Import the class that a model file calls ``module:Class`` and enter it into the registry; return its version.

    The caller has the user's consent.

    Raises
    ------
    ModelFileError
        If it cannot be imported or is no component.
    """
    module, _, path = name.partition(":")
    try:
        cls = _attribute(importlib.import_module(module), path)
    except Exception as error:
        raise ModelFileError(
            f"the {kind} {name} cannot be imported ({describe(error)}): install it, or run Python where {module} is"
        ) from error
    if not isinstance(cls, type):
        raise ModelFileError(f"the {kind} {name} is not in {module} any more: install the version of the fit")
    component: Any = cls
    if issubclass(component, INTERFACES[kind]):
        register(kind, component, cls)
    elif kind == "detector" and _is_estimator(cls):
        from asd.contract.outlier import class_of

        register(kind, class_of(cls), cls)
    else:
        raise ModelFileError(f"{name} is no {kind}: install the version that the model was fitted with")
    return registry().find(kind, name).plugin.version


def classes_in(kind: Kind, name: str) -> dict[str, str]:
    """Return the version of the class by ``module:Class``, if that is what a name stands for; else nothing."""
    registered = registry().find(kind, name)
    return {registered.qualified_name: registered.plugin.version} if isinstance(registered.spec, OwnSpec) else {}


def is_own(component: object) -> bool:
    """Return whether a component is of a class that no plugin offers."""
    cls = type(component)
    return any(getattr(each.spec, "cls", None) is cls for each in _owned())


def obstacle(kind: Kind, name: str, component: interfaces.Component) -> str | None:
    """Return why a model file cannot keep an unused component; None: it can.

    Parameters
    ----------
    kind, name
        What it is called.
    component : Component
        The component, before it computed anything.
    """
    registered = registry().find(kind, name)
    owner = f"{kind} {registered.spec.name}"
    if isinstance(registered.spec, OwnSpec) and registered.spec.missing:
        return f"{owner} {registered.spec.missing}"
    parameters = component.get_params()
    for parameter, value in parameters.items():
        try:
            to_plain(value)
        except UnplainError as error:
            return f"{owner}: its parameter {parameter!r} {error}"
    if kind == "detector":  # what it learns is asked for when it has learned
        return None
    attribute = _state(component, parameters)
    return (
        f"{owner}: its attribute {attribute!r} holds what no parameter says; make it of parameters at the first use"
        if attribute
        else None
    )


def _state(component: interfaces.Component, parameters: Mapping[str, Any]) -> str | None:
    """Return the first attribute that a new object of the same parameters has not, or has otherwise."""
    fresh = vars(type(component)(**parameters))
    for name, value in vars(component).items():
        if name in ("runtime", "origin") or f"{type(value).__module__}.{type(value).__name__}" in _STATELESS:
            continue
        if not _same(value, fresh.get(name, _UNSET)):
            return name
    return None


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(np.array_equal(one, other) if hasattr(one, "shape") else one == other)
    except Exception:  # what cannot be compared may be anything
        return False


def unkept(fitted: interfaces.Detector, unfitted: interfaces.Detector) -> str | None:
    """Return why what a detector learned cannot be kept in a model file; None: it can.

    Parameters
    ----------
    fitted, unfitted : Detector
        The detector, and a new one of the same parameters.

    Raises
    ------
    ConfigError
        If the detector itself says so.
    """
    for name, value in fitted.get_state().items():
        if np.asarray(value).dtype.kind not in "biuf":
            held = type(getattr(fitted, name, value)).__name__
            return f"its attribute {name!r} is of type {held}; a model file keeps numbers and arrays of them"
    if type(fitted).get_state is not interfaces.Detector.get_state:
        return None  # it says itself what is kept
    before = vars(unfitted)
    for name, value in vars(fitted).items():
        if name not in ("runtime", "origin") and not name.endswith("_") and not _same(value, before.get(name, _UNSET)):
            return f"its attribute {name!r} was learned, but only names that end in an underscore are kept: {name}_"
    return None
