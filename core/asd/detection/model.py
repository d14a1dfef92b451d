"""A fitted model: learn from healthy clips, score others, save and load."""

from __future__ import annotations

import datetime
import importlib.metadata
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from asd.contract.installed import registry
from asd.contract.interfaces import Runtime
from asd.detection import consent, modelfile
from asd.detection.calibration import LENGTHS, Calibration, Decision
from asd.detection.conditions import Conditions, NoteCount, computed_with, count_notes, runtime_of_fit
from asd.detection.config import Config, ResolvedConfig
from asd.detection.duplicates import Duplicate, find_duplicates
from asd.detection.embeddings import EmbeddingCache, cache_from
from asd.detection.identity import content_of
from asd.detection.manifest import Manifest, TrainingEntry, checked, sections
from asd.detection.output import OutputFile
from asd.detection.pipeline import ClipFeatures, Failure, Pipeline
from asd.detection.results import clip_errors
from asd.detection.training import Member, extract, learn, new_detector, new_transform, pool_scores
from asd.errors import AsdError, AudioError, ConfigError, ModelFileError, PluginError
from asd.records import Clip, Float64
from asd_registry import PIPELINE_KINDS
from asd_registry.files import remedy
from asd_registry.renamed import former_names_allowed

_log = logging.getLogger("asd")
_SHOWN_LIMIT = 500
"""Characters of an error that a model file's own text may fill."""


@dataclass(frozen=True)
class Verdict:
    """What the model says about a clip.

    Parameters
    ----------
    clip : Clip
        The clip.
    score : float
        Anomaly score, the mean over the model's members; higher = more anomalous; comparable within one model only.
    p_value : float
        Cross-conformal p-value: about the chance that a healthy clip looks at least as unusual.
    anomalous : bool
        Whether the p-value is at most the decision's level.
    window_scores : float64 array of shape (n_windows,)
        Score of each window, the mean over the members.
    window_start : float64 array of shape (n_windows,)
        Start of each window in seconds.
    notes : tuple of str
        What the user should know about the clip.
    """

    clip: Clip
    score: float
    p_value: float
    anomalous: bool
    window_scores: Float64 = field(repr=False, compare=False)
    window_start: Float64 = field(repr=False, compare=False)
    notes: tuple[str, ...] = ()

    @property
    def peak(self) -> float:
        """Start in seconds of the window that sounds most anomalous."""
        return float(self.window_start[int(np.argmax(self.window_scores))])


