"""A fitted model: learn from healthy clips, score others, save and load."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np

from asd.contract.interfaces import Reason, Runtime
from asd.detection import consent, modelfile, saving
from asd.detection.calibration import Calibration, Decision, notes_on_length
from asd.detection.conditions import Conditions, NoteCount, computed_with, count_notes
from asd.detection.config import Config, ResolvedConfig
from asd.detection.cutting import Segment, clips_given
from asd.detection.duplicates import Duplicate, find_duplicates
from asd.detection.embeddings import EmbeddingCache, cache_from
from asd.detection.features import ClipFeatures, Failure, merge_notes, most_telling
from asd.detection.fusion import deviations
from asd.detection.given import FeaturePipeline, KnownFeatures
from asd.detection.groups import groups_of
from asd.detection.history import entries_of, event
from asd.detection.manifest import HistoryEntry, TrainingEntry, checked, sections
from asd.detection.members import Member
from asd.detection.notebook import ShownModel
from asd.detection.output import OutputFile
from asd.detection.packing import restore_rows
from asd.detection.pipeline import Pipeline
from asd.detection.reference import Reference
from asd.detection.renewal import contents_of, in_order, recalibrated, updated
from asd.detection.results import clip_errors
from asd.detection.sent import judged, judging_of, needs_of
from asd.detection.training import (
    FittedBranch,
    Judged,
    clip_row,
    extract,
    fused_calibration,
    learn_branches,
)
from asd.detection.verdict import BranchVerdict, Verdict, unusual_branches
from asd.detection.work import of_call, over_clips
from asd.errors import AudioError, ModelFileError
from asd.files.remote import as_path
from asd.progress import track
from asd.records import Clip, Float64
from asd.sound.data import Data
from asd_registry.renamed import former_names_allowed

_log = logging.getLogger("asd")


class Model(ShownModel):
    """A pipeline, the members that learned on its features, and their calibration. Made by `fit` or `load`.

    As a context manager, it closes itself at the end of the block.

    Attributes
    ----------
    pipeline : Pipeline
        From clips to features.
    branches : list of FittedBranch
        What each branch learned: one detector per fold, each trained without the clips that calibrate it.
    calibration : Calibration
        Scores of held-out normal clips.
    decision : Decision
        When a clip is anomalous; set it to ``calibration.decide(rate)`` for another number of false alarms per hour.
    training : list of dict
        ``name`` and ``sha256`` of each training recording; ``clips``, start and duration, where they are parts of it.
    recalibration : list of dict
        The same of the recordings that calibrate the model without having taught it (`recalibrate`).
    history : list of dict
        What was done to it: ``action``, ``when``, ``clips``, ``recordings`` and their ``sha256``, the latest last.
    clips : int
        How many clips it learned from.
    conditions : Conditions
        Sample rates, channels and levels of the recordings that calibrate it.
    notes : list of NoteCount
        What was noted on the training clips, and on how many (empty after loading).
    failures : list of Failure
        Training clips that could not be used (empty after loading).
    duplicates : list of Duplicate
        Training clips that repeat others and therefore did not calibrate (empty after loading).
    unsaveable : str or None
        Why no model file can keep it; None: `save` works.
    reference : Reference or None
        Levels of the healthy clips, which explanations compare with; None: an older model file keeps none,
        nor does a model of features or of very short clips.
    """

    def __init__(
        self, pipeline: Pipeline, branches: list[FittedBranch], calibration: Calibration, decision: Decision
    ) -> None:
        self.pipeline = pipeline
        self.branches = branches
        self.calibration = calibration
        self.decision = decision
        self.training: list[TrainingEntry] = []
        self.recalibration: list[TrainingEntry] = []
        self.history: list[HistoryEntry] = []
        self.clips = 0
        self.conditions = Conditions()
        self.notes: list[NoteCount] = []
        self.failures: list[Failure] = []
        self.duplicates: list[Duplicate] = []
        self.unsaveable: str | None = None
        self.reference: Reference | None = None
        self.fitted_with: dict[str, Any] = asdict(pipeline.runtime)
        self._pinned_weights: dict[str, str] | None = None

    def close(self) -> None:
        """End the worker processes of its components; the next use starts them again."""
        self.pipeline.close()
        for member in self.members:
            member.detector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def members(self) -> list[Member]:
        """The members of all branches, branch by branch."""
        return [member for branch in self.branches for member in branch.members]

    @property
    def known_features(self) -> KnownFeatures | None:
        """What it was fitted on, if that was features; None: recordings."""
        return self.pipeline.known if isinstance(self.pipeline, FeaturePipeline) else None

    @property
    def config(self) -> ResolvedConfig:
        """The whole configuration."""
        return self.pipeline.config

    @classmethod
    def fit(
        cls,
        clips: Sequence[Clip],
        config: Config | None = None,
        *,
        runtime: Runtime | None = None,
        workers: int = 1,
        strict: bool = False,
        cache: bool | EmbeddingCache = True,
    ) -> Model:
        """Learn from clips of a healthy machine.

        Parameters
        ----------
        clips : sequence of Clip
            At least `asd.detection.training.MINIMUM_CLIPS` that can be used.
        config : Config, optional
            The pipeline; default: the default pipeline.
        runtime : Runtime, optional
            Device, precision and batch size.
        workers : int
            Threads that decode ahead of the network.
        strict : bool
            Raise at the first clip that cannot be used, instead of leaving it out.
        cache : bool or EmbeddingCache
            Whether embeddings are taken from the user's embedding cache and kept there; or another cache.

        Raises
        ------
        AsdError
            If a component, a clip (`strict`) or the number of clips does not allow a model.
        """
        pipeline = Pipeline(config or Config(), runtime, clips=len(clips), cache=cache_from(cache))
        # A mistake in its parameters, or a state that cannot be saved, is reported before any recording is read.
        said = saving.say(saving.why_unsaveable(pipeline))
        pipeline.weight_hashes()  # weights that are missing, too
        features, failures = extract(pipeline, clips, workers=workers, strict=strict)
        model = cls.of_features(pipeline, features, contents_of(features))
        model.failures = failures
        saving.say(model.unsaveable, said)
        return model

    @classmethod
    def of_features(
        cls, pipeline: Pipeline, features: Sequence[list[ClipFeatures]], contents: Mapping[Path, str]
    ) -> Self:
        """Learn from embeddings.

        Parameters
        ----------
        pipeline : Pipeline
            What made them.
        features : sequence of list of ClipFeatures
            Of each clip, what each branch made of it, as `asd.detection.training.extract` returns it.
        contents : mapping of Path to str
            SHA-256 of each recording.

        Raises
        ------
        AsdError
            If a detector or the number of clips does not allow a model.
        """
        # The order of the files on the command line must not change the folds, or what is learned.
        features = in_order(features, contents)
        merged = [merge_notes(each) for each in features]
        duplicates = find_duplicates(most_telling(features), contents)
        groups = groups_of([each.clip for each in merged], pipeline.config.group)
        branches, calibration = learn_branches(pipeline.config, features, pipeline.runtime, duplicates, groups)
        model = cls(pipeline, branches, calibration, calibration.decide(pipeline.config.false_alarms_per_hour))
        model.training = entries_of([each.clip for each in merged], contents, pipeline.config.group)
        model.history = [event("fitted", len(features), model.training)]
        model.clips = len(features)
        model.conditions = Conditions.of(merged)
        model.fitted_with = computed_with(pipeline.config.names, pipeline.runtimes, features[0])
        model.notes = count_notes(merged)
        for each in model.notes:
            _log.warning("%s", each.text(len(features)))
        model.duplicates = duplicates
        model.unsaveable = saving.why_unsaveable(pipeline, branches)
        if model.known_features is None:  # where features are given, their recordings are nobody's business
            clips = [each.clip for each in merged]
            model.reference = Reference.learned(clips, contents, channel=pipeline.config.channel, cache=pipeline.cache)
        return model

    def recalibrate(
        self,
        clips: Sequence[Clip],
        *,
        keep: bool = False,
        false_alarms_per_hour: float | None = None,
        workers: int = 1,
        strict: bool = False,
    ) -> Model:
        """Return a model of the same detectors whose alarm is calibrated by other healthy clips.

        For a machine that has moved or has other surroundings: nothing is learned, so that few clips are enough. This
        model stays as it is; both share their components.

        Parameters
        ----------
        clips : sequence of Clip
            Healthy clips as the machine sounds now; those of recordings that it learned from are left out.
        keep : bool
            Add them to the clips that calibrate the model now, instead of replacing these.
        false_alarms_per_hour : float, optional
            Another rate; default: that of the configuration.
        workers, strict
            As for `fit`.

        Raises
        ------
        AsdError
            If a clip (`strict`), or the number or the length (`keep`) of the clips does not allow it.
        """
        return recalibrated(
            self, clips, keep=keep, false_alarms_per_hour=false_alarms_per_hour, workers=workers, strict=strict
        )

    def update(
        self, clips: Sequence[Clip], *, old_clips: Sequence[Clip] = (), workers: int = 1, strict: bool = False
    ) -> Model:
        """Return a model that learned from the clips of this one and from others: that of a fit on both.

        Parameters
        ----------
        clips : sequence of Clip
            New healthy clips; those of recordings that it learned from are left out.
        old_clips : sequence of Clip
            Where recordings are that it learned from, told by their content; needed for those whose embeddings are
            not in the embedding cache any more.
        workers, strict
            As for `fit`.

        Raises
        ------
        AsdError
            If former recordings are missing, a clip (`strict`) or the length of the clips does not allow it.
        """
        return updated(self, clips, old_clips=old_clips, workers=workers, strict=strict)

    @of_call
    def score(
        self, data: Data, *, rate: int | None = None, segment: Segment = "auto", workers: int = 1, cache: bool = True
    ) -> Iterator[Verdict | Failure]:
        """Yield a verdict per clip, or a failure for a clip that cannot be read, in order.

        Parameters
        ----------
        data, rate, segment
            What to judge, as for `asd.score`; a sequence of `Clip` is judged as it is.
        workers : int
            Threads that decode ahead of the network.
        cache : bool
            Whether the embedding cache is used that `fit` or `load` got.
        """
        clips = clips_given(self, data, rate=rate, segment=segment)
        self.check_weights()
        if self.decision.reason:
            _log.warning("the alarm is a guess: %s", self.decision.reason)
        state = judging_of(self, workers, cache=cache)
        yield from track(over_clips(judged, state, clips, needs=needs_of(self.pipeline)), "scoring", len(clips))

    def judge(self, clips: Sequence[Sequence[ClipFeatures | Failure]]) -> Iterator[Verdict | Failure]:
        """Yield a verdict per clip, or a failure, from what each branch made of it; several clips cost less each."""
        columns = [branch.judge_each([each[b] for each in clips]) for b, branch in enumerate(self.branches)]
        yield from map(self._judged, zip(*columns, strict=True))

    def _judged(self, results: Sequence[Judged | Failure]) -> Verdict | Failure:
        judged = {b: each for b, each in enumerate(results) if not isinstance(each, Failure)}
        failed = {b: each for b, each in enumerate(results) if isinstance(each, Failure)}
        if failed and (not judged or self.config.on_branch_error == "refuse"):
            return self._refused(failed, len(judged))
        scores = np.full((len(self.branches[0].members), len(self.branches)), np.nan)
        for b, (_, own, _) in judged.items():
            scores[:, b] = own
        features = merge_notes([features for features, _, _ in judged.values()])
        features.notes += [self._failure_note(b, failure) for b, failure in failed.items()]
        return self._verdict(features, scores, judged)

    def _refused(self, failed: dict[int, Failure], others: int) -> Failure:
        b, failure = next(iter(failed.items()))
        if not others:
            return failure
        hint = "--on-branch-error others lets the others judge it"
        return Failure(failure.clip, AudioError(f"{failure.error} (branch {self.branches[b].name!r}; fit with {hint})"))

    def _failure_note(self, b: int, failure: Failure) -> str:
        reason = str(failure.error).removeprefix(f"{failure.clip}: ")
        return f"not judged by branch {self.branches[b].name!r}: {reason}"

    def _verdict(self, features: ClipFeatures, scores: Float64, judged: Mapping[int, Judged]) -> Verdict:
        """Return the verdict on a clip with scores float64[n_members, n_branches]; NaN: a branch cannot judge it."""
        fusing = self.calibration.branches
        own = scores[:, 0] if fusing is None else scores
        p_value = self.calibration.p_value(own)
        state = self.calibration.state_of(features.clip, self._state_row([each for each, _, _ in judged.values()]))
        anomalous = p_value <= self.decision.level
        branches = tuple(self._branch_verdict(b, own, scores, anomalous) for b, (own, _, _) in judged.items())
        # Where it sounds unusual: by a branch that has windows to compare, of these the one that adds most.
        b = max(judged, key=lambda b: (len(judged[b][2]) > 1, branches[list(judged).index(b)].z))
        return Verdict(
            clip=features.clip,
            score=float((scores if fusing is None else fusing.fused(scores)).mean()),
            p_value=p_value,
            anomalous=anomalous,
            window_scores=judged[b][2],
            window_start=judged[b][0].start + features.clip.start,
            notes=(*features.notes, *self._condition_notes(features)),
            branches=branches,
            unusual=unusual_branches(branches, self.decision.level) if anomalous and fusing else (),
            state=state,
            state_p_value=None if state is None else self.calibration.p_value(own, state),
        )

    def _state_row(self, features: Sequence[ClipFeatures]) -> Float64 | None:
        """Return what tells a clip's operating state; None: nothing, or no states are known."""
        if self.calibration.states is None or len(features) < len(self.branches):
            return None
        return clip_row(features, self.config.parts)

    def _branch_verdict(self, b: int, features: ClipFeatures, scores: Float64, anomalous: bool) -> BranchVerdict:
        calibration = self.calibration.of_branch(b)
        p_value = calibration.p_value(scores[:, b])
        reasons: tuple[Reason, ...] = ()
        if anomalous or p_value <= self.decision.level:
            with clip_errors(features.clip):
                reasons = self.branches[b].reasons(features, lambda: self.pipeline.extractor_of(b))
        z = float(deviations(scores[:, b], calibration.scores).mean())
        return BranchVerdict(self.branches[b].name, float(scores[:, b].mean()), z, p_value, reasons)

    def _condition_notes(self, features: ClipFeatures) -> Iterator[str]:
        yield from self.conditions.notes(features, self.pipeline.sample_rate)
        yield from notes_on_length(features.seconds, self.calibration.clip_seconds)

    def save(self, path: str | Path | OutputFile) -> None:
        """Write the model file, whole or not at all; errors as for `asd.detection.modelfile.write`.

        Parameters
        ----------
        path : str or Path
            File to write; an old one is replaced.
        """
        manifest, arrays = self.content()
        place = path if isinstance(path, OutputFile) else as_path(path)
        checked(str(place), manifest, arrays)
        modelfile.write(place, manifest, arrays)
        consent.remember_fitted(str(place), manifest, arrays)

    def content(self) -> tuple[dict[str, Any], modelfile.Arrays]:
        """Return what a model file holds of it, the manifest and the arrays: plain data, which `of_content` takes.

        Raises
        ------
        ModelFileError
            If no model file can keep it.
        """
        return saving.content_of_model(self)

    def weights(self) -> dict[str, str]:
        """Return the SHA-256 of each weight file that it was fitted with."""
        return self._pinned_weights or self.pipeline.weight_hashes()

    def full_config(self) -> dict[str, Any]:
        """Return the configuration with every parameter of every component spelled out, as plain data."""
        return saving.full_config(self.pipeline, self.branches)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        runtime: Runtime | None = None,
        cache: bool | EmbeddingCache = True,
        trust: bool = False,
    ) -> Model:
        """Read a model file. Nothing from the file is executed, nor anything that it names.

        Parameters
        ----------
        path : str or Path
            The model file.
        runtime : Runtime, optional
            Device, precision and batch size.
        cache : bool or EmbeddingCache
            Whether `score` takes embeddings from the user's embedding cache and keeps them there; or another cache.
        trust : bool
            Let the file choose what components fetch, open or run, such as a network by its address. The consent is
            remembered for this very content; a model that was fitted on this machine needs none.

        Raises
        ------
        ModelFileError
            If the file is missing, cut off, altered or of a newer format, or needs consent.
        PluginError
            If it needs a plugin that is not installed (the text gives the pip command).
        """
        return cls.of_content(path, *modelfile.read(as_path(path)), runtime=runtime, cache=cache, trust=trust)

    @classmethod
    def of_content(
        cls,
        path: str | Path,
        content: Mapping[str, Any],
        arrays: modelfile.Arrays,
        *,
        runtime: Runtime | None = None,
        cache: bool | EmbeddingCache = True,
        trust: bool | None = False,
    ) -> Model:
        """Return the model that `content` gave, as `load`; `trust` None: the user consented where it comes from."""
        path = as_path(path)
        manifest = checked(str(path), content, arrays)
        saving.check_plugins(path, manifest)
        parts = sections(restore_rows(arrays))
        with former_names_allowed(), consent.rules(path, content, arrays, trust=trust), saving.restoring(path):
            pipeline = saving.restored_pipeline(path, manifest, runtime or Runtime(), cache_from(cache))
            states = [parts[str(k)] for k in range(manifest["members"])]
            branches = saving.restored_branches(pipeline.config, pipeline.runtime, states)
            decided: dict[str, Any] = {**manifest["decision"]}
            decision = Decision(**decided)
        calibration = Calibration.restored(manifest["calibration"], parts["calibration"])
        if pipeline.config.branches:
            calibration = fused_calibration(calibration, calibration.scores, pipeline.config)
        model = cls(pipeline, branches, calibration, calibration.judged(decision))
        model.reference = Reference.restored(parts["reference"]) if "reference" in parts else None
        model.training = manifest["training"]
        model.recalibration = manifest.get("recalibration", [])
        model.clips = manifest["clips"]
        model.history = manifest.get("history", [event("fitted", model.clips, model.training, manifest["created"])])
        model.conditions = Conditions(manifest.get("rates"), manifest.get("channels"), manifest.get("levels"))
        model.notes = [NoteCount(note, (), count) for note, count in manifest.get("notes", {}).items()]
        model.fitted_with = manifest["fitted_with"]
        model._pinned_weights = manifest["weights"]
        return model

    def check_weights(self) -> None:
        """Refuse to go on with other weights than those of the fit.

        Raises
        ------
        ModelFileError
            If the weights are others.
        """
        present = self.pipeline.weight_hashes() if self._pinned_weights else {}
        for name, sha256 in (self._pinned_weights or {}).items():
            if present.get(name) != sha256:
                raise ModelFileError(
                    f"the model was fitted with weights {name} (sha256 {sha256[:12]}…), here are "
                    f"{str(present.get(name))[:12]}…: install the weights it was fitted with, or fit anew"
                )
