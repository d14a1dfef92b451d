"""Two models of one machine: what differs in their pipeline, in what they learned, and in their calibration.

Scores of other detectors are on another scale. A calibration is therefore compared with another one in deviations of
the latter only where both are of the same detectors, as after `asd.Model.recalibrate`; otherwise each is described by
itself, and clips that both judge show the difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from asd.detection.bag import usual
from asd.detection.calibration import Calibration
from asd.detection.features import Failure
from asd.detection.manifest import HistoryEntry
from asd.detection.model import Model
from asd.detection.saving import arrays_of
from asd.records import Clip, Float64

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_ROUNDING = 1e-5
"""Relative difference that rounding in single precision explains."""
_MEDIAN_ERROR = math.sqrt(math.pi / 2)
"""Standard error of the median of one of many normal numbers, in deviations; of n: by the square root of n less."""
_SPREAD_ERROR = 1.167
"""The same of their median absolute deviation, relative to it (Rousseeuw, Croux 1993, Alternatives to the median
absolute deviation)."""


@dataclass(frozen=True)
class BranchChange:
    """How the calibration of a branch has changed.

    Parameters
    ----------
    name : str
        The branch's name.
    old, new : dict
        Quantiles of the scores of the clips that calibrate each model, by their probability.
    shift, shift_error : float or None
        How much higher a usual healthy score (the median) is, in deviations of the old ones, and the standard error
        of that; None: the scales differ.
    spread, spread_error : float or None
        How much wider healthy scores scatter, as a factor, and the relative standard error of that; None: the scales
        differ.
    """

    name: str
    old: dict[str, float]
    new: dict[str, float]
    shift: float | None = None
    shift_error: float | None = None
    spread: float | None = None
    spread_error: float | None = None


@dataclass(frozen=True)
class Alarms:
    """What two models say of the same clips.

    Parameters
    ----------
    clips : int
        How many both judged.
    old, new : int
        How many each finds anomalous.
    only_old, only_new : list of str
        Clips that one of them alone finds anomalous.
    left_out : int
        Clips that one of them could not judge.
    """

    clips: int
    old: int
    new: int
    only_old: list[str]
    only_new: list[str]
    left_out: int


@dataclass(frozen=True)
class Side:
    """What is to be known of one of the models.

    Parameters
    ----------
    clips, recordings : int
        What it learned from.
    calibrating : int
        Clips that calibrate it.
    clip_seconds : float
        Their mean length.
    false_alarms_per_hour, level : float
        Its decision: a clip is anomalous if its p-value is at most the level.
    promise : str
        ``"calibrated"`` or ``"guess"``.
    alarm_from : float or None
        Of a model of one branch, how far above a usual healthy score the alarm begins, in deviations of these.
    conditions : dict
        Sample rates, channels and levels of its recordings.
    history : list of dict
        What was done to it.
    """

    clips: int
    recordings: int
    calibrating: int
    clip_seconds: float
    false_alarms_per_hour: float
    level: float
    promise: str
    alarm_from: float | None
    conditions: dict[str, Any]
    history: list[HistoryEntry]


@dataclass(frozen=True)
class Comparison:
    """What differs between two models of one machine.

    Parameters
    ----------
    same_detectors : bool
        Whether both judge by the same detectors.
    settings : dict
        Settings that differ, by their name: the old value and the new one.
    weights : list of str
        Weight files that differ.
    old, new : Side
        What is to be known of each.
    recordings : dict
        Of the recordings that they learned from, how many are ``common``, ``only_old`` and ``only_new``.
    branches : list of BranchChange
        How the calibration of each branch has changed; none if the pipelines have other branches.
    alarms : Alarms or None
        What both say of the same clips, if there were some.
    """

    same_detectors: bool
    settings: dict[str, tuple[Any, Any]]
    weights: list[str]
    old: Side
    new: Side
    recordings: dict[str, int]
    branches: list[BranchChange]
    alarms: Alarms | None = field(default=None)

    @property
    def same(self) -> bool:
        """Whether both models decide alike on every clip."""
        unlike = self.old.calibrating != self.new.calibrating or self.old.level != self.new.level
        changed = any(
            not math.isclose(value, each.new[name], rel_tol=_ROUNDING)
            for each in self.branches
            for name, value in each.old.items()
        )
        return self.same_detectors and not (self.settings or self.weights or unlike or changed)

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON output says of it."""
        return {"same": self.same, **asdict(self)}


