"""Put the results of a run together: a summary for each pipeline, with intervals, and the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asd.experiment import percentile_interval
from asd.plugin import Float64
from asd_bench.candidates import LOUDNESS, Candidate
from asd_bench.measures import Metric, combine_sections, means
from asd_bench.recipe import Recipe
from asd_bench.trial import TrialResult, by_label


@dataclass(frozen=True)
class PipelineSummary:
    """A pipeline over all machine sections and seeds.

    Parameters
    ----------
    label : str
        The pipeline's name.
    candidate : Candidate or None
        The pipeline; None: loudness alone.
    score : float
        The metric's score over the machine sections, mean over the seeds; NaN without a result.
    draws : float64 array of shape (draws,)
        The score of each bootstrap sample.
    measures : dict of str to float
        Mean of the measures of each name, over machine sections and seeds.
    costs : dict of str to Any
        Times, memory, dimension and licence.
    failures : tuple of str
        The reasons of its failed trials.
    trials : int
        Number of its trials, failed ones included.
    seed_scores : tuple of float
        The score with each seed that has a result.
    """

    label: str
    candidate: Candidate | None
    score: float
    draws: Float64
    measures: dict[str, float]
    costs: dict[str, Any]
    failures: tuple[str, ...]
    trials: int
    seed_scores: tuple[float, ...] = ()

    @property
    def seed_deviation(self) -> float | None:
        """The standard deviation of the score over the seeds; None with fewer than two."""
        return float(np.std(self.seed_scores, ddof=1)) if len(self.seed_scores) > 1 else None

    @property
    def complete(self) -> bool:
        """Whether every trial has a result; only such pipelines can be ranked."""
        return not self.failures

    @property
    def interval(self) -> tuple[float, float]:
        """The score's 95 % bootstrap interval; NaN without a result."""
        return percentile_interval(self.draws) if len(self.draws) else (float("nan"), float("nan"))


@dataclass(frozen=True)
class Results:
    """All results of a run.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    trials : list of TrialResult
        The result of each trial.
    ranking : list of PipelineSummary
        The pipelines, the best first; then those with failed trials.
    loudness : PipelineSummary
        Loudness alone.
    """

    recipe: Recipe
    trials: list[TrialResult]
    ranking: list[PipelineSummary]
    loudness: PipelineSummary

    @property
    def best(self) -> PipelineSummary | None:
        """The best pipeline of those without failed trials."""
        return next((summary for summary in self.ranking if summary.complete), None)

    def behind(self, summary: PipelineSummary) -> tuple[float, float, float]:
        """Return the distance of a pipeline to the best: difference of the scores, its paired 95 % interval."""
        best = self.best
        if best is None or not summary.complete:
            return (float("nan"),) * 3
        return best.score - summary.score, *percentile_interval(best.draws - summary.draws)


def summarise(recipe: Recipe, trials: Sequence[TrialResult]) -> Results:
    """Put the results of trials together."""
    summaries = [_summary(recipe.metric, label, own) for label, own in by_label(trials).items()]
    ranking = sorted(
        (summary for summary in summaries if summary.candidate),
        key=lambda summary: (not summary.complete, -np.nan_to_num(summary.score)),
    )
    loudness = next(summary for summary in summaries if summary.label == LOUDNESS)
    return Results(recipe, list(trials), ranking, loudness)


def _summary(metric: Metric, label: str, results: list[TrialResult]) -> PipelineSummary:
    good = [result for result in results if not result.reason]
    seeds: dict[int, list[TrialResult]] = {}
    for result in good:
        seeds.setdefault(result.trial.seed, []).append(result)
    scores = [combine_sections(metric, [result.measures for result in own]) for own in seeds.values()]
    draws = [combine_sections(metric, [result.drawn_measures for result in own]) for own in seeds.values()]
    return PipelineSummary(
        label=label,
        candidate=results[0].trial.candidate,
        score=float(np.mean(scores)) if scores else float("nan"),
        draws=np.mean(draws, axis=0) if draws else np.zeros(0),
        measures=means(measure for result in good for measure in result.measures),
        costs=_costs([result.record for result in good]),
        failures=tuple(result.reason for result in results if result.reason),
        trials=len(results),
        seed_scores=tuple(map(float, scores)),
    )


def _costs(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean times, the largest memory, the dimension and the licence of trials."""
    timed = [record for record in records if "fit_seconds" in record]
    if not timed:
        return {"weights_licence": records[0]["weights_licence"]} if records else {}
    times = ("fit_seconds", "score_seconds", "seconds_per_second")
    seconds = {name: float(np.mean([record[name] for record in timed])) for name in times}
    return {
        **seconds,
        "sound_per_second": 1 / seconds["seconds_per_second"],
        "peak_memory": max(record["peak_memory"] for record in timed),
        "dimension": timed[0]["dimension"],
        "weights_licence": timed[0]["weights_licence"],
        "left_out": sum(record["left_out"] for record in timed),
    }
