"""A model goes on: another calibration for the same detectors, or detectors that learn from more clips.

`recalibrated` scores new healthy clips that no member has learned from. Every member may judge them, so that the mean
over the members is one score, the same function for the new clips and for any later one: split conformal prediction
with an ensemble, whose p-value is at most ``a`` with probability at most ``a`` (Vovk et al. 2005, Algorithmic Learning
in a Random World). Dealing the new clips to the members would prove less from as many clips, and be noisier. With
several branches, normalisation by the other clips (`asd.detection.fusion`) takes part of that proof away, as after a
fit.

`updated` fits again, on the clips that the model learned from and on new ones; the result is that of a fit on both. The
embeddings of the former come from the embedding cache, by the content of their recordings, or from the recordings.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asd.detection.calibration import LENGTHS, Calibration, with_mean
from asd.detection.conditions import Conditions, computed_with, count_notes
from asd.detection.duplicates import find_duplicates, recording_of
from asd.detection.features import ClipFeatures, merge_notes, most_telling
from asd.detection.history import continued, entries_of, event, parts_of
from asd.detection.identity import content_of
from asd.detection.manifest import TrainingEntry
from asd.detection.reference import Reference
from asd.detection.states import States
from asd.detection.training import check_count, clip_row, extract, fused_calibration, pooled_features
from asd.errors import CalibrationError, DataError
from asd.records import Clip, Float64
from asd_registry.renamed import former_names_allowed

if TYPE_CHECKING:
    from asd.detection.model import Model

Features = list[list[ClipFeatures]]
"""Of each clip, what each branch made of it."""

_NAMED = 3
_CACHED = Path("(embedding cache)")
"""The folder that recordings seem to be in whose embeddings are taken from the cache."""

_log = logging.getLogger("asd")


def recalibrated(
    model: Model,
    clips: Sequence[Clip],
    *,
    keep: bool = False,
    false_alarms_per_hour: float | None = None,
    workers: int = 1,
    strict: bool = False,
) -> Model:
    """Return the model with another calibration; parameters and errors as for `asd.Model.recalibrate`."""
    model.pipeline.require_recordings()
    model.check_weights()
    known = {*_digests(model.training), *(_digests(model.recalibration) if keep else ())}
    chosen = _unknown(clips, known, "a calibration needs clips that the model has not heard")
    held = len(model.calibration.scores) if keep else 0
    features, failures = extract(model.pipeline, chosen, workers=workers, strict=strict, known=held)
    contents = contents_of(features)
    features = in_order(features, contents)
    new = copy.copy(model)
    new.duplicates = find_duplicates(most_telling(features), contents)
    repeated = {each.clip for each in new.duplicates}
    counted = [each for each in features if each[0].clip not in repeated]
    check_count(len(counted) + held, len(features) + held, which="differ from all others")
    _check_lengths(model, counted, "calibrate", required=keep)
    recordings = recording_of([each[0].clip for each in features], new.duplicates)
    own = {path for path, each in zip(recordings, features, strict=True) if each[0].clip not in repeated}
    new.calibration = _calibration(model, counted, len(own), keep)
    if false_alarms_per_hour is not None:
        new.pipeline = copy.copy(model.pipeline)
        new.pipeline.config = replace(model.config, false_alarms_per_hour=false_alarms_per_hour)
    new.decision = new.calibration.decide(new.config.false_alarms_per_hour)
    _describe(model, new, features, contents, keep)
    new.reference = _reference(model, counted, contents, keep)
    new.failures = failures
    return new


def _calibration(model: Model, features: Features, recordings: int, keep: bool) -> Calibration:
    """Return the calibration by clips that no member has learned from, with the old one if that is kept."""
    scores = np.array([_scores(model, each) for each in features])
    old, count = model.calibration, len(model.branches[0].members)
    member = np.full(len(scores), count, np.int64)
    lengths = [each[0].seconds for each in features]
    whole: int | None = recordings
    if keep:
        scores, member = np.concatenate([old.recorded, scores]), np.concatenate([old.member, member])
        lengths += [old.clip_seconds] * len(old.scores)
        whole = None if old.recordings is None else old.recordings + recordings
    states = None if old.states is None else _states(model, old.states, features, keep)
    plain = Calibration(scores, member, float(np.mean(lengths)), whole, states=states)
    return fused_calibration(plain, scores, model.config) if model.config.branches else plain


def _reference(model: Model, features: Features, contents: Mapping[Path, str], keep: bool) -> Reference | None:
    """Return what healthy clips sound like by the new ones, and the old ones if they are kept."""
    clips, channel = [each[0].clip for each in features], model.config.channel
    learned = Reference.learned(clips, contents, channel=channel, cache=model.pipeline.cache)
    if not keep or model.reference is None:
        return learned
    return model.reference if learned is None else model.reference.united(learned)


def _states(model: Model, old: States, features: Features, keep: bool) -> States:
    """Return the operating states with those of the new clips, told by their sound."""
    config = model.branches[0].config
    new = [old.number(each[0].clip.group, clip_row(each[0], config)) for each in features]
    return replace(old, of_clips=np.array([*(old.of_clips.tolist() if keep else ()), *new], np.int64))


def _scores(model: Model, features: Sequence[ClipFeatures]) -> Float64:
    """Return a clip's score, the mean over the members, float64[]; of several branches float64[n_branches]."""
    by_branch = [branch.clip_scores(own) for branch, own in zip(model.branches, features, strict=True)]
    own = np.stack(by_branch, axis=1) if model.config.branches else by_branch[0]
    return np.asarray(with_mean(own)[-1])  # as the p-value of a later clip takes it


