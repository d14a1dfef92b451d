"""The results as tables for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import click

from asd.command import print_table
from asd_bench.compare import Comparison, comparisons
from asd_bench.results import PipelineSummary, Results
from asd_bench.trial import TrialResult

_MEGABYTE = 10**6


def print_results(results: Results) -> None:
    """Print the ranking, the failures and what the numbers mean."""
    click.echo(f"{results.recipe.name}: {results.recipe.summary}")
    print_table(*ranking_table(results))
    for summary in results.ranking:
        for reason, count in Counter(summary.failures).items():
            click.echo(f"{summary.label}: no result for {count} of {summary.trials} trials: {reason}")
    click.echo(caption(results))
    _print_comparisons(comparisons(results))


def _print_comparisons(found: Sequence[Comparison]) -> None:
    """Print published numbers beside ours, and each reason for a missing one once."""
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
    return columns, [
        [
            *(each.system, each.unit, each.measure),
            *(_number(each.published), _number(each.ours)),
            f"{_number(each.low)} – {_number(each.high)}",
            f"{each.difference:+.3f}",
            "yes" if each.covered else "no",
        ]
        for each in ours
    ]


def ranking_table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Return the ranking's columns and cells as text."""
    domains = any("auc_source" in summary.measures for summary in results.ranking)
    columns = ["pipeline", "score", "95 % interval", "behind the best"]
    columns += ["AUC source", "AUC target"] if domains else []
    columns += ["AUC", "pAUC", "fit s", "score s", "× real time", "memory MB", "dim.", "weights"]
    return columns, [_row(results, summary, domains) for summary in results.ranking]


def caption(results: Results) -> str:
    """Return what the ranking means, in a few sentences."""
    sections = {result.trial.section.name for result in results.trials}
    clips = max(len(result.trial.section.test) for result in results.trials)
    text = (
        f"Score: {_MEANINGS[results.recipe.metric]}. Machine sections: {len(sections)}, with up to {clips} test clips "
        f"each. Seeds: {len(results.recipe.seeds)}. Intervals come from a bootstrap over the test clips. The distances "
        "behind the best are paired: an interval that includes 0 shows no difference."
    )
    loudness = results.loudness.measures.get("auc")
    if loudness is not None:
        text += f" Loudness alone: AUC {loudness:.3f}."
        if abs(loudness - 0.5) > 0.3:
            text += " The level separates these classes: the result is a smoke test, no evidence."
    return text


def one_line(result: TrialResult, done: int, total: int) -> str:
    """Return the log line of a finished trial."""
    trial = result.trial
    outcome = f"no result: {result.reason}" if result.reason else f"{result.record['score']:.3f}"
    return f"[{done}/{total}] {trial.label}, {trial.section.name}, seed {trial.seed}: {outcome}"


_MEANINGS = {
    "auc": "AUC",
    "dcase2020": "mean AUC (DCASE 2020)",
    "dcase2021": "harmonic mean of AUC and pAUC by domain (DCASE 2021)",
    "dcase2022": "harmonic mean of AUC source, AUC target and pAUC (DCASE from 2022 on)",
}


def _row(results: Results, summary: PipelineSummary, domains: bool) -> list[str]:
    low, high = summary.interval
    costs: dict[str, Any] = summary.costs
    difference = "best" if summary.complete else "incomplete"
    if summary.complete and results.best is not summary:
        behind, behind_low, behind_high = results.behind(summary)
        difference = f"{behind:.3f} ({behind_low:+.3f} – {behind_high:+.3f})"
    names = [*(["auc_source", "auc_target"] if domains else []), "auc", "pauc"]
    return [
        summary.label,
        _number(summary.score),
        f"{_number(low)} – {_number(high)}",
        difference,
        *(_number(summary.measures.get(name)) for name in names),
        *(_number(costs.get(name), 2) for name in ("fit_seconds", "score_seconds")),
        _number(costs.get("sound_per_second"), 0),
        _number(costs["peak_memory"] / _MEGABYTE if "peak_memory" in costs else None, 0),
        str(costs.get("dimension", "")),
        str(costs.get("weights_licence", "")),
    ]


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}"
