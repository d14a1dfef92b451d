"""The clips that a model is asked to judge: as long as those that it was calibrated on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from asd.detection.groups import column_of
from asd.detection.states import in_named_states
from asd.errors import AudioError, ConfigError
from asd.files.remote import RemotePath
from asd.records import Clip
from asd.sound.data import Data, Entry, entries_of
from asd.sound.finding import find_clips, segments
from asd.sound.reading import duration_of

if TYPE_CHECKING:
    from asd.detection.model import Model

Segment = float | Literal["auto"] | None
"""Seconds to cut recordings into; None: not at all; ``"auto"``: long ones into clips as those of the calibration."""

_LONG = 2.0
"""A recording is cut if it is longer than so many clips."""

_AT_ONCE = 8
"""Requests for lengths."""

_log = logging.getLogger("asd")


def clips_given(
    model: Model, data: Data, *, rate: int | None, segment: Segment, state: str | None = None
) -> Sequence[Clip]:
    """Return a sequence of clips as it is, and of other data the clips to judge; all as for `asd.score`."""
    if isinstance(data, list | tuple) and all(isinstance(each, Clip) for each in data):
        return _in_states(model, list(data), state)
    return clips_to_judge(model, entries_of(data, rate=rate), segment=segment, state=state)


def clips_to_judge(
    model: Model,
    data: Iterable[Entry],
    *,
    segment: Segment = "auto",
    label: str | None = None,
    split: str | None = None,
    state: str | None = None,
) -> list[Clip]:
    """Return the clips that `data` names, long recordings cut into clips that the p-values hold for.

    Parameters
    ----------
    model : Model
        Who will judge them.
    data, label, split
        As for `asd.sound.finding.find_clips`, which raises the errors.
    segment : float, "auto" or None
        Cut into clips of so many seconds; None: judge each recording as a whole; ``"auto"``: as the model was fitted,
        and what is more than twice as long as its clips into clips of their length.
    state : str or None
        What names each clip's operating state: ``"folder"``, or a manifest's column; None: its sound tells it.
        Raises the errors of `asd.detection.states.in_named_states`.
    """
    column = column_of(state)
    if segment == "auto":
        segment = model.config.segment
        if segment is None:
            found = find_clips(data, label=label, split=split, group=column)
            return _in_states(model, _cut(found, float(f"{model.calibration.clip_seconds:.3g}")), state)
    return _in_states(model, find_clips(data, segment=segment, label=label, split=split, group=column), state)


def _in_states(model: Model, clips: list[Clip], state: str | None) -> list[Clip]:
    known = model.calibration.states
    return clips if state is None else in_named_states(clips, state, None if known is None else known.names)


def clips_to_calibrate(model: Model, data: Iterable[Entry]) -> list[Clip]:
    """Return the healthy clips that `data` names, as long as those of the calibration; errors as for `find_clips`."""
    return clips_to_judge(model, data, label="normal", split="train")


def clips_to_learn(model: Model, data: Iterable[Entry]) -> list[Clip]:
    """Return the healthy clips that `data` names, as a fit of the model's pipeline finds them; errors as above."""
    config = model.config
    return find_clips(data, segment=config.segment, label="normal", split="train", group=column_of(config.group))


def segment_from(text: str) -> Segment:
    """Return the meaning of ``--segment``.

    Raises
    ------
    ConfigError
        If it is neither a number nor ``none`` nor ``auto``.
    """
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--segment takes seconds, none or auto, got {text!r}") from None


def _cut(clips: list[Clip], seconds: float) -> list[Clip]:
    parts = [_parts(clip, length, seconds) for clip, length in zip(clips, _lengths(clips), strict=True)]
    cut = sum(len(each) > 1 for each in parts)
    if cut:
        _log.info(
            "%d of %d recordings are longer than %g s: cut into clips of %g s, as the model was calibrated (--segment "
            "none: judge them whole)",
            cut, len(clips), _LONG * seconds, seconds,
        )  # fmt: skip
    return [part for each in parts for part in each]


def _parts(clip: Clip, length: float, seconds: float) -> list[Clip]:
    return list(segments(clip, seconds if length > _LONG * seconds else None))


def _lengths(clips: list[Clip]) -> Iterator[float]:
    """Yield the seconds of each clip, 0 where it cannot be read; servers are asked for several at once."""
    if not any(isinstance(clip.path, RemotePath) for clip in clips):
        yield from map(_length, clips)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(_length, clips)


def _length(clip: Clip) -> float:
    try:
        return clip.duration or duration_of(clip.path) - clip.start
    except AudioError:  # reading it says what is wrong
        return 0.0
