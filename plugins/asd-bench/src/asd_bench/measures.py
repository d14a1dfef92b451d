"""What a score is made of, each part with its bootstrap: AUC and partial AUC by section and domain.

``auc``
    AUC and pAUC of the whole test; the score is the AUC.
``dcase2020``
    AUC and pAUC of each machine id; the score is the mean AUC.
``dcase2021``
    AUC and pAUC of each section and domain, of that domain's clips alone; the score is the harmonic mean.
``dcase2022``
    For each section AUC of source and target, each with that domain's normal clips against the anomalous clips of both,
    and pAUC of all clips; the score is the harmonic mean. From 2022 on. (The AUC of all clips is told beside it.)

pAUC goes up to a false positive rate of 0.1 and is McClish-standardised, as `asd.experiment.partial_auc` is. The
bootstrap draws clips with replacement within each section, domain and label; the same draws serve every pipeline that
is tested on the same clips, which makes their differences paired.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asd.errors import DataError
from asd.plugin import Float64, Recording
from asd_bench import official
from asd_bench.recipe import Metric

DRAWS = 1000
MAX_FPR = official.MAX_FPR
_SCORED = {"auc": ("auc",), **official.SCORED}

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Part:
    """A part of a score.

    Parameters
    ----------
    name : {"auc", "auc_source", "auc_target", "pauc", "pauc_source", "pauc_target"}
        What it is.
    section : str
        Of which section.
    value : float
        On the clips as they are.
    draws : float64 array of shape (DRAWS,)
        On each bootstrap sample.
    """

    name: str
    section: str
    value: float
    draws: Float64


class Bootstrap:
    """How often each test clip is drawn.

    Parameters
    ----------
    test : sequence of Recording
        The test clips.
    digest : str
        Hexadecimal digest of them, which seeds the drawing.
    draws : int
        Samples.
    """

    def __init__(self, test: Sequence[Recording], digest: str, draws: int = DRAWS) -> None:
        rng = np.random.default_rng(int(digest[:16], 16))
        self.section = np.array([recording.section for recording in test])
        self.domain = np.array([recording.domain or "" for recording in test])
        self.anomalous = np.array([bool(recording.anomalous) for recording in test])
        self.unlabelled = sum(recording.anomalous is None for recording in test)
        self.weights = np.ones((draws + 1, len(test)))  # the first row: the clips as they are
        strata = sorted(set(zip(self.section.tolist(), self.domain.tolist(), self.anomalous.tolist(), strict=True)))
        for section, domain, anomalous in strata:
            chosen = (self.section == section) & (self.domain == domain) & (self.anomalous == anomalous)
            count = int(chosen.sum())
            self.weights[1:, chosen] = rng.multinomial(count, np.full(count, 1 / count), size=draws)

    def parts(self, metric: Metric, scores: Float64) -> list[Part]:
        """Return the parts of the score that a metric is made of.

        Parameters
        ----------
        metric : {"auc", "dcase2020", "dcase2021", "dcase2022"}
            The metric.
        scores : float64 array of shape (n,)
            A score for each test clip; higher = more anomalous.

        Raises
        ------
        DataError
            If a part is undefined, because a class has no clips.
        """
        if self.unlabelled:
            raise DataError(f"AUC is undefined: the labels of {self.unlabelled} test clips are not known")
        everything = np.ones(len(scores), bool)
        sections = [("", everything)] if metric == "auc" else [(s, self.section == s) for s in np.unique(self.section)]
        return [part for name, own in sections for part in self._of_section(metric, str(name), own, scores)]

    def _of_section(self, metric: Metric, section: str, own: Mask, scores: Float64) -> Iterable[Part]:
        normal, faulty = own & ~self.anomalous, own & self.anomalous
        source, target = self.domain == "source", self.domain == "target"
        if metric != "dcase2021":
            yield self._part("auc", section, normal, faulty, scores)
            yield self._part("pauc", section, normal, faulty, scores)
        if metric == "dcase2021":
            for name, domain in (("source", source), ("target", target)):
                yield self._part(f"auc_{name}", section, normal & domain, faulty & domain, scores)
                yield self._part(f"pauc_{name}", section, normal & domain, faulty & domain, scores)
        elif metric == "dcase2022":
            yield self._part("auc_source", section, normal & source, faulty, scores)
            yield self._part("auc_target", section, normal & target, faulty, scores)

    def _part(self, name: str, section: str, normal: Mask, faulty: Mask, scores: Float64) -> Part:
        for label, mask in (("normal", normal), ("anomalous", faulty)):
            if not mask.any():
                where = f" of section {section}" if section else ""
                raise DataError(f"{name} is undefined: the test has no {label} clip{where} that it needs")
        if not np.isfinite(scores[normal | faulty]).all():
            raise DataError(f"{name} is undefined: the detector gave scores that are no numbers")
        measure = _partial_areas if name.startswith("pauc") else _areas
        values = measure(scores[normal], scores[faulty], self.weights[:, normal], self.weights[:, faulty])
        return Part(name, section, float(values[0]), values[1:])


def combine(metric: Metric, parts: Iterable[tuple[str, npt.ArrayLike]]) -> Float64:
    """Return the score that named parts (numbers, or draws of equal length) make together.

    Their mean: of the AUCs up to 2020, harmonic of AUCs and pAUCs from 2021 on.
    """
    chosen = [value for name, value in parts if name in _SCORED[metric]]
    if metric in ("auc", "dcase2020"):
        return np.asarray(np.array(chosen, dtype=np.float64).mean(axis=0))
    return official.harmonic_mean(chosen)


def interval(draws: Float64, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of bootstrap draws."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _areas(normal: Float64, faulty: Float64, normal_weights: Float64, faulty_weights: Float64) -> Float64:
    """Return the AUC for each row of weights: weighted pairs that are in the right order, ties half."""
    above = (faulty[:, None] > normal).astype(np.float64) + 0.5 * (faulty[:, None] == normal)
    pairs = ((faulty_weights @ above) * normal_weights).sum(axis=1)
    return np.asarray(pairs / (normal_weights.sum(axis=1) * faulty_weights.sum(axis=1)))


def _partial_areas(normal: Float64, faulty: Float64, normal_weights: Float64, faulty_weights: Float64) -> Float64:
    """Return the standardised partial AUC for each row of weights, up to `MAX_FPR`."""
    thresholds, at = np.unique(np.concatenate([normal, faulty]), return_inverse=True)
    rows, last = len(normal_weights), len(thresholds) - 1
    false, true = np.zeros((rows, last + 2)), np.zeros((rows, last + 2))
    for rates, weights, where in (
        (false, normal_weights, at[: len(normal)]),
        (true, faulty_weights, at[len(normal) :]),
    ):
        steps = np.zeros((last + 1, rows))
        np.add.at(steps, last - where, weights.T)  # from the highest threshold down
        rates[:, 1:] = np.cumsum(steps, axis=0).T / weights.sum(axis=1, keepdims=True)
    left, right = np.minimum(false[:, :-1], MAX_FPR), np.minimum(false[:, 1:], MAX_FPR)
    width = false[:, 1:] - false[:, :-1]
    share = np.divide(right - left, width, out=np.zeros_like(width), where=width > 0)
    rise = true[:, 1:] - true[:, :-1]
    # A step that crosses the limit is cut where it does.
    area = ((right - left) * (true[:, :-1] + 0.5 * share * rise)).sum(axis=1)
    chance = 0.5 * MAX_FPR**2
    return np.asarray(0.5 * (1 + (area - chance) / (MAX_FPR - chance)))
