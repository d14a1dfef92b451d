"""Results as files: CSV, JSON, Parquet, and the official DCASE files."""

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

from asd.errors import DataError
from asd_bench.compare import comparisons
from asd_bench.measures import combine, interval
from asd_bench.results import MEASURES, Line, Results
from asd_bench.runner import Row

_FACTS = (
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
    """Return a flat record for each cell: pipeline, unit, seed, measures, interval, costs, and why it failed."""
    loudness = {(row.unit.name, row.seed): _measures(row).get("auc") for row in results.rows if row.pipeline is None}
    return [_flat(results, row, loudness) for row in results.rows if row.pipeline]


def ranking(results: Results) -> list[dict[str, Any]]:
    """Return a flat record for each pipeline over all units and seeds, the best first."""
    return [_ranked(results, line) for line in results.lines]


def write(results: Results, folder: Path) -> list[Path]:
    """Write ``rows.csv``, ``ranking.csv``, ``results.json`` and, where pyarrow is installed, ``rows.parquet``.

    Raises
    ------
    DataError
        If a file cannot be written.
    """
    rows, ranked = table(results), ranking(results)
    try:
        written = [_csv(folder / "rows.csv", rows), _csv(folder / "ranking.csv", ranked)]
        path = folder / "results.json"
        path.write_text(json.dumps(as_json(results), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        if importlib.util.find_spec("pyarrow"):
            written.append(_parquet(folder / "rows.parquet", rows))
    except OSError as error:
        raise DataError(
            f"{error.filename or folder}: cannot write it ({error.strerror}); name a folder that you may write to by -o"
        ) from error
    return [*written, path]


def as_json(results: Results) -> dict[str, Any]:
    """Return all of the results as JSON holds them; what has no value is null."""
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


def _flat(results: Results, row: Row, loudness: dict[tuple[str, int], float | None]) -> dict[str, Any]:
    config, record = row.pipeline.config if row.pipeline else None, row.cell.record
    assert config is not None
    names = {kind: choice.name if (choice := getattr(config, kind)) else "" for kind in ("frontend", "extractor")}
    flat: dict[str, Any] = {
        "pipeline": row.label,
        **names,
        "detector": config.detector.name if config.detector else "",
        "unit": row.unit.name,
        "machine": row.unit.machine,
        "seed": row.seed,
        "score": record.get("score"),
        "low": None,
        "high": None,
    }
    if not row.failed:
        named = [(part["name"], draws) for part, draws in zip(record["parts"], row.cell.draws, strict=True)]
        flat["low"], flat["high"] = interval(combine(results.recipe.metric, named))
    flat |= {name: _measures(row).get(name) for name in MEASURES}
    flat |= {"loudness_auc": loudness.get((row.unit.name, row.seed))}
    flat |= {name: record.get(name) for name in _FACTS}
    return {**flat, "failed": record.get("reason", "")}


def _measures(row: Row) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for part in row.cell.record.get("parts", ()):
        found.setdefault(part["name"], []).append(part["value"])
    return {name: sum(values) / len(values) for name, values in found.items()}


def _ranked(results: Results, line: Line) -> dict[str, Any]:
    low, high = line.interval
    behind, behind_low, behind_high = results.behind(line) if line.complete else (math.nan,) * 3
    return {
        "pipeline": line.label,
        "score": line.score,
        "low": low,
        "high": high,
        **{name: line.measures.get(name) for name in MEASURES},
        "behind_best": behind,
        "behind_low": behind_low,
        "behind_high": behind_high,
        **line.facts,
        "cells": line.cells,
        "failed_cells": len(line.failures),
        "failed": "; ".join(dict.fromkeys(line.failures)),
    }


def _csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _columns(rows), lineterminator="\n")
        writer.writeheader()
        writer.writerows(_without_nan(rows))
    return path


def _parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pyarrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    columns = {name: [_without_nan(row.get(name)) for row in rows] for name in _columns(rows)}
    parquet.write_table(pyarrow.table(columns), path)
    return path


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    """Return the columns of all rows: one that failed has fewer."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
