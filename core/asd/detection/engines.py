"""Which engine does the work: by its name, or as an object."""

from __future__ import annotations

from typing import cast

from asd.contract.create import create, load_class
from asd.contract.installed import registry
from asd.contract.interfaces import WorkEngine
from asd.errors import ConfigError

LOCAL = "local"
"""The engine that the framework brings."""


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


def named_engine(name: str, scheduler: str | None) -> WorkEngine:
    """Return a new engine of this name.

    Raises
    ------
    PluginError
        If there is none.
    ConfigError
        If it takes no such scheduler.
    """
    if name == LOCAL:
        from asd.detection.local_engine import LocalEngine

        return LocalEngine(scheduler=scheduler)
    return create("engine", name, {} if scheduler is None else {"scheduler": scheduler})


def _parts(text: str) -> tuple[str, str | None]:
    """Return the name and the scheduler of ``name``, ``name:scheduler`` or ``distribution:name``."""
    if text in {component.qualified_name for component in registry().of_kind("engine")}:
        return text, None
    name, _, address = text.partition(":")
    return name, address or None


def _adopted(thing: object) -> WorkEngine:
    for component in registry().of_kind("engine"):
        if not component.problem:
            cls = cast("type[WorkEngine]", load_class(component))
            if (engine := cls.adopt(thing)) is not None:
                return engine
    known = ", ".join([LOCAL, *(component.spec.name for component in registry().of_kind("engine"))])
    raise ConfigError(
        f"{type(thing).__module__}.{type(thing).__qualname__} is no engine, nor a client of one; expected a name "
        f"({known}), a WorkEngine, or a distributed.Client (pip install asd-dask)"
    )
