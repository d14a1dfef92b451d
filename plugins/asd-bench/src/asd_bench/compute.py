"""Compute trials: embeddings through the cache, then a detector on them for each trial."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from asd.errors import AsdError, AudioError, ConfigError, DataError
from asd.experiment import (
    ClipFeatures,
    Config,
    Cost,
    EmbeddingCache,
    Failure,
    FeatureTransform,
    Member,
    Pipeline,
    ResolvedConfig,
    Shared,
    clip_score,
    compute_as,
    current_engine,
    decided_runtimes,
    embed_all,
    needs_of,
    new_detector,
    new_transform,
    peak_memory,
    pool_embeddings,
    require_plugins,
    reset_peak,
)
from asd.plugin import (
    Channel,
    Clip,
    ClipReader,
    Float32,
    Float64,
    Recording,
    Rows,
    Runtime,
    fit_rows,
    locate,
    registry,
    track,
)
from asd_bench.candidates import Candidate, licence_of_weights
from asd_bench.measures import Bootstrap, combine
from asd_bench.recipe import Recipe
from asd_bench.sections import MachineSection
from asd_bench.trial import Trial, TrialResult, failed
from asd_registry import PIPELINE_KINDS

T = TypeVar("T")

_log = logging.getLogger("asd")

Embeddings = dict[Path, tuple[ClipFeatures, Cost] | None]
"""Features and cost of each clip; None if it cannot be read."""


@dataclass
class TrialRunner:
    """Computes trials in the order of `Run.trials`, and holds the embeddings of one machine section at a time.

    Parameters
    ----------
    recipe : Recipe
        The recipe: its metric and kind of split count.
    cache : EmbeddingCache
        Where embeddings are kept.
    channel : int or "mix"
        The channel that the dataset's experiments use.
    runtime : Runtime
        How to compute.
    workers : int
        Threads that decode ahead.
    decided : dict of str to Any
        By embedding key, how the process that asks for the work computes (`asd.experiment.decided_runtimes`).

    Attributes
    ----------
    needs : dict of str to float
        What a piece takes of a worker's resources, known after `check`.
    """

    recipe: Recipe
    cache: EmbeddingCache
    channel: Channel = "mix"
    runtime: Runtime = field(default_factory=Runtime)
    workers: int = 1
    decided: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.needs: dict[str, float] = {}
        self._networks: _Recent[Pipeline] = _Recent()
        self._embeddings: _Recent[Embeddings] = _Recent()
        self._transforms: _Recent[_Transformed] = _Recent(2)
        self._bootstraps: _Recent[Bootstrap] = _Recent()
        self._weights: dict[str, AsdError | None] = {}

    def shared(self, trials: Iterable[Trial]) -> Shared[TrialRunner]:
        """Return this, after `check`, as the state of `trials` as work in pieces: a worker makes its own of it.

        Raises
        ------
        ConfigError
            If other processes are to compute, and a component is none of a plugin's.
        """
        configs = [each.candidate.config.resolved() for each in trials if each.candidate and not each.candidate.problem]
        components = {(kind, getattr(config, kind).name) for config in configs for kind in PIPELINE_KINDS}
        if current_engine():
            for config in configs:
                require_plugins(config)
        parts = (self.recipe, self.channel, self.runtime, self.workers, self.decided, bool(self.cache.limit))
        return Shared(_runner_of_worker, *parts, here=self, components=sorted(components))

    def check(self, trials: Iterable[Trial]) -> None:
        """Create each pipeline's components once, so that a wrong parameter is reported before anything is computed.

        Raises
        ------
        ConfigError
            If there is one.
        """
        candidates = {trial.label: trial.candidate for trial in trials if trial.candidate and trial.digest}
        for candidate in candidates.values():
            try:
                pipeline = Pipeline(candidate.config, self.runtime)
                if current_engine():
                    self.decided[candidate.embedding_key] = decided_runtimes(pipeline)
                    self.needs |= needs_of(pipeline) or {}
                new_detector(candidate.config.resolved(), self.runtime)
            except ConfigError:
                raise
            except AsdError as error:
                _log.debug("%s: %s", candidate.label, error)  # the results of its trials say so

    def run(self, trial: Trial) -> TrialResult:
        """Compute a trial; an error becomes the reason of its result, and the other trials go on."""
        try:
            if trial.candidate is None:
                return self._loudness(trial)
            if trial.candidate.problem:
                return failed(trial, trial.candidate.problem)
            self._require_weights(trial.candidate.config)
            return self._scored(trial, trial.candidate)
        except AsdError as error:
            return failed(trial, str(error))
        except Exception as error:
            _log.debug("unexpected in %s", trial.label, exc_info=True)
            return failed(trial, f"{type(error).__name__}: {error}")

    def embeddings(self, candidate: Candidate, section: MachineSection) -> Embeddings:
        """Return the embeddings of a machine section's clips, with their cost, by path."""
        found = self._embeddings.get((candidate.embedding_key, section.name), dict)
        if missing := [path for path in section.paths if path not in found]:  # another seed may draw other clips
            found |= self._embed(candidate, missing)
        return found

    def _require_weights(self, config: Config) -> None:
        """Raise the error for missing weights of the extractor before anything heavy is imported for them."""
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

    def _scored(self, trial: Trial, candidate: Candidate) -> TrialResult:
        reset_peak()
        section, config = trial.section, replace(candidate.config.resolved(), seed=trial.seed)
        embeddings = self.embeddings(candidate, section)
        test = [(recording, *found) for recording in section.test if (found := embeddings[recording.path])]
        train = training_features(embeddings, section)
        if not train or not test:
            raise DataError(f"{len(train)} training clips and {len(test)} test clips can be used: too few")
        pooled = [pool_embeddings(features.values, config) for features in train]
        training = self._transformed(trial, config, pooled)
        rows = Rows(np.repeat(np.arange(len(pooled)), [len(values) for values in pooled]))
        began = time.perf_counter()
        detector = fit_rows(new_detector(config, self.runtime), training.values, rows)
        fit_seconds = time.perf_counter() - began
        member = Member(training.transform, detector)
        began = time.perf_counter()
        scores = np.array([clip_score(member, features, config) for _, features, _ in test])
        score_seconds = time.perf_counter() - began
        embedding = float(np.median([cost.seconds / max(features.seconds, 1e-9) for _, features, cost in test]))
        sound = sum(features.seconds for _, features, _ in test)
        record = {
            "weights_licence": licence_of_weights(config),
            "dimension": int(train[0].values.shape[1]),
            "fit_seconds": training.seconds + fit_seconds,
            "transform_seconds": training.seconds,
            "score_seconds": score_seconds,
            "seconds_per_second": embedding + score_seconds / sound,
            "peak_memory": max(peak_memory(), *(cost.peak_memory for _, _, cost in test)),
            "left_out": len(section.train) - len(train) + len(section.test) - len(test),
        }
        return self._measured(trial, record, scores, [recording for recording, _, _ in test])

    def _transformed(self, trial: Trial, config: ResolvedConfig, train: list[Float32]) -> _Transformed:
        """Return the transformed training windows, which several detectors share; each accounts for their time."""
        assert trial.candidate is not None
        seed = trial.seed if self.recipe.split.kind == "balanced" else None
        transform = new_transform(config)
        options = (config.embedding_pooling, transform.standardise, transform.deviation_floor, transform.pca)
        key = (trial.candidate.embedding_key, trial.section.name, seed, options)
        return self._transforms.get(key, lambda: _transform(config, train))

    def _embed(self, candidate: Candidate, paths: list[Path]) -> Embeddings:
        network = self._networks.get(candidate.embedding_key, lambda: self._network(candidate))
        results = embed_all(network, [Clip(path) for path in paths], self.cache, workers=self.workers)
        extractor = candidate.config.resolved().extractor
        found: Embeddings = dict.fromkeys(paths)
        for path, result in zip(paths, track(results, f"embedding, {extractor.name}", len(paths)), strict=True):
            if isinstance(result, Failure):
                _log.warning("left out: %s", result.error)
            else:
                found[path] = result
        return found

    def _network(self, candidate: Candidate) -> Pipeline:
        pipeline = Pipeline(candidate.config, self.runtime)
        if decided := self.decided.get(candidate.embedding_key):
            compute_as(pipeline, decided)
        return pipeline

    def _loudness(self, trial: Trial) -> TrialResult:
        levels: list[float] = []
        readable: list[Recording] = []
        for recording in trial.section.test:
            try:
                levels.append(_level(recording.path, self.channel))
                readable.append(recording)
            except AudioError as error:
                _log.debug("%s", error)
        return self._measured(trial, {"weights_licence": "none"}, np.array(levels), readable)

    def _measured(
        self, trial: Trial, record: dict[str, Any], scores: Float64, test: Sequence[Recording]
    ) -> TrialResult:
        """Return the result of a trial that scored the test clips: measures with their bootstrap."""
        metric, paths = self.recipe.metric, tuple(recording.path for recording in test)
        bootstrap = self._bootstraps.get(paths, lambda: Bootstrap(test, trial.section.test_digest))
        measures = bootstrap.measures(metric, scores)
        record |= {
            "measures": [{"name": each.name, "section": each.section, "value": each.value} for each in measures],
            "score": float(combine(metric, [(each.name, each.value) for each in measures])),
            "train_clips": len(trial.section.train),
            "test_clips": len(test),
            "tested": [recording.path.name for recording in test],
            "anomalous": bootstrap.anomalous.tolist(),
            "domains": bootstrap.domain.tolist(),
            "scores": scores.tolist(),
        }
        return TrialResult(trial, record, np.stack([each.draws for each in measures]))


