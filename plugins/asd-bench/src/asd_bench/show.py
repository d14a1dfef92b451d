"""The results as tables for people."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from asd.command import print_table, say
from asd_bench.compare import Comparison, comparisons
from asd_bench.export import ranking
from asd_bench.results import Results
from asd_bench.trial import TrialResult

_MEGABYTE = 10**6
_MATTER = {
    "ranking": ("pipeline", "score", "95 % interval", "behind the best"),
    "comparison": ("published system", "on", "measure", "paper", "ours", "difference"),
}
"""The columns that are shown without --wide."""

_COLUMNS = (
    ("AUC source", "auc_source", 3),
    ("AUC target", "auc_target", 3),
    ("AUC", "auc", 3),
    ("pAUC", "pauc", 3),
    ("fit s", "fit_seconds", 2),
    ("score s", "score_seconds", 2),
    ("× real time", "sound_per_second", 0),
)
"""Title, name in the ranking and digits."""


def print_results(results: Results, *, wide: bool = False) -> None:
    """Print the ranking, the failures, and the meaning of the numbers; `wide`: with all columns."""
    say(f"{results.recipe.name}: {results.recipe.summary}")
    _print(ranking_table(results), None if wide else _MATTER["ranking"])
    for summary in results.ranking:
        for reason, count in Counter(summary.failures).items():
            say(f"{summary.label}: no result for {count} of {summary.trials} trials: {reason}")
    say(caption(results))
    _print_comparisons(comparisons(results), wide)


def _print_comparisons(found: Sequence[Comparison], wide: bool) -> None:
    """Print published numbers beside ours, and each reason for a missing one once."""
    if not found:
        return
    ours = [each for each in found if each.ours is not None]
    say(f"\nPublished numbers: {len(found)}, with ours beside them: {len(ours)}")
    if ours:
        _print(comparison_table(ours), None if wide else _MATTER["comparison"])
        covered = sum(bool(each.covered) for each in ours)
        mean = sum(each.difference or 0.0 for each in ours) / len(ours)
        say(f"Our interval covers {covered} of {len(ours)}; mean difference {mean:+.3f}.")
    for reason, count in Counter(each.missing for each in found if each.missing).items():
        say(f"Missing beside {count}: {reason}")


def _print(rows: Sequence[dict[str, str]], chosen: Sequence[str] | None) -> None:
    """Print a table of the chosen columns, or of all."""
    columns = list(chosen or rows[0])
    print_table(columns, [[row[name] for name in columns] for row in rows])
    if hidden := [name for name in rows[0] if name not in columns]:
        say(f"With --wide, and in the report: {', '.join(hidden)}.")


def comparison_table(ours: Sequence[Comparison]) -> list[dict[str, str]]:
    """Return the text of published numbers that have ours beside them, by column."""
    return [
        {
            "published system": each.system,
            "on": each.unit,
            "measure": each.measure,
            "paper": _number(each.published),
            "ours": _number(each.ours),
            "95 % interval": _interval(each.low, each.high),
            "difference": f"{each.difference:+.3f}",
            "covered": "yes" if each.covered else "no",
        }
        for each in ours
    ]


def ranking_table(results: Results) -> list[dict[str, str]]:
    """Return the text of the ranking by column, a row for each pipeline."""
    rows = ranking(results)
    domains = any(row["auc_source"] is not None for row in rows)
    columns = _COLUMNS if domains else _COLUMNS[2:]
    return [
        {
            "pipeline": row["pipeline"],
            "score": _number(row["score"]),
            "95 % interval": _interval(row["low"], row["high"]),
            "behind the best": _distance(row, best=number == 0),
            **{title: _number(row.get(name), digits) for title, name, digits in columns},
            "memory MB": _number(row.get("peak_memory", math.nan) / _MEGABYTE, 0),
            "dim.": str(row.get("dimension", "")),
            "weights": row.get("weights_licence", ""),
        }
        for number, row in enumerate(rows)
    ]


def _distance(row: dict[str, Any], *, best: bool) -> str:
    if row["failed_cells"]:
        return "incomplete"
    return "best" if best else f"{row['behind_best']:.3f} ({row['behind_low']:+.3f} – {row['behind_high']:+.3f})"


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


def _interval(low: float | None, high: float | None) -> str:
    return f"{_number(low)} – {_number(high)}"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}"
