"""Which engine does the work: by its name, or as an object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from asd.contract.create import create, load_class
from asd.contract.installed import FRAMEWORK, registry
from asd.contract.interfaces import WorkEngine
from asd.errors import ConfigError
from asd_registry import ENGINES
from asd_registry.known import distribution_of

DEFAULT = "dask"
"""The engine that a scheduler is taken to be of."""


def engine_from(engine: object, scheduler: str | None = None) -> WorkEngine | None:
    """Return the engine that `asd.using_engine` is given; parameters and errors as there."""
    if engine is None or isinstance(engine, WorkEngine):
        if scheduler is not None:
            raise ConfigError(f"scheduler {scheduler!r} is for an engine that is given by its name, such as 'dask'")
        return engine
    if not isinstance(engine, str):
        return _adopted(engine)
    name, address = _parts(engine)
    if address and scheduler:
        raise ConfigError(f"engine {engine!r} and scheduler {scheduler!r}: the address stands twice; give it once")
    return named_engine(name, scheduler or address)


def engines_named(names: Sequence[str], scheduler: str | None) -> tuple[str, str | None]:
    """Return what ``--engine``, given once or twice, and ``--scheduler`` name.

    Returns
    -------
    str
        What runs the network: ``"auto"``, ``"onnx"`` or ``"torch"``.
    str or None
        Who does the work, as for `asd.using_engine`; None: this process.

    Raises
    ------
    ConfigError
        If a name is unknown, or two are of one kind.
    """
    networks = [name for name in names if name in ("auto", *ENGINES)]
    workers = [name for name in names if name not in networks]
    for given in (networks, workers):
        if len(given) > 1:
            raise ConfigError(
                f"--engine {given[0]} and --engine {given[1]} exclude each other; give one that runs the network "
                f"({', '.join(('auto', *ENGINES))}) and one that does the work ({', '.join(_known())}) at most"
            )
    for name in workers:
        if not any(each in _known() or distribution_of(each, "engine") for each in (name, _parts(name)[0])):
            raise ConfigError(
                f"--engine {name!r} is unknown; expected {', '.join(('auto', *ENGINES))} (what runs the network), or "
                f"{', '.join(_known())} (who does the work)"
            )
    named = workers[0] if workers else DEFAULT if scheduler is not None else None
    return (networks[0] if networks else "auto"), named


def named_engine(name: str, scheduler: str | None) -> WorkEngine:
    """Return a new engine of this name.

    Raises
    ------
    PluginError
        If there is none.
    ConfigError
        If it takes no such scheduler.
    """
    return create("engine", name, {} if scheduler is None else {"scheduler": scheduler})


def _parts(text: str) -> tuple[str, str | None]:
    """Return the name and the scheduler of ``name``, ``name:scheduler`` or ``distribution:name``."""
    if text in {component.qualified_name for component in registry().of_kind("engine")}:
        return text, None
    name, _, address = text.partition(":")
    return name, address or None


def _known() -> list[str]:
    """Return the names of the engines that are installed."""
    own_first = sorted(registry().of_kind("engine"), key=lambda each: each.plugin.distribution != FRAMEWORK)
    return [name for each in own_first for name in (each.spec.name, each.qualified_name)]


def _adopted(thing: object) -> WorkEngine:
    for component in registry().of_kind("engine"):
        if not component.problem:
            cls = cast("type[WorkEngine]", load_class(component))
            if (engine := cls.adopt(thing)) is not None:
                return engine
    raise ConfigError(
        f"{type(thing).__module__}.{type(thing).__qualname__} is no engine, nor a client of one; expected a name "
        f"({', '.join(_known())}), a WorkEngine, or a distributed.Client (pip install asd-dask)"
    )
