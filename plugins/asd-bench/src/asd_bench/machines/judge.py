"""Learn and score: a pipeline's normalised scores of the clips of each comparison, fused and by branch."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from asd.errors import AsdError
from asd.experiment import (
    ClipFeatures,
    Config,
    EmbeddingCache,
    Failure,
    Pipeline,
    Shared,
    compute_as,
    current_engine,
    decided_runtimes,
    each,
    learn_branches,
    rendered_by,
    require_plugins,
    track,
)
from asd.plugin import Clip, Float64, Runtime
from asd_bench.machines.faults import Fault
from asd_bench.machines.plan import Comparison
from asd_registry import PIPELINE_KINDS

T = TypeVar("T")

_log = logging.getLogger("asd")

Embedded = dict[Path, list[ClipFeatures]]
"""Of each clip, what each branch made of it."""


@dataclass(frozen=True)
class Scores:
    """Scores of the clips of one comparison.

    Parameters
    ----------
    comparison : Comparison
        What was compared.
    kind : str
        The kind of generated faults; empty: none are.
    level : float or None
        Their strength in dB over the recording.
    normal, anomalous : float64 array of shape (n_clips, 1 + n_branches)
        The fused score and that of each branch, in deviations of the healthy clips held out of training; with one
        branch its score alone.
    """

    comparison: Comparison
    kind: str
    level: float | None
    normal: Float64
    anomalous: Float64


@dataclass(frozen=True)
class Judged:
    """What a pipeline did on all comparisons.

    Parameters
    ----------
    label : str
        The pipeline's name.
    branches : tuple of str
        Names of its branches.
    scores : list of Scores
        Scores of the clips of each comparison, generated faults by kind and level.
    sound_per_second : float
        Seconds of sound whose embeddings were computed in a second, from the files; NaN: not known.
    """

    label: str
    branches: tuple[str, ...]
    scores: list[Scores]
    sound_per_second: float


def judged(
    pipelines: Mapping[str, Config],
    comparisons: Sequence[Comparison],
    faults: Mapping[Path, Sequence[Fault]],
    *,
    runtime: Runtime,
    cache: EmbeddingCache,
    workers: int = 1,
) -> Iterator[Judged]:
    """Learn and score every comparison with each pipeline, here or by the workers of the current engine.

    A piece of work is all that one pipeline does for one machine.

    Parameters
    ----------
    pipelines : mapping of str to Config
        The pipelines by their names.
    comparisons : sequence of Comparison
        What to learn from and to compare; those of a machine follow each other.
    faults : mapping of Path to sequence of Fault
        The faulty versions of healthy recordings.
    runtime : Runtime
        How to compute.
    cache : EmbeddingCache
        Where embeddings are kept; a worker has its own.
    workers : int
        Threads that decode ahead.

    Yields
    ------
    Judged
        What each pipeline did, in order.

    Raises
    ------
    AsdError
        If a component cannot be had, or too few clips can be used.
    """
    machines = [tuple(own) for _, own in groupby(comparisons, key=lambda each: each.machine.name)]
    works = (
        _Work(label, config, own, {path: tuple(faults[path]) for path in _spoiled(own)})
        for label, config in pipelines.items()
        for own in machines
    )
    decided = {label: _decided(config, runtime) for label, config in pipelines.items()} if current_engine() else {}
    with closing(_Judge(runtime, workers, cache, {})) as here:
        parts = (runtime, workers, bool(cache.limit), decided)
        done = each(_judge_machine, Shared(_judge_of_worker, *parts, here=here, components=_used(pipelines)), works)
        with closing(done):
            for label in pipelines:
                found = islice(done, len(machines))
                yield _put_together(label, track(found, f"learning and scoring with {label}", len(machines)))


@dataclass(frozen=True)
class _Work:
    """A pipeline, and the comparisons of one machine with their faults."""

    label: str
    config: Config
    comparisons: tuple[Comparison, ...]
    faults: Mapping[Path, Sequence[Fault]]


@dataclass(frozen=True)
class _Found:
    """The scores of a machine's comparisons, and of each clip its seconds and those that its embeddings took."""

    branches: tuple[str, ...]
    scores: list[Scores]
    costs: dict[Path, tuple[float, float]]


class _Judge:
    """Holds the pipeline that was used last; each computes as the process decided that asks for the work."""

    def __init__(self, runtime: Runtime, workers: int, cache: EmbeddingCache, decided: Mapping[str, Any]) -> None:
        self.workers, self.cache = workers, cache
        self.told: set[str] = set()
        self._runtime, self._decided = runtime, decided
        self._pipeline: tuple[str, Pipeline] | None = None

    def pipeline(self, label: str, config: Config) -> Pipeline:
        """Return a pipeline of this configuration, whose name is `label`."""
        if self._pipeline is None or self._pipeline[0] != label:
            self.close()
            self._pipeline = label, Pipeline(config, self._runtime, cache=self.cache)
            if label in self._decided:
                compute_as(self._pipeline[1], self._decided[label])
        return self._pipeline[1]

    def close(self) -> None:
        """End what the pipeline runs."""
        if self._pipeline is not None:
            self._pipeline[1].close()


