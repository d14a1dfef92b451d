"""A pipeline in words: every parameter that is not a default, and what the pipeline can and cannot hear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from asd.detection.config import Choice, Config, ResolvedConfig
from asd.detection.defaults import DEFAULT_PCA
from asd.detection.features import Failure
from asd.detection.fusion import deviations
from asd.detection.model import Model
from asd.errors import AsdError
from asd.records import Clip, Float64

_POOLED = {
    "none": "",
    "mean": "mean over the clip",
    "mean-std": "mean and deviation over the clip",
    "max": "maximum over the clip",
}
_TRIALS = 3
"""Clips that are made louder and quieter."""
_TRIAL_GAIN = 6.0
"""In dB."""
_NOTICED = 2.0
"""Deviations above healthy clips at which a branch notices something."""

_LONGEST_VALUE = 40
"""Characters of an object, such as a network, that stands in a line."""

_FUSED = {"gated": "gated sum", "mean": "mean", "max": "maximum"}


def steps_of(config: ResolvedConfig) -> list[str]:
    """Return the steps of a pipeline of one branch, components with all parameters that were set.

    Standardisation and a PCA of 0.98, the defaults, are not mentioned.
    """
    steps = [_component(config.frontend), _component(config.extractor), _POOLED[config.embedding_pooling]]
    if not config.standardise:
        steps.append("not standardised")
    elif config.deviation_floor != Config.deviation_floor:
        steps.append(f"standardise (deviation_floor {_value(config.deviation_floor)})")
    if config.pca != DEFAULT_PCA:
        steps.append("no PCA" if config.pca is None else f"PCA {config.pca:g}")
    steps.append(_component(config.detector))
    if config.pooling != Config.pooling:
        share = f" {config.top_fraction:.0%}" if config.pooling == "top" else ""
        steps.append(f"{config.pooling}{share} of the windows")
    return [step for step in steps if step]


def describe_pipeline(config: ResolvedConfig) -> list[str]:
    """Return a line for the pipeline; of several branches, a line for each after one that says how they are fused."""
    if not config.branches:
        return [f"Pipeline: {' → '.join(steps_of(config))}."]
    lines = [f"Pipeline: {len(config.branches)} branches, their scores fused by {_FUSED[config.fusion]}:"]
    for branch, part in zip(config.branches, config.parts, strict=True):
        gate = f" (counts above {branch.gate:g} deviations)" if branch.gate is not None else ""
        lines.append(f"  {branch.name}: {' → '.join(steps_of(part))}{gate if config.fusion == 'gated' else ''}")
    return lines


def describe_hearing(model: Model, clips: Sequence[Clip], *, workers: int = 1) -> list[str]:
    """Return what a model hears and what it does not: level, measured on some of `clips`, and frequencies."""
    most = model.pipeline.sample_rate
    if model.conditions.rates:
        most = min(most, model.conditions.rates[0])
    return [*_level(model, clips, workers), f"It hears nothing above {most / 2000:.3g} kHz."]


def _level(model: Model, clips: Sequence[Clip], workers: int) -> Iterator[str]:
    """Yield what becomes of clips that are louder or quieter, by the branch that notices it most."""
    left_out = {failure.clip for failure in model.failures}
    trials = [clip for clip in clips if clip not in left_out][:_TRIALS]
    for word, decibels in (("louder", _TRIAL_GAIN), ("quieter", -_TRIAL_GAIN)):
        changed = _deviations(model, trials, workers, 10 ** (decibels / 20))
        if not changed.size:
            continue
        unusual = np.median(changed, axis=0)
        branch = int(unusual.argmax())
        named = f" (branch {model.config.names[branch]})" if model.config.branches else ""
        if unusual[branch] > _NOTICED:
            yield f"It notices a machine that gets {_TRIAL_GAIN:g} dB {word}{named}."
        else:
            yield f"It does not notice a machine that gets {_TRIAL_GAIN:g} dB {word}."


def _deviations(model: Model, clips: Sequence[Clip], workers: int, gain: float) -> Float64:
    """Return each branch's score of each clip in deviations of healthy clips, float64[n_clips, n_branches].

    Clips that a branch cannot judge are left out.
    """
    found = []
    for results in model.pipeline.embed_branches(clips, workers=workers, cache=model.pipeline.cache, gain=gain):
        features = [each for each in results if not isinstance(each, Failure)]
        if len(features) < len(model.branches):
            continue
        with suppress(AsdError):  # a trial that fails says nothing, and must not undo the fit
            scores = [branch.clip_scores(own) for branch, own in zip(model.branches, features, strict=True)]
            held_out = [model.calibration.of_branch(b).scores for b in range(len(scores))]
            found.append([deviations(own, held).mean() for own, held in zip(scores, held_out, strict=True)])
    return np.array(found)


def _component(choice: Choice) -> str:
    given = ", ".join(f"{name} {_value(value)}" for name, value in choice.parameters.items())
    return f"{choice.name.rpartition(':')[2]} ({given})" if given else choice.name.rpartition(":")[2]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    is_plain = isinstance(value, str | int | list | tuple | None) or len(text) <= _LONGEST_VALUE
    return text if is_plain else type(value).__name__
