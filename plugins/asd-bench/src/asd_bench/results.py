"""Put the cells of a run together: a line for each pipeline, with intervals and what is the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asd.plugin import Float64
from asd_bench.grid import LOUDNESS, Pipelined
from asd_bench.measures import combine, interval
from asd_bench.recipe import Metric, Recipe
from asd_bench.runner import Row

MEASURES = ("auc", "auc_source", "auc_target", "pauc", "pauc_source", "pauc_target")


@dataclass(frozen=True)
class Line:
    """A pipeline over all units and seeds.

    Parameters
    ----------
    label : str
        The pipeline's name.
    pipeline : Pipelined or None
        None: loudness alone.
    score : float
        The metric's score over the units, mean over the seeds; NaN if it has no result.
    draws : float64 array of shape (draws,)
        The score on each bootstrap sample.
    measures : dict of str to float
        Means of the parts by name, over units, sections and seeds.
    facts : dict of str to Any
        Times, memory, dimension, licence.
    failures : tuple of str
        Reasons of its failed cells.
    cells : int
        How many cells it has, failed ones included.
    """

    label: str
    pipeline: Pipelined | None
    score: float
    draws: Float64
    measures: dict[str, float]
    facts: dict[str, Any]
    failures: tuple[str, ...]
    cells: int

    @property
    def complete(self) -> bool:
        """Whether every cell has a result: only such lines can be ranked."""
        return not self.failures

    @property
    def interval(self) -> tuple[float, float]:
        """The score's 95 % bootstrap interval; NaN without a result."""
        return interval(self.draws) if len(self.draws) else (float("nan"), float("nan"))


@dataclass(frozen=True)
class Results:
    """What came out of a run.

    Parameters
    ----------
    recipe : Recipe
        What was done.
    rows : list of Row
        The cells.
    lines : list of Line
        The pipelines, the best first; then those with failed cells.
    loudness : Line
        The level meter.
    """

    recipe: Recipe
    rows: list[Row]
    lines: list[Line]
    loudness: Line

    @property
    def best(self) -> Line | None:
        """The best pipeline of those without failed cells."""
        return next((line for line in self.lines if line.complete), None)

    def behind(self, line: Line) -> tuple[float, float, float]:
        """Return how far a line is behind the best: the difference of the scores and its paired 95 % interval."""
        best = self.best
        if best is None or not len(line.draws):
            return (float("nan"),) * 3
        return best.score - line.score, *self.difference(best, line)

    def difference(self, one: Line, other: Line) -> tuple[float, float]:
        """Return the paired 95 % bootstrap interval of the score of one line less that of another."""
        return interval(one.draws - other.draws)


def results_of(recipe: Recipe, rows: Sequence[Row]) -> Results:
    """Put rows together."""
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.label, []).append(row)
    lines = [_line(recipe.metric, label, own) for label, own in grouped.items()]
    ranked = sorted(
        (line for line in lines if line.pipeline), key=lambda line: (not line.complete, -np.nan_to_num(line.score))
    )
    loudness = next(line for line in lines if line.label == LOUDNESS)
    return Results(recipe, list(rows), ranked, loudness)


def _line(metric: Metric, label: str, rows: list[Row]) -> Line:
    good = [row for row in rows if not row.failed]
    parts = [part for row in good for part in _parts(row)]
    by_seed = {seed: [row for row in good if row.seed == seed] for seed in dict.fromkeys(row.seed for row in good)}
    scores = [_together(metric, [_parts(row) for row in own]) for own in by_seed.values()]
    draws = [_together(metric, [_drawn(row) for row in own]) for own in by_seed.values()]
    return Line(
        label=label,
        pipeline=rows[0].pipeline,
        score=float(np.mean(scores)) if scores else float("nan"),
        draws=np.mean(draws, axis=0) if draws else np.zeros(0),
        measures={name: float(np.mean(found)) for name in MEASURES if (found := [v for n, v in parts if n == name])},
        facts=_facts(good),
        failures=tuple(row.cell.record["reason"] for row in rows if row.failed),
        cells=len(rows),
    )


def _together(metric: Metric, units: Sequence[Sequence[tuple[str, Any]]]) -> Float64:
    """Return the score over units: a mean of means up to 2020, the harmonic mean of all parts from 2021 on."""
    if metric in ("auc", "dcase2020"):
        return np.asarray(np.mean([combine(metric, parts) for parts in units], axis=0))
    return combine(metric, [part for parts in units for part in parts])


def _parts(row: Row) -> list[tuple[str, float]]:
    return [(part["name"], part["value"]) for part in row.cell.record["parts"]]


def _drawn(row: Row) -> list[tuple[str, Float64]]:
    record, draws = row.cell.record, row.cell.draws
    return [(part["name"], drawn) for part, drawn in zip(record["parts"], draws, strict=True)]


def _facts(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the mean time, the largest memory, the dimension and the licence over cells."""
    records = [row.cell.record for row in rows]
    timed = [record for record in records if "fit_seconds" in record]
    if not timed:
        return {"weights_licence": records[0]["weights_licence"]} if records else {}
    means = {
        name: float(np.mean([record[name] for record in timed]))
        for name in ("fit_seconds", "score_seconds", "seconds_per_second")
    }
    return {
        **means,
        "sound_per_second": 1 / means["seconds_per_second"],
        "peak_memory": max(record["peak_memory"] for record in timed),
        "dimension": timed[0]["dimension"],
        "weights_licence": timed[0]["weights_licence"],
        "left_out": sum(record["left_out"] for record in timed),
    }
