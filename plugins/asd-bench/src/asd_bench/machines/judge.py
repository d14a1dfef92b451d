"""Learn and score: a pipeline's normalised scores of the clips of each comparison, fused and by branch."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from asd.errors import AsdError
from asd.experiment import (
    ClipFeatures,
    Config,
    EmbeddingCache,
    Failure,
    Pipeline,
    learn_branches,
    rendered_by,
    track,
)
from asd.plugin import Clip, Float64, Runtime
from asd_bench.machines.faults import Fault
from asd_bench.machines.plan import Comparison

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


def judge(
    label: str,
    config: Config,
    comparisons: Sequence[Comparison],
    faults: Mapping[Path, Sequence[Fault]],
    *,
    runtime: Runtime,
    cache: EmbeddingCache,
    workers: int = 1,
) -> Judged:
    """Learn and score every comparison with one pipeline.

    Parameters
    ----------
    label : str
        The pipeline's name.
    config : Config
        The pipeline.
    comparisons : sequence of Comparison
        What to learn from and to compare.
    faults : mapping of Path to sequence of Fault
        The faulty versions of healthy recordings.
    runtime : Runtime
        How to compute.
    cache : EmbeddingCache
        Where embeddings are kept.
    workers : int
        Threads that decode ahead.

    Raises
    ------
    AsdError
        If a component cannot be had, or too few clips can be used.
    """
    with Pipeline(config, runtime, cache=cache) as pipeline:
        features = _embedded(label, pipeline, _paths(comparisons, faults), cache, workers)
        scores = [
            each
            for comparison in track(comparisons, f"learning and scoring with {label}", len(comparisons))
            for each in _scores(pipeline, comparison, faults, features)
        ]
        return Judged(label, pipeline.config.names, scores, _speed(features))


def _paths(comparisons: Sequence[Comparison], faults: Mapping[Path, Sequence[Fault]]) -> list[Path]:
    """Return every recording, each once, the generated ones last."""
    real = [path for c in comparisons for path in (*c.train, *c.normal, *c.anomalous)]
    return list(dict.fromkeys([*real, *(fault.path for own in faults.values() for fault in own)]))


def _embedded(label: str, pipeline: Pipeline, paths: Sequence[Path], cache: EmbeddingCache, workers: int) -> Embedded:
    clips = [Clip(path) for path in paths]
    found: Embedded = {}
    results = pipeline.embed_branches(clips, workers=workers, cache=cache)
    for clip, branches in zip(clips, track(results, f"embedding with {label}", len(clips)), strict=True):
        features = [each for each in branches if isinstance(each, ClipFeatures)]
        if failures := [each for each in branches if isinstance(each, Failure)]:
            _log.warning("left out: %s", failures[0].error)
        elif features[0].silent:
            _log.warning("left out: %s: digital silence", clip)
        else:
            found[clip.path] = features
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


def _speed(features: Embedded) -> float:
    seconds = sum(own[0].seconds for own in features.values())
    cost = sum(each.cost.seconds for own in features.values() for each in own)
    return seconds / cost if cost else float("nan")


def _silently(items: Iterable[T], description: str, total: int | None) -> Iterable[T]:
    """Show nothing: the loop about it shows how far it is."""
    return items
