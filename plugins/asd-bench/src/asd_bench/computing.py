"""The part of a run that computes: embeddings through the cache, then a detector on them for each cell."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from asd.errors import AsdError, AudioError, ConfigError, DataError
from asd.experiment import (
    ClipFeatures,
    Config,
    Cost,
    Failure,
    FeatureTransform,
    Member,
    Pipeline,
    ResolvedConfig,
    embed_all,
    new_detector,
    new_transform,
    peak_memory,
    pool_scores,
    reset_peak,
)
from asd.plugin import Clip, ClipReader, Detector, Float32, Recording, locate, registry, track
from asd_bench.grid import Pipelined, licence_of_weights
from asd_bench.runner import Run, Task, failed
from asd_bench.store import Cell

T = TypeVar("T")

_log = logging.getLogger("asd")

Embedded = dict[Path, Failure | tuple[ClipFeatures, Cost]]


class Computing:
    """Computes cells in the order of `Run.tasks`, holding the embeddings of one unit at a time."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._networks: _Latest[Pipeline] = _Latest()
        self._embeddings: _Latest[Embedded] = _Latest()
        self._transforms: _Latest[_Transformed] = _Latest(2)
        self._weights: dict[str, AsdError | None] = {}

    def check(self, tasks: Iterable[Task]) -> None:
        """Create each pipeline's components once: a mistake in a parameter is said before the listening.

        Raises
        ------
        ConfigError
            If there is one.
        """
        for pipeline in {task.pipeline.label: task.pipeline for task in tasks if task.pipeline}.values():
            try:
                Pipeline(pipeline.config, self.run.runtime)
                new_detector(pipeline.config.resolved(), self.run.runtime)
            except ConfigError:
                raise
            except AsdError as error:
                _log.debug("%s: %s", pipeline.label, error)  # its cells say so

    def cell(self, task: Task) -> Cell:
        """Compute a cell; what goes wrong in it is its reason, and the others go on."""
        try:
            if task.pipeline is None:
                return self._loudness(task)
            self._require_weights(task.pipeline.config)
            return self._scored(task, task.pipeline)
        except AsdError as error:
            return failed(str(error))
        except Exception as error:
            _log.debug("unexpected in %s", task.pipeline and task.pipeline.label, exc_info=True)
            return failed(f"{type(error).__name__}: {error}")

    def _require_weights(self, config: Config) -> None:
        """Raise what keeps the extractor's weights from being here, before anything heavy is imported for them."""
        choice = config.extractor
        if choice is None or {"weights", "model"} & choice.parameters.keys():
            return
        if choice.name not in self._weights:
            self._weights[choice.name] = None
            try:
                for weight in registry().find("extractor", choice.name).spec.weights:
                    locate(weight)
            except AsdError as error:
                self._weights[choice.name] = error
        if missing := self._weights[choice.name]:
            raise missing

    def _scored(self, task: Task, pipeline: Pipelined) -> Cell:
        reset_peak()
        unit, config = task.unit, replace(pipeline.config.resolved(), seed=task.seed)
        embedded = self.embeddings(pipeline, unit.name)
        heard = [(r, f) for r in unit.test if not isinstance(f := embedded[r.path], Failure)]
        train = [f[0].values for r in unit.train if not isinstance(f := embedded[r.path], Failure) and not f[0].silent]
        if not train or not heard:
            raise DataError(f"{len(train)} clips to train and {len(heard)} to test on can be used: too few")
        shared = self._shared(task, pipeline, train)
        began = time.perf_counter()
        detector: Detector = new_detector(config, self.run.runtime).fit(shared.values)
        fit_seconds = time.perf_counter() - began
        member = Member(shared.transform, detector)
        began = time.perf_counter()
        scores = np.array([pool_scores(member.score(f.values), config) for _, (f, _) in heard])
        score_seconds = time.perf_counter() - began
        costs = [(cost, f.seconds) for _, (f, cost) in heard]
        listening = float(np.median([cost.seconds / max(seconds, 1e-9) for cost, seconds in costs]))
        record = {
            "weights_licence": licence_of_weights(config),
            "dimension": int(train[0].shape[1]),
            "fit_seconds": shared.seconds + fit_seconds,
            "transform_seconds": shared.seconds,
            "score_seconds": score_seconds,
            "seconds_per_second": listening + score_seconds / sum(seconds for _, seconds in costs),
            "peak_memory": max(peak_memory(), *(cost.peak_memory for cost, _ in costs)),
            "left_out": len(unit.train) - len(train) + len(unit.test) - len(heard),
        }
        return self.run.finished(task, record, scores, [r for r, _ in heard])

    def _shared(self, task: Task, pipeline: Pipelined, train: list[Float32]) -> _Transformed:
        """Return what detectors share that look at the same windows: each accounts for its time."""
        config = pipeline.config.resolved()
        drawn = task.seed if self.run.recipe.split.kind == "balanced" else None
        options = (config.standardise, config.deviation_floor, config.pca)
        key = (pipeline.sound(), task.unit.name, drawn, options)
        return self._transforms.get(key, lambda: _transformed(config, train))

    def embeddings(self, pipeline: Pipelined, unit: str) -> Embedded:
        """Return the embeddings of a unit's clips, with their cost, by path."""
        return self._embeddings.get((pipeline.sound(), unit), lambda: self._embed(pipeline, self.run.paths[unit]))

    def _embed(self, pipeline: Pipelined, paths: list[Path]) -> Embedded:
        network = self._networks.get(pipeline.sound(), lambda: Pipeline(pipeline.config, self.run.runtime))
        results = embed_all(network, [Clip(path) for path in paths], self.run.cache, workers=self.run.workers)
        extractor = pipeline.config.resolved().extractor
        found = dict(zip(paths, track(results, f"listening, {extractor.name}", len(paths)), strict=True))
        for result in found.values():
            if isinstance(result, Failure):
                _log.warning("left out: %s", result.error)
        return found

    def _loudness(self, task: Task) -> Cell:
        levels: list[float] = []
        heard: list[Recording] = []
        for recording in task.unit.test:
            try:
                levels.append(_level(recording.path, self.run.channel))
                heard.append(recording)
            except AudioError as error:
                _log.debug("%s", error)
        return self.run.finished(task, {"weights_licence": "none"}, np.array(levels), heard)


@dataclass(frozen=True)
class _Transformed:
    """The training windows' features before the detector."""

    transform: FeatureTransform
    values: Float32
    seconds: float


class _Latest(Generic[T]):
    """Remembers the last few things that were made; what is given up is free before the next is made."""

    def __init__(self, size: int = 1) -> None:
        self._size = size
        self._held: dict[Hashable, T] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what was made for `key`, or make it."""
        if key not in self._held:
            while len(self._held) >= self._size:
                self._held.pop(next(iter(self._held)))
            self._held[key] = make()
        return self._held[key]


def _transformed(config: ResolvedConfig, train: list[Float32]) -> _Transformed:
    began = time.perf_counter()
    joined = np.concatenate(train)
    transform = new_transform(config).fit(joined)
    return _Transformed(transform, transform.transform(joined), time.perf_counter() - began)


def _level(path: Path, channel: Any) -> float:
    """Return the level of a clip in dB, the mean square of all its samples."""
    power, count = 0.0, 0
    for block in ClipReader(Clip(path), channel=channel):
        power += float(np.square(block, dtype=np.float64).sum())
        count += len(block)
    return float(10 * np.log10(max(power / count, 1e-20)))
