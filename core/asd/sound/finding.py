"""Turn what a user names as DATA (files, folders, globs, CSV manifests) into clips."""

from __future__ import annotations

import glob
import logging
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from asd.errors import AudioError, ConfigError, DataError, RemoteError
from asd.files.address import is_url
from asd.files.folders import like
from asd.files.remote import RemotePath, as_path, check_page, has_magic, matching, missing_bucket, url_of
from asd.records import Clip
from asd.sound.data import Entry, Table
from asd.sound.fallback import FALLBACK_SUFFIXES, INSTALL, is_installed
from asd.sound.manifest import ANOMALOUS_LABELS, MANIFEST_SUFFIXES, NORMAL_LABELS, Row, read_manifest
from asd.sound.memory import ArrayPath, held
from asd.sound.reading import duration_of
from asd_registry.text import counted

_log = logging.getLogger(__name__)

AUDIO_SUFFIXES = frozenset(
    {
        ".aif",
        ".aifc",
        ".aiff",
        ".au",
        ".bw64",
        ".bwf",
        ".caf",
        ".flac",
        ".mp2",
        ".mp3",
        ".oga",
        ".ogg",
        ".opus",
        ".rf64",
        ".snd",
        ".w64",
        ".wav",
        ".wave",
    }
)
_UNREAD_SUFFIXES = frozenset({".dff", ".dsf", ".gsm", ".mpc", ".pcm", ".ra", ".raw", ".sd2", ".tak", ".tta", ".voc"})
_SHORTEST_SEGMENT = 0.01
_MOST_SEGMENTS = 1_000_000


def find_clips(
    data: Iterable[Entry],
    *,
    segment: float | None = None,
    label: str | None = None,
    split: str | None = None,
    group: str | None = None,
) -> list[Clip]:
    """Return the clips that `data` names, in order, each once.

    Parameters
    ----------
    data : iterable of str, Path, Clip or Table
        Here or by address (`asd.files.remote`): files, folders (searched through, in alphabetical order, linked folders
        too and hidden ones not), glob patterns,
        and CSV manifests, see `asd.sound.manifest.read_manifest`; and what `asd.sound.data.entries_of` makes of arrays
        and frames.
    segment : float or None
        Cut longer recordings into clips of this many seconds; None: each file is one clip.
    label : {"normal", "anomalous"} or None
        Take only a manifest's rows of this label (rows without a label count).
    split : str or None
        Take only a manifest's rows of this split (rows without a split count).
    group : str or None
        The column of a manifest that names each clip's group.

    Raises
    ------
    ConfigError
        If `segment` is no length.
    DataError
        If something is missing, unreadable, or holds no recordings; if a label is asked for and a folder holds folders
        of both labels.
    """
    check_segment(segment)
    clips: dict[tuple[str | Path, float, float | None], Clip] = {}
    folders: dict[str, str] = {}
    for entry in data:
        for clip in _clips(entry, label, split, group):
            plain = not held(clip.path) and not isinstance(clip.path, RemotePath)
            place = _place(str(clip.path), folders) if plain else clip.path
            clips.setdefault((place, clip.start, clip.duration), clip)
    if not clips:
        raise DataError("no recordings were given; name files, folders, globs or a CSV manifest")
    return [part for clip in clips.values() for part in segments(clip, segment)]


def check_segment(segment: float | None) -> None:
    """Raise a ConfigError if recordings cannot be cut into clips of so many seconds; None: they are not cut."""
    if segment is not None and not _SHORTEST_SEGMENT <= segment < math.inf:
        raise ConfigError(f"segment takes seconds, at least {_SHORTEST_SEGMENT:g}, got {segment!r}")


