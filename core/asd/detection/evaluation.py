"""How well a model separates normal from anomalous clips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asd.detection.identity import content_of
from asd.detection.metrics import auc, binomial_interval, bootstrap_interval, partial_auc
from asd.detection.model import Model
from asd.detection.pipeline import Failure
from asd.detection.verdict import Verdict
from asd.errors import DataError
from asd.records import Clip


@dataclass(frozen=True)
class Evaluation:
    """Quality of a model on labelled clips.

    Parameters
    ----------
    auc : float
        Area under the ROC curve.
    auc_interval : tuple of float
        Its 95 % bootstrap interval.
    partial_auc : float
        McClish-standardised partial AUC up to a false positive rate of 0.1.
    false_alarms, hits : int
        Normal and anomalous clips that raised the alarm.
    false_alarm_rate : float
        Fraction of the normal clips that raised the alarm.
    false_alarm_interval : tuple of float
        Its exact 95 % interval, for clips that are independent of each other.
    promised_false_alarm_rate : float
        What the model promises: the level of its decision.
    normal, anomalous : int
        Clips judged in each class.
    training_clips : int
        Clips whose content was also in the training set: their scores are too good.
    failures : tuple of Failure
        Clips that could not be read.
    """

    auc: float
    auc_interval: tuple[float, float]
    partial_auc: float
    false_alarms: int
    hits: int
    false_alarm_rate: float
    false_alarm_interval: tuple[float, float]
    promised_false_alarm_rate: float
    normal: int
    anomalous: int
    training_clips: int
    failures: tuple[Failure, ...]

    @property
    def contradicts_promise(self) -> bool:
        """Whether the healthy clips raised more alarms than the model promises and chance explains."""
        return self.promised_false_alarm_rate < self.false_alarm_interval[0]

    def __repr__(self) -> str:
        low, high = self.auc_interval
        return (
            f"<Evaluation of {self.normal} healthy and {self.anomalous} faulty clips: AUC {self.auc:.3f} "
            f"({low:.3f} – {high:.3f}), pAUC {self.partial_auc:.3f}, alarms on {self.hits} faulty and "
            f"{self.false_alarms} healthy clips>"
        )

    def _repr_html_(self) -> str:
        from asd.detection.notebook import evaluation_html

        return evaluation_html(self)


def evaluate(
    model: Model,
    normal: Sequence[Clip],
    anomalous: Sequence[Clip],
    *,
    workers: int = 1,
    strict: bool = False,
    seed: int = 0,
    cache: bool = True,
) -> Evaluation:
    """Score labelled clips and measure how well the scores separate them.

    Parameters
    ----------
    model : Model
        A fitted model.
    normal, anomalous : sequence of Clip
        Healthy and faulty clips.
    workers : int
        Threads that decode ahead of the network.
    strict : bool
        Raise at the first clip that cannot be read, instead of leaving it out.
    seed : int
        Seed of the bootstrap.
    cache : bool
        As for `Model.score`.

    Raises
    ------
    DataError
        If a clip, or one of the same content, is in both classes, or a class has no readable clip.
    AudioError
        If `strict` and a clip cannot be read.
    """
    healthy, faulty, failures = judge(model, normal, anomalous, workers=workers, strict=strict, cache=cache)
    return measure(model, healthy, faulty, failures, seed=seed)


def judge(
    model: Model,
    normal: Sequence[Clip],
    anomalous: Sequence[Clip],
    *,
    workers: int = 1,
    strict: bool = False,
    cache: bool = True,
) -> tuple[list[Verdict], list[Verdict], list[Failure]]:
    """Return the verdicts on normal and on anomalous clips, and the failures; all as for `evaluate`."""
    if both := set(normal) & set(anomalous):
        raise DataError(f"{next(iter(both))}: given as normal and as anomalous; {len(both)} such clips")
    _check_contents(normal, anomalous)
    verdicts: list[Verdict] = []
    failures: list[Failure] = []
    for result in model.score([*normal, *anomalous], workers=workers, cache=cache):
        if isinstance(result, Verdict):
            verdicts.append(result)
        elif strict:
            raise result.error
        else:
            failures.append(result)
    known = set(normal)
    healthy = [v for v in verdicts if v.clip in known]
    faulty = [v for v in verdicts if v.clip not in known]
    return healthy, faulty, failures


def measure(
    model: Model,
    healthy: Sequence[Verdict],
    faulty: Sequence[Verdict],
    failures: Sequence[Failure] = (),
    *,
    seed: int = 0,
) -> Evaluation:
    """Measure how well verdicts that `model` gave separate the classes; errors as for `evaluate`."""
    verdicts = (*healthy, *faulty)
    trained_on = {entry["sha256"] for entry in model.training}
    known = {path for path in {v.clip.path for v in verdicts} if content_of(path) in trained_on}
    scores = [np.array([v.score for v in group]) for group in (healthy, faulty)]
    separation = auc(*scores)  # refuses an empty class
    false_alarms = sum(v.anomalous for v in healthy)
    return Evaluation(
        auc=separation,
        auc_interval=bootstrap_interval(*scores, seed=seed),
        partial_auc=partial_auc(*scores, max_fpr=0.1),
        false_alarms=false_alarms,
        hits=sum(v.anomalous for v in faulty),
        false_alarm_rate=false_alarms / len(healthy),
        false_alarm_interval=binomial_interval(false_alarms, len(healthy)),
        promised_false_alarm_rate=model.decision.level,
        normal=len(healthy),
        anomalous=len(faulty),
        training_clips=sum(v.clip.path in known for v in verdicts),
        failures=tuple(failures),
    )


def _check_contents(normal: Sequence[Clip], anomalous: Sequence[Clip]) -> None:
    """Refuse sound that is in both classes under two names; different parts of one recording may be in both."""
    content: dict[Path, str] = {}
    for path in dict.fromkeys(clip.path for clip in (*normal, *anomalous)):
        with suppress(OSError):  # reading it says what is wrong
            content[path] = content_of(path)
    healthy: dict[str | None, list[Clip]] = {}
    for clip in normal:
        healthy.setdefault(content.get(clip.path), []).append(clip)
    healthy.pop(None, None)
    for clip in anomalous:
        for other in healthy.get(content.get(clip.path), ()):
            if max(clip.start, other.start) < min(_end(clip), _end(other)):
                raise DataError(
                    f"{other} and {clip}: the same sound, given as normal and as anomalous; leave it out or correct "
                    "the label"
                )


def _end(clip: Clip) -> float:
    return math.inf if clip.duration is None else clip.start + clip.duration
