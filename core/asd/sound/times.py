"""When clips were recorded: by a manifest's column, by time stamps in file names, or by modification times."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asd.errors import AudioError, DataError
from asd.files.remote import RemotePath, as_path
from asd.records import Clip
from asd.sound.manifest import MANIFEST_SUFFIXES, read_manifest
from asd.sound.reading import duration_of

_STAMP = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-_.]?)(\d\d)\2(\d\d)[T_ .-]?(\d\d)([-_:.h]?)(\d\d)\6(\d\d)(?:[.,](\d{1,6}))?(Z)?(?!\d)"
)
"""A date and a time of day with seconds, such as 20261126_201500, 2026-11-26T20-15-00Z or 2026.11.26 20.15.00."""
_SECONDS = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?")
_DAY = re.compile(r"(19|20)[0-9]{6}")
"""A day such as 20261126, rather than so many seconds since 1970."""


@dataclass(frozen=True)
class TimedClip:
    """A clip, and when it begins, in seconds since 1970."""

    clip: Clip
    time: float


def in_time_order(data: Iterable[str | Path], clips: Sequence[Clip]) -> tuple[list[TimedClip], str]:
    """Return the clips in the order of time, and where the times are from, in words.

    A manifest's column ``time`` is used if there is one; otherwise the time stamps in the names of files, if each has
    one; otherwise the times of the files' last modification, at which recordings end.

    Parameters
    ----------
    data : iterable of str or Path
        What the user named; `clips` were found there.
    clips : sequence of Clip
        In any order.

    Raises
    ------
    DataError
        If a manifest gives no time for a clip, or one that is none; or a file is gone.
    """
    clips = list(clips)
    if given := _from_manifests(data):
        times, source = [_given(clip, given) for clip in clips], "the manifest's column of times"
    else:
        stamps = {path: time_in_name(path.name) for path in {clip.path for clip in clips}}
        found = {path: stamp for path, stamp in stamps.items() if stamp is not None}
        if len(found) == len(stamps):
            times, source = [found[clip.path] + clip.start for clip in clips], "the time stamps in the files' names"
        else:
            begin = {path: _begin(path) for path in stamps}
            times, source = [begin[clip.path] + clip.start for clip in clips], "the files' modification times"
    timed = [TimedClip(clip, time) for clip, time in zip(clips, times, strict=True)]
    return sorted(timed, key=lambda each: (each.time, str(each.clip))), source


def time_in_name(name: str) -> float | None:
    """Return the time that a file's name states, in seconds since 1970; local unless a Z follows it. None: none."""
    for match in _STAMP.finditer(name):
        year, _, month, day, hour, _, minute, second, fraction, utc = match.groups()
        try:
            moment = datetime.datetime(
                int(year),
                int(month),
                int(day),
                int(hour),
                int(minute),
                int(second),
                int((fraction or "0").ljust(6, "0")),
            )
        except ValueError:  # digits that are no date
            continue
        return moment.replace(tzinfo=datetime.UTC if utc else None).timestamp()
    return None


def time_from(text: str) -> float:
    """Return the time that a text states: a date of ISO 8601, local if it names no zone, or seconds since 1970.

    Raises
    ------
    ValueError
        If it states none.
    """
    text = text.strip()
    if _SECONDS.fullmatch(text) and not _DAY.fullmatch(text):  # fromisoformat takes some of them for dates
        seconds = float(text)
        datetime.datetime.fromtimestamp(seconds)  # refuses what is beyond all calendars
        return seconds
    return datetime.datetime.fromisoformat(text).timestamp()


def _from_manifests(data: Iterable[str | Path]) -> dict[tuple[str, float], tuple[str, Path]]:
    """Return the texts of times by recording and start of the part, with the manifest that gives them."""
    found: dict[tuple[str, float], tuple[str, Path]] = {}
    for manifest in map(as_path, data):
        if manifest.suffix.lower() in MANIFEST_SUFFIXES and manifest.is_file():
            for row in read_manifest(manifest):
                place = _place(row.path), row.start
                if row.time is None:
                    continue
                if found.setdefault(place, (row.time, manifest))[0] != row.time:
                    raise DataError(
                        f"{manifest}: {row.path.name} has two times, {found[place][0]!r} and {row.time!r}; give each "
                        "clip once"
                    )
    return found


def _place(path: Path) -> str:
    return path.url if isinstance(path, RemotePath) else os.path.realpath(path)


def _given(clip: Clip, given: dict[tuple[str, float], tuple[str, Path]]) -> float:
    path = _place(clip.path)
    starts = [start for other, start in given if other == path and start <= clip.start]
    if not starts:
        raise DataError(f"{clip}: its time is not given, that of other clips is; fill the manifest's column of times")
    text, manifest = given[path, max(starts)]
    try:
        return time_from(text) + clip.start - max(starts)
    except (ValueError, OverflowError, OSError):
        raise DataError(
            f"{manifest}: the time of {clip} is {text!r}; expected a date such as 2026-11-26T20:15:00, or seconds "
            "since 1970"
        ) from None


def _begin(path: Path) -> float:
    """Return when a recording began, if it was written until it ended."""
    try:
        ended = path.facts().modified if isinstance(path, RemotePath) else path.stat().st_mtime
    except OSError as error:
        raise DataError(f"{path}: when it was recorded cannot be known ({error.strerror})") from error
    if ended is None:
        raise DataError(
            f"{path}: when it was recorded cannot be known: its server states no time; put time stamps into the files' "
            "names, or name a manifest with a column of times"
        )
    try:
        return ended - duration_of(path)
    except AudioError:  # reading it says what is wrong
        return ended
