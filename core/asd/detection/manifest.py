"""What the manifest of a model file holds, checked before a model is made of it.

Types, limits and what must agree with the arrays stand here. Keys that are not known are ignored: a later version may
add some within one format. Each component checks its own parameters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
import numpy as np
from msgspec import Meta

from asd.detection.modelfile import Arrays
from asd.errors import ModelFileError

MEMBERS_LIMIT = 1000
_DEPTH_LIMIT = 8
_CONFIG_LIMIT = 20_000
_SHOWN_LIMIT = 300

Label = Annotated[str, Meta(max_length=300, pattern=r"\A[^\x00-\x1f\x7f-\x9f]+\Z")]
"""Text that messages may repeat: no line breaks, no control characters."""
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Positive = Annotated[float, Meta(gt=0, le=1e12)]
Count = Annotated[int, Meta(ge=0, le=10**9)]
Level = Annotated[float, Meta(ge=-10_000, le=10_000)]
Rate = Annotated[int, Meta(ge=0, le=10**8)]


class CalibrationEntry(TypedDict):
    """What `asd.detection.calibration.Calibration` needs besides its arrays."""

    clip_seconds: Positive
    recordings: NotRequired[Count]


class DecisionEntry(TypedDict):
    """The decision; its rate has the older name in older files. Whether it is a guess follows from the calibration."""

    level: Annotated[float, Meta(gt=0, le=1)]
    false_alarm_rate: NotRequired[Positive]
    false_alarms_per_hour: NotRequired[Positive]


class TrainingEntry(TypedDict):
    """A training recording: its file name may hold anything."""

    name: Annotated[str, Meta(max_length=4096)]
    sha256: Sha256


class Manifest(TypedDict):
    """The manifest of a model file in format 1."""

    format: NotRequired[Annotated[int, Meta(ge=1)]]
    created: Label
    asd_framework: Label
    config: dict[Label, Any]
    plugins: dict[Label, Label]
    weights: dict[Label, Sha256]
    members: Annotated[int, Meta(ge=1, le=MEMBERS_LIMIT)]
    calibration: CalibrationEntry
    decision: DecisionEntry
    fitted_with: dict[Label, Label | int | float | bool | None]
    clips: Count
    rates: NotRequired[tuple[Rate, Rate]]
    channels: NotRequired[tuple[Count, Count]]
    levels: NotRequired[tuple[Level, Level]]
    notes: NotRequired[dict[Label, Count]]
    training: list[TrainingEntry]


def checked(owner: str, manifest: Mapping[str, Any], arrays: Arrays) -> Manifest:
    """Return the manifest of a model file with only what is known of it.

    Parameters
    ----------
    owner : str
        What the text of an error begins with, such as the file's path.
    manifest : mapping of str to Any
        What the JSON text holds.
    arrays : dict of str to array
        The file's arrays.

    Raises
    ------
    ModelFileError
        If something is missing, of another type or beyond its limit, or does not fit the arrays.
    """
    try:
        known = msgspec.convert(manifest, Manifest)
        _check_config(known["config"])
        _check_arrays(known, arrays)
        _check_agreement(known)
    except (msgspec.ValidationError, ValueError) as error:
        reason = str(error).replace("`", "").replace("$.", "")[:_SHOWN_LIMIT]
        raise ModelFileError(f"{owner}: does not hold a model ({reason}); copy it again or fit anew") from error
    return known


def sections(arrays: Arrays) -> dict[str, Arrays]:
    """Return the arrays by the part of their names before the first dot: a member's number, or ``calibration``."""
    found: dict[str, Arrays] = {}
    for name, array in arrays.items():
        first, _, rest = name.partition(".")
        found.setdefault(first, {})[rest] = array
    return found


def _check_agreement(manifest: Manifest) -> None:
    lowest, highest = manifest.get("rates", (0, 0))
    if lowest > highest:
        raise ValueError(f"rates must ascend, got {lowest} and {highest}")
    if not manifest["decision"].keys() & {"false_alarm_rate", "false_alarms_per_hour"}:
        raise ValueError("decision must have false_alarms_per_hour")


def _check_config(config: dict[str, Any]) -> None:
    _check_depth(config, _DEPTH_LIMIT)
    if len(json.dumps(config)) > _CONFIG_LIMIT:
        raise ValueError(f"config takes more than {_CONFIG_LIMIT:,} characters")


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise ValueError(f"config is nested more than {_DEPTH_LIMIT} deep")
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            _check_depth(part, left - 1)


def _check_arrays(manifest: Manifest, arrays: Arrays) -> None:
    members = manifest["members"]
    parts = sections(arrays)
    if odd := parts.keys() ^ {"calibration", *map(str, range(members))}:
        raise ValueError(f"it has {members} members, which does not fit the arrays {min(odd)[:80]!r}")
    calibration = parts.pop("calibration")
    if calibration.keys() != {"scores", "member"}:
        raise ValueError("calibration must have the arrays scores and member")
    scores, member = calibration["scores"], calibration["member"]
    if not (scores.dtype == np.float64 and scores.ndim == 1 and scores.size and np.isfinite(scores).all()):
        raise ValueError("calibration.scores must be one or more finite numbers, float64")
    if not (member.dtype == np.int64 and member.shape == scores.shape):
        raise ValueError("calibration.member must be an int64 number for each score")
    if member.min() < 0 or member.max() >= members:
        raise ValueError(f"calibration.member must be from 0 to {members - 1}, got {member.min()} to {member.max()}")
    if 0 < manifest["clips"] < scores.size:
        raise ValueError(f"calibration.scores are of {scores.size} clips, the model learned from {manifest['clips']}")
    for number, part in parts.items():
        if odd := {name.partition(".")[0] for name in part} - {"transform", "detector"}:
            raise ValueError(f"member {number} must have arrays of transform and detector, got {min(odd)[:80]!r}")
