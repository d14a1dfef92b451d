"""The measures that a score is made of, each with its bootstrap: AUC and partial AUC by section and domain.

``auc``
    AUC and pAUC of the whole test; the score is the AUC.
``dcase2020``
    AUC and pAUC of each machine id; the score is the mean AUC.
``dcase2021``
    AUC and pAUC of each section and domain, of that domain's clips alone; the score is the harmonic mean.
``dcase2022``
    For each section AUC of source and target, each with that domain's normal clips against the anomalous clips of both,
    and pAUC of all clips; the score is the harmonic mean. From 2022 on.

Every metric also gives the AUC and the pAUC of all clips of a section, whether they enter the score or not. pAUC goes
up to a false positive rate of 0.1 and is McClish-standardised, as `asd.experiment.partial_auc` is. The bootstrap draws
clips with replacement within each section, domain and label. All pipelines that are tested on the same clips share the
same draws, which makes their differences paired.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from asd.errors import DataError
from asd.experiment import resampled_auc
from asd.plugin import Float64, Recording
from asd_bench.official import MAX_FPR, SCORED, Protocol, clips_of_measures, harmonic_mean

Metric = Literal["auc"] | Protocol

MEASURES = ("auc", "auc_source", "auc_target", "pauc", "pauc_source", "pauc_target")
"""The names of all measures."""

_DRAWS = 1000
_SCORED = {"auc": ("auc",), **SCORED}
METRICS = tuple(_SCORED)

_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Measure:
    """A measure of one section.

    Parameters
    ----------
    name : str
        One of `MEASURES`.
    section : str
        The section; empty if the whole test is measured at once.
    value : float
        The measure of the clips as they are.
    draws : float64 array of shape (draws,)
        The measure of each bootstrap sample.
    """

    name: str
    section: str
    value: float
    draws: Float64


class Bootstrap:
    """Bootstrap samples of test clips: how often each sample holds each clip.

    Parameters
    ----------
    test : sequence of Recording
        The test clips.
    digest : str
        Hexadecimal digest of the test clips. It seeds the drawing.
    draws : int
        Number of samples.
    """

    def __init__(self, test: Sequence[Recording], digest: str, draws: int = _DRAWS) -> None:
        rng = np.random.default_rng(int(digest[:16], 16))
        self.section = np.array([recording.section for recording in test])
        self.domain = np.array([recording.domain or "" for recording in test])
        self.anomalous = np.array([bool(recording.anomalous) for recording in test])
        self.unlabelled = sum(recording.anomalous is None for recording in test)
        self.counts = np.ones((draws + 1, len(test)))  # the first row: the clips as they are
        strata = sorted(set(zip(self.section.tolist(), self.domain.tolist(), self.anomalous.tolist(), strict=True)))
        for section, domain, anomalous in strata:
            chosen = (self.section == section) & (self.domain == domain) & (self.anomalous == anomalous)
            count = int(chosen.sum())
            self.counts[1:, chosen] = rng.multinomial(count, np.full(count, 1 / count), size=draws)

    def measures(self, metric: Metric, scores: Float64) -> list[Measure]:
        """Return the measures of a metric, section by section.

        Parameters
        ----------
        metric : {"auc", "dcase2020", "dcase2021", "dcase2022"}
            The metric.
        scores : float64 array of shape (n,)
            A score for each test clip; higher = more anomalous.

        Raises
        ------
        DataError
            If a measure is undefined, because a class has no clips or a score is not finite.
        """
        if self.unlabelled:
            raise DataError(f"AUC is undefined: the labels of {self.unlabelled} test clips are not known")
        everything = np.ones(len(scores), bool)
        sections = {"": everything} if metric == "auc" else {str(s): self.section == s for s in np.unique(self.section)}
        return [
            self._measure(name, section, own & normal, own & faulty, scores)
            for section, own in sections.items()
            for name, normal, faulty in clips_of_measures(metric, self.anomalous, self.domain)
        ]

    def _measure(self, name: str, section: str, normal: _Mask, faulty: _Mask, scores: Float64) -> Measure:
        for label, mask in (("normal", normal), ("anomalous", faulty)):
            if not mask.any():
                where = f" of section {section}" if section else ""
                raise DataError(f"{name} is undefined: the test has no {label} clip{where} that it needs")
        if not np.isfinite(scores[normal | faulty]).all():
            raise DataError(f"{name} is undefined: the detector gave scores that are no numbers")
        limit = MAX_FPR if name.startswith("pauc") else None
        counts = self.counts[:, normal], self.counts[:, faulty]
        values = resampled_auc(scores[normal], scores[faulty], *counts, max_fpr=limit)
        return Measure(name, section, float(values[0]), values[1:])


def combine(metric: Metric, measures: Iterable[tuple[str, npt.ArrayLike]]) -> Float64:
    """Return the score that named measures (numbers, or draws of equal length) make together.

    Their mean: of the AUCs up to 2020, harmonic of AUCs and pAUCs from 2021 on.
    """
    chosen = [value for name, value in measures if name in _SCORED[metric]]
    if metric in ("auc", "dcase2020"):
        return np.asarray(np.array(chosen, dtype=np.float64).mean(axis=0))
    return harmonic_mean(chosen)


def combine_sections(metric: Metric, sections: Sequence[Sequence[tuple[str, npt.ArrayLike]]]) -> Float64:
    """Return the score over machine sections: a mean of means up to 2020, the harmonic mean of all from 2021 on."""
    if metric in ("auc", "dcase2020"):
        return np.asarray(np.mean([combine(metric, measures) for measures in sections], axis=0))
    return combine(metric, [measure for measures in sections for measure in measures])


def means(measures: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return the mean of the measures of each name."""
    found: dict[str, list[float]] = {}
    for name, value in measures:
        found.setdefault(name, []).append(value)
    return {name: float(np.mean(found[name])) for name in MEASURES if name in found}