def _place(path: str, folders: dict[str, str]) -> str:
    """Return where a file really is; `folders` keeps where folders are, as most files share theirs."""
    folder, name = os.path.split(path)
    if name in ("", ".", "..") or os.path.islink(path):  # noqa: PTH114  # this runs for every file
        return os.path.realpath(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    return os.path.join(folders[folder], name)  # noqa: PTH118


def _clips(entry: Entry, label: str | None, split: str | None, group: str | None) -> list[Clip]:
    if isinstance(entry, Clip):
        return [entry]
    if isinstance(entry, Table):
        return _of_rows(entry.name, entry.rows, label, split, group)
    if isinstance(entry, ArrayPath):
        return [Clip(entry)]
    text = url_of(entry)
    return _elsewhere(text, label, split, group) if is_url(text) else _named(text, label, split, group)


def _elsewhere(url: str, label: str | None, split: str | None, group: str | None) -> list[Clip]:
    """Return the clips that an address names: a file, a folder, a pattern or a manifest."""
    path = as_path(url)
    if not isinstance(path, RemotePath):
        return _named(str(path), label, split, group)
    try:
        if has_magic(url):
            return [Clip(found) for found in _matching_elsewhere(path, label)]
        if path.is_dir():
            return [Clip(found) for found in _in_folder(path, label)]
        if path.suffix.lower() in MANIFEST_SUFFIXES:
            return _of_rows(str(path), read_manifest(path), label, split, group)
        if not path.exists():
            raise DataError(f"{path}: {missing_bucket(path) or 'no such object or folder'}")
        if path.suffix.lower() not in AUDIO_SUFFIXES:
            check_page(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: {missing_bucket(path) or 'no such object or folder'}") from error
    except RemoteError as error:
        raise DataError(str(error)) from error
    return [Clip(path)]


def _matching_elsewhere(pattern: RemotePath, label: str | None) -> list[Path]:
    found: list[Path] = []
    for path in matching(pattern.url):
        found += _in_folder(path, label) if path.is_dir() else [path]
    if not found:
        raise DataError(f"{pattern}: no object matches this pattern")
    return found


def _named(entry: str, label: str | None, split: str | None, group: str | None) -> list[Clip]:
    if not entry.strip():
        raise DataError("an empty name was given for recordings; is a variable of the shell unset?")
    if entry == "-":
        raise DataError(
            "-: recordings are not read from standard input, since they are read more than once; save them to a file, "
            "or listen: asd listen MODEL --source pcm"
        )
    path = as_path(entry)
    try:
        if path.is_dir():
            return [Clip(found) for found in _in_folder(path, label)]
        if path.is_fifo():
            raise DataError(
                f"{entry}: a pipe can be read only once, and recordings are read more often; save it to a file"
            )
        if path.exists():
            if path.suffix.lower() in MANIFEST_SUFFIXES:
                return _of_rows(str(path), read_manifest(path), label, split, group)
            return [Clip(path)]
    except PermissionError as error:
        raise DataError(f"{entry}: no permission to read it; check the permissions of its folder") from error
    except OSError as error:
        raise DataError(f"{entry}: cannot be opened ({error.strerror})") from error
    if glob.has_magic(entry):
        return [Clip(found) for found in _matching(entry, label)]
    raise DataError(f"{entry}: no such file or folder{like(path)}")


def _matching(pattern: str, label: str | None) -> list[Path]:
    found: list[Path] = []
    for match in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207  # Path.glob takes no absolute pattern
        path = Path(match)
        found += _in_folder(path, label) if path.is_dir() else [path]
    if not found:
        raise DataError(f"{pattern}: no file matches this pattern")
    return found


def _in_folder(folder: Path, label: str | None) -> list[Path]:
    readable = AUDIO_SUFFIXES | (FALLBACK_SUFFIXES if is_installed() else frozenset())
    unread = _UNREAD_SUFFIXES | (FALLBACK_SUFFIXES - readable)
    found, left_out = [], Counter[str]()
    for path in folder.files_below() if isinstance(folder, RemotePath) else _files(folder):
        suffix = path.suffix.lower()
        if suffix in readable:
            found.append(path)
        elif suffix in unread:
            left_out[suffix] += 1
    unread_note = ""
    if left_out:
        types = ", ".join(f"{count} {suffix}" for suffix, count in sorted(left_out.items()))
        mend = INSTALL if left_out.keys() & FALLBACK_SUFFIXES else "convert them to WAV or FLAC"
        unread_note = f"{counted(left_out.total(), 'file')} of types that are not read ({types}): {mend}"
    if not found:
        types = ", ".join(sorted(AUDIO_SUFFIXES))
        raise DataError(f"{folder}: this folder holds no recordings ({types})" + (unread_note and f"; {unread_note}"))
    if unread_note:
        _log.warning("%s: left out %s", folder, unread_note)
    if label is not None:
        _check_labels(folder, found)
    return sorted(found)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below `folder` that are not hidden; each folder once, by its own name rather than a link's."""
    seen = {_identity(parent) for parent in folder.resolve().parents}
    folders, links = [folder], list[Path]()
    while folders or links:
        current = (folders or links).pop()
        if _identity(current) in seen:
            continue
        seen.add(_identity(current))
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if not entry.is_dir():
                        yield current / entry.name
                    elif entry.is_symlink():
                        links.append(current / entry.name)
                    else:
                        folders.append(current / entry.name)
        except OSError as error:
            raise DataError(f"{current}: cannot read this folder ({error.strerror}); check its permissions") from error


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _check_labels(folder: Path, found: list[Path]) -> None:
    """Refuse a folder with recordings below folders of both labels: learning both would be silently wrong."""
    kinds: dict[bool, Path] = {}
    for path in found:
        below = path.relative_to(folder).parts[:-1]
        for depth, name in enumerate(below, start=1):
            word = name.lower()
            if not word.isdigit() and word in NORMAL_LABELS | ANOMALOUS_LABELS:
                kinds.setdefault(word in NORMAL_LABELS, folder.joinpath(*below[:depth]))
    if len(kinds) == 2:
        raise DataError(
            f"{folder}: holds recordings of both kinds, in {kinds[True].name!r} and {kinds[False].name!r}; "
            f"name the folder of one kind, for example {kinds[True]}"
        )


def _of_rows(manifest: str, rows: Sequence[Row], label: str | None, split: str | None, group: str | None) -> list[Clip]:
    column = None if group is None else group.strip().lower()
    if column is not None and not any(column in row.columns for row in rows):
        raise DataError(f"{manifest}: has no column {group!r} to group by; it has {', '.join(rows[0].columns)}")
    found = [
        Clip(row.path, row.start, row.duration, row.columns.get(column) or None if column else None)
        for row in rows
        if (label is None or row.label in (None, label)) and (split is None or row.split in (None, split))
    ]
    if not found:
        wanted = " and ".join(f"{k} {v!r}" for k, v in (("label", label), ("split", split)) if v)
        raise DataError(f"{manifest}: no row with {wanted}")
    return found


def segments(clip: Clip, segment: float | None) -> Iterator[Clip]:
    """Yield the parts of a clip, `segment` seconds each (None: the clip as it is); errors as for `find_clips`."""
    if segment is None:
        yield clip
        return
    try:
        duration = clip.duration or duration_of(clip.path) - clip.start
    except AudioError:  # a bad file stays whole here; reading it says what is wrong
        yield clip
        return
    # A remainder of less than half a segment joins the last one, so that no clip is much shorter than the others.
    count = max(1, int(duration / segment + 0.5))
    if count > _MOST_SEGMENTS:
        raise DataError(f"{clip}: {count} clips of {segment:g} s are too many; use a longer --segment")
    for i in range(count):
        end = duration if i == count - 1 else (i + 1) * segment
        yield Clip(clip.path, clip.start + i * segment, end - i * segment, clip.group)
