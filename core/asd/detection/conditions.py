"""Under what conditions a model learned: rates, channels and levels of its recordings, and what was noted on them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from asd.contract.interfaces import Runtime
from asd.detection.features import ClipFeatures
from asd.detection.identity import hardware
from asd_registry import ENGINES

_log = logging.getLogger("asd")

_LEVEL_MARGIN = 10.0
"""Decibels beyond the levels learned from which a gain is more likely to have changed than a machine."""
_NAMED = 5
_NOTE_LIMIT = 300
_OWN = ("device", "precision", "engine", "asked_precision")
"""What each branch of a pipeline takes for itself."""


@dataclass(frozen=True)
class NoteCount:
    """A note on training clips.

    Parameters
    ----------
    note : str
        Its text on the first of these clips.
    clips : tuple of str
        Their names; empty where a model file tells.
    count : int
        How many they are.
    """

    note: str
    clips: tuple[str, ...]
    count: int

    def text(self, total: int) -> str:
        """Return a line for people; `total` is the number of all training clips."""
        named = ", ".join(self.clips[:_NAMED]) + (", …" if self.count > _NAMED else "")
        return f"{self.count} of {total} clips: {self.note} ({named})"


def count_notes(features: Sequence[ClipFeatures]) -> list[NoteCount]:
    """Return each note once, with the clips that have it, the most frequent first; numbers make no difference."""
    found: dict[str, tuple[str, list[str]]] = {}
    for each in features:
        own = {re.sub(r"[\d.]+", "#", text): text for text in (note[:_NOTE_LIMIT] for note in reversed(each.notes))}
        for pattern, text in own.items():
            found.setdefault(pattern, (text, []))[1].append(str(each.clip))
    counts = [NoteCount(note, tuple(sorted(clips)), len(clips)) for note, clips in found.values()]
    return sorted(counts, key=lambda each: -each.count)


@dataclass(frozen=True)
class Conditions:
    """What the training recordings had in common; None where a model file does not tell.

    Parameters
    ----------
    rates : tuple of int or None
        Lowest and highest sample rate in Hz.
    channels : tuple of int or None
        Fewest and most channels.
    levels : tuple of float or None
        Lowest and highest level of a clip, its root mean square in dB of full scale.
    """

    rates: tuple[int, int] | None = None
    channels: tuple[int, int] | None = None
    levels: tuple[float, float] | None = None

    @classmethod
    def of(cls, features: Sequence[ClipFeatures]) -> Conditions:
        """Return the conditions of training clips, none of which is silent; unknown of features without recordings."""
        if any(not f.file_rate for f in features):
            return cls()
        rates, channels, levels = zip(*((f.file_rate, f.channels, round(f.level, 2)) for f in features), strict=True)
        return cls((min(rates), max(rates)), (min(channels), max(channels)), (min(levels), max(levels)))

    def united(self, other: Conditions) -> Conditions:
        """Return the conditions of both; what one does not know stays unknown."""
        pairs = {name: (own, getattr(other, name)) for name, own in vars(self).items()}
        return Conditions(
            **{
                name: None if own is None or its is None else (min(own[0], its[0]), max(own[1], its[1]))
                for name, (own, its) in pairs.items()
            }
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what the manifest keeps."""
        return {name: list(value) for name, value in vars(self).items() if value is not None}

    def notes(self, features: ClipFeatures, most: int) -> Iterator[str]:
        """Yield what is to be said of a clip that was recorded in another way; the pipeline computes at `most` Hz."""
        if self.rates:
            yield from _note_on_rate(features.file_rate, most, *(min(known, most) for known in self.rates))
        if self.channels and not self.channels[0] <= features.channels <= self.channels[1]:
            learned = "–".join(str(number) for number in dict.fromkeys(self.channels))
            yield f"has {features.channels} channel(s), the model learned from {learned}: is it the same set-up?"
        if self.levels and not features.silent:
            lowest, highest = self.levels
            for beyond, side, bound in (
                (lowest - features.level, "below the quietest", lowest),
                (features.level - highest, "above the loudest", highest),
            ):
                if beyond > _LEVEL_MARGIN:
                    yield (
                        f"its level, {features.level:.0f} dB, is {beyond:.0f} dB {side} training clip "
                        f"({bound:.0f} dB): was the gain or the distance changed?"
                    )


def _note_on_rate(rate: int, most: int, lowest: int, highest: int) -> Iterator[str]:
    if min(rate, most) < lowest:
        gap = f"it contains nothing above {rate // 2} Hz"
        yield f"recorded at {rate} Hz, the model learned from {lowest} Hz: {gap}"
    elif min(rate, most) > highest:
        gap = f"it learned nothing above {highest // 2} Hz (fit anew with such recordings)"
        yield f"recorded at {rate} Hz, the model learned from {highest} Hz: {gap}"


def computed_with(
    names: Sequence[str], runtimes: Sequence[Runtime], features: Sequence[ClipFeatures]
) -> dict[str, Any]:
    """Return what a model file keeps of how its embeddings were computed: as asked, and what was taken for ``auto``.

    Parameters
    ----------
    names : sequence of str
        Of the branches; what the second and later ones took stands under ``name.``.
    runtimes : sequence of Runtime
        What the embedder of each was asked for.
    features : sequence of ClipFeatures
        A clip's, by each branch.
    """
    first, *others = map(_computed_with, runtimes, features)
    for name, each in zip(names[1:], others, strict=True):
        first |= {f"{name}.{key}": each[key] for key in _OWN}
    return first


def _computed_with(runtime: Runtime, features: ClipFeatures) -> dict[str, Any]:
    return {
        "device": features.device,
        "precision": features.precision,
        "engine": features.engine,
        "batch_size": runtime.batch_size,
        "asked_device": runtime.device,
        "asked_precision": runtime.precision,
        "hardware": hardware(),
    }


def of_branch(fitted_with: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what of `computed_with` holds for the branch called `name`."""
    own = {key: fitted_with[f"{name}.{key}"] for key in _OWN if f"{name}.{key}" in fitted_with}
    return {**fitted_with, **own}


def say_precision(used: str, expected: Any) -> Any:
    """Warn, once, of a precision unlike that of the fit; return what is expected of the next clip."""
    if used == expected or not {used, expected} <= {"fp32", "bf16"}:
        return expected
    _log.warning(
        "computed in %s, but the model was fitted in %s: scores differ by about 0.01; leave --precision out or "
        "give %s",
        used, expected, expected,
    )  # fmt: skip
    return used


def runtime_of_fit(runtime: Runtime, fitted_with: Mapping[str, Any]) -> Runtime:
    """Return `runtime` with the precision of the fit in place of ``auto``.

    Where ``auto`` means the same precision again, on a machine like that of the fit and with its engine, it stays.
    """
    precision = fitted_with.get("precision")
    if runtime.precision != "auto" or precision not in ("fp32", "bf16"):
        return runtime
    asked = (fitted_with.get("asked_precision"), fitted_with.get("asked_device"), fitted_with.get("hardware"))
    if asked == ("auto", runtime.device, hardware()):
        engine = fitted_with.get("engine")
        return replace(runtime, engine=engine) if runtime.engine == "auto" and engine in ENGINES else runtime
    return replace(runtime, precision=precision)
