"""A trial, one pipeline on one machine section with one seed, and its result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from asd.plugin import Float64
from asd_bench.candidates import LOUDNESS, Candidate
from asd_bench.sections import MachineSection


@dataclass(frozen=True)
class Trial:
    """A pipeline to train and test on a machine section with a seed.

    Parameters
    ----------
    candidate : Candidate or None
        The pipeline; None: loudness alone.
    section : MachineSection
        The clips.
    seed : int
        The seed.
    digest : str
        Digest of all that decides the result; empty if the pipeline cannot run here.
    """

    candidate: Candidate | None
    section: MachineSection
    seed: int
    digest: str

    @property
    def label(self) -> str:
        """The pipeline's name."""
        return self.candidate.label if self.candidate else LOUDNESS


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial.

    Parameters
    ----------
    trial : Trial
        The trial.
    record : dict
        Measures, scores, times and memory as JSON holds them; for a trial without a result the ``reason`` alone.
    draws : float64 array of shape (measures, draws)
        Bootstrap draws of each measure.
    computed : bool
        Whether this run computed it; False: it was in the results folder.
    """

    trial: Trial
    record: dict[str, Any]
    draws: Float64
    computed: bool = True

    @property
    def reason(self) -> str:
        """The reason why there is no result; empty if there is one."""
        return str(self.record.get("reason", ""))

    @property
    def measures(self) -> list[tuple[str, float]]:
        """The names and values of the measures, section by section."""
        return [(measure["name"], measure["value"]) for measure in self.record.get("measures", ())]

    @property
    def drawn_measures(self) -> list[tuple[str, Float64]]:
        """The names and bootstrap draws of the measures."""
        return [(name, draws) for (name, _), draws in zip(self.measures, self.draws, strict=True)]


def failed(trial: Trial, reason: str) -> TrialResult:
    """Return the result of a trial that has none."""
    return TrialResult(trial, {"reason": " ".join(reason.split())}, np.zeros((0, 0)))


def by_label(results: Iterable[TrialResult]) -> dict[str, list[TrialResult]]:
    """Return the results of each pipeline."""
    grouped: dict[str, list[TrialResult]] = {}
    for result in results:
        grouped.setdefault(result.trial.label, []).append(result)
    return grouped
