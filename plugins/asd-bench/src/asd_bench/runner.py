"""Run a recipe: each cell once, embeddings shared by the detectors, finished cells kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asd.experiment import EmbeddingCache
from asd.plugin import Dataset, Float64, Recording, Runtime, create
from asd_bench.grid import LOUDNESS, Pipelined, digest_of_cell, pipelined
from asd_bench.measures import Bootstrap, combine
from asd_bench.recipe import Recipe
from asd_bench.store import Cell, Store
from asd_bench.units import Unit, units_of

Observer = Callable[["Row", int, int], None]
"""Is told each row as it is finished, with how many are done and how many there are."""


@dataclass(frozen=True)
class Row:
    """A pipeline on a unit with a seed, and what came out.

    Parameters
    ----------
    pipeline : Pipelined or None
        None: loudness alone.
    unit : Unit
        The clips.
    seed : int
        The seed.
    cell : Cell
        The result; its record's ``reason`` says why there is none.
    fresh : bool
        Whether this run computed it.
    """

    pipeline: Pipelined | None
    unit: Unit
    seed: int
    cell: Cell
    fresh: bool = False

    @property
    def label(self) -> str:
        """The pipeline's name."""
        return self.pipeline.label if self.pipeline else LOUDNESS

    @property
    def failed(self) -> bool:
        """Whether there is no result."""
        return "reason" in self.cell.record


@dataclass(frozen=True)
class Task:
    """A cell to do."""

    pipeline: Pipelined | None
    unit: Unit
    seed: int
    digest: str


class Run:
    """One run of a recipe.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    recordings : sequence of Recording
        The data.
    store : Store
        Where finished cells are kept.
    cache : EmbeddingCache
        Where embeddings are kept.
    channel : int or "mix"
        The channel that the dataset's experiments listen to.
    runtime : Runtime
        How to compute.
    workers : int
        Threads that decode ahead.
    """

    def __init__(
        self,
        recipe: Recipe,
        recordings: Sequence[Recording],
        store: Store,
        cache: EmbeddingCache,
        *,
        channel: Any = "mix",
        runtime: Runtime | None = None,
        workers: int = 1,
    ) -> None:
        self.recipe = recipe
        self.store = store
        self.cache = cache
        self.runtime = runtime or Runtime()
        self.workers = workers
        self.channel = channel
        self.pipelines = pipelined(recipe.pipelines, channel)
        self._bootstrap: tuple[list[Path], Bootstrap] | None = None
        self.tasks = list(self._tasks(recordings))

    def _tasks(self, recordings: Sequence[Recording]) -> list[Task]:
        """Return the cells in the order of work: pipelines that share embeddings, unit by unit."""
        by_seed = {seed: units_of(self.recipe, recordings, seed) for seed in self.recipe.seeds}
        digests = {(seed, unit.name): unit.digest for seed, units in by_seed.items() for unit in units}
        names = [unit.name for unit in by_seed[self.recipe.seeds[0]]]
        units = {(seed, unit.name): unit for seed, found in by_seed.items() for unit in found}
        self.paths = {name: _paths([units[seed, name] for seed in by_seed]) for name in names}
        groups: dict[str, list[Pipelined | None]] = {"": [None]}
        for pipeline in self.pipelines:
            groups.setdefault(pipeline.sound(), []).append(pipeline)
        return [
            Task(pipeline, units[seed, name], seed, self._digest(pipeline, digests[seed, name], seed))
            for group in groups.values()
            for name in names
            for seed in self.recipe.seeds
            for pipeline in group
        ]

    def _digest(self, pipeline: Pipelined | None, unit: str, seed: int) -> str:
        if pipeline and pipeline.problem:
            return ""
        return digest_of_cell(pipeline, unit, self.recipe.metric, seed, self.runtime)

    def rows(self, observe: Observer | None = None) -> list[Row]:
        """Do what is not done, and return a row for each cell.

        Raises
        ------
        ConfigError
            If a parameter of a component is wrong; said before anything is computed.
        DataError
            If the results cannot be kept.
        """
        done = {task.digest: self.store.load(task.digest) for task in self.tasks if task.digest}
        missing = [task for task in self.tasks if task.digest and done[task.digest] is None]
        computing = None
        if missing:  # what computes imports what is heavy
            from asd_bench.computing import Computing

            computing = Computing(self)
            computing.check(missing)
        rows: list[Row] = []
        for task in self.tasks:
            cell = done.get(task.digest)
            row = Row(task.pipeline, task.unit, task.seed, cell or self._do(task, computing), fresh=cell is None)
            rows.append(row)
            if observe:
                observe(row, len(rows), len(self.tasks))
        return rows

    def _do(self, task: Task, computing: Any) -> Cell:
        if task.pipeline and task.pipeline.problem:
            return failed(task.pipeline.problem)
        cell: Cell = computing.cell(task)
        # What failed is tried again by the next run: what was missing may be there by then.
        return cell if "reason" in cell.record else self.store.keep(task.digest, cell)

    def finished(self, task: Task, record: dict[str, Any], scores: Float64, test: Sequence[Recording]) -> Cell:
        """Return the cell of a pipeline that scored the test clips: measures with their bootstrap."""
        paths = [recording.path for recording in test]
        if self._bootstrap is None or self._bootstrap[0] != paths:
            self._bootstrap = paths, Bootstrap(test, task.unit.test_digest)
        bootstrap = self._bootstrap[1]
        parts = bootstrap.parts(self.recipe.metric, scores)
        record |= {
            "parts": [{"name": part.name, "section": part.section, "value": part.value} for part in parts],
            "score": float(combine(self.recipe.metric, [(part.name, part.value) for part in parts])),
            "train_clips": len(task.unit.train),
            "test_clips": len(test),
            "tested": [recording.path.name for recording in test],
            "anomalous": bootstrap.anomalous.tolist(),
            "domains": bootstrap.domain.tolist(),
            "scores": scores.tolist(),
        }
        return Cell(record, np.stack([part.draws for part in parts]))


def _paths(units: Sequence[Unit]) -> list[Path]:
    return sorted({recording.path for unit in units for recording in (*unit.train, *unit.test)})


def failed(reason: str) -> Cell:
    """Return the cell of what has no result."""
    return Cell({"reason": " ".join(reason.split())}, np.zeros((0, 0)))


def read_data(recipe: Recipe, folder: Path) -> tuple[list[Recording], Any]:
    """Return the recordings of a recipe's datasets below `folder`, and the channel that they listen to.

    Raises
    ------
    DataError
        If the data is not there.
    """
    datasets: list[Dataset] = [create("dataset", choice.name, choice.parameters) for choice in recipe.datasets]
    recordings = [recording for dataset in datasets for recording in dataset.recordings(folder)]
    return recordings, datasets[0].channel
