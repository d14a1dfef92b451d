"""What a report shows: clips with verdicts, times, evidence and, of the most unusual ones, explanations."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import asd
from asd.errors import AsdError, DataError, MonitorError
from asd.experiment import (
    Evaluation,
    Failure,
    Verdict,
    WatchedClip,
    clips_to_judge,
    copy_of_monitor,
    in_time_order,
    measure,
    read,
    track,
    watched_clips,
)
from asd.plugin import Audio, Clip, shared_folder
from asd_pages import pictures

Label = Literal["healthy", "faulty"]

MOST_THUMBNAILS = 2000
"""Clips beyond which the table has no pictures: the page would be too large."""
THUMBNAIL = (132, 44)
_LONGEST = 60.0
"""Seconds of a clip that pictures show."""


@dataclass
class Row:
    """A clip of the report.

    Parameters
    ----------
    clip : Clip
        The clip.
    verdict : Verdict or None
        None: it could not be judged.
    error : str
        Why.
    label : {"healthy", "faulty"} or None
        What is known of it.
    time : float or None
        When it begins, in seconds since 1970.
    status : asd.Status or None
        What the monitor says after it.
    thumbnail : bytes
        A small spectrogram.
    explanation : asd.Explanation or None
        Why it is unusual; of the most unusual clips.
    note : str
        Why there is no explanation.
    """

    clip: Clip
    verdict: Verdict | None = None
    error: str = ""
    label: Label | None = None
    time: float | None = None
    status: asd.Status | None = None
    thumbnail: bytes = b""
    explanation: asd.Explanation | None = None
    note: str = ""


@dataclass
class Report:
    """All that a report shows.

    Parameters
    ----------
    model : asd.Model
        Who judged.
    model_name : str
        Name of its file.
    rows : list of Row
        The clips, in the order of time.
    order : str
        Where the times are from, in words.
    explained : list of Row
        Those that are explained, the most unusual first.
    monitor : asd.Monitor or None
        A copy that watched the clips.
    remembered : list of WatchedClip
        Clips that it had watched before.
    evaluation : Evaluation or None
        Of labelled clips.
    notes : list of str
        What the reader should know.
    """

    model: asd.Model
    model_name: str
    rows: list[Row]
    order: str = ""
    explained: list[Row] = field(default_factory=list)
    monitor: asd.Monitor | None = None
    remembered: list[WatchedClip] = field(default_factory=list)
    evaluation: Evaluation | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def judged(self) -> list[tuple[Row, Verdict]]:
        """The clips that have a verdict."""
        return [(row, row.verdict) for row in self.rows if row.verdict is not None]

    @property
    def anomalous(self) -> int:
        """How many clips are anomalous."""
        return sum(verdict.anomalous for _, verdict in self.judged)


@dataclass(frozen=True)
class Wish:
    """What the user wants to see.

    Parameters
    ----------
    data : dict of (Label or None) to tuple of str
        Files, folders, globs or manifests by what is known of them.
    healthy : tuple of str
        Recordings among which the most similar healthy clip is looked for.
    day : datetime.date or None
        Clips of this day alone.
    monitor : Path or None
        State of a monitor.
    details : int
        How many clips to explain.
    segment : float, "auto" or None
        As for `asd.score`.
    workers : int
        Threads that decode.
    """

    data: dict[Label | None, tuple[str, ...]]
    healthy: tuple[str, ...] = ()
    day: datetime.date | None = None
    monitor: Path | None = None
    details: int = 12
    segment: Any = "auto"
    workers: int = 1


def gather(model: asd.Model, model_name: str, wish: Wish) -> Report:
    """Judge clips and explain the most unusual ones.

    Raises
    ------
    AsdError
        If no clip can be found or read, or the monitor's state cannot be used.
    """
    monitor = copy_of_monitor(wish.monitor, model) if wish.monitor else None
    remembered = watched_clips(monitor) if monitor else []
    rows, order = _rows(model, wish)
    report = Report(model, model_name, rows, order, remembered=remembered)
    results = track(model.score([row.clip for row in rows], workers=wish.workers), "scoring", len(rows))
    for row, result in zip(rows, results, strict=True):
        if isinstance(result, Failure):
            row.error = str(result.error)
        else:
            row.verdict = result
    if not report.judged:
        raise DataError(f"no clip could be read: {rows[0].error}")
    report.monitor = _watch(model, rows, monitor, report.notes)
    report.evaluation = _evaluation(model, rows)
    _draw(rows, model)
    report.explained = list(_explained(report, wish))
    return report


def _rows(model: asd.Model, wish: Wish) -> tuple[list[Row], str]:
    words: dict[Label | None, str | None] = {None: None, "healthy": "normal", "faulty": "anomalous"}
    labels: dict[Clip, Label | None] = {}
    for label, data in wish.data.items():
        if data:
            split = "test" if label else None
            found = clips_to_judge(model, data, segment=wish.segment, label=words[label], split=split)
            if twice := labels.keys() & set(found):
                raise DataError(f"{next(iter(twice))}: given twice, as {labels[next(iter(twice))]} and as {label}")
            labels |= dict.fromkeys(found, label)
    everything = [each for data in wish.data.values() for each in data]
    timed, order = in_time_order(everything, list(labels))
    if wish.day is not None:
        timed = [each for each in timed if datetime.datetime.fromtimestamp(each.time).date() == wish.day]
        if not timed:
            raise DataError(f"none of the {len(labels)} clips is of {wish.day} (by {order}); name another --day")
    return [Row(each.clip, time=each.time, label=labels[each.clip]) for each in timed], order


def _watch(model: asd.Model, rows: Sequence[Row], monitor: asd.Monitor | None, notes: list[str]) -> asd.Monitor | None:
    """Let a monitor watch the clips in the order of time.

    Without a state none watches a single clip, or labelled ones: these are no course of events.
    """
    if monitor is None:
        if len(rows) < 2 or any(row.label for row in rows):
            return None
        monitor = asd.Monitor(model)
    last, missed = monitor.state.evidence.last_time, 0
    for row in rows:
        if row.verdict is None or row.time is None or (last is not None and row.time <= last):
            continue
        try:
            row.status = monitor.update(row.verdict, row.time)
        except MonitorError:
            missed += 1
    if missed:
        notes.append(f"{missed} clips have the same time as another one: the monitor left them out")
    return monitor


def _evaluation(model: asd.Model, rows: Sequence[Row]) -> Evaluation | None:
    by_label: dict[str | None, list[Verdict]] = {"healthy": [], "faulty": [], None: []}
    for row in rows:
        if row.verdict is not None:
            by_label[row.label].append(row.verdict)
    if not (by_label["healthy"] and by_label["faulty"]):
        return None
    return measure(model, by_label["healthy"], by_label["faulty"])


def _draw(rows: Sequence[Row], model: asd.Model) -> None:
    """Give the clips small spectrograms, those of a report in the same colours."""
    chosen = [row for row in rows if row.verdict is not None]
    if len(chosen) > MOST_THUMBNAILS:
        return
    for row in track(chosen, "pictures", len(chosen)):
        audio = sound_of(row.clip, model)
        if audio is not None:
            row.thumbnail = pictures.thumbnail(audio.samples[0], audio.sample_rate, size=THUMBNAIL)


def sound_of(clip: Clip, model: asd.Model) -> Audio | None:
    """Return the samples of a clip's first minute as the model hears them; None: it cannot be read any more."""
    try:
        duration = clip.duration if clip.duration is None else min(clip.duration, _LONGEST)
        return read(Clip(clip.path, clip.start, duration), channel=model.config.channel)
    except AsdError:
        return None


def _explained(report: Report, wish: Wish) -> Iterator[Row]:
    ranked = sorted(report.judged, key=lambda each: (each[1].p_value, -each[1].score))
    for row, _ in track(ranked[: wish.details], "explaining", min(wish.details, len(ranked))):
        try:
            row.explanation = asd.explain(report.model, row.clip, healthy=wish.healthy)
        except AsdError as error:
            row.note = str(error).removeprefix(f"{row.clip}: ")
        yield row


def names_of(rows: Iterable[Row]) -> dict[Clip, str]:
    """Return each clip's name without the folder that all are in."""
    clips = [row.clip for row in rows]
    try:
        shared = shared_folder(str(clip.path) for clip in clips)
    except ValueError:  # of several drives
        shared = ""
    cut = len(shared) + 1 if shared else 0
    return {clip: str(clip)[cut:] for clip in clips}
