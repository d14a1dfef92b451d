"""What a model learns: detectors on the features of healthy clips, and the calibration on clips held out of each."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from asd.contract.interfaces import Extractor, Reason, Runtime
from asd.detection.calibration import MINIMUM_RECORDINGS, Calibration
from asd.detection.config import ResolvedConfig, Steps
from asd.detection.duplicates import Duplicate, recording_of
from asd.detection.features import ClipFeatures, Failure, silence
from asd.detection.fusion import LEAST_CLIPS, BranchScores
from asd.detection.members import Lessons, Member, members_of
from asd.detection.piece import Shared
from asd.detection.pipeline import Pipeline
from asd.detection.pooling import pool_embeddings, pool_scores, pooled_as_if
from asd.detection.results import clip_errors, reasons_of
from asd.detection.sent import Sent, needs_of, pipeline_of
from asd.detection.states import States, found_names, state_names
from asd.detection.work import over_clips
from asd.errors import AudioError, CalibrationError
from asd.progress import track
from asd.records import Clip, Float32, Float64, Int64
from asd_registry.text import counted

MINIMUM_CLIPS = 5
"""Fewer normal clips than this calibrate nothing: even the best alarm would be false once in five clips."""

SINGLE_HELD_OUT = 5
"""With a single member, one clip in five is held out."""

_TELLING_DIMENSION = 64
"""Least length of embeddings whose change over time tells copies of clips; one or a few values change alike by chance.
"""

_log = logging.getLogger("asd")


Judged = tuple[ClipFeatures, Float64, Float64]
"""A clip's features, its score by each member, and the mean scores of its windows."""


@dataclass(frozen=True)
class FittedBranch:
    """What a branch learned.

    Parameters
    ----------
    name : str
        The branch's name.
    config : ResolvedConfig
        The branch as a pipeline of one branch.
    members : list of Member
        One for each fold.
    """

    name: str
    config: ResolvedConfig
    members: list[Member]

    def clip_scores(self, features: ClipFeatures) -> Float64:
        """Return the clip's score by each member, float64[n_members]."""
        return np.array([clip_score(member, features, self.config) for member in self.members])

    def judge_each(self, clips: Sequence[ClipFeatures | Failure]) -> list[Judged | Failure]:
        """Return each clip's score by each member, and the mean scores of its windows; failures stay, or are added.

        Where the detector gets one vector a clip, a window's score is that of a clip which is like the window
        throughout. Detectors score the rows of all clips at once.
        """
        good = [each for each in clips if isinstance(each, ClipFeatures)]
        try:
            with clip_errors(good[0].clip) if good else contextlib.nullcontext():
                found: Iterator[Judged | Failure] = iter(self._judged(good))
        except AudioError as error:
            if len(good) == 1:
                found = iter([Failure(good[0].clip, error)])
            else:  # one of them: which?
                found = (own for each in good for own in self.judge_each([each]))
        return [next(found) if isinstance(each, ClipFeatures) else each for each in clips]

    def _judged(self, clips: Sequence[ClipFeatures]) -> list[Judged]:
        if not clips:
            return []
        pooled = self.config.embedding_pooling != "none"
        rows: list[Float32] = []
        for each in clips:
            rows += [pooled_as_if(each.values, self.config), *([rows_of(each, self.config)] if pooled else [])]
        together, ends = np.concatenate(rows), np.cumsum([len(each) for each in rows])[:-1]
        scores = np.split(np.stack([member.score(together) for member in self.members]), ends, axis=1)
        of_windows, of_clips = (scores[::2], scores[1::2]) if pooled else (scores, scores)
        return [
            (features, np.array([pool_scores(row, self.config) for row in own]), windows.mean(axis=0))
            for features, own, windows in zip(clips, of_clips, of_windows, strict=True)
        ]

    def reasons(self, features: ClipFeatures, extractor: Callable[[], Extractor]) -> tuple[Reason, ...]:
        """Return why the clip is unusual, as far as the detector can say; `extractor` returns the branch's."""
        member = self.members[0]
        row = pool_embeddings(features.values, self.config).mean(axis=0, keepdims=True)
        return reasons_of(member.detector, member.transformed(row), extractor, features.file_rate / 2)


def rows_of(features: ClipFeatures, config: Steps) -> Float32:
    """Return what a detector gets of a clip: its windows' embeddings, or the vector that they are pooled to."""
    return features.values if features.pooled else pool_embeddings(features.values, config)


def clip_score(member: Member, features: ClipFeatures, config: Steps) -> float:
    """Return a clip's score by one member: its embeddings pooled, or its windows' scores, as `config` says."""
    return pool_scores(member.score(rows_of(features, config)), config)


