"""From scores to a table: AUC by collection, by kind of fault and by level; mean, worst and rank of each pipeline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np

from asd.experiment import auc
from asd.plugin import Float64
from asd_bench.machines.judge import Judged, Scores

GENERATED = "generated faults"


@dataclass(frozen=True)
class Row:
    """An AUC.

    Parameters
    ----------
    pipeline, branch : str
        The pipeline, and one of its branches by itself; empty: all branches fused.
    collection, machine, protocol : str
        Where the clips are from, and what was compared.
    kind : str
        Kind of generated faults; empty: none.
    level : float or None
        Their strength in dB over the recording.
    auc : float
        The area under the ROC curve, the mean over draws, clips that were left out, or groups.
    normal, anomalous : int
        Clips that were compared, each draw's counted.
    weight : float
        Pairs of a healthy and an anomalous clip, those of all draws counted once.
    """

    pipeline: str
    branch: str
    collection: str
    machine: str
    protocol: str
    kind: str
    level: float | None
    auc: float
    normal: int
    anomalous: int
    weight: float


@dataclass(frozen=True)
class Summary:
    """A pipeline, or one of its branches, over all machines.

    Parameters
    ----------
    label : str
        Its name.
    columns : dict of str to float
        The AUC of each collection, of groups that were left out, of generated faults.
    kinds, levels, tests : dict of str to float
        Generated faults by kind and by level; the data sets' own tests, which count for nothing else.
    mean, worst, rank : float
        Over the columns; the worst over the kinds, too; the rank among the summaries that it is shown with.
    sound_per_second : float
        Seconds of sound whose embeddings were computed in a second.
    """

    label: str
    columns: dict[str, float]
    kinds: dict[str, float]
    levels: dict[str, float]
    tests: dict[str, float]
    mean: float
    worst: float
    rank: float = math.nan
    sound_per_second: float = math.nan


def rows_of(judged: Judged) -> list[Row]:
    """Return an AUC for each machine, protocol, kind and level, of the fused score and of each branch."""
    names = ("", *judged.branches) if len(judged.branches) > 1 else ("",)
    return [
        row
        for (machine, protocol), scores in _grouped(judged.scores)
        for index, branch in enumerate(names)
        for row in _rows(judged.label, branch, machine, protocol, scores, index)
    ]


def _grouped(scores: Iterable[Scores]) -> Iterable[tuple[tuple[str, str], list[Scores]]]:
    found: dict[tuple[str, str], list[Scores]] = {}
    for each in scores:
        found.setdefault((each.comparison.machine.name, each.comparison.protocol), []).append(each)
    return found.items()


def _rows(label: str, branch: str, machine: str, protocol: str, scores: Sequence[Scores], index: int) -> Iterable[Row]:
    collection = scores[0].comparison.machine.collection
    if protocol == "generated":
        # Each clip that was left out is of one comparison: the healthy clips of all are compared with faults of all.
        parts = {id(each.comparison): each.normal[:, index] for each in scores}
        normal = np.concatenate(list(parts.values()))
        for kind, level in dict.fromkeys((each.kind, each.level) for each in scores if each.kind):
            faulty = [each.anomalous[:, index] for each in scores if (each.kind, each.level) == (kind, level)]
            yield _row(label, branch, collection, machine, protocol, kind, level, [(normal, np.concatenate(faulty))])
        return
    pairs = [(each.normal[:, index], each.anomalous[:, index]) for each in scores]
    yield _row(label, branch, collection, machine, protocol, "", None, pairs)


def _row(
    label: str, branch: str, collection: str, machine: str, protocol: str, kind: str, level: float | None,
    pairs: Sequence[tuple[Float64, Float64]],
) -> Row:  # fmt: skip
    usable = [(normal, faulty) for normal, faulty in pairs if len(normal) and len(faulty)]
    value = float(np.mean([auc(normal, faulty) for normal, faulty in usable])) if usable else math.nan
    counts = [(len(normal), len(faulty)) for normal, faulty in usable]
    each = sum(n * a for n, a in counts)
    # Draws take the same clips again; a clip that is left out is another one each time.
    weight = each / len(counts) if counts and counts[0][0] > 1 else each
    normal_count, faulty_count = sum(n for n, _ in counts), sum(a for _, a in counts)
    return Row(
        label, branch, collection, machine, protocol, kind, level, value, normal_count, faulty_count, float(weight)
    )


def summarise(rows: Sequence[Row], speeds: dict[str, float]) -> list[Summary]:
    """Return a summary of each pipeline, the best mean first.

    Parameters
    ----------
    rows : sequence of Row
        Those of fused scores count.
    speeds : dict of str to float
        Each pipeline's seconds of sound a second.
    """
    labels = dict.fromkeys(row.pipeline for row in rows)
    found = [_summary(label, [row for row in rows if row.pipeline == label and not row.branch]) for label in labels]
    return _ranked([replaced(each, sound_per_second=speeds.get(each.label, math.nan)) for each in found])


def branches_of(rows: Sequence[Row], label: str) -> list[Summary]:
    """Return a summary of each branch of a pipeline by itself, and first of all of them fused."""
    own = [row for row in rows if row.pipeline == label]
    names = dict.fromkeys(row.branch for row in own)
    return [_summary(name or "fused", [row for row in own if row.branch == name]) for name in names]


def _summary(label: str, rows: Sequence[Row]) -> Summary:
    real = _by_collection(row for row in rows if row.protocol == "real")
    groups = _by_collection(row for row in rows if row.protocol == "group")
    faults = [row for row in rows if row.protocol == "generated"]
    kinds = {kind: _level(row for row in faults if row.kind == kind) for kind in dict.fromkeys(r.kind for r in faults)}
    levels = sorted({row.level for row in faults if row.level is not None}, reverse=True)
    columns = real | {f"{name}, groups": value for name, value in groups.items()}
    columns |= {GENERATED: _mean(kinds.values())} if kinds else {}
    return Summary(
        label, columns, kinds,
        {f"{level:g} dB": _level(row for row in faults if row.level == level) for level in levels},
        _by_collection(row for row in rows if row.protocol == "test"),
        _mean(columns.values()), min([*columns.values(), *kinds.values()], default=math.nan),
    )  # fmt: skip


def _by_collection(rows: Iterable[Row]) -> dict[str, float]:
    """Return the AUC of each collection, its machines weighted by the pairs that were compared."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if not math.isnan(row.auc):
            found.setdefault(row.collection, []).append(row)
    return {
        name: float(np.average([row.auc for row in own], weights=[row.weight for row in own]))
        for name, own in found.items()
    }


