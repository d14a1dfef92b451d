"""The pipeline that a benchmark recommends within limits, as a configuration for ``asd fit``."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from asd.errors import DataError
from asd.experiment import Config, percentile_interval
from asd.plugin import registry
from asd_bench.results import PipelineSummary, Results
from asd_bench.writing import writing
from asd_registry import PIPELINE_KINDS

_MEGABYTE = 10**6
_RESTRICTED = re.compile(r"\b(A?GPL|LGPL|NC|non-?commercial|unknown|by (file|model))", re.IGNORECASE)


@dataclass(frozen=True)
class Limits:
    """Limits of a recommended pipeline.

    Parameters
    ----------
    seconds_per_second : float or None
        Computing time per second of sound, as measured in the benchmark.
    megabytes : float or None
        Peak memory of the process.
    permissive : bool
        Whether the licences of its components and weights must let anybody use them for anything: none of the GPL
        family, none for non-commercial use only, none unknown.
    """

    seconds_per_second: float | None = None
    megabytes: float | None = None
    permissive: bool = False

    def exceeded_by(self, summary: PipelineSummary) -> str | None:
        """Return the limit that a pipeline exceeds; None if it keeps all."""
        costs = summary.costs
        if self.seconds_per_second is not None and costs["seconds_per_second"] > self.seconds_per_second:
            return f"takes {costs['seconds_per_second']:.3g} s per second of sound"
        if self.megabytes is not None and costs["peak_memory"] > self.megabytes * _MEGABYTE:
            return f"needs {costs['peak_memory'] / _MEGABYTE:.0f} MB"
        if self.permissive and (found := next(filter(_RESTRICTED.search, licences_of(summary)), None)):
            return f"has the licence {found}"
        return None


@dataclass(frozen=True)
class Recommendation:
    """The best pipeline within the limits.

    Parameters
    ----------
    summary : PipelineSummary
        The pipeline and its score.
    alike : tuple of str
        Others within the limits whose score is not shown to be lower (paired bootstrap, 95 %).
    excluded : dict of str to str
        The pipelines that exceed a limit or have no result, with the reason.
    text : str
        The recommendation as sentences.
    """

    summary: PipelineSummary
    alike: tuple[str, ...]
    excluded: dict[str, str]
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        low, high = self.summary.interval
        return {
            "pipeline": self.summary.label,
            "score": self.summary.score,
            "low": low,
            "high": high,
            "alike": list(self.alike),
            "excluded": self.excluded,
        }


def recommendation(results: Results, limits: Limits, data: str) -> Recommendation:
    """Return the best pipeline within limits.

    Parameters
    ----------
    results : Results
        The results of the benchmark.
    limits : Limits
        The limits.
    data : str
        Name of the data, for the text.

    Raises
    ------
    DataError
        If no pipeline keeps them.
    """
    excluded = {
        summary.label: reason
        for summary in results.ranking
        if (reason := limits.exceeded_by(summary) if summary.complete else "has trials without a result")
    }
    allowed = [summary for summary in results.ranking if summary.label not in excluded]
    if not allowed:
        reasons = "; ".join(f"{label} {reason}" for label, reason in excluded.items())
        raise DataError(f"no pipeline keeps the limits: {reasons}; allow more, or add pipelines to the recipe")
    best = allowed[0]
    alike = tuple(other.label for other in allowed[1:] if percentile_interval(best.draws - other.draws)[0] <= 0)
    return Recommendation(best, alike, excluded, _text(results, best, alike, len(allowed), data))


def licences_of(summary: PipelineSummary) -> list[str]:
    """Return the licences of a pipeline's components and weights."""
    found = [str(summary.costs.get("weights_licence", "unknown"))]
    assert summary.candidate is not None
    # A pipeline with results has all its components installed.
    choices = ((kind, getattr(summary.candidate.config, kind)) for kind in PIPELINE_KINDS)
    return found + [registry().find(kind, choice.name).spec.licence for kind, choice in choices]


def write_config(advice: Recommendation, path: Path) -> None:
    """Write the recommended pipeline as a TOML file for ``asd fit --config``, the reasons as its comment.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    assert advice.summary.candidate is not None
    config = advice.summary.candidate.config
    options = {key: value for key, value in config.as_mapping().items() if value != getattr(Config(), key)}
    if config.pca is None:
        options["pca"] = "none"
    comment = "".join(f"# {line}\n" for line in advice.text.splitlines())
    text = f"{comment}\n{tomli_w.dumps(options)}"
    with writing(path):
        path.write_text(text, encoding="utf-8")


def _text(results: Results, best: PipelineSummary, alike: tuple[str, ...], count: int, data: str) -> str:
    low, high = best.interval
    lines = [
        f"Recommended: {best.label}",
        f"Score {best.score:.3f} ({results.recipe.metric}), 95 % interval {low:.3f} to {high:.3f},",
        f"measured by the recipe {results.recipe.name} on {data}, {datetime.date.today().isoformat()}.",
        f"The best of {count} on these very clips: expect somewhat less on others.",
    ]
    if alike:
        lines.append(f"Not shown to be worse ({len(alike)}): {'; '.join(alike)}.")
    return "\n".join(lines)
