"""The results as tables for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import click

from asd.command import print_table
from asd_bench.compare import Comparison, comparisons
from asd_bench.results import Line, Results
from asd_bench.runner import Row

_MEGABYTE = 10**6


def print_results(results: Results) -> None:
    """Print the ranking, what failed, and what to make of it."""
    columns, rows = ranking_table(results)
    click.echo(f"{results.recipe.name}: {results.recipe.summary}")
    print_table(columns, rows)
    for line in results.lines:
        for reason in dict.fromkeys(line.failures):
            click.echo(f"{line.label}: no result for {line.failures.count(reason)} of {line.cells}: {reason}")
    click.echo(caption(results))
    _print_comparisons(comparisons(results))


def _print_comparisons(found: Sequence[Comparison]) -> None:
    """Print published numbers beside ours, and what is missing, each reason once."""
    if not found:
        return
    ours = [each for each in found if each.ours is not None]
    click.echo(f"\nPublished numbers: {len(found)}, with ours beside them: {len(ours)}")
    if ours:
        print_table(*comparison_table(ours))
        covered = sum(bool(each.covered) for each in ours)
        mean = sum(each.difference or 0.0 for each in ours) / len(ours)
        click.echo(f"Our interval covers {covered} of {len(ours)}; mean difference {mean:+.3f}.")
    for reason, count in Counter(each.missing for each in found if each.missing).items():
        click.echo(f"Missing beside {count}: {reason}")


def comparison_table(ours: Sequence[Comparison]) -> tuple[list[str], list[list[str]]]:
    """Return the columns and cells, as text, of published numbers that have ours beside them."""
    columns = ["published system", "on", "measure", "paper", "ours", "95 % interval", "difference", "covered"]
    return columns, [_compared(each) for each in ours]


def _compared(each: Comparison) -> list[str]:
    return [
        each.system,
        each.unit,
        each.measure,
        _number(each.published),
        _number(each.ours),
        f"{_number(each.low)} – {_number(each.high)}",
        f"{each.difference:+.3f}",
        "yes" if each.covered else "no",
    ]


def ranking_table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Return the ranking's columns and cells as text."""
    domains = any("auc_source" in line.measures for line in results.lines)
    columns = ["pipeline", "score", "95 % interval", "behind the best", *(["AUC source", "target"] if domains else [])]
    columns += ["AUC", "pAUC", "fit s", "score s", "sound s / s", "memory MB", "dim.", "weights"]
    rows = [_row(results, line, domains) for line in results.lines]
    return columns, rows


def caption(results: Results) -> str:
    """Return what the ranking means, in a few sentences."""
    test = max((len(row.unit.test) for row in results.rows), default=0)
    units = len({row.unit.name for row in results.rows})
    loudness = results.loudness.measures.get("auc")
    text = (
        f"Score: {_MEANINGS[results.recipe.metric]}; units: {units}, each with up to {test} test clips; seeds: "
        f"{len(results.recipe.seeds)}. Intervals: bootstrap over the test clips; behind the best: paired, 0 inside "
        "means no difference was shown."
    )
    if loudness is not None:
        text += f" Loudness alone: AUC {loudness:.3f}" + (
            ", so level tells these classes apart: a smoke test, no evidence." if abs(loudness - 0.5) > 0.3 else "."
        )
    return text


def one_line(row: Row, done: int, total: int) -> str:
    """Return what a log says of a finished cell."""
    what = f"[{done}/{total}] {row.label}, {row.unit.name}, seed {row.seed}"
    if row.failed:
        return f"{what}: no result: {row.cell.record['reason']}"
    return f"{what}: {row.cell.record['score']:.3f}"


_MEANINGS = {
    "auc": "AUC",
    "dcase2020": "mean AUC (DCASE 2020)",
    "dcase2021": "harmonic mean of AUC and pAUC by domain (DCASE 2021)",
    "dcase2022": "harmonic mean of AUC source, AUC target and pAUC (DCASE from 2022 on)",
}


def _row(results: Results, line: Line, domains: bool) -> list[str]:
    low, high = line.interval
    facts: dict[str, Any] = line.facts
    if line.complete and results.best is not line:
        behind, behind_low, behind_high = results.behind(line)
        difference = f"{behind:.3f} ({behind_low:+.3f} – {behind_high:+.3f})"
    else:
        difference = "best" if line.complete else "incomplete"
    names = [*(["auc_source", "auc_target"] if domains else []), "auc", "pauc"]
    return [
        line.label,
        _number(line.score),
        f"{_number(low)} – {_number(high)}",
        difference,
        *(_number(line.measures.get(name)) for name in names),
        *(_number(facts.get(name), 2) for name in ("fit_seconds", "score_seconds")),
        _number(facts.get("sound_per_second"), 0),
        _number(facts["peak_memory"] / _MEGABYTE if "peak_memory" in facts else None, 0),
        str(facts.get("dimension", "")),
        str(facts.get("weights_licence", "")),
    ]


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}"
