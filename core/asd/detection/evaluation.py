"""How well a model separates normal from anomalous clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asd.detection.identity import content_of
from asd.detection.metrics import auc, bootstrap_interval, partial_auc
from asd.detection.model import Model, Verdict
from asd.detection.pipeline import Failure
from asd.errors import DataError
from asd.progress import track
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
    normal: int
    anomalous: int
    training_clips: int
    failures: tuple[Failure, ...]


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
        If a clip is in both classes, or a class has no readable clip.
    AudioError
        If `strict` and a clip cannot be read.
    """
    if both := set(normal) & set(anomalous):
        raise DataError(f"{next(iter(both))}: given as normal and as anomalous; {len(both)} such clips")
    verdicts: list[Verdict] = []
    failures: list[Failure] = []
    clips = [*normal, *anomalous]
    for result in track(model.score(clips, workers=workers, cache=cache), "scoring", len(clips)):
        if isinstance(result, Verdict):
            verdicts.append(result)
        elif strict:
            raise result.error
        else:
            failures.append(result)
    known = set(normal)
    healthy = [v for v in verdicts if v.clip in known]
    faulty = [v for v in verdicts if v.clip not in known]
    return measure(model, healthy, faulty, failures, seed=seed)


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
    return Evaluation(
        auc=auc(*scores),
        auc_interval=bootstrap_interval(*scores, seed=seed),
        partial_auc=partial_auc(*scores, max_fpr=0.1),
        false_alarms=sum(v.anomalous for v in healthy),
        hits=sum(v.anomalous for v in faulty),
        normal=len(healthy),
        anomalous=len(faulty),
        training_clips=sum(v.clip.path in known for v in verdicts),
        failures=tuple(failures),
    )
