"""What a benchmark has shown, in three sentences: the best, what is not told from it, what loudness alone reaches."""

from __future__ import annotations

from asd.experiment import percentile_interval
from asd_bench.results import PipelineSummary, Results

BEST, ALIKE, BEHIND = "best", "not told from the best", "behind the best"
LOUDNESS_GROUP = "loudness alone"

_NAMED = 3
"""Names in a sentence; the table has the others."""


def groups_of(results: Results) -> dict[str, str]:
    """Return of each pipeline that has a result everywhere how it compares with the best, and of loudness alone."""
    found = {results.loudness.label: LOUDNESS_GROUP}
    for summary in results.ranking:
        if summary is results.best:
            found[summary.label] = BEST
        elif summary.complete:
            found[summary.label] = ALIKE if results.behind(summary)[1] <= 0 else BEHIND
    return found


def conclusion(results: Results) -> list[str]:
    """Return three sentences; without a pipeline that has a result everywhere, the one that says so."""
    best = results.best
    if best is None:
        reasons = dict.fromkeys(reason for summary in results.ranking for reason in summary.failures)
        return [f"No pipeline has a result on every machine section: {'; '.join(reasons) or 'nothing was run'}."]
    sections = len({result.trial.section.name for result in results.trials})
    seeds = len(results.recipe.seeds)
    over = f"{_count(sections, 'machine section')}, {_count(seeds, 'seed')}"
    return [
        f"The best of {_count(len(results.ranking), 'pipeline')} is {best.label}: {_score(best)}, over {over}.",
        _alike(results, best),
        _loudness(results, best),
    ]


def _alike(results: Results, best: PipelineSummary) -> str:
    groups = groups_of(results)
    others = [summary for summary in results.ranking if summary.complete and summary is not best]
    alike = [summary.label for summary in others if groups[summary.label] == ALIKE]
    incomplete = len(results.ranking) - len(others) - 1
    left = f" ({incomplete} without a result everywhere cannot be compared)" if incomplete else ""
    if not others:
        return f"There is no other pipeline to compare it with{left}."
    if not alike:
        return f"All {len(others)} others are behind it, and their paired 95 % intervals leave out 0{left}."
    named = ", ".join(alike[:_NAMED]) + (f" and {len(alike) - _NAMED} more" if len(alike) > _NAMED else "")
    verb = "is" if len(alike) == 1 else "are"
    return (
        f"{len(alike)} of the {len(others)} others {verb} not told from it (paired 95 % interval includes 0): "
        f"{named}{left}."
    )


def _loudness(results: Results, best: PipelineSummary) -> str:
    loudness = results.loudness
    if not len(loudness.draws):
        return "What loudness alone reaches is not known: it has no result."
    low, high = percentile_interval(best.draws - loudness.draws)
    text = f"Loudness alone reaches {_score(loudness)}"
    difference = best.score - loudness.score
    if low > 0:
        return f"{text}; the best is {difference:.3f} above it ({low:.3f} to {high:.3f})."
    return f"{text}; the best is not shown to exceed it ({difference:+.3f}, {low:+.3f} to {high:+.3f})."


def _score(summary: PipelineSummary) -> str:
    low, high = summary.interval
    deviation = "" if summary.seed_deviation is None else f" ± {summary.seed_deviation:.3f} over the seeds"
    return f"{summary.score:.3f}{deviation} (95 % interval {low:.3f} to {high:.3f})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
