"""The model card of a report: what the model is made of, what it learned from, what it promises, what it cannot do."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import asd
from asd.errors import AsdError
from asd.experiment import describe_pipeline
from asd.plugin import registry
from asd_pages.page import Content, Html, definitions, details, items
from asd_registry import PIPELINE_KINDS

_NAMED = 200
"""Recordings that are named."""


def model_card(model: asd.Model, name: str) -> Html:
    """Return the card."""
    pairs: dict[str, Content] = {
        "Model": name,
        "Pipeline": items(line.strip() for line in describe_pipeline(model.config)),
        "Learned from": _learned(model),
        "Recorded": _recorded(model),
        "Promise": promise(model),
        "Limits": items(_limits(model)),
        "Components and licences": items(_licences(model)),
        "Weights": items(f"{file} (SHA-256 {sha256[:12]}…)" for file, sha256 in model.weights().items()) or "none",
        "History": items(f"{each['when']}: {each['action']}, {each['clips']} clips" for each in model.history),
        "Software": f"asd-framework {importlib.metadata.version('asd-framework')}",
    }
    return Html(definitions(pairs) + _recordings(model))


def promise(model: asd.Model) -> str:
    """Return what an alarm on a single clip promises, in words."""
    decision, clips = model.decision, len(model.calibration.scores)
    rate = f"{decision.false_alarms_per_hour:.3g} false alarms in an hour of healthy sound"
    how = f"a clip is anomalous at a p-value of {decision.level:.3g} or less"
    if decision.reason:
        return f"About {rate} ({how}), but that is a guess: {decision.reason}."
    return f"About {rate}: {how}, by {clips} healthy clips that the model had not learned from."


def _learned(model: asd.Model) -> str:
    seconds = model.calibration.clip_seconds
    text = f"{model.clips} healthy clips of {seconds:.3g} s, of {len(model.training)} recordings"
    if model.recalibration:
        text += f"; calibrated anew by {len(model.recalibration)} other recordings"
    return text


def _recorded(model: asd.Model) -> str:
    conditions = model.conditions
    parts = [
        _range(conditions.rates, "Hz"),
        _range(conditions.channels, "channels"),
        _range(conditions.levels, "dB of full scale"),
    ]
    return ", ".join(part for part in parts if part) or "unknown: an older model file does not say"


def _range(values: Sequence[float] | None, unit: str) -> str:
    if values is None:
        return ""
    low, high = values
    if unit == "channels":
        unit = "channel" if high == 1 else unit
    return f"{low:g} {unit}" if low == high else f"{low:g} to {high:g} {unit}"


def _limits(model: asd.Model) -> Iterator[str]:
    highest = model.pipeline.sample_rate
    if model.conditions.rates:
        highest = min(highest, model.conditions.rates[0])
    yield f"It notices nothing above {highest / 2000:.3g} kHz."
    seconds = model.calibration.clip_seconds
    yield f"Its p-values hold for clips of about {seconds:.3g} s of the same machine, place and microphone."
    yield "It tells that a sound is unlike the healthy ones it learned, not what is broken."
    if model.calibration.states is not None:
        yield f"It knows the operating states {', '.join(model.calibration.states.names)}, and no others."
    if model.reference is None:
        yield "It keeps no healthy levels, as models of older versions: explanations say less."


def _licences(model: asd.Model) -> Iterator[str]:
    seen = set()
    for part in model.config.parts:
        for kind in PIPELINE_KINDS:
            chosen: Any = getattr(part, kind)
            key = kind, chosen.name
            if key in seen:
                continue
            seen.add(key)
            name = chosen.name.rpartition(":")[2]
            try:
                found = registry().find(kind, chosen.name)
            except AsdError:
                yield f"{kind} {name}"
                continue
            plugin = found.plugin
            yield f"{kind} {name} ({plugin.distribution} {plugin.version}): {found.spec.licence}"


def _recordings(model: asd.Model) -> Html:
    names = [Path(entry["name"]).name for entry in model.training]
    more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return details(f"The {len(names)} recordings that it learned from", items([*names[:_NAMED], *more]))
