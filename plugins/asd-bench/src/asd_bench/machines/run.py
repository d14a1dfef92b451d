"""Run the recipe ``machines``: from folders to tables and files."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import click

from asd.command import print_json, print_table
from asd.errors import DataError
from asd.experiment import EmbeddingCache
from asd.plugin import Runtime
from asd_bench.machines.collection import read_machines
from asd_bench.machines.faults import Fault, generated
from asd_bench.machines.judge import judged
from asd_bench.machines.plan import Comparison, plan
from asd_bench.machines.recipe import MachinesRecipe
from asd_bench.machines.table import GENERATED, Row, Summary, as_json, branches_of, rows_of, summarise
from asd_bench.writing import writing


def run(
    recipe: MachinesRecipe, data: Sequence[Path], folder: Path, *, runtime: Runtime, workers: int
) -> tuple[list[Summary], list[Row], list[Path]]:
    """Compare the recipe's pipelines, and return their summaries, the rows, and the files that were written.

    Parameters
    ----------
    recipe : MachinesRecipe
        What to compare.
    data : sequence of Path
        Folders or manifests.
    folder : Path
        Results folder; generated faults are kept in it, too.
    runtime : Runtime
        How to compute.
    workers : int
        Threads that decode ahead.

    Raises
    ------
    AsdError
        If there is no data, or a pipeline cannot run.
    """
    comparisons = plan(read_machines(data), draws=recipe.draws, recordings=recipe.recordings, seed=recipe.seed)
    if recipe.recordings == 0:
        comparisons = [each for each in comparisons if each.protocol != "generated"]
    if not comparisons:
        raise DataError("nothing to compare: no recording is anomalous, and the recipe generates no faults")
    faults = _faults(recipe, comparisons, folder / "generated")
    rows: list[Row] = []
    speeds: dict[str, float] = {}
    try:
        cache = EmbeddingCache()
        for each in judged(recipe.pipelines, comparisons, faults, runtime=runtime, cache=cache, workers=workers):
            rows += rows_of(each)
            speeds[each.label] = each.sound_per_second
            summaries = summarise(rows, speeds)
            written = _write(summaries, rows, folder)  # after each: the next may take long
    except KeyboardInterrupt:
        raise DataError("interrupted; embeddings are kept, and the same command goes on") from None
    return summaries, rows, written


def _faults(recipe: MachinesRecipe, comparisons: Sequence[Comparison], folder: Path) -> dict[Path, list[Fault]]:
    sources = [path for each in comparisons if each.protocol == "generated" for path in each.anomalous]
    found: dict[Path, list[Fault]] = {path: [] for path in sources}
    for fault in generated(list(found), recipe.kinds, recipe.levels, folder):
        found[fault.source].append(fault)
    return found


def _write(summaries: Sequence[Summary], rows: Sequence[Row], folder: Path) -> list[Path]:
    table, whole = folder / "machines.csv", folder / "machines.json"
    with writing(table):
        folder.mkdir(parents=True, exist_ok=True)
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)])
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
        whole.write_text(json.dumps(as_json(summaries, rows), indent=1, ensure_ascii=False), encoding="utf-8")
    return [table, whole]


def show(recipe: MachinesRecipe, summaries: Sequence[Summary], rows: Sequence[Row], *, as_json_text: bool) -> None:
    """Print the results: a column for each pipeline, then for each pipeline of several branches one for each branch."""
    if as_json_text:
        print_json(as_json(summaries, rows))
        return
    click.echo(f"{recipe.name}: {recipe.summary}")
    _print(summaries, ranked=len(summaries) > 1)
    click.echo(_caption(rows))
    for summary in summaries:
        branches = branches_of(rows, summary.label)
        if len(branches) > 1:
            click.echo(f"\n{summary.label}, by branch")
            _print(branches, ranked=False)


def _print(summaries: Sequence[Summary], *, ranked: bool) -> None:
    first = summaries[0]
    lines = [("mean", [each.mean for each in summaries]), ("worst", [each.worst for each in summaries])]
    lines += [("mean rank", [each.rank for each in summaries])] if ranked else []
    lines += [(name, [each.columns[name] for each in summaries]) for name in first.columns if name != GENERATED]
    if GENERATED in first.columns:
        lines.append((GENERATED, [each.columns[GENERATED] for each in summaries]))
        lines += [(f"  {kind}", [each.kinds[kind] for each in summaries]) for kind in first.kinds]
        lines += [(f"  {level}", [each.levels[level] for each in summaries]) for level in first.levels]
    lines += [(f"{name}, own test", [each.tests[name] for each in summaries]) for name in first.tests]
    cells = [(name, *(_text(name, value) for value in values)) for name, values in lines]
    if ranked or not math.isnan(first.sound_per_second):
        cells.append(("× real time", *(_number(each.sound_per_second, 0) for each in summaries)))
    print_table(("AUC", *(each.label for each in summaries)), cells)


def _text(name: str, value: float) -> str:
    return _number(value, 1 if name == "mean rank" else 3)


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _caption(rows: Sequence[Row]) -> str:
    machines = len({row.machine for row in rows})
    text = (
        f"{machines} machine{'s' if machines > 1 else ''}. Mean over the collections, groups and generated faults; the "
        "worst over the kinds of faults, too."
    )
    if any(row.protocol == "group" for row in rows):
        text += " Groups: are clips of a group that is left out of training told from others?"
    if any(row.protocol == "test" for row in rows):
        text += " Data sets' own tests count neither for mean, worst nor rank: report by them, do not choose by them."
    return text