class Model:
    """A pipeline, the members that learned on its features, and their calibration. Made by `fit` or `load`.

    As a context manager, it closes itself at the end of the block.

    Attributes
    ----------
    pipeline : Pipeline
        From clips to features.
    members : list of Member
        One detector per fold, each trained without the clips that calibrate it.
    calibration : Calibration
        Scores of held-out normal clips.
    decision : Decision
        When a clip is anomalous; set it to ``calibration.decide(rate)`` for another number of false alarms per hour.
    training : list of dict
        ``name`` and ``sha256`` of each training recording.
    clips : int
        How many clips it learned from.
    conditions : Conditions
        Sample rates, channels and levels of the training recordings.
    notes : list of NoteCount
        What was noted on the training clips, and on how many (empty after loading).
    failures : list of Failure
        Training clips that could not be used (empty after loading).
    duplicates : list of Duplicate
        Training clips that repeat others and therefore did not calibrate (empty after loading).
    """

    def __init__(self, pipeline: Pipeline, members: list[Member], calibration: Calibration, decision: Decision) -> None:
        self.pipeline = pipeline
        self.members = members
        self.calibration = calibration
        self.decision = decision
        self.training: list[TrainingEntry] = []
        self.clips = 0
        self.conditions = Conditions()
        self.notes: list[NoteCount] = []
        self.failures: list[Failure] = []
        self.duplicates: list[Duplicate] = []
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
        new_detector(pipeline.config, pipeline.runtime).check_saveable()
        features, failures = extract(pipeline, clips, workers=workers, strict=strict)
        # The order of the files on the command line must not change the folds, or what is learned.
        contents = {path: content_of(path) for path in dict.fromkeys(f.clip.path for f in features)}
        features.sort(key=lambda f: (contents[f.clip.path], f.clip.path.name, f.clip.start))
        duplicates = find_duplicates(features)
        members, calibration = learn(pipeline.config, features, pipeline.runtime, duplicates)
        model = cls(pipeline, members, calibration, calibration.decide(pipeline.config.false_alarms_per_hour))
        paths = dict.fromkeys(f.clip.path for f in features)
        model.training = [{"name": path.name, "sha256": contents[path]} for path in paths]
        model.clips = len(features)
        model.conditions = Conditions.of(features)
        model.fitted_with = computed_with(pipeline.runtime, features[0])
        model.failures = failures
        model.notes = count_notes(features)
        for each in model.notes:
            _log.warning("%s", each.text(len(features)))
        model.duplicates = duplicates
        return model

    def score(self, clips: Sequence[Clip], *, workers: int = 1, cache: bool = True) -> Iterator[Verdict | Failure]:
        """Yield a verdict per clip, or a failure for a clip that cannot be read, in order.

        Parameters
        ----------
        clips : sequence of Clip
            What to judge.
        workers : int
            Threads that decode ahead of the network.
        cache : bool
            Whether the embedding cache is used that `fit` or `load` got.
        """
        self._check_weights()
        if self.decision.reason:
            _log.warning("the alarm is a guess: %s", self.decision.reason)
        kept = self.pipeline.cache if cache else None
        precision = self.fitted_with.get("precision")
        for result in self.pipeline.embed_all(clips, workers=workers, cache=kept):
            if isinstance(result, Failure):
                yield result
                continue
            precision = self._say_precision(result.precision, precision)
            try:
                with clip_errors(result.clip):
                    verdict = self._judge(result)
            except AudioError as error:
                yield Failure(result.clip, error)
                continue
            yield verdict

    @staticmethod
    def _say_precision(used: str, expected: Any) -> Any:
        """Warn, once, of a precision unlike that of the fit; return what is expected of the next clip."""
        if used == expected or not {used, expected} <= {"fp32", "bf16"}:
            return expected
        _log.warning(
            "computed in %s, but the model was fitted in %s: scores differ by about 0.01; leave --precision out or "
            "give %s",
            used, expected, expected,
        )  # fmt: skip
        return used

    def _judge(self, features: ClipFeatures) -> Verdict:
        windows = np.stack([member.score(features.values) for member in self.members])
        scores = np.array([pool_scores(own, self.config) for own in windows])
        p_value = self.calibration.p_value(scores)
        notes = [*features.notes, *self.conditions.notes(features, self.pipeline.sample_rate)]
        usual = self.calibration.clip_seconds
        shortest, longest = LENGTHS
        if not shortest <= features.seconds / usual <= longest:
            mend = f", or score with --segment {usual:.3g}" if features.seconds > usual else ""
            notes.append(
                f"lasts {features.seconds:.3g} s, the model was calibrated on clips of {usual:.3g} s: "
                f"the p-value is a guess (record clips of that length{mend})"
            )
        return Verdict(
            clip=features.clip,
            score=float(scores.mean()),
            p_value=p_value,
            anomalous=p_value <= self.decision.level,
            window_scores=windows.mean(axis=0),
            window_start=features.start + features.clip.start,
            notes=tuple(notes),
        )

    def save(self, path: str | Path | OutputFile) -> None:
        """Write the model file, whole or not at all; errors as for `asd.detection.modelfile.write`.

        Parameters
        ----------
        path : str or Path
            File to write; an old one is replaced. (`asd fit` gives the file that it has reserved.)
        """
        arrays: modelfile.Arrays = {
            "calibration.scores": self.calibration.scores,
            "calibration.member": self.calibration.member,
        }
        for i, member in enumerate(self.members):
            for part, state in (("transform", member.transform.get_state()), ("detector", member.detector.get_state())):
                arrays |= {f"{i}.{part}.{name}": value for name, value in state.items()}
        manifest = self._manifest()
        checked(str(path), manifest, arrays)
        modelfile.write(path, manifest, arrays)
        consent.remember_fitted(str(path), manifest, arrays)

    def full_config(self) -> dict[str, Any]:
        """Return the configuration with every parameter of every component spelled out, as plain data."""
        parts = {
            "frontend": self.pipeline.parameters("frontend"),
            "extractor": self.pipeline.parameters("extractor"),
            "detector": self.members[0].detector.get_params(),
        }
        return {**self.config.as_mapping(), **{kind: self._pinned(kind, given) for kind, given in parts.items()}}

    def _manifest(self) -> dict[str, Any]:
        return {
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "asd_framework": importlib.metadata.version("asd-framework"),
            "config": self.full_config(),
            "plugins": self._plugins(),
            "weights": self._pinned_weights or self.pipeline.weight_hashes(),
            "members": len(self.members),
            "calibration": self._calibration_entry(),
            "decision": asdict(self.decision),
            "fitted_with": self.fitted_with,
            "clips": self.clips,
            **self.conditions.as_dict(),
            "notes": {each.note: each.count for each in self.notes},
            "training": self.training,
        }

    def _calibration_entry(self) -> dict[str, Any]:
        seconds, recordings = self.calibration.clip_seconds, self.calibration.recordings
        return {"clip_seconds": seconds} | ({} if recordings is None else {"recordings": recordings})

    def _pinned(self, kind: Any, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the choice with every parameter spelled out: a later default must not change an old model."""
        registered = registry().find(kind, getattr(self.config, kind).name)
        params = {k: v for k, v in parameters.items() if k not in registered.spec.preset}
        return {"name": registered.qualified_name, **params}

    def _plugins(self) -> dict[str, str]:
        found = [registry().find(kind, getattr(self.config, kind).name).plugin for kind in PIPELINE_KINDS]
        return {plugin.distribution: plugin.version for plugin in found}

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
        embeddings = cache_from(cache)
        content, arrays = modelfile.read(Path(path))
        manifest = checked(str(path), content, arrays)
        _check_plugins(Path(path), manifest)
        parts = sections(arrays)
        with former_names_allowed(), consent.rules(path, content, arrays, trust=trust), _restoring(path):
            config = Config.from_mapping({"tail": "drop", **manifest["config"]})  # the first model files do not say
            given = runtime or Runtime()
            pipeline = Pipeline(config, runtime_of_fit(given, manifest["fitted_with"]), cache=embeddings)
            members = [_restored(pipeline.config, given, parts[str(i)]) for i in range(manifest["members"])]
            decided: dict[str, Any] = {**manifest["decision"]}
            decision = Decision(**decided)
        facts: dict[str, Any] = {**manifest["calibration"]}
        calibration = Calibration(arrays["calibration.scores"], arrays["calibration.member"], **facts)
        model = cls(pipeline, members, calibration, calibration.judged(decision))
        model.training = manifest["training"]
        model.clips = manifest["clips"]
        model.conditions = Conditions(manifest.get("rates"), manifest.get("channels"), manifest.get("levels"))
        model.notes = [NoteCount(note, (), count) for note, count in manifest.get("notes", {}).items()]
        model.fitted_with = manifest["fitted_with"]
        model._pinned_weights = manifest["weights"]
        return model

    def _check_weights(self) -> None:
        if self._pinned_weights is None:
            return
        present = self.pipeline.weight_hashes()
        for name, sha256 in self._pinned_weights.items():
            if present.get(name) != sha256:
                raise ModelFileError(
                    f"the model was fitted with weights {name} (sha256 {sha256[:12]}…), here are "
                    f"{str(present.get(name))[:12]}…: install the weights it was fitted with, or fit anew"
                )


@contextmanager
def _restoring(path: str | Path) -> Iterator[None]:
    """Name the file where a component cannot be made from what it holds."""
    try:
        yield
    except Exception as error:  # a component's own, too: it was given parameters or arrays that it does not expect
        reason = " ".join(str(error).split())
        if isinstance(error, AsdError) and not isinstance(error, ConfigError) and len(reason) < _SHOWN_LIMIT:
            raise
        kind = "" if isinstance(error, AsdError) else f"{type(error).__name__}: "
        raise ModelFileError(
            f"{path}: its components cannot be made from it ({kind}{reason[:_SHOWN_LIMIT]}); fit anew"
        ) from error


def _check_plugins(path: Path, manifest: Manifest) -> None:
    installed = {plugin.distribution: plugin for plugin in registry().plugins}
    for distribution, version in manifest["plugins"].items():
        if distribution not in installed:
            if _have_moved(distribution, manifest["config"]):
                continue
            raise PluginError(f"{path}: needs the plugin {distribution} {version}: {remedy(distribution)}")
        if distribution.endswith(".py") and installed[distribution].version != version:
            _log.warning("%s was changed since %s was fitted: scores may differ; fit anew", distribution, path)


def _have_moved(distribution: str, config: dict[str, Any]) -> bool:
    """Return whether other distributions offer by now what a model file takes from one that is not installed."""
    taken = [name for name in _names(config) if name.startswith(f"{distribution}:")]
    return bool(taken) and all(registry().offers(None, name) for name in taken)


def _names(config: Any) -> Iterator[str]:
    """Yield the names of the components in a configuration that nobody has checked."""
    if isinstance(config, dict):
        if isinstance(name := config.get("name"), str):
            yield name
        config = list(config.values())
    if isinstance(config, list):
        for part in config:
            yield from _names(part)


def _restored(config: ResolvedConfig, runtime: Runtime, state: modelfile.Arrays) -> Member:
    transform = new_transform(config)
    transform.set_state(_section(state, "transform"))
    detector = new_detector(config, runtime)
    detector.set_state(_section(state, "detector"))
    return Member(transform, detector)


def _section(arrays: modelfile.Arrays, prefix: str) -> modelfile.Arrays:
    return {name.removeprefix(f"{prefix}."): value for name, value in arrays.items() if name.startswith(f"{prefix}.")}