def compare(old: Model, new: Model, clips: Sequence[Clip] = (), *, workers: int = 1, cache: bool = True) -> Comparison:
    """Return what differs between two models.

    Parameters
    ----------
    old, new : Model
        The models.
    clips : sequence of Clip
        What both are to judge; none: nothing is judged.
    workers, cache
        As for `asd.Model.score`.
    """
    settings = dict(_differences(old.full_config(), new.full_config()))
    weights = [old.weights(), new.weights()]
    same = _same_detectors(old, new)
    names = _names(old) if _names(old) == _names(new) else []
    sets = [{entry["sha256"] for entry in model.training} for model in (old, new)]
    return Comparison(
        same_detectors=same,
        settings=settings,
        weights=sorted(name for name, _ in weights[0].items() ^ weights[1].items()),
        old=_side(old),
        new=_side(new),
        recordings={
            "common": len(sets[0] & sets[1]),
            "only_old": len(sets[0] - sets[1]),
            "only_new": len(sets[1] - sets[0]),
        },
        branches=[_change(name, old, new, b, comparable=same) for b, name in enumerate(names)],
        alarms=_alarms(old, new, clips, workers, cache) if clips else None,
    )


def _names(model: Model) -> list[str]:
    return [name.rpartition(":")[2] for name in model.config.names]  # a model file adds the distribution


def _side(model: Model) -> Side:
    calibration, decision = model.calibration, model.decision
    return Side(
        clips=model.clips,
        recordings=len(model.training),
        calibrating=len(calibration.scores),
        clip_seconds=calibration.clip_seconds,
        false_alarms_per_hour=decision.false_alarms_per_hour,
        level=decision.level,
        promise=decision.promise,
        alarm_from=None if calibration.branches else alarm_from(calibration, decision.level),
        conditions=model.conditions.as_dict(),
        history=model.history,
    )


def alarm_from(calibration: Calibration, level: float) -> float:
    """Return from which score on a clip is anomalous, in deviations above a usual one; of several branches, about."""
    away = np.sort(held_out_deviations(calibration))
    rank = round(level * (len(away) + 1))  # a clip above the rank-th highest is anomalous
    return float(away[len(away) - rank])


def held_out_deviations(calibration: Calibration) -> Float64:
    """Return how far held-out clips are above the usual score of the member that judged them, float64[n_clips]."""
    centres = {k: np.median(calibration.scores[calibration.member == k]) for k in set(calibration.member.tolist())}
    away = calibration.scores - np.array([centres[k] for k in calibration.member.tolist()])
    return np.asarray(away / usual(calibration)[1])


def _change(name: str, old: Model, new: Model, branch: int, *, comparable: bool) -> BranchChange:
    before, after = old.calibration.of_branch(branch), new.calibration.of_branch(branch)
    (centre, width), (new_centre, new_width) = usual(before), usual(after)
    quantiles = _quantiles(before), _quantiles(after)
    if not comparable:
        return BranchChange(name, *quantiles)
    counts = len(before.scores), len(after.scores)
    spread = new_width / width
    return BranchChange(
        name,
        *quantiles,
        shift=(new_centre - centre) / width,
        shift_error=_MEDIAN_ERROR * math.sqrt(1 / counts[0] + spread**2 / counts[1]),
        spread=spread,
        spread_error=_SPREAD_ERROR * math.sqrt(1 / counts[0] + 1 / counts[1]),
    )


def _quantiles(calibration: Calibration) -> dict[str, float]:
    values = np.quantile(calibration.scores, QUANTILES).tolist()
    return {f"{probability:g}": value for probability, value in zip(QUANTILES, values, strict=True)}


def _same_detectors(old: Model, new: Model) -> bool:
    if old.branches is new.branches:
        return True
    own, its = (arrays_of(model.branches, several=True) for model in (old, new))
    return own.keys() == its.keys() and all(_alike(value, its[name]) for name, value in own.items())


def _alike(own: npt.NDArray[Any], its: npt.NDArray[Any]) -> bool:
    """Return whether arrays are equal but for rounding: two fits on the same clips may differ in the last bits."""
    if own.shape != its.shape or own.dtype != its.dtype:
        return False
    if own.dtype.kind != "f" or not own.size:
        return bool(np.array_equal(own, its))
    return bool(np.allclose(own, its, rtol=_ROUNDING, atol=_ROUNDING * float(np.abs(own).max())))


def _alarms(old: Model, new: Model, clips: Sequence[Clip], workers: int, cache: bool) -> Alarms:
    def judged(model: Model) -> list[bool | None]:
        verdicts = model.score(clips, workers=workers, cache=cache)
        return [None if isinstance(each, Failure) else each.anomalous for each in verdicts]

    by_old, by_new = judged(old), judged(new)  # in turn: the second takes the embeddings from the cache
    both = [
        (str(clip), one, other)
        for clip, one, other in zip(clips, by_old, by_new, strict=True)
        if one is not None and other is not None
    ]
    return Alarms(
        clips=len(both),
        old=sum(one for _, one, _ in both),
        new=sum(other for _, _, other in both),
        only_old=[clip for clip, one, other in both if one and not other],
        only_new=[clip for clip, one, other in both if other and not one],
        left_out=len(clips) - len(both),
    )


def _differences(old: Any, new: Any, name: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield each plain value that differs, by its name with dots."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(key), new.get(key), f"{name}.{key}".removeprefix("."))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            named = isinstance(one, Mapping) and one.get("name")
            yield from _differences(one, other, f"{name}.{named or number}".removeprefix("."))
    elif old != new:
        yield name, (old, new)
