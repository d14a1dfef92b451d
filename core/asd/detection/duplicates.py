"""Clips that repeat others: they know nothing of their own, and must not count twice in the calibration.

Three kinds are found: files of the same content, parts of one recording that overlap, and re-encoded, resampled or
louder copies, whose embeddings change from window to window as those of the original do.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from asd.detection.identity import content_of
from asd.detection.pipeline import ClipFeatures
from asd.records import Clip, Float32

_OVERLAP = 0.1
"""Parts of one recording repeat each other if they share more than this fraction of the shorter one."""
_COPY_DISTANCE = 0.6
"""Largest distance of a copy, as a fraction of the median distance of two clips."""
_EQUAL_DISTANCE = 0.1
"""The same for clips of so few windows that their change over time says nothing."""
_FEW_WINDOWS = 5
_FEW_VALUES = 100
"""And for fingerprints of so few values that two recordings may agree in them by chance."""
_MOST_WINDOWS = 64
_PROJECTED = 64
"""Dimensions that are left of an embedding by random projection, which keeps distances (Johnson, Lindenstrauss 1984)"""
_BLOCK = 1024
_NAMED = 3

_log = logging.getLogger("asd")


@dataclass(frozen=True)
class Duplicate:
    """A clip that repeats another.

    Parameters
    ----------
    clip : Clip
        The clip that does not count in the calibration.
    original : Clip
        The clip that counts.
    found_by : {"content", "overlap", "embedding"}
        Files of the same content, overlapping parts of one recording, or embeddings that change alike.
    """

    clip: Clip
    original: Clip
    found_by: Literal["content", "overlap", "embedding"]

    def as_dict(self) -> dict[str, str]:
        """Return what JSON output says of it."""
        return {"clip": str(self.clip), "original": str(self.original), "found_by": self.found_by}


def find_duplicates(features: Iterable[ClipFeatures], contents: Mapping[Path, str] | None = None) -> list[Duplicate]:
    """Return the clips that repeat others; of each group, one clip is left out of the list.

    Parameters
    ----------
    features : iterable of ClipFeatures
        The embeddings of the clips.
    contents : mapping of Path to str, optional
        SHA-256 of each recording, where they are known.
    """
    known = contents or {}

    def content(each: ClipFeatures) -> str:
        return known.get(each.clip.path) or _content_of(each)

    found: list[Duplicate] = []
    kept: list[ClipFeatures] = []
    # Which one is kept depends on the contents, not on the order of the files.
    for f in sorted(features, key=lambda f: (content(f), f.clip.start, f.seconds)):
        last = kept[-1] if kept else None
        if last and content(last) == content(f) and _overlap(last, f) > _OVERLAP * min(last.seconds, f.seconds):
            found.append(Duplicate(f.clip, last.clip, "overlap" if last.clip.path == f.clip.path else "content"))
        else:
            kept.append(f)
    copies = _copies(kept)
    found += [Duplicate(kept[i].clip, kept[original].clip, "embedding") for i, original in copies.items()]
    if found:
        named = ", ".join(f"{each.clip} repeats {each.original}" for each in found[:_NAMED])
        _log.warning(
            "%d of %d clips repeat others and do not count in the calibration (%s%s)",
            len(found), len(kept) + len(found) - len(copies), named, ", …" if len(found) > _NAMED else "",
        )  # fmt: skip
    return found


def recording_of(clips: Sequence[Clip], duplicates: Iterable[Duplicate]) -> list[Path]:
    """Return for each clip a path that stands for its recording; a copy has that of its original."""
    original: dict[Path, Path] = {}

    def root(path: Path) -> Path:
        while path in original:
            path = original[path]
        return path

    for duplicate in duplicates:
        copy, first = root(duplicate.clip.path), root(duplicate.original.path)
        if copy != first:
            original[copy] = first
    return [root(clip.path) for clip in clips]


def _content_of(features: ClipFeatures) -> str:
    try:
        return content_of(features.clip.path)
    except OSError:  # the file is gone, its features are not
        return hashlib.sha256(np.ascontiguousarray(features.values).tobytes()).hexdigest()


def _overlap(one: ClipFeatures, other: ClipFeatures) -> float:
    """Return how many seconds two parts of one recording share."""
    first, second = one.clip.start, other.clip.start
    return min(first + one.seconds, second + other.seconds) - max(first, second)


def _copies(features: Sequence[ClipFeatures]) -> dict[int, int]:
    """Return the index of the original for each clip whose embeddings change as those of an earlier one."""
    if len(features) < 3:  # no typical distance to compare with
        return {}
    windows = min(len(f.values) for f in features)
    if windows == 1 and features[0].values.shape[1] < _PROJECTED:  # two clips may have the same few values by chance
        return {}
    prints = _fingerprints(features, windows)
    sample = prints[:: max(1, len(prints) // 500)]
    pairs = _distances(sample, sample)[np.triu_indices(len(sample), 1)]
    is_telling = windows >= _FEW_WINDOWS and prints.shape[1] >= _FEW_VALUES
    limit = (_COPY_DISTANCE if is_telling else _EQUAL_DISTANCE) * float(np.median(pairs))
    recordings = {path: number for number, path in enumerate(dict.fromkeys(f.clip.path for f in features))}
    recording = np.array([recordings[f.clip.path] for f in features])
    found: dict[int, int] = {}
    for start in range(0, len(prints), _BLOCK):
        near = _distances(prints[start : start + _BLOCK], prints) < limit
        near &= recording[start : start + _BLOCK, np.newaxis] != recording
        for row, column in np.argwhere(near):
            i, original = start + int(row), int(column)
            if original < i and i not in found and original not in found:
                found[i] = original
    return found


def _fingerprints(features: Sequence[ClipFeatures], windows: int) -> Float32:
    """Return how the embeddings of each clip change over its first windows, float32[n_clips, n].

    The level of a clip, the band that a codec leaves and the place of the microphone shift all its windows alike:
    without their mean, copies resemble each other and two recordings of one machine do not.
    """
    chosen = np.unique(np.linspace(0, windows - 1, _MOST_WINDOWS).astype(int))
    values = np.array([f.values[chosen] for f in features], np.float32)
    values -= values.mean(axis=(0, 1))
    spread = values.std(axis=(0, 1))
    values /= np.where(spread > 0, spread, 1)
    dimension = values.shape[-1]
    if dimension > _PROJECTED:
        values = values @ np.random.default_rng(0).normal(size=(dimension, _PROJECTED)).astype(np.float32)
    if windows >= _FEW_WINDOWS:
        values -= values.mean(axis=1, keepdims=True)
    return values.reshape(len(features), -1)


def _distances(some: Float32, others: Float32) -> Float32:
    """Return distances as fractions of what unrelated fingerprints of these lengths have.

    In a quiet state of a machine embeddings change little: clips of it are near to each other without being copies.
    """
    unrelated = (some**2).sum(axis=1)[:, np.newaxis] + (others**2).sum(axis=1)
    squares = np.maximum(unrelated - 2 * some @ others.T, 0)
    return np.asarray(np.sqrt(squares / np.maximum(unrelated, 1e-12)), np.float32)