def _describe(old: Model, new: Model, features: Features, contents: Mapping[Path, str], keep: bool) -> None:
    """Note what the new model's calibration comes from, and warn of what is unlike before."""
    merged = [merge_notes(each) for each in features]
    entries = entries_of([each.clip for each in merged], contents)
    added = event("calibration extended" if keep else "recalibrated", len(features), entries)
    new.history = continued(old.history, added)
    new.recalibration = [*(old.recalibration if keep else ()), *entries]
    conditions = Conditions.of(merged)
    new.conditions = old.conditions.united(conditions) if keep else conditions
    if not keep:
        new.fitted_with = computed_with(old.config.names, old.pipeline.runtimes, features[0])
    for each in merged:
        each.notes.extend(old.conditions.notes(each, old.pipeline.sample_rate))
    new.notes = count_notes(merged)
    for note in new.notes:
        _log.warning("%s", note.text(len(merged)))


def updated(
    model: Model, clips: Sequence[Clip], *, old_clips: Sequence[Clip] = (), workers: int = 1, strict: bool = False
) -> Model:
    """Return a model that learned more; parameters and errors as for `asd.Model.update`."""
    model.pipeline.require_recordings()
    model.check_weights()
    chosen = _unknown(clips, set(_digests(model.training)), "there is nothing new to learn from")
    there, elsewhere = _located(model, old_clips)
    recalled, contents = _recalled(model, elsewhere)
    features, failures = extract(model.pipeline, [*there, *chosen], workers=workers, strict=strict, known=len(recalled))
    contents |= contents_of(features)
    added = [each for each in features if each[0].clip in set(chosen)]
    if not added:
        raise DataError(f"none of the {len(chosen)} new clips can be used (the first: {failures[0].error})")
    _check_lengths(model, added, "be learned from", required=True)
    with former_names_allowed():
        new = type(model).of_features(model.pipeline, [*recalled, *features], contents)
    entries = entries_of([each[0].clip for each in added], contents)
    new.history = continued(model.history, event("updated", len(added), entries))
    new.failures = failures
    if model.recalibration:
        _log.warning("the calibration by %d other recordings is replaced: give them again to 'asd recalibrate', or as "
                     "new clips to learn from them", len(model.recalibration))  # fmt: skip
    return new


def _located(model: Model, old_clips: Sequence[Clip]) -> tuple[list[Clip], list[TrainingEntry]]:
    """Return the clips of training recordings that are among `old_clips`, and the other recordings of the training."""
    places: dict[str, list[Clip]] = {}
    for clip, content in _contents(old_clips):
        if content is not None:
            places.setdefault(content, []).append(clip)
    known = sum(len(parts_of(entry)) for entry in model.training) == model.clips  # the first model files do not say
    found: list[Clip] = []
    missing: list[TrainingEntry] = []
    for entry in model.training:
        own = places.get(entry["sha256"], [])
        paths = {clip.path: clip for clip in own}
        # Copies of a recording are entries of their own: each takes another file, if there is one.
        taken = {clip.path for clip in found}
        first = next((clip for path, clip in paths.items() if path not in taken), None)
        if first is None:
            missing.append(entry)
        elif known:
            found += [Clip(first.path, start, duration, first.group) for start, duration in parts_of(entry)]
        else:
            found += [clip for clip in own if clip.path == first.path]
    others = {clip.path for clip in old_clips} - {clip.path for clip in found}
    if others:
        _log.warning("%d of the former recordings are not among those that the model learned from (%s): left out",
                     len(others), _named([path.name for path in sorted(others)]))  # fmt: skip
    if missing and (model.config.group is not None or not known):
        reason = "the groups of its clips" if known else "which parts of its recordings it learned from"
        raise DataError(
            f"the model file does not say {reason}: name all recordings that it learned from with --data "
            f"({len(missing)} of {len(model.training)} are missing: {_named([each['name'] for each in missing])}), or "
            "fit anew"
        )
    return found, missing


