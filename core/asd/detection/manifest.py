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

from asd.detection.fusion import LEAST_CLIPS
from asd.detection.modelfile import Arrays
from asd.detection.packing import restore_rows
from asd.detection.reference import Reference
from asd.detection.states import MOST
from asd.errors import ModelFileError

MEMBERS_LIMIT = 1000
BRANCHES_LIMIT = 50
HISTORY_LIMIT = 100
_DEPTH_LIMIT = 16
"""A pipeline of estimators with parameters of their own takes 10."""
_CONFIG_LIMIT = 100_000
_SHOWN_LIMIT = 300

Label = Annotated[str, Meta(max_length=300, pattern=r"\A[^\x00-\x1f\x7f-\x9f]+\Z")]
"""Text that messages may repeat: no line breaks, no control characters."""
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Positive = Annotated[float, Meta(gt=0, le=1e12)]
Start = Annotated[float, Meta(ge=0, le=1e12)]
Count = Annotated[int, Meta(ge=0, le=10**9)]
Level = Annotated[float, Meta(ge=-10_000, le=10_000)]
Rate = Annotated[int, Meta(ge=0, le=10**8)]


class CalibrationEntry(TypedDict):
    """What `asd.detection.calibration.Calibration` needs besides its arrays."""

    clip_seconds: Positive
    recordings: NotRequired[Count]
    states: NotRequired[Annotated[list[Label], Meta(min_length=2, max_length=MOST)]]


class DecisionEntry(TypedDict):
    """The decision; its rate has the older name in older files. Whether it is a guess follows from the calibration."""

    level: Annotated[float, Meta(gt=0, le=1)]
    false_alarm_rate: NotRequired[Positive]
    false_alarms_per_hour: NotRequired[Positive]


class TrainingEntry(TypedDict):
    """A recording that the model knows: its file name may hold anything.

    `clips` are start and duration in seconds of its parts, null: to its end; a recording that is one clip has none.
    `groups` are the groups of its clips, null: not known; where no groups are wanted, there are none.
    """

    name: Annotated[str, Meta(max_length=4096)]
    sha256: Sha256
    clips: NotRequired[list[tuple[Start, Positive | None]]]
    groups: NotRequired[list[Annotated[str, Meta(max_length=4096)] | None]]


class HistoryEntry(TypedDict):
    """What was done to the model, by how many clips of which recordings; `sha256` is of all their digests."""

    action: Label
    when: Label
    clips: Count
    recordings: Count
    sha256: Sha256


class FeaturesEntry(TypedDict):
    """The features that a model was fitted on, of a model that takes no recordings."""

    dimension: Annotated[int, Meta(ge=1, le=10**7)]
    windows: bool
    provenance: dict[str, Any] | None


class Manifest(TypedDict):
    """The manifest of a model file in any format."""

    format: NotRequired[Annotated[int, Meta(ge=1)]]
    created: Label
    asd_framework: Label
    config: dict[Label, Any]
    plugins: dict[Label, Label]
    classes: NotRequired[dict[Label, Label]]
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
    recalibration: NotRequired[list[TrainingEntry]]
    history: NotRequired[Annotated[list[HistoryEntry], Meta(min_length=1, max_length=HISTORY_LIMIT)]]
    features: NotRequired[FeaturesEntry]


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
        _check_config("config", known["config"])
        _check_config("features.provenance", known.get("features", {}).get("provenance") or {})
        if "features" in known and (odd := known["config"].keys() & {"frontend", "extractor", "branch"}):
            raise ValueError(f"config of a model of features must not have {min(odd)}")
        _check_arrays(known, arrays)
        _check_agreement(known)
    except (msgspec.ValidationError, TypeError, ValueError) as error:  # a single number has no length
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