def _judge_of_worker(runtime: Runtime, workers: int, cached: bool, decided: Mapping[str, Any]) -> _Judge:
    return _Judge(runtime, workers, EmbeddingCache(limit=None if cached else 0), decided)


def _decided(config: Config, runtime: Runtime) -> Any:
    """Return how this process computes a pipeline that others are to compute."""
    require_plugins(config.resolved())
    with Pipeline(config, runtime) as pipeline:
        return decided_runtimes(pipeline)


def _used(pipelines: Mapping[str, Config]) -> list[tuple[str, str]]:
    """Return kind and name of each component of the pipelines."""
    parts = [part for config in pipelines.values() for part in config.resolved().parts]
    return sorted({(kind, getattr(part, kind).name) for part in parts for kind in PIPELINE_KINDS})


def _judge_machine(shared: Shared[_Judge], work: _Work) -> _Found:
    """Learn and score a machine's comparisons; called in a worker, or here."""
    judge = shared.value
    pipeline = judge.pipeline(work.label, work.config)
    features = _embedded(judge, work, pipeline)
    scores = [
        found for comparison in work.comparisons for found in _scores(pipeline, comparison, work.faults, features)
    ]
    costs = {path: (own[0].seconds, sum(each.cost.seconds for each in own)) for path, own in features.items()}
    return _Found(pipeline.config.names, scores, costs)


def _put_together(label: str, found: Iterable[_Found]) -> Judged:
    names: tuple[str, ...] = ()
    scores: list[Scores] = []
    costs: dict[Path, tuple[float, float]] = {}
    for own in found:
        names = own.branches
        scores += own.scores
        costs |= own.costs
    seconds, cost = (sum(column) for column in zip(*costs.values(), strict=True)) if costs else (0.0, 0.0)
    return Judged(label, names, scores, seconds / cost if cost else float("nan"))


def _spoiled(comparisons: Iterable[Comparison]) -> list[Path]:
    """Return the healthy recordings that get generated faults."""
    return list(dict.fromkeys(path for c in comparisons if c.protocol == "generated" for path in c.anomalous))


def _paths(comparisons: Sequence[Comparison], faults: Mapping[Path, Sequence[Fault]]) -> list[Path]:
    """Return every recording, each once, the generated ones last."""
    real = [path for c in comparisons for path in (*c.train, *c.normal, *c.anomalous)]
    return list(dict.fromkeys([*real, *(fault.path for own in faults.values() for fault in own)]))


def _embedded(judge: _Judge, work: _Work, pipeline: Pipeline) -> Embedded:
    clips = [Clip(path) for path in _paths(work.comparisons, work.faults)]
    found: Embedded = {}
    results = pipeline.embed_branches(clips, workers=judge.workers, cache=judge.cache)
    for clip, branches in zip(clips, track(results, f"embedding with {work.label}", len(clips)), strict=True):
        features = [each for each in branches if isinstance(each, ClipFeatures)]
        failures = [each for each in branches if isinstance(each, Failure)]
        if not failures and not features[0].silent:
            found[clip.path] = features
            continue
        reason = str(failures[0].error) if failures else f"{clip}: digital silence"
        if reason not in judge.told:  # another machine of the type learns from it, too
            judge.told.add(reason)
            _log.warning("left out: %s", reason)
    return found


def _scores(
    pipeline: Pipeline, comparison: Comparison, faults: Mapping[Path, Sequence[Fault]], features: Embedded
) -> Iterator[Scores]:
    learned = [features[path] for path in comparison.train if path in features]
    try:
        with rendered_by(_silently):
            branches, calibration = learn_branches(pipeline.config, learned, pipeline.runtime)
    except AsdError as error:
        raise type(error)(f"{comparison.machine.name}, {comparison.part or 'first draw'}: {error}") from error
    held_out = calibration.scores[:, np.newaxis] if calibration.branches is None else calibration.branches.scores
    mean, deviation = held_out.mean(axis=0), np.maximum(held_out.std(axis=0, ddof=1), 1e-12)

    def of(paths: Iterable[Path]) -> Float64:
        rows = []
        for path in paths:
            if path in features:
                pairs = zip(branches, features[path], strict=True)
                scores = np.stack([branch.clip_scores(own) for branch, own in pairs], axis=1)
                own = (scores.mean(axis=0) - mean) / deviation
                fused = own[0] if calibration.branches is None else calibration.branches.fused(scores).mean()
                rows.append([fused, *own])
        return np.array(rows, dtype=np.float64).reshape(-1, 1 + len(branches))

    normal = of(comparison.normal)
    if comparison.protocol != "generated":
        yield Scores(comparison, "", None, normal, of(comparison.anomalous))
        return
    spoiled = [fault for path in comparison.anomalous for fault in faults[path]]
    for kind, level in dict.fromkeys((fault.kind, fault.level) for fault in spoiled):
        chosen = (fault.path for fault in spoiled if (fault.kind, fault.level) == (kind, level))
        yield Scores(comparison, kind, level, normal, of(chosen))
    if not spoiled:
        yield Scores(comparison, "", None, normal, of(()))


def _silently(items: Iterable[T], description: str, total: int | None) -> Iterable[T]:
    """Show nothing: the loop about it shows how far it is."""
    return items