def _runner_of_worker(
    recipe: Recipe, channel: Channel, runtime: Runtime, workers: int, decided: dict[str, Any], cached: bool
) -> TrialRunner:
    cache = EmbeddingCache(limit=None if cached else 0)
    return TrialRunner(recipe, cache, channel, runtime, workers, decided)


def training_features(embeddings: Embeddings, section: MachineSection) -> list[ClipFeatures]:
    """Return the features of the training clips that can be read and are not silent."""
    found = [embeddings[recording.path] for recording in section.train]
    return [each[0] for each in found if each and not each[0].silent]


@dataclass(frozen=True)
class _Transformed:
    """The training windows as the detector takes them, and the seconds that the transform took."""

    transform: FeatureTransform
    values: Float32
    seconds: float


class _Recent(Generic[T]):
    """Keeps the objects that were made last; makes room before it makes a new one, so that memory holds no more."""

    def __init__(self, size: int = 1) -> None:
        self._size = size
        self._kept: dict[Hashable, T] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what was made for `key`, or make it."""
        if key not in self._kept:
            while len(self._kept) >= self._size:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = make()
        return self._kept[key]


def _transform(config: ResolvedConfig, train: list[Float32]) -> _Transformed:
    began = time.perf_counter()
    joined = np.concatenate(train)
    transform = new_transform(config).fit(joined)
    return _Transformed(transform, transform.transform(joined), time.perf_counter() - began)


def _level(path: Path, channel: Channel) -> float:
    """Return the level of a clip in dB, the mean square of all its samples."""
    power, count = 0.0, 0
    for block in ClipReader(Clip(path), channel=channel):
        power += float(np.square(block, dtype=np.float64).sum())
        count += len(block)
    return float(10 * np.log10(max(power / count, 1e-20)))