def _level(rows: Iterable[Row]) -> float:
    """Return the mean over levels and machines in each collection, then over collections."""
    ordered = sorted((row for row in rows if not math.isnan(row.auc)), key=lambda row: row.collection)
    return _mean(_mean(row.auc for row in own) for _, own in groupby(ordered, key=lambda row: row.collection))


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return float(np.mean(found)) if found else math.nan


def replaced(summary: Summary, **changes: Any) -> Summary:
    """Return a copy with changed fields."""
    return Summary(**{**vars(summary), **changes})


def _ranked(summaries: Sequence[Summary]) -> list[Summary]:
    """Return the summaries with their mean rank over the columns, the best mean first; equal values share a rank."""
    names = dict.fromkeys(name for each in summaries for name in each.columns)
    ranks: list[list[float]] = [[] for _ in summaries]
    for name in names:
        values = np.array([each.columns.get(name, math.nan) for each in summaries])
        for own, value in zip(ranks, values, strict=True):
            better, equal = np.count_nonzero(values > value), np.count_nonzero(values == value)
            own.append(better + (equal + 1) / 2)
    found = [replaced(each, rank=_mean(own)) for each, own in zip(summaries, ranks, strict=True)]
    return sorted(found, key=lambda each: -each.mean)


def as_json(summaries: Sequence[Summary], rows: Sequence[Row]) -> dict[str, Any]:
    """Return the results as plain data; a number that is not known is none."""
    return {"pipelines": _plain([asdict(each) for each in summaries]), "rows": _plain([asdict(row) for row in rows])}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