def extract(
    pipeline: Pipeline, clips: Sequence[Clip], *, workers: int, strict: bool, known: int = 0
) -> tuple[list[list[ClipFeatures]], list[Failure]]:
    """Return each branch's features of the clips that all branches can learn from, and the clips that are left out.

    Parameters
    ----------
    pipeline : Pipeline
        What embeds them.
    clips : sequence of Clip
        Clips of the healthy machine.
    workers : int
        Threads that decode ahead of the network.
    strict : bool
        Raise at the first clip that cannot be used.
    known : int
        Clips that count besides.

    Raises
    ------
    AudioError
        If `strict` and a clip cannot be used.
    CalibrationError
        If too few clips can.
    """
    check_count(len(clips) + known, len(clips) + known)
    found: list[list[ClipFeatures]] = []
    failures = []
    names = pipeline.config.names
    state = pipeline_of(pipeline, workers)
    results = over_clips(features_to_learn, state, clips, needs=needs_of(pipeline))
    for result in track(results, "embedding", len(clips)):
        branches = [result] * len(names) if isinstance(result, Failure) else result
        failure = _failure(branches, names)
        if failure is None:
            found.append([each for each in branches if isinstance(each, ClipFeatures)])
            continue
        if strict:
            raise failure.error
        _log.warning("left out: %s", failure.error)
        failures.append(failure)
    check_count(len(found) + known, len(clips) + known, failures)
    if found:
        _log_rates([features[0].file_rate for features in found], pipeline.sample_rate)
    return found, failures


def features_to_learn(state: Shared[Sent], clips: Sequence[Clip]) -> Iterator[list[ClipFeatures | Failure]]:
    """Yield what each branch makes of a clip, as far as it is needed to learn from."""
    sent = state.value
    for branches in sent.pipeline.embed_branches(clips, workers=sent.workers, cache=sent.pipeline.cache):
        features = [each for each in branches if isinstance(each, ClipFeatures)]
        yield [*pooled_features(features, sent.pipeline.config)] if len(features) == len(branches) else branches


def pooled_features(branches: list[ClipFeatures], config: ResolvedConfig) -> list[ClipFeatures]:
    """Return what is needed of a clip's features to learn from them: windows fill the memory.

    Where one vector a clip is learned from, the windows are kept of one branch alone: they tell copies of clips.
    """
    windows = [len(each.values) for each in branches]
    dimensions = [each.values.shape[1] for each in branches]
    witness = min(range(len(branches)), key=lambda b: (dimensions[b] < _TELLING_DIMENSION, -windows[b], dimensions[b]))
    return [
        each
        if b == witness or part.embedding_pooling == "none"
        else replace(each, values=pool_embeddings(each.values, part), pooled=True)
        for b, (each, part) in enumerate(zip(branches, config.parts, strict=True))
    ]


def _failure(branches: Sequence[ClipFeatures | Failure], names: Sequence[str]) -> Failure | None:
    """Return why a clip cannot be learned from; None if every branch can."""
    failed = {name: each for name, each in zip(names, branches, strict=True) if isinstance(each, Failure)}
    if len(failed) == len(branches):  # the recording itself, most likely
        return next(iter(failed.values()))
    if failed:
        name, failure = next(iter(failed.items()))
        return Failure(failure.clip, AudioError(f"{failure.error} (branch {name!r}; the others can use it)"))
    if isinstance(branches[0], ClipFeatures) and branches[0].silent:
        return silence(branches[0].clip)
    return None


def learn(
    config: ResolvedConfig, features: Sequence[ClipFeatures], runtime: Runtime, duplicates: Sequence[Duplicate] = ()
) -> tuple[list[Member], Calibration]:
    """Train the members of a pipeline of one branch; as `learn_branches`."""
    (branch,), calibration = learn_branches(config, [[each] for each in features], runtime, duplicates)
    return branch.members, calibration