def branches_of(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the tables of several branches; none: the configuration itself is the only branch."""
    tables = config.get("branch", [])
    if not (isinstance(tables, list) and len(tables) <= BRANCHES_LIMIT and all(isinstance(t, dict) for t in tables)):
        raise ValueError(f"config.branch must be up to {BRANCHES_LIMIT} tables")
    return tables


def _check_agreement(manifest: Manifest) -> None:
    lowest, highest = manifest.get("rates", (0, 0))
    if lowest > highest:
        raise ValueError(f"rates must ascend, got {lowest} and {highest}")
    if not manifest["decision"].keys() & {"false_alarm_rate", "false_alarms_per_hour"}:
        raise ValueError("decision must have false_alarms_per_hour")


def _check_config(name: str, config: dict[str, Any]) -> None:
    if odd := config.keys() & {"branches", "quality"}:
        raise ValueError(f"{name} must not have {min(odd)}")
    _check_depth(name, config, _DEPTH_LIMIT)
    if len(json.dumps(config)) > _CONFIG_LIMIT:
        raise ValueError(f"{name} takes more than {_CONFIG_LIMIT:,} characters")


def _check_depth(name: str, value: Any, left: int) -> None:
    if left == 0:
        raise ValueError(f"{name} is nested more than {_DEPTH_LIMIT} deep")
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            _check_depth(name, part, left - 1)


def _check_arrays(manifest: Manifest, arrays: Arrays) -> None:
    members, branches = manifest["members"], len(branches_of(manifest["config"]))
    parts = sections(restore_rows(arrays))
    if healthy := parts.pop("reference", None):
        Reference.restored(healthy)
    if odd := parts.keys() ^ {"calibration", *map(str, range(members))}:
        raise ValueError(f"it has {members} members, which does not fit the arrays {min(odd)[:80]!r}")
    calibration = parts.pop("calibration")
    states = manifest["calibration"].get("states", [])
    if calibration.keys() != {"scores", "member", *(("state", "centres", "spread") if states else ())}:
        with_states = ", state, centres and spread" if states else ""
        raise ValueError(f"calibration must have the arrays scores and member{with_states}")
    _check_calibration(manifest, calibration["scores"], calibration["member"], branches)
    if states:
        _check_states(states, calibration)
    for number, part in parts.items():
        owners = {f"member {number}": part}
        if branches:
            owners = {f"member {number}.{branch}": each for branch, each in sections(part).items()}
            if odd := sections(part).keys() ^ set(map(str, range(branches))):
                raise ValueError(f"it has {branches} branches, which does not fit the arrays {number}.{min(odd)[:80]}")
        for owner, own in owners.items():
            if odd := {name.partition(".")[0] for name in own} - {"transform", "detector"}:
                raise ValueError(f"{owner} must have arrays of transform and detector, got {min(odd)[:80]!r}")


def _check_states(names: list[str], calibration: Arrays) -> None:
    if len(set(names)) < len(names):
        raise ValueError("calibration.states must be different names")
    state, centres, spread = calibration["state"], calibration["centres"], calibration["spread"]
    if not (state.dtype == np.int64 and state.shape == calibration["member"].shape):
        raise ValueError("calibration.state must be an int64 number for each score")
    if state.min() < 0 or state.max() > len(names):
        raise ValueError(f"calibration.state must be from 0 to {len(names)}, got {state.min()} to {state.max()}")
    for array, shape in ((centres, (len(names), *spread.shape)), (spread, (max(1, spread.size),))):
        if not (array.dtype == np.float64 and array.shape == shape and np.isfinite(array).all()):
            raise ValueError("calibration.centres and spread must be finite numbers, float64, spread for each state's")
    if not (spread > 0).all():
        raise ValueError("calibration.spread must be above 0")


def _check_calibration(manifest: Manifest, scores: Any, member: Any, branches: int) -> None:
    shape = (len(member), branches) if branches else (len(member),)
    if not (scores.dtype == np.float64 and scores.shape == shape and scores.size and np.isfinite(scores).all()):
        each = f", {branches} for each clip" if branches else ""
        raise ValueError(f"calibration.scores must be one or more finite numbers, float64{each}")
    if not (member.dtype == np.int64 and member.ndim == 1):
        raise ValueError("calibration.member must be an int64 number for each score")
    if branches and len(scores) < LEAST_CLIPS:
        raise ValueError(f"calibration.scores of several branches must be of {LEAST_CLIPS} clips or more")
    everyone = manifest["members"]  # the number that stands for the mean over all members
    if member.min() < 0 or member.max() > everyone:
        raise ValueError(f"calibration.member must be from 0 to {everyone}, got {member.min()} to {member.max()}")
    learned = np.count_nonzero(member < everyone)
    if 0 < manifest["clips"] < learned:
        raise ValueError(f"calibration.scores are of {learned} clips, the model learned from {manifest['clips']}")
