"""The pipeline that a benchmark recommends within limits, as a configuration for ``asd fit``."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from asd.errors import DataError, PluginError
from asd.experiment import Config
from asd.plugin import registry
from asd_bench.results import Line, Results
from asd_registry import PIPELINE_KINDS

_MEGABYTE = 10**6
_RESTRICTED = re.compile(r"\b(A?GPL|LGPL|NC|non-?commercial|unknown|by (file|model))", re.IGNORECASE)


@dataclass(frozen=True)
class Limits:
    """What a recommended pipeline may cost.

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

    def exceeded_by(self, line: Line) -> str | None:
        """Return which limit a pipeline exceeds, None if it keeps all."""
        facts = line.facts
        if self.seconds_per_second is not None and facts["seconds_per_second"] > self.seconds_per_second:
            return f"takes {facts['seconds_per_second']:.3g} s per second of sound"
        if self.megabytes is not None and facts["peak_memory"] > self.megabytes * _MEGABYTE:
            return f"needs {facts['peak_memory'] / _MEGABYTE:.0f} MB"
        if self.permissive and (found := next(filter(_RESTRICTED.search, licences_of(line)), None)):
            return f"has the licence {found}"
        return None


@dataclass(frozen=True)
class Recommendation:
    """The best pipeline within the limits.

    Parameters
    ----------
    line : Line
        The pipeline and its score.
    alike : tuple of str
        Others within the limits whose score is not shown to be lower (paired bootstrap, 95 %).
    excluded : dict of str to str
        Pipelines that exceed a limit or have no result, and why.
    text : str
        All of it for people.
    """

    line: Line
    alike: tuple[str, ...]
    excluded: dict[str, str]
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        low, high = self.line.interval
        return {
            "pipeline": self.line.label,
            "score": self.line.score,
            "low": low,
            "high": high,
            "alike": list(self.alike),
            "excluded": self.excluded,
        }


def recommend(results: Results, limits: Limits, data: str) -> Recommendation:
    """Return the best pipeline within limits.

    Parameters
    ----------
    results : Results
        What was measured.
    limits : Limits
        What it may cost.
    data : str
        What it was measured on, for the text.

    Raises
    ------
    DataError
        If no pipeline keeps them.
    """
    excluded = {
        line.label: reason
        for line in results.lines
        if (reason := limits.exceeded_by(line) if line.complete else "has cells without a result")
    }
    allowed = [line for line in results.lines if line.label not in excluded]
    if not allowed:
        reasons = "; ".join(f"{label} {reason}" for label, reason in excluded.items())
        raise DataError(f"no pipeline keeps the limits: {reasons}; allow more, or add pipelines to the recipe")
    best = allowed[0]
    alike = tuple(other.label for other in allowed[1:] if _not_shown_worse(results, best, other))
    return Recommendation(best, alike, excluded, _text(results, best, alike, len(allowed), data))


def licences_of(line: Line) -> list[str]:
    """Return the licences of a pipeline's components and weights."""
    found = [str(line.facts.get("weights_licence", "unknown"))]
    config = line.pipeline.config if line.pipeline else Config()
    for kind in PIPELINE_KINDS:
        choice = getattr(config, kind)
        try:
            found.append(registry().find(kind, choice.name).spec.licence)
        except PluginError:
            found.append("unknown")
    return found


def write_config(recommendation: Recommendation, path: Path) -> None:
    """Write the recommended pipeline as a TOML file for ``asd fit --config``, the reasons as its comment.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    assert recommendation.line.pipeline is not None
    config = recommendation.line.pipeline.config
    options = {key: value for key, value in config.as_mapping().items() if value != getattr(Config(), key)}
    if config.pca is None:
        options["pca"] = "none"
    comment = "".join(f"# {line}\n" for line in recommendation.text.splitlines())
    text = f"{comment}\n{tomli_w.dumps(_plain(options))}"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot write the recommendation ({error.strerror}); name another file") from error


def _not_shown_worse(results: Results, best: Line, other: Line) -> bool:
    low, _ = results.difference(best, other)
    return low <= 0


def _text(results: Results, best: Line, alike: tuple[str, ...], count: int, data: str) -> str:
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


def _plain(value: Any) -> Any:
    """Return what TOML can hold."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