def learn_branches(
    config: ResolvedConfig,
    features: Sequence[Sequence[ClipFeatures]],
    runtime: Runtime,
    duplicates: Sequence[Duplicate] = (),
    groups: Int64 | None = None,
) -> tuple[list[FittedBranch], Calibration]:
    """Train one member per fold and branch on the other folds, and score each fold's clips by its members.

    Duplicates are held out with their originals and calibrate nothing.

    Parameters
    ----------
    config : ResolvedConfig
        The pipeline.
    features : sequence of sequence of ClipFeatures
        Of each clip, what each branch made of it.
    runtime : Runtime
        How to compute.
    duplicates : sequence of Duplicate
        Clips that repeat others.
    groups : int64 array of shape (n_clips,), or None
        Each clip's group, -1: not known (`asd.plugin.Rows`).

    Raises
    ------
    CalibrationError
        If the number of clips cannot support the false alarm rate asked for; said before the training, not after it.
    """
    first = [each[0] for each in features]
    clips = [f.clip for f in first]
    recording = recording_of(clips, duplicates)
    fold = assign_folds(recording, config.folds, config.seed)
    repeated = {duplicate.clip for duplicate in duplicates}
    check_count(len(set(clips) - repeated), len(clips), which="differ from all others")
    held_out = np.array([i for i, clip in enumerate(clips) if fold[i] >= 0 and clip not in repeated])
    seconds = float(np.mean([f.seconds for f in first]))
    recordings = len({recording[i] for i in held_out})
    states = _states(config, features, held_out)
    calibrating = tuple(clips[i] for i in held_out)
    plain = Calibration(np.zeros(len(held_out)), fold[held_out], seconds, recordings, None, states, calibrating)
    plain.decide(config.false_alarms_per_hour)
    if config.branches:
        _check_held_out(len(held_out), len(config.branches))
    branches = [FittedBranch(name, part, []) for name, part in zip(config.names, config.parts, strict=True)]
    rows = [[rows_of(each[b], branch.config) for each in features] for b, branch in enumerate(branches)]
    jobs = [(b, k) for b in range(len(branches)) for k in range(int(fold.max()) + 1)]
    lessons = Lessons([branch.config for branch in branches], rows, fold, groups, runtime)
    for (b, _), member in zip(jobs, track(members_of(lessons, jobs), "learning", len(jobs)), strict=True):
        branches[b].members.append(member)
    scores = _held_out_scores(branches, features, fold, held_out)
    if not config.branches:
        return branches, replace(plain, scores=scores[:, 0].copy())
    return branches, fused_calibration(plain, scores, config)


def _held_out_scores(
    branches: Sequence[FittedBranch], features: Sequence[Sequence[ClipFeatures]], fold: Int64, held_out: Int64
) -> Float64:
    """Return the scores, float64[n_held_out, n_branches], of clips by the members that have not seen them."""
    scores = [
        [clip_score(own.members[fold[i]], features[i][b], own.config) for i in held_out]
        for b, own in enumerate(branches)
    ]
    return np.array(scores).T.copy()


def _states(config: ResolvedConfig, features: Sequence[Sequence[ClipFeatures]], held_out: Int64) -> States | None:
    """Return the operating states of clips, named or found by their sound; None: there is one, or none are wanted."""
    if config.group is None and config.states is None:
        return None
    if config.group is not None and config.states is not None:
        _log.warning("both group and states are given: operating states are those found by sound, not those of group")
    clips = [each[0].clip for each in features]
    parts = [np.stack([clip_row(each[b : b + 1], [part]) for each in features]) for b, part in enumerate(config.parts)]
    names = state_names(clips, config.group) if config.states is None else found_names(parts, config)
    return States.learned(names, np.concatenate(parts, axis=1), held_out)


def clip_row(features: Sequence[ClipFeatures], parts: Sequence[Steps]) -> Float64:
    """Return one vector for a clip to tell its operating state: its embeddings by the branches, side by side."""
    means = [rows_of(each, part).mean(axis=0, dtype=np.float64) for each, part in zip(features, parts, strict=True)]
    return np.concatenate(means)


def fused_calibration(calibration: Calibration, scores: Float64, config: ResolvedConfig) -> Calibration:
    """Return the calibration by scores of several branches, float64[n_clips, n_branches].

    Raises
    ------
    CalibrationError
        If every branch scores all clips alike.
    """
    if (scores == scores[0]).all():
        raise CalibrationError(
            f"all branches ({', '.join(config.names)}) score all {len(scores)} held-out clips alike: nothing tells a "
            "fault from them; check the recordings, or choose other extractors"
        )
    branches = BranchScores(scores, config.fusion, config.gates)
    return replace(calibration, scores=branches.held_out, branches=branches)


def _check_held_out(count: int, branches: int) -> None:
    if count < LEAST_CLIPS:
        raise CalibrationError(
            f"{count} held-out clips: the scores of {branches} branches are compared by {LEAST_CLIPS} or more; record "
            "more clips or raise --folds"
        )


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


def check_count(usable: int, given: int, failures: Sequence[Failure] = (), which: str = "can be used") -> None:
    """Refuse fewer than `MINIMUM_CLIPS` clips.

    Parameters
    ----------
    usable, given : int
        How many clips count, of how many.
    failures : sequence of Failure
        Why others do not.
    which : str
        What those do that count.

    Raises
    ------
    CalibrationError
        If they are too few.
    """
    if usable >= MINIMUM_CLIPS:
        return
    if failures and not usable:  # more recordings would not help
        first = failures[0].error
        raise CalibrationError(f"0 of {counted(given, 'clip')} can be used (the first that cannot: {first})")
    found = counted(given, "clip") if usable == given else f"{usable} of {counted(given, 'clip')} {which}"
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
        _log.info("the clips are recorded at %d Hz: they contain nothing above %d Hz", rates[0], rates[0] // 2)
