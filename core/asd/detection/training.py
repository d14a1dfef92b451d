"""What a model learns: detectors on the features of healthy clips, and the calibration on clips held out of each."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asd.contract.create import create
from asd.contract.interfaces import Detector, Runtime
from asd.detection.calibration import MINIMUM_RECORDINGS, Calibration
from asd.detection.config import Config, ResolvedConfig
from asd.detection.duplicates import Duplicate, recording_of
from asd.detection.pipeline import ClipFeatures, Failure, Pipeline, seeded
from asd.detection.results import fitted, scores_of
from asd.detection.transform import FeatureTransform
from asd.errors import AudioError, CalibrationError, DataError
from asd.progress import track
from asd.records import Clip, Float32, Float64

MINIMUM_CLIPS = 5
"""Fewer normal clips than this calibrate nothing: even the best alarm would be false once in five clips."""

SINGLE_HELD_OUT = 5
"""With a single member, one clip in five is held out."""

_log = logging.getLogger("asd")


@dataclass(frozen=True)
class Member:
    """A detector with the transform of its features, both learned without the clips that calibrate it."""

    transform: FeatureTransform
    detector: Detector

    def score(self, values: Float32) -> Float64:
        """Return the score of each window, float64[n_windows], from its embedding, float32[n_windows, dimension]."""
        expected = len(self.transform.mean)
        if values.shape[1] != expected:
            raise DataError(
                f"the embeddings have {values.shape[1]} values, the model learned from {expected}; use the front end "
                "and the extractor of the fit, or fit again"
            )
        return scores_of(self.detector, self.transform.transform(values))


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
    results = pipeline.embed_all(clips, workers=workers, cache=pipeline.cache)
    for result in track(results, "embedding", len(clips)):
        if isinstance(result, ClipFeatures) and result.silent:
            silent = AudioError(f"{result.clip}: digital silence: nothing to learn from; is the microphone connected?")
            result = Failure(result.clip, silent)
        if isinstance(result, ClipFeatures):
            features.append(result)
            continue
        if strict:
            raise result.error
        _log.warning("left out: %s", result.error)
        failures.append(result)
    _check_count(len(features), len(clips), failures)
    _log_rates([f.file_rate for f in features], pipeline.sample_rate)
    return features, failures


def learn(
    config: ResolvedConfig, features: Sequence[ClipFeatures], runtime: Runtime, duplicates: Sequence[Duplicate] = ()
) -> tuple[list[Member], Calibration]:
    """Train one member per fold on the other folds, and score each fold's clips by its member.

    Duplicates are held out with their originals and calibrate nothing.

    Raises
    ------
    CalibrationError
        If the number of clips cannot support the false alarm rate asked for; said before the training, not after it.
    """
    clips = [f.clip for f in features]
    recording = recording_of(clips, duplicates)
    fold = assign_folds(recording, config.folds, config.seed)
    repeated = {duplicate.clip for duplicate in duplicates}
    _check_count(len(set(clips) - repeated), len(clips), which="differ from all others")
    held_out = np.array([i for i, clip in enumerate(clips) if fold[i] >= 0 and clip not in repeated])
    seconds = float(np.mean([f.seconds for f in features]))
    recordings = len({recording[i] for i in held_out})
    Calibration(np.zeros(len(held_out)), fold[held_out], seconds, recordings).decide(config.false_alarms_per_hour)
    members = []
    for k in track(range(int(fold.max()) + 1), "learning"):
        values = np.concatenate([f.values for f, own in zip(features, fold, strict=True) if own != k])
        transform = new_transform(config).fit(values)
        members.append(Member(transform, fitted(new_detector(config, runtime), transform.transform(values))))
    scores = np.array([pool_scores(members[fold[i]].score(features[i].values), config) for i in held_out])
    return members, Calibration(scores, fold[held_out], seconds, recordings)


def new_transform(config: ResolvedConfig) -> FeatureTransform:
    """Return the configured transform, unfitted."""
    return FeatureTransform(standardise=config.standardise, deviation_floor=config.deviation_floor, pca=config.pca)


def new_detector(config: ResolvedConfig, runtime: Runtime) -> Detector:
    """Create the configured detector, unfitted; errors as for `asd.contract.create.create`."""
    detector = create("detector", config.detector.name, seeded("detector", config.detector, config.seed))
    detector.runtime = runtime
    return detector


def pool_scores(scores: Float64, config: Config) -> float:
    """Return a clip's score from its windows' scores, float64[n_windows]."""
    if config.pooling == "max":
        return float(scores.max())
    if config.pooling == "top":
        count = max(1, round(config.top_fraction * len(scores)))
        return float(np.sort(scores)[-count:].mean())
    return float(scores.mean())


def assign_folds(recording: Sequence[Hashable], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the fold that holds each clip out, int64[n_clips]; -1: none does.

    Parts of one recording resemble each other more than parts of two: whole recordings are held out where there are
    enough of them, otherwise stretches of neighbouring clips. One fold holds out one clip in five.

    Parameters
    ----------
    recording : sequence
        What tells the recording of each clip from the others.
    folds : int
        How many folds are wanted.
    seed : int
        Seed of the dealing.
    """
    parts = SINGLE_HELD_OUT if folds == 1 else min(folds, len(recording))
    recordings = list(dict.fromkeys(recording))
    if len(recordings) < parts:
        fold = np.arange(len(recording)) * parts // len(recording)
    else:
        order = np.random.default_rng(seed).permutation(len(recordings))
        part_of = {recordings[index]: position % parts for position, index in enumerate(order)}
        fold = np.array([part_of[each] for each in recording])
    return np.where(fold == 0, 0, -1) if folds == 1 else fold


def _check_count(usable: int, given: int, failures: Sequence[Failure] = (), which: str = "can be used") -> None:
    if usable >= MINIMUM_CLIPS:
        return
    found = f"{given} clips" if usable == given else f"{usable} of {given} clips {which}"
    raise CalibrationError(
        f"{found}: at least {MINIMUM_CLIPS} clips of the healthy machine are needed, more are better; "
        f"make {MINIMUM_RECORDINGS} recordings or more, on several days (pieces of one long recording are too alike)"
        + (f" (the first that cannot: {failures[0].error})" if failures else "")
    )


def _log_rates(file_rates: list[int], most: int) -> None:
    """Log which frequencies the recordings lack in a pipeline that computes at `most` Hz."""
    rates, counts = np.unique(file_rates, return_counts=True)
    if len(rates) > 1:
        listed = ", ".join(f"{count} at {rate} Hz" for rate, count in zip(rates, counts, strict=True))
        _log.warning("mixed sample rates (%s): all are resampled, but a low rate lacks the high band", listed)
    elif rates[0] < most:
        _log.info("recorded at %d Hz: they contain nothing above %d Hz", rates[0], rates[0] // 2)
