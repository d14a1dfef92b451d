"""Published numbers beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from asd.experiment import percentile_interval
from asd_bench.measures import MEASURES
from asd_bench.published import PublishedResult, published_tables
from asd_bench.results import Results
from asd_bench.trial import TrialResult, by_label


@dataclass(frozen=True)
class Comparison:
    """A published number, and ours if there is one.

    Parameters
    ----------
    system, unit, measure : str
        The system in the publication's words, the machine section, and our name of the measure.
    published : float
        The publication's number.
    ours, low, high : float or None
        The mean over our seeds and its 95 % bootstrap interval.
    pipeline : str
        Our pipeline; the better one where the publication takes the better of several.
    missing : str
        The reason why there is no number of ours.
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
    # A mean over sections repeats its sections.
    single = [result for result in table.results if result.section != "mean"]
    return [found for result in single for found in _compared(results, result)]


def _compared(results: Results, result: PublishedResult) -> Iterable[Comparison]:
    here = [each for each in results.trials if each.trial.candidate and _same_clips(each, result)]
    ours = [each for each in here if _same_system(each, result)]
    complete = {label: own for label, own in by_label(ours).items() if not any(each.reason for each in own)}
    name = "/".join([result.machine, result.section, *result.attributes.values()])
    for measure in MEASURES:
        if measure not in result.measures:
            continue
        published = Comparison(result.system, name, measure, result.measures[measure])
        if complete:
            found = [_ours(published, label, own) for label, own in complete.items()]
            yield max(found, key=lambda each: each.ours or 0.0)
        else:
            yield replace(published, missing=_missing(result, here, ours))


def _ours(published: Comparison, label: str, results: Sequence[TrialResult]) -> Comparison:
    values = [value for each in results for name, value in each.measures if name == published.measure]
    draws = [draws for each in results for name, draws in each.drawn_measures if name == published.measure]
    low, high = percentile_interval(np.mean(draws, axis=0))
    return replace(published, ours=float(np.mean(values)), low=low, high=high, pipeline=label)


def _missing(result: PublishedResult, here: Sequence[TrialResult], ours: Sequence[TrialResult]) -> str:
    if result.detector is None:
        return "no detector of ours is the same"
    if not here:
        return "its clips are not in the data"
    if not ours:
        return "not in the recipe"
    return "; ".join(dict.fromkeys(each.reason for each in ours if each.reason))


def _same_clips(ours: TrialResult, result: PublishedResult) -> bool:
    one = ours.trial.section.test[0]
    same = (one.machine, one.section.removeprefix("id_")) == (result.machine, result.section.removeprefix("id_"))
    return same and all(one.attributes.get(name) == value for name, value in result.attributes.items())


def _same_system(ours: TrialResult, result: PublishedResult) -> bool:
    assert ours.trial.candidate is not None
    config = ours.trial.candidate.config
    if config.detector is None or config.detector.name != result.detector:
        return False
    extractor = config.extractor.name if config.extractor else "identity"
    return extractor in (result.extractors or ("identity",))
