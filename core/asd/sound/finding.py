"""Turn what a user names as DATA (files, folders, globs, CSV manifests) into clips."""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from asd.errors import AudioError, DataError
from asd.records import Clip
from asd.sound.reading import duration_of

AUDIO_SUFFIXES = frozenset(
    {
        ".aif",
        ".aifc",
        ".aiff",
        ".au",
        ".caf",
        ".flac",
        ".mp3",
        ".oga",
        ".ogg",
        ".opus",
        ".wav",
        ".wave",
        ".w64",
    }
)

NORMAL_LABELS = frozenset({"normal", "healthy", "ok", "good", "0"})
ANOMALOUS_LABELS = frozenset({"anomalous", "anomaly", "abnormal", "faulty", "bad", "1"})


def find_clips(
    data: Iterable[str | Path],
    *,
    segment: float | None = None,
    label: str | None = None,
    split: str | None = None,
) -> list[Clip]:
    """Return the clips that `data` names, in order, each once.

    Parameters
    ----------
    data : iterable of str or Path
        Files, folders (searched through, in alphabetical order), glob patterns, and CSV manifests with a column
        ``path`` (relative to the manifest) and, if wanted, ``label`` and ``split``.
    segment : float or None
        Cut longer recordings into clips of this many seconds; None: each file is one clip.
    label : {"normal", "anomalous"} or None
        Take only a manifest's rows of this label (rows without a label count).
    split : str or None
        Take only a manifest's rows of this split (rows without a split count).

    Raises
    ------
    DataError
        If something is missing, unreadable, or holds no recordings.
    """
    paths: dict[Path, None] = {}
    for entry in data:
        for path in _paths(str(entry), label, split):
            paths.setdefault(path)
    if not paths:
        raise DataError("no recordings were given; name files, folders, globs or a CSV manifest")
    return [clip for path in paths for clip in _segments(path, segment)]


def _paths(entry: str, label: str | None, split: str | None) -> Sequence[Path]:
    path = Path(entry)
    if path.is_dir():
        return _in_folder(path)
    if path.suffix.lower() == ".csv" and path.exists():
        return _in_manifest(path, label, split)
    if path.exists():
        return [path]
    if glob.has_magic(entry):
        return _matching(entry)
    raise DataError(f"{entry}: no such file or folder")


def _matching(pattern: str) -> list[Path]:
    found: list[Path] = []
    for match in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207  # Path.glob takes no absolute pattern
        path = Path(match)
        found += [path] if path.is_file() else _in_folder(path)
    if not found:
        raise DataError(f"{pattern}: no file matches this pattern")
    return found


def _in_folder(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot read this folder ({error.strerror}); check its permissions")

    found = [
        Path(root) / name
        for root, _, names in os.walk(folder, onerror=refuse)
        for name in names
        if Path(name).suffix.lower() in AUDIO_SUFFIXES and not name.startswith(".")
    ]
    if not found:
        raise DataError(f"{folder}: this folder holds no recordings ({', '.join(sorted(AUDIO_SUFFIXES))})")
    return sorted(found)


def _in_manifest(manifest: Path, label: str | None, split: str | None) -> list[Path]:
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{manifest}: cannot be read as a CSV manifest ({error})") from error
    if not rows or "path" not in rows[0]:
        raise DataError(f"{manifest}: a manifest needs a header line with a column 'path' and at least one row")
    found = []
    for number, row in enumerate(rows, start=2):
        if not row["path"]:
            raise DataError(f"{manifest}, line {number}: the path is empty")
        given_label = _label(row.get("label"), manifest, number)
        right_label = label is None or given_label in (None, label)
        right_split = split is None or (row.get("split") or split) == split
        if right_label and right_split:
            found.append(manifest.parent / row["path"])
    if not found:
        wanted = " and ".join(f"{k} {v!r}" for k, v in (("label", label), ("split", split)) if v)
        raise DataError(f"{manifest}: no row with {wanted}")
    return found


def _label(text: str | None, manifest: Path, number: int) -> str | None:
    word = (text or "").strip().lower()
    if not word:
        return None
    if word in NORMAL_LABELS:
        return "normal"
    if word in ANOMALOUS_LABELS:
        return "anomalous"
    raise DataError(f"{manifest}, line {number}: label {text!r} is neither 'normal' nor 'anomalous'")


def _segments(path: Path, segment: float | None) -> Iterator[Clip]:
    if segment is None:
        yield Clip(path)
        return
    try:
        duration = duration_of(path)
    except AudioError:  # a bad file stays whole here; reading it says what is wrong
        yield Clip(path)
        return
    # A remainder of less than half a segment joins the last one, so that no clip is much shorter than the others.
    count = max(1, int(duration / segment + 0.5))
    for i in range(count):
        end = duration if i == count - 1 else (i + 1) * segment
        yield Clip(path, i * segment, end - i * segment)
