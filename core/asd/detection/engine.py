"""Which engine runs an extractor's network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from asd.contract.installed import registry
from asd.contract.interfaces import Extractor, Runtime
from asd.detection.results import component_call
from asd.errors import ConfigError


def with_engine(name: str, runtime: Runtime, clips: int, make: Callable[[], Extractor]) -> Runtime:
    """Return `runtime` with the engine that an extractor computes with; ``auto`` if it leaves no choice.

    Parameters
    ----------
    name : str
        The extractor's name.
    runtime : Runtime
        What the user asks for.
    clips : int
        How many clips are to be embedded; 0: unknown.
    make : callable
        Makes the extractor; called only if the choice is its own.

    Raises
    ------
    ConfigError
        If it has not the engine that is asked for.
    AsdError
        If it cannot be made, or no engine can compute what is asked for.
    """
    engines = registry().find("extractor", name).spec.engines
    if not engines:
        return replace(runtime, engine="auto")
    if runtime.engine not in ("auto", *engines):
        raise ConfigError(
            f"extractor {name!r} computes with {' or '.join(engines)}, asked for {runtime.engine}; leave --engine out "
            "or choose another extractor"
        )
    if runtime.engine != "auto":
        return runtime
    if len(engines) == 1:
        return replace(runtime, engine=engines[0])
    extractor = make()
    extractor.runtime = runtime
    with component_call(extractor):
        return extractor.choose_engine(clips)
