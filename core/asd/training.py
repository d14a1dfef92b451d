"""What a model learns: features of healthy clips, a detector, and the calibration on clips held out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from asd.audio import Clip
from asd.config import Choice, Config, Pooling
from asd.decision import Calibration
from asd.errors import AudioError, CalibrationError
from asd.features import FeatureTransform
from asd.interfaces import Detector, Runtime
from asd.pipeline import ClipFeatures, Failure, Pipeline, create_seeded
from asd.progress import track
from asd.records import Float32, Float64

MINIMUM_CLIPS = 5
"""Fewer normal clips than this calibrate nothing: even the best alarm would be false once in five clips."""

_log = logging.getLogger("asd")


def pool_scores(scores: Float64, pooling: Pooling, top_fraction: float) -> float:
    """Return a clip's score from its windows' scores, float64[n_windows]."""
    if pooling == "max":
        return float(scores.max())
    if pooling == "top":
        count = max(1, round(top_fraction * len(scores)))
        return float(np.sort(scores)[-count:].mean())
    return float(scores.mean())


def assign_folds(clips: Sequence[Clip], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the fold of each clip, int64[n_clips].

    Parts of one recording resemble each other more than parts of two: whole recordings are held out where there are
    enough of them, otherwise stretches of neighbouring clips.
    """
    recordings = list(dict.fromkeys(clip.path for clip in clips))
    if len(recordings) < folds:
        return np.arange(len(clips)) * min(folds, len(clips)) // len(clips)
    order = np.random.default_rng(seed).permutation(len(recordings))
    fold_of = {recordings[index]: position % folds for position, index in enumerate(order)}
    return np.array([fold_of[clip.path] for clip in clips])


def extract(
    pipeline: Pipeline, clips: Sequence[Clip], *, workers: int, strict: bool
) -> tuple[list[ClipFeatures], list[Failure]]:
    """Return the features of the clips that can be learned from, and the clips that cannot.

    Raises
    ------
    AudioError
        If `strict` and a clip cannot be used.
    CalibrationError
        If too few clips can.
    """
    _check_count(len(clips), len(clips))
    features, failures = [], []
    for result in track(pipeline.embed_all(list(clips), workers=workers), "listening", len(clips)):
        if isinstance(result, ClipFeatures) and result.silent:
            silent = AudioError(f"{result.clip}: digital silence teaches nothing; is the microphone connected?")
            result = Failure(result.clip, silent)
        if isinstance(result, ClipFeatures):
            features.append(result)
            continue
        if strict:
            raise result.error
        _log.warning("left out: %s", result.error)
        failures.append(result)
    _check_count(len(features), len(clips))
    _log_mixed_rates(features)
    return features, failures


def calibrate(config: Config, features: list[ClipFeatures], runtime: Runtime) -> Calibration:
    """Score each clip by a detector that was trained on the other folds.

    Raises
    ------
    CalibrationError
        If the number of clips cannot support the false alarm rate asked for; said before the training, not after it.
    """
    seconds = float(np.mean([f.seconds for f in features]))
    Calibration(np.zeros(len(features)), seconds).decide(config.false_alarm_rate)
    fold = assign_folds([f.clip for f in features], config.folds, config.seed)
    scores = np.empty(len(features))
    for k in track(np.unique(fold), "calibrating"):
        others = [f for f, own in zip(features, fold, strict=True) if own != k]
        transform, detector = fit_detector(config, others, runtime)
        for index in np.flatnonzero(fold == k):
            windows = detector.score(transform.transform(features[index].values))
            scores[index] = pool_scores(windows, config.pooling, config.top_fraction)
    return Calibration(scores, seconds)


def fit_detector(
    config: Config, features: Iterable[ClipFeatures], runtime: Runtime
) -> tuple[FeatureTransform, Detector]:
    """Return the transform and the detector learned from all windows of the clips."""
    values: Float32 = np.concatenate([f.values for f in features])
    transform = FeatureTransform(standardise=config.standardise, pca=config.pca).fit(values)
    return transform, new_detector(config, runtime).fit(transform.transform(values))


def new_detector(config: Config, runtime: Runtime) -> Detector:
    """Create the configured detector, unfitted; errors as for `asd.components.create`."""
    choice = config.detector
    assert isinstance(choice, Choice)
    detector: Detector = create_seeded("detector", choice, config.seed)
    detector.runtime = runtime
    return detector


def _check_count(usable: int, given: int) -> None:
    if usable >= MINIMUM_CLIPS:
        return
    found = f"{given} clips" if usable == given else f"{usable} of {given} clips can be used"
    raise CalibrationError(
        f"{found}: at least {MINIMUM_CLIPS} clips of the healthy machine are needed, more are better; "
        "record more, or cut long recordings with --segment SECONDS"
    )


def _log_mixed_rates(features: list[ClipFeatures]) -> None:
    rates, counts = np.unique([f.file_rate for f in features], return_counts=True)
    if len(rates) > 1:
        listed = ", ".join(f"{count} at {rate} Hz" for rate, count in zip(rates, counts, strict=True))
        _log.warning("mixed sample rates (%s): all are resampled, but a low rate lacks the high band", listed)
