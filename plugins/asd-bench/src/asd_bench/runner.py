"""Run a recipe: each trial once, embeddings shared by the detectors, finished trials kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path

from asd.plugin import Channel, Recording, create
from asd_bench.candidates import Candidate, candidates_of, digest_of_trial
from asd_bench.compute import TrialRunner
from asd_bench.pieces import computed
from asd_bench.recipe import Recipe
from asd_bench.sections import MachineSection, sections_of
from asd_bench.store import ResultStore
from asd_bench.trial import Trial, TrialResult

Observer = Callable[[TrialResult, int, int], None]
"""Receives the result of each finished trial, the number of finished trials and the number of all."""


class Run:
    """One run of a recipe.

    Parameters
    ----------
    recordings : sequence of Recording
        The data.
    store : ResultStore
        Where the results of finished trials are kept.
    runner : TrialRunner
        What computes the recipe's trials.
    """

    def __init__(self, recordings: Sequence[Recording], store: ResultStore, runner: TrialRunner) -> None:
        self.recipe = recipe = runner.recipe
        self.runner = runner
        self.candidates = candidates_of(recipe.pipelines, runner.channel)
        self._store = store
        # For each machine section its clips with each seed.
        seeded = list(zip(*(sections_of(recipe, recordings, seed) for seed in recipe.seeds), strict=True))
        self.sections = [sections[0] for sections in seeded]
        self.trials = list(self._trials(seeded))

    def _trials(self, seeded: Sequence[Sequence[MachineSection]]) -> Iterator[Trial]:
        """Yield the trials in the order of work: pipelines that share embeddings, one machine section at a time."""
        groups: dict[str, list[Candidate | None]] = {"": [None]}
        for candidate in self.candidates:
            groups.setdefault(candidate.embedding_key, []).append(candidate)
        for group in groups.values():
            for sections in seeded:
                for seed, section in zip(self.recipe.seeds, sections, strict=True):
                    for member in group:
                        yield Trial(member, section, seed, self._digest(member, section, seed))

    def _digest(self, candidate: Candidate | None, section: MachineSection, seed: int) -> str:
        if candidate and candidate.problem:
            return ""
        return digest_of_trial(candidate, section.digest, self.recipe.metric, seed, self.runner.runtime)

    def results(self, observe: Observer | None = None) -> list[TrialResult]:
        """Compute what is not finished, and return the result of each trial.

        Raises
        ------
        ConfigError
            If a parameter of a component is wrong; raised before anything is computed.
        DataError
            If the results cannot be kept.
        """
        found = [self._store.load(trial) if trial.digest else None for trial in self.trials]
        missing = {id(trial): i for i, (trial, result) in enumerate(zip(self.trials, found, strict=True)) if not result}
        todo = [self.trials[i] for i in missing.values()]
        self.runner.check(todo)
        for done, result in enumerate(chain(filter(None, found), self._computed(todo)), start=1):
            if result.computed:
                found[missing[id(result.trial)]] = result
            if observe:
                observe(result, done, len(self.trials))
        return [result for result in found if result]

    def _computed(self, trials: Sequence[Trial]) -> Iterator[TrialResult]:
        """Compute trials and keep each result as soon as it is there; workers may finish them in another order."""
        with closing(computed(self.runner.shared(trials), trials, self.runner.needs)) as results:
            for result in results:
                # A failed trial is tried again by the next run: what was missing may be there by then.
                yield result if result.reason else self._store.keep(result)


def read_data(recipe: Recipe, folder: Path) -> tuple[list[Recording], Channel]:
    """Return the recordings of a recipe's datasets below `folder`, and the channel that their experiments use.

    Raises
    ------
    DataError
        If the data is not there.
    """
    datasets = [create("dataset", choice.name, choice.parameters) for choice in recipe.datasets]
    recordings = [recording for dataset in datasets for recording in dataset.recordings(folder)]
    return recordings, datasets[0].channel
