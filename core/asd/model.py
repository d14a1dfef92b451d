"""A fitted model: learn from healthy clips, score others, save and load."""

from __future__ import annotations

import datetime
import importlib.metadata
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asd import modelfile
from asd.audio import Clip, digest_of
from asd.components import registry
from asd.config import Choice, Config, Pooling
from asd.decision import Calibration, Decision
from asd.errors import AudioError, CalibrationError, ModelFileError, PluginError
from asd.features import FeatureTransform
from asd.interfaces import Component, Detector, Runtime
from asd.pipeline import ClipFeatures, Failure, Pipeline, create_seeded
from asd.progress import track
from asd.records import Float32, Float64

MINIMUM_CLIPS = 5
"""Fewer normal clips than this calibrate nothing: even the best alarm would be false once in six clips."""

_log = logging.getLogger("asd")


@dataclass(frozen=True)
class Verdict:
    """What the model says about a clip.

    Parameters
    ----------
    clip : Clip
        The clip.
    score : float
        Anomaly score, higher = more anomalous; comparable within one model only.
    p_value : float
        Conformal p-value: the chance that a healthy clip scores at least as high.
    anomalous : bool
        Whether the score is above the decision's threshold.
    window_scores : float64 array of shape (n_windows,)
        Score of each window.
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
    """A pipeline, what it learned, and its calibration. Made by `Model.fit` or `Model.load`.

    Attributes
    ----------
    config : Config
        The whole configuration.
    calibration : Calibration
        Scores of held-out normal clips.
    decision : Decision
        When a clip is anomalous; set it to ``calibration.decide(rate)`` for another false alarm rate.
    training : list of dict
        ``name`` and ``sha256`` of each training recording.
    failures : list of Failure
        Training clips that could not be used (empty after loading).
    """

    def __init__(
        self,
        pipeline: Pipeline,
        transform: FeatureTransform,
        detector: Detector,
        calibration: Calibration,
        decision: Decision,
    ) -> None:
        self.pipeline = pipeline
        self.transform = transform
        self.detector = detector
        self.calibration = calibration
        self.decision = decision
        self.training: list[dict[str, str]] = []
        self.failures: list[Failure] = []
        self.fitted_with: dict[str, Any] = asdict(pipeline.runtime)
        self._pinned_weights: dict[str, str] | None = None

    @property
    def config(self) -> Config:
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
    ) -> Model:
        """Learn from clips of a healthy machine.

        Parameters
        ----------
        clips : sequence of Clip
            At least `MINIMUM_CLIPS` that can be read.
        config : Config, optional
            The pipeline; default: the default pipeline.
        runtime : Runtime, optional
            Device, precision and batch size.
        workers : int
            Threads that decode ahead of the network.
        strict : bool
            Raise at the first clip that cannot be used, instead of leaving it out.

        Raises
        ------
        AsdError
            If a component, a clip (`strict`) or the number of clips does not allow a model.
        """
        pipeline = Pipeline(config or Config(), runtime)
        _check_count(len(clips), len(clips))
        features, failures = _extract(pipeline, clips, workers, strict)
        _check_count(len(features), len(clips))
        _log_mixed_rates(features)
        calibration = _calibrate(pipeline.config, features, pipeline.runtime)
        decision = calibration.decide(pipeline.config.false_alarm_rate)
        transform, detector = _fit_detector(pipeline.config, features, pipeline.runtime)
        model = cls(pipeline, transform, detector, calibration, decision)
        paths = dict.fromkeys(f.clip.path for f in features)
        model.training = [{"name": path.name, "sha256": digest_of(path)} for path in paths]
        model.failures = failures
        return model

    def score(self, clips: Sequence[Clip], *, workers: int = 1) -> Iterator[Verdict | Failure]:
        """Yield a verdict per clip, or a failure for a clip that cannot be read, in order."""
        self._check_weights()
        for result in self.pipeline.embed_all(list(clips), workers=workers):
            yield result if isinstance(result, Failure) else self._judge(result)

    def _judge(self, features: ClipFeatures) -> Verdict:
        scores = self.detector.score(self.transform.transform(features.values))
        score = pool_scores(scores, self.config.pooling, self.config.top_fraction)
        notes = list(features.notes)
        usual = self.calibration.clip_seconds
        if not 0.5 <= features.seconds / usual <= 2:
            notes.append(
                f"lasts {features.seconds:.3g} s, the model was calibrated on clips of {usual:.3g} s: "
                "the p-value is a guess (fit with --segment)"
            )
        return Verdict(
            clip=features.clip,
            score=score,
            p_value=float(self.calibration.p_values(np.array([score]))[0]),
            anomalous=score > self.decision.threshold,
            window_scores=scores,
            window_start=features.start + features.clip.start,
            notes=tuple(notes),
        )

    def save(self, path: str | Path) -> None:
        """Write the model file, whole or not at all; errors as for `asd.modelfile.write`."""
        arrays = {"calibration.scores": self.calibration.scores}
        for prefix, state in (("transform", self.transform.get_state()), ("detector", self.detector.get_state())):
            arrays |= {f"{prefix}.{name}": value for name, value in state.items()}
        modelfile.write(Path(path), self._manifest(), arrays)

    def _manifest(self) -> dict[str, Any]:
        parts: dict[str, Component] = {
            "frontend": self.pipeline.frontend,
            "extractor": self.pipeline.extractor,
            "detector": self.detector,
        }
        return {
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "asd_framework": importlib.metadata.version("asd-framework"),
            "config": {**self.config.as_mapping(), **{kind: self._pinned(kind, part) for kind, part in parts.items()}},
            "plugins": self._plugins(),
            "weights": self._pinned_weights or self.pipeline.extractor.weight_hashes(),
            "calibration": {"clip_seconds": self.calibration.clip_seconds},
            "decision": asdict(self.decision),
            "fitted_with": self.fitted_with,
            "training": self.training,
        }

    def _pinned(self, kind: Any, part: Component) -> dict[str, Any]:
        """Return the choice with every parameter spelled out: a later default must not change an old model."""
        registered = registry().find(kind, getattr(self.config, kind).name)
        params = {k: v for k, v in part.get_params().items() if k not in registered.spec.preset}
        return {"name": registered.qualified_name, **params}

    def _plugins(self) -> dict[str, str]:
        names = [(kind, getattr(self.config, kind).name) for kind in ("frontend", "extractor", "detector")]
        found = [registry().find(kind, name).plugin for kind, name in names]  # type: ignore[arg-type]  # a Kind each
        return {plugin.distribution: plugin.version for plugin in found}

    @classmethod
    def load(cls, path: str | Path, *, runtime: Runtime | None = None) -> Model:
        """Read a model file. Nothing from the file is executed.

        Raises
        ------
        ModelFileError
            If the file is missing, cut off, altered or of a newer format.
        PluginError
            If it needs a plugin that is not installed (the text gives the pip command).
        """
        manifest, arrays = modelfile.read(Path(path))
        _check_plugins(Path(path), manifest["plugins"])
        config = Config.from_mapping(manifest["config"])
        pipeline = Pipeline(config, runtime)
        transform = FeatureTransform(standardise=config.standardise, pca=config.pca)
        transform.set_state(_section(arrays, "transform"))
        detector = _new_detector(config, pipeline.runtime)
        detector.set_state(_section(arrays, "detector"))
        calibration = Calibration(arrays["calibration.scores"], manifest["calibration"]["clip_seconds"])
        model = cls(pipeline, transform, detector, calibration, Decision(**manifest["decision"]))
        model.training = manifest["training"]
        model.fitted_with = manifest["fitted_with"]
        model._pinned_weights = manifest["weights"]
        return model

    def _check_weights(self) -> None:
        if self._pinned_weights is None:
            return
        present = self.pipeline.extractor.weight_hashes()
        for name, sha256 in self._pinned_weights.items():
            if present.get(name) != sha256:
                raise ModelFileError(
                    f"the model was fitted with weights {name} (sha256 {sha256[:12]}…), here are "
                    f"{str(present.get(name))[:12]}…: install the weights it was fitted with, or fit anew"
                )


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


def _extract(
    pipeline: Pipeline, clips: Sequence[Clip], workers: int, strict: bool
) -> tuple[list[ClipFeatures], list[Failure]]:
    features, failures = [], []
    for result in track(pipeline.embed_all(list(clips), workers=workers), "listening", len(clips)):
        if isinstance(result, ClipFeatures) and any("digital silence" in note for note in result.notes):
            silent = AudioError(f"{result.clip}: digital silence teaches nothing; is the microphone connected?")
            result = Failure(result.clip, silent)
        if isinstance(result, ClipFeatures):
            features.append(result)
            continue
        if strict:
            raise result.error
        _log.warning("left out: %s", result.error)
        failures.append(result)
    return features, failures


def _calibrate(config: Config, features: list[ClipFeatures], runtime: Runtime) -> Calibration:
    fold = assign_folds([f.clip for f in features], config.folds, config.seed)
    scores = np.empty(len(features))
    for k in track(np.unique(fold), "calibrating"):
        others = [f for f, own in zip(features, fold, strict=True) if own != k]
        transform, detector = _fit_detector(config, others, runtime)
        for index in np.flatnonzero(fold == k):
            windows = detector.score(transform.transform(features[index].values))
            scores[index] = pool_scores(windows, config.pooling, config.top_fraction)
    return Calibration(scores, float(np.mean([f.seconds for f in features])))


def _fit_detector(
    config: Config, features: Iterable[ClipFeatures], runtime: Runtime
) -> tuple[FeatureTransform, Detector]:
    values: Float32 = np.concatenate([f.values for f in features])
    transform = FeatureTransform(standardise=config.standardise, pca=config.pca).fit(values)
    return transform, _new_detector(config, runtime).fit(transform.transform(values))


def _new_detector(config: Config, runtime: Runtime) -> Detector:
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


def _check_plugins(path: Path, needed: dict[str, str]) -> None:
    installed = {plugin.distribution: plugin for plugin in registry().plugins}
    for distribution, version in needed.items():
        if distribution not in installed:
            raise PluginError(f"{path}: needs the plugin {distribution} {version}: pip install {distribution}")


def _section(arrays: modelfile.Arrays, prefix: str) -> modelfile.Arrays:
    return {name.removeprefix(f"{prefix}."): value for name, value in arrays.items() if name.startswith(f"{prefix}.")}
