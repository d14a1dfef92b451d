"""Results as files: CSV, JSON and Parquet."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asd.experiment import percentile_interval
from asd_bench.compare import comparisons
from asd_bench.measures import MEASURES, combine, means
from asd_bench.results import PipelineSummary, Results
from asd_bench.trial import TrialResult
from asd_bench.writing import writing

_COSTS = (
    "fit_seconds",
    "score_seconds",
    "seconds_per_second",
    "peak_memory",
    "dimension",
    "weights_licence",
    "train_clips",
    "test_clips",
    "left_out",
)


def table(results: Results) -> list[dict[str, Any]]:
    """Return a flat record of each trial: pipeline, machine section, seed, measures, interval, costs, failure."""
    loudness = {
        (each.trial.section.name, each.trial.seed): means(each.measures).get("auc")
        for each in results.trials
        if each.trial.candidate is None
    }
    return [_flat(results, each, loudness) for each in results.trials if each.trial.candidate]


def ranking(results: Results) -> list[dict[str, Any]]:
    """Return a flat record for each pipeline over all machine sections and seeds, the best first."""
    return [_ranked(results, summary) for summary in results.ranking]


def write(results: Results, folder: Path) -> list[Path]:
    """Write ``rows.csv``, ``ranking.csv``, ``results.json`` and, where pyarrow is installed, ``rows.parquet``.

    Raises
    ------
    DataError
        If a file cannot be written.
    """
    rows = table(results)
    written = [_csv(folder / "rows.csv", rows), _csv(folder / "ranking.csv", ranking(results))]
    if importlib.util.find_spec("pyarrow"):
        written.append(_parquet(folder / "rows.parquet", rows))
    path = folder / "results.json"
    with writing(path):
        path.write_text(json.dumps(as_json(results), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return [*written, path]


def as_json(results: Results) -> dict[str, Any]:
    """Return all results as JSON holds them; a missing value is null."""
    recipe = results.recipe
    described = {
        "recipe": recipe.name,
        "summary": recipe.summary,
        "metric": recipe.metric,
        "split": recipe.split.kind,
        "seeds": list(recipe.seeds),
        "loudness": results.loudness.measures,
        "ranking": ranking(results),
        "rows": table(results),
        "published": [
            {**asdict(each), "difference": each.difference, "covered": each.covered} for each in comparisons(results)
        ],
    }
    cleaned: dict[str, Any] = _without_nan(described)
    return cleaned


def _flat(results: Results, result: TrialResult, loudness: dict[tuple[str, int], float | None]) -> dict[str, Any]:
    trial, record = result.trial, result.record
    assert trial.candidate is not None
    chosen = {kind: getattr(trial.candidate.config, kind) for kind in ("frontend", "extractor", "detector")}
    low, high = None, None
    if not result.reason:
        low, high = percentile_interval(combine(results.recipe.metric, result.drawn_measures))
    measures = means(result.measures)
    return {
        "pipeline": trial.label,
        **{kind: choice.name if choice else "" for kind, choice in chosen.items()},
        "unit": trial.section.name,
        "machine": trial.section.machine,
        "seed": trial.seed,
        "score": record.get("score"),
        "low": low,
        "high": high,
        **{name: measures.get(name) for name in MEASURES},
        "loudness_auc": loudness.get((trial.section.name, trial.seed)),
        **{name: record.get(name) for name in _COSTS},
        "failed": result.reason,
    }


def _ranked(results: Results, summary: PipelineSummary) -> dict[str, Any]:
    low, high = summary.interval
    behind, behind_low, behind_high = results.behind(summary)
    return {
        "pipeline": summary.label,
        "score": summary.score,
        "seed_deviation": summary.seed_deviation,
        "low": low,
        "high": high,
        **{name: summary.measures.get(name) for name in MEASURES},
        "behind_best": behind,
        "behind_low": behind_low,
        "behind_high": behind_high,
        **summary.costs,
        "cells": summary.trials,
        "failed_cells": len(summary.failures),
        "failed": "; ".join(dict.fromkeys(summary.failures)),
    }


def _csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with writing(path), path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _columns(rows), lineterminator="\n")
        writer.writeheader()
        writer.writerows(_without_nan(rows))
    return path


def _parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pyarrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    columns = {name: [_without_nan(row.get(name)) for row in rows] for name in _columns(rows)}
    with writing(path):
        parquet.write_table(pyarrow.table(columns), path)
    return path


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    """Return the columns of all rows: a failed trial has fewer."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
