"""Published numbers beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from asd_bench.measures import interval
from asd_bench.published import PublishedResult, published_tables
from asd_bench.results import Results
from asd_bench.runner import Row

_MEASURES = ("auc", "auc_source", "auc_target", "pauc")


@dataclass(frozen=True)
class Comparison:
    """A published number, and ours if there is one.

    Parameters
    ----------
    system, unit, measure : str
        What was measured on what, in the publication's words and by our name.
    published : float
        The publication's number.
    ours, low, high : float or None
        The mean over our seeds and its 95 % bootstrap interval.
    pipeline : str
        Our pipeline; of several that the publication takes the better of, the better.
    missing : str
        Why there is no number of ours.
    """

    system: str
    unit: str
    measure: str
    published: float
    ours: float | None = None
    low: float | None = None
    high: float | None = None
    pipeline: str = ""
    missing: str = ""

    @property
    def difference(self) -> float | None:
        """Ours less the publication's."""
        return None if self.ours is None else self.ours - self.published

    @property
    def covered(self) -> bool | None:
        """Whether our interval covers the publication's number."""
        return None if self.low is None or self.high is None else self.low <= self.published <= self.high


def comparisons(results: Results) -> list[Comparison]:
    """Return each number of the recipe's published table, with ours; none if the recipe names no table."""
    if results.recipe.published is None:
        return []
    table = published_tables()[results.recipe.published]
    # A mean over sections repeats what its sections say.
    single = [result for result in table.results if result.section != "mean"]
    return [found for result in single for found in _compared(results, result)]


def _compared(results: Results, result: PublishedResult) -> Iterable[Comparison]:
    here = [row for row in results.rows if row.pipeline and _same_clips(row, result)]
    ours = [row for row in here if _same_system(row, result)]
    name = "/".join([result.machine, result.section, *result.attributes.values()])
    for measure in _MEASURES:
        if measure not in result.measures:
            continue
        published = Comparison(result.system, name, measure, result.measures[measure])
        found = [_ours(published, label, own) for label, own in _by_label(ours) if not any(row.failed for row in own)]
        if found:
            yield max(found, key=lambda each: each.ours or 0.0)
        else:
            yield replace(published, missing=_missing(result, here, ours))


def _ours(published: Comparison, label: str, rows: Sequence[Row]) -> Comparison:
    values, draws = [], []
    for row in rows:
        for part, drawn in zip(row.cell.record.get("parts", ()), row.cell.draws, strict=True):
            if part["name"] == published.measure:
                values.append(part["value"])
                draws.append(drawn)
    low, high = interval(np.mean(draws, axis=0))
    return replace(published, ours=float(np.mean(values)), low=low, high=high, pipeline=label)


def _missing(result: PublishedResult, here: Sequence[Row], ours: Sequence[Row]) -> str:
    if result.detector is None:
        return "no detector of ours is the same"
    if not here:
        return "its clips are not in the data"
    if not ours:
        return "not in the recipe"
    return "; ".join(dict.fromkeys(row.cell.record["reason"] for row in ours if row.failed))


def _by_label(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.label, []).append(row)
    return list(grouped.items())


def _same_clips(row: Row, result: PublishedResult) -> bool:
    one = row.unit.test[0]
    same = (one.machine, one.section.removeprefix("id_")) == (result.machine, result.section.removeprefix("id_"))
    return same and all(one.attributes.get(name) == value for name, value in result.attributes.items())


def _same_system(row: Row, result: PublishedResult) -> bool:
    assert row.pipeline is not None
    config = row.pipeline.config
    if config.detector is None or config.detector.name != result.detector:
        return False
    extractor = config.extractor.name if config.extractor else "identity"
    return extractor in (result.extractors or ("identity",))