def _recalled(model: Model, entries: Sequence[TrainingEntry]) -> tuple[Features, dict[Path, str]]:
    """Return the embeddings of training recordings by the embedding cache, and the recordings' SHA-256."""
    contents: dict[Path, str] = {}
    clips: dict[Clip, str] = {}
    for number, entry in enumerate(entries):
        path = _CACHED / str(number) / (Path(entry["name"]).name or "_")  # two folders may hold one name
        contents[path] = entry["sha256"]
        clips |= {Clip(path, start, duration): entry["sha256"] for start, duration in parts_of(entry)}
    cache = model.pipeline.cache
    found: Features = []
    lost = {} if cache else dict.fromkeys(contents)
    if cache and clips:
        for clip, features in zip(clips, model.pipeline.recall(clips, cache), strict=True):
            if features is None:
                lost[clip.path] = None
            else:
                found.append(pooled_features(features, model.config))
    if lost:
        raise DataError(
            f"{len(lost)} of {len(model.training)} recordings that the model learned from are neither in the embedding "
            f"cache nor named with --data ({_named([path.name for path in lost])}): name the folder that they are in "
            "with --data, or fit anew"
        )
    return found, contents


def contents_of(features: Sequence[list[ClipFeatures]]) -> dict[Path, str]:
    """Return the SHA-256 of the recording of each clip."""
    return {path: content_of(path) for path in dict.fromkeys(each[0].clip.path for each in features)}


def in_order(features: Sequence[list[ClipFeatures]], contents: Mapping[Path, str]) -> Features:
    """Return features sorted by what the recordings hold: the order of the files must not change what is learned."""
    return sorted(features, key=lambda each: (contents[each[0].clip.path], each[0].clip.path.name, each[0].clip.start))


def _digests(entries: Sequence[TrainingEntry]) -> list[str]:
    return [entry["sha256"] for entry in entries]


def _contents(clips: Sequence[Clip]) -> list[tuple[Clip, str | None]]:
    """Return each clip with the SHA-256 of its recording; None: it cannot be read, and reading it says why."""
    digests: dict[Path, str | None] = {}
    for path in dict.fromkeys(clip.path for clip in clips):
        try:
            digests[path] = content_of(path)
        except OSError:
            digests[path] = None
    return [(clip, digests[clip.path]) for clip in clips]


def _unknown(clips: Sequence[Clip], known: set[str], need: str) -> list[Clip]:
    """Return the clips of recordings that are not among the known ones; the others are told.

    Raises
    ------
    DataError
        If none is left.
    """
    chosen = [clip for clip, content in _contents(clips) if content not in known]
    paths = {clip.path for clip in chosen}
    heard = list(dict.fromkeys(clip.path.name for clip in clips if clip.path not in paths))
    if not chosen:
        raise DataError(
            f"the model knows all {len(clips)} clips already ({_named(heard)}): {need}; name recordings that it has "
            "not learned from"
        )
    if heard:
        _log.warning("%d of %d clips are of recordings that the model knows already (%s): left out",
                     len(clips) - len(chosen), len(clips), _named(heard))  # fmt: skip
    return chosen


def _check_lengths(model: Model, features: Features, doing: str, *, required: bool) -> None:
    """Refuse, or tell, that new clips are not as long as those of the calibration."""
    seconds, usual = float(np.mean([each[0].seconds for each in features])), model.calibration.clip_seconds
    if LENGTHS[0] <= seconds / usual <= LENGTHS[1]:
        return
    text = f"the new clips last {seconds:.3g} s, those of the model {usual:.3g} s"
    if required:
        raise CalibrationError(
            f"{text}: p-values hold for clips of one length, so that they cannot {doing} together; record clips of "
            f"{usual:.3g} s, or fit anew with --segment {min(seconds, usual):.3g}"
        )
    _log.warning("%s: from now on clips of %.3g s are judged", text, seconds)


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
