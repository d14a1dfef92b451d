"""Two benchmark runs compared: paired differences of pipelines on the machine sections and clips that both have."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asd.errors import DataError
from asd.experiment import percentile_interval
from asd.plugin import Float64, Recording
from asd_bench.export import RESULTS_FORMAT
from asd_bench.measures import METRICS, Bootstrap, Metric, combine, combine_sections

_DRAWS = 2000
_FEWEST = 3
"""Machine sections below which there is no interval over them."""

Scores = dict[tuple[str, str, bool, int], float]
"""Scores of clips by file name, section, label and, where a name comes more than once, its number."""


@dataclass(frozen=True)
class RunFile:
    """A run, as its ``results.json`` holds it.

    Parameters
    ----------
    name : str
        What it is called: the path as given.
    metric : str
        The metric of its scores.
    order : tuple of str
        Its pipelines, the best first.
    scores : mapping of (str, str, int) to Scores
        The clips' scores by pipeline, machine section and seed.
    domains : mapping of (str, str) to mapping
        The clips' domains by machine section and seed, as `scores` has the clips.
    """

    name: str
    metric: Metric
    order: tuple[str, ...]
    scores: Mapping[tuple[str, str, int], Scores]
    domains: Mapping[tuple[str, int], Mapping[tuple[str, str, bool, int], str]]

    @property
    def units(self) -> set[str]:
        """Its machine sections."""
        return {unit for _, unit, _ in self.scores}


@dataclass(frozen=True)
class Difference:
    """The second run less the first.

    Parameters
    ----------
    first, second : str
        The pipelines.
    first_score, second_score : float
        Their scores on what both runs have.
    difference : float
        Second less first.
    clips : tuple of float
        Its 95 % bootstrap interval over the clips, the machine sections fixed.
    machines : tuple of float, or None
        That of the mean difference over the machine sections; None for fewer than three.
    better, worse : int
        Machine sections on which the second is better, and worse.
    """

    first: str
    second: str
    first_score: float
    second_score: float
    difference: float
    clips: tuple[float, float]
    machines: tuple[float, float] | None
    better: int
    worse: int


def read_run(path: Path) -> RunFile:
    """Read a run: its results folder, or the ``results.json`` in it.

    Raises
    ------
    DataError
        If it is not there, damaged, of a newer format, or something else.
    """
    file = path / "results.json" if path.is_dir() else path
    expected = "expected the results folder of 'asd bench', or the results.json in it"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{file}: cannot read it ({error.strerror}); {expected}") from error
    except ValueError as error:
        raise DataError(f"{file}: damaged, or no JSON file ({error}); {expected}") from error
    if not isinstance(content, dict) or "ranking" not in content or content.get("metric") not in METRICS:
        raise DataError(f"{file}: not the results of a benchmark; {expected}")
    if content.get("format") != RESULTS_FORMAT or "clips" not in content:
        version = content.get("format", "before 1")
        raise DataError(
            f"{file}: results in format {version}, expected {RESULTS_FORMAT}: run the same 'asd bench' again, which "
            "computes nothing that is finished"
        )
    try:
        return _run(str(path), content)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{file}: damaged ({type(error).__name__}: {error}); run the same 'asd bench' again") from error


def _run(name: str, content: Mapping[str, Any]) -> RunFile:
    keys = [_keys(test) for test in content["clips"]["tests"]]
    scores: dict[tuple[str, str, int], Scores] = {}
    domains: dict[tuple[str, int], dict[tuple[str, str, bool, int], str]] = {}
    for trial in content["clips"]["scores"]:
        test, clips = content["clips"]["tests"][trial["test"]], keys[trial["test"]]
        values = [float(score) for score in trial["scores"]]
        scores[trial["pipeline"], test["unit"], int(trial["seed"])] = dict(zip(clips, values, strict=True))
        domains[test["unit"], int(trial["seed"])] = dict(zip(clips, test["domains"], strict=True))
    order = tuple(str(row["pipeline"]) for row in content["ranking"] if not row["failed_cells"])
    return RunFile(name, content["metric"], order, scores, domains)


def _keys(test: Mapping[str, Any]) -> list[tuple[str, str, bool, int]]:
    seen: dict[tuple[str, str, bool], int] = {}
    found = []
    for name, section, anomalous in zip(test["names"], test["sections"], test["anomalous"], strict=True):
        clip = (str(name), str(section), bool(anomalous))
        seen[clip] = seen.get(clip, 0) + 1
        found.append((*clip, seen[clip]))
    return found


def differences(first: RunFile, second: RunFile) -> list[Difference]:
    """Compare each pipeline that both runs have, and the best of each where these differ.

    Raises
    ------
    DataError
        If the metrics differ, or the runs share nothing.
    """
    if first.metric != second.metric:
        raise DataError(
            f"{first.name} has metric {first.metric}, {second.name} {second.metric}: they cannot be compared"
        )
    if not first.order or not second.order:
        empty = first.name if not first.order else second.name
        raise DataError(f"{empty}: no pipeline has a result on every machine section, so there is nothing to compare")
    pairs = [(label, label) for label in first.order if label in second.order]
    best = (first.order[0], second.order[0])
    pairs = pairs if best in pairs else [best, *pairs]
    return [_difference(first, second, *pair) for pair in pairs]


def _difference(first: RunFile, second: RunFile, one: str, two: str) -> Difference:
    seeds = sorted(
        {s for label, _, s in first.scores if label == one} & {s for label, _, s in second.scores if label == two}
    )
    shared = [(unit, seed) for unit in sorted(first.units & second.units) for seed in seeds]
    measured = {key: found for key in shared if (found := _measured(first, second, one, two, *key))}
    if not measured:
        raise DataError(
            f"{first.name} and {second.name} share no machine section with the same normal and anomalous test clips "
            f"and seed (the first has {_listed(first.units)}; the second {_listed(second.units)})"
        )
    values, draws = (_combined(first.metric, measured, part) for part in (0, 1))
    by_machine: dict[str, list[float]] = {}
    for (unit, _), sides in measured.items():
        scores = [float(combine(first.metric, side[0])) for side in sides]
        by_machine.setdefault(unit, []).append(scores[1] - scores[0])
    machines = np.array([np.mean(each) for each in by_machine.values()])
    return Difference(
        one, two, float(values[0]), float(values[1]), float(values[1] - values[0]),
        percentile_interval(draws[1] - draws[0]),
        _over_machines(machines), int((machines > 0).sum()), int((machines < 0).sum()),
    )  # fmt: skip


_Side = tuple[list[tuple[str, Float64]], list[tuple[str, Float64]]]
"""The measures of one run on a machine section with a seed: values, and draws."""


def _measured(first: RunFile, second: RunFile, one: str, two: str, unit: str, seed: int) -> tuple[_Side, _Side] | None:
    """Return both runs' measures on the clips that both have; None if a class is empty or a domain is missing."""
    mine, theirs = first.scores.get((one, unit, seed)), second.scores.get((two, unit, seed))
    if mine is None or theirs is None:
        return None
    clips = [clip for clip in mine if clip in theirs]
    domains = first.domains[unit, seed]
    test: list[Recording] = [
        Recording(Path(name), unit, section, "test", anomalous, domains[clip] or None)  # type: ignore[arg-type]
        for clip in clips
        for name, section, anomalous, _ in [clip]
    ]
    bootstrap = Bootstrap(test, hashlib.sha256(repr(clips).encode()).hexdigest())
    try:
        sides = [bootstrap.measures(first.metric, np.array([side[clip] for clip in clips])) for side in (mine, theirs)]
    except DataError:
        return None
    one_side, two_side = (
        ([(m.name, np.asarray(m.value)) for m in side], [(m.name, m.draws) for m in side]) for side in sides
    )
    return one_side, two_side


def _combined(
    metric: Metric, measured: Mapping[tuple[str, int], tuple[_Side, _Side]], part: int
) -> tuple[Float64, Float64]:
    """Return the scores of both runs over the machine sections, mean over the seeds."""
    seeds = sorted({seed for _, seed in measured})
    found = []
    for side in (0, 1):
        each = [
            combine_sections(metric, [sides[side][part] for (_, own), sides in measured.items() if own == seed])
            for seed in seeds
        ]
        found.append(np.asarray(np.mean(each, axis=0)))
    return found[0], found[1]


def _over_machines(differences: Float64) -> tuple[float, float] | None:
    if len(differences) < _FEWEST:
        return None
    drawn = np.random.default_rng(0).integers(len(differences), size=(_DRAWS, len(differences)))
    return percentile_interval(differences[drawn].mean(axis=1))


def _listed(names: Sequence[str] | set[str]) -> str:
    chosen = sorted(names)
    return ", ".join(chosen[:5]) + (f" and {len(chosen) - 5} more" if len(chosen) > 5 else "") or "none"
