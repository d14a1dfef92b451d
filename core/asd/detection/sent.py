"""What workers get of a pipeline or a model, and what they make of it.

How is decided by the process that asks: device, precision, engine and batch size go along, so that a worker computes
the numbers that this process would.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asd.contract.installed import registry
from asd.contract.interfaces import Runtime
from asd.contract.own import OwnSpec
from asd.detection.config import ResolvedConfig
from asd.detection.embeddings import EmbeddingCache
from asd.detection.features import Failure
from asd.detection.piece import Shared
from asd.detection.pipeline import Pipeline
from asd.detection.results import component_call
from asd.detection.work import current_engine
from asd.errors import ConfigError, ModelFileError
from asd.records import Clip

if TYPE_CHECKING:
    from asd.detection.model import Model
    from asd.detection.verdict import Verdict

Decided = list[tuple[Runtime, Runtime | None]]
"""Of each embedder, the runtime asked for, and what it means here (`asd.detection.embedder.Embedder.compute_as`)."""


@dataclass(frozen=True)
class Kept:
    """Which embedding cache: its path or address, or None, the process' own; and its limit in bytes."""

    path: Path | str | None
    limit: int

    @classmethod
    def of(cls, cache: EmbeddingCache | None) -> Kept | None:
        """Return what stands for a cache; None: there is none."""
        if cache is None:
            return None
        is_own = not cache.is_shared and cache.path == EmbeddingCache(limit=0).path
        return cls(None if is_own else cache.path, cache.limit)

    def opened(self) -> EmbeddingCache:
        """Return the cache, of this process."""
        return EmbeddingCache(self.path, self.limit)


class Sent:
    """A pipeline, and the threads that decode ahead of it."""

    def __init__(self, pipeline: Pipeline, workers: int) -> None:
        self.pipeline, self.workers = pipeline, workers

    def close(self) -> None:
        """Close the pipeline."""
        self.pipeline.close()


class Judging:
    """A model, the threads that decode ahead of it, and its cache."""

    def __init__(self, model: Model, workers: int, cache: EmbeddingCache | None) -> None:
        self.model, self.workers, self.cache = model, workers, cache

    def close(self) -> None:
        """Close the model."""
        self.model.close()


def pipeline_of(pipeline: Pipeline, workers: int) -> Shared[Sent]:
    """Return a pipeline as state of pieces.

    Raises
    ------
    ConfigError
        If other processes are to work, and a component is none of a plugin's.
    """
    here = Sent(pipeline, workers)
    if current_engine() is None:
        return Shared(_pipeline, here=here)
    require_plugins(pipeline.config)
    parts = (pipeline.config, pipeline.runtime, decided_runtimes(pipeline), Kept.of(pipeline.cache), workers)
    return Shared(_pipeline, *parts, here=here, components=components_of(pipeline.config))


def _pipeline(config: ResolvedConfig, runtime: Runtime, decided: Decided, kept: Kept | None, workers: int) -> Sent:
    pipeline = Pipeline(config, runtime, cache=kept.opened() if kept else None)
    compute_as(pipeline, decided)
    return Sent(pipeline, workers)


def judging_of(model: Model, workers: int, *, cache: bool) -> Shared[Judging]:
    """Return a model as state of pieces.

    Raises
    ------
    ConfigError
        If other processes are to work, and the model cannot be kept in a file.
    """
    kept = model.pipeline.cache if cache else None
    here = Judging(model, workers, kept)
    if current_engine() is None:
        return Shared(_judging, here=here)
    try:
        manifest, arrays = model.content()
    except ModelFileError as error:
        raise ConfigError(f"{error}; so other processes cannot have it: leave --engine out") from error
    manifest = json.loads(json.dumps({**manifest, "created": "-"}))  # one of the same content is the same
    names = [branch.name for branch in model.branches]
    parts = (manifest, arrays, names, model.pipeline.runtime, decided_runtimes(model.pipeline), Kept.of(kept), workers)
    return Shared(_judging, *parts, here=here, components=components_of(model.config))


def _judging(
    manifest: dict[str, Any],
    arrays: Any,
    names: list[str],
    runtime: Runtime,
    decided: Decided,
    kept: Kept | None,
    workers: int,
) -> Judging:
    from asd.detection.model import Model

    cache = kept.opened() if kept else None
    # The user's consent, where the model needed one, was given where it was loaded.
    model = Model.of_content("the model", manifest, arrays, runtime=runtime, cache=cache or False, trust=None)
    # A branch that was given no name is called as its extractor, of which a file keeps the distribution, too.
    model.branches = [replace(branch, name=name) for branch, name in zip(model.branches, names, strict=True)]
    compute_as(model.pipeline, decided)
    return Judging(model, workers, cache)


def judged(state: Shared[Judging], clips: Sequence[Clip]) -> Iterator[Verdict | Failure]:
    """Yield a model's verdict on each clip."""
    judging = state.value
    yield from judging.model.score_here(clips, workers=judging.workers, cache=judging.cache)


def needs_of(pipeline: Pipeline) -> dict[str, float] | None:
    """Return what pieces of a pipeline take of a worker's resources: a graphics card, if it computes on one."""
    if current_engine() is None:
        return None
    used = [asked if used is None else used for asked, used in decided_runtimes(pipeline)]
    return {"GPU": 1} if any(runtime.device.startswith("cuda") for runtime in used) else None


def components_of(config: ResolvedConfig) -> list[tuple[str, str]]:
    """Return kind and name of each component of a pipeline that a plugin offers."""
    found = [(kind, getattr(part, kind).name) for part in config.parts for kind in config.kinds]
    return [(kind, name) for kind, name in found if not isinstance(registry().find(kind, name).spec, OwnSpec)]


def decided_runtimes(pipeline: Pipeline) -> Decided:
    """Return how a pipeline computes here, for `compute_as` in other processes."""
    decided: Decided = []
    for embedder in pipeline.embedders:
        used = None
        if embedder.runtime.device == "auto":
            with component_call(embedder.extractor):
                used = embedder.extractor.computes_with()
        decided.append((embedder.runtime, used))
    return decided


def compute_as(pipeline: Pipeline, decided: Decided) -> None:
    """Let a new pipeline compute as another process decided."""
    for embedder, (asked, used) in zip(pipeline.embedders, decided, strict=True):
        embedder.compute_as(asked, used)


def require_plugins(config: ResolvedConfig) -> None:
    """Refuse components that other processes cannot make: classes and objects that no plugin offers.

    Raises
    ------
    ConfigError
        If there is one.
    """
    for part in config.parts:
        for kind in config.kinds:
            choice = getattr(part, kind)
            if choice.instance is not None or isinstance(registry().find(kind, choice.name).spec, OwnSpec):
                raise ConfigError(
                    f"{kind} {choice.name!r} is given in Python, and other processes make components by the names that "
                    "plugins give them: put it into a plugin (asd new-plugin), or leave the engine out"
                )
