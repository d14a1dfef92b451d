"""Embeddings of many clips as arrays, with where they come from: what `asd.embed` returns."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from asd.detection.features import ClipFeatures, Failure
from asd.errors import ConfigError
from asd.files.remote import as_path
from asd.records import Clip, Float32, Float64, Int64

_STATED = ("weights", "channel", "short", "tail", "pooling")


class Embeddings:
    """Vectors of clips, or of their windows, and where they come from. Made by `asd.embed` or `load`.

    Parameters
    ----------
    features : sequence of ClipFeatures
        Of each clip its vectors, with what is known of the recording; one or more.
    contents : mapping of Path to str
        SHA-256 of each recording.
    windows : bool
        Whether each window has a vector; otherwise each clip has one.
    provenance : mapping of str to Any
        How they were computed, as plain data: ``branch``, ``frontend`` and ``extractor`` with all parameters,
        ``weights`` (SHA-256 of each file), ``libraries`` (versions), ``channel``, ``sample_rate`` (of the front end, in
        Hz), ``segment``, ``short``, ``tail``, ``pooling``, ``device``, ``precision``, ``engine``, ``created``,
        ``asd_framework``.
    failures : sequence of Failure
        Clips that have no vector because they could not be used, and why.

    Attributes
    ----------
    vectors : float32 array of shape (n, dimension)
        One row for each clip, or for each window of each clip, in the order of the clips.
    window_start : float64 array of shape (n,)
        Where each row's sound begins, in seconds from the beginning of the recording.
    clip_number : int64 array of shape (n,)
        Which of `clips` each row belongs to.
    clips : tuple of Clip
        The clips: file, start, duration, group.
    """

    def __init__(
        self,
        features: Sequence[ClipFeatures],
        contents: Mapping[Path, str],
        *,
        windows: bool,
        provenance: Mapping[str, Any],
        failures: Sequence[Failure] = (),
    ) -> None:
        counts = [len(each.values) for each in features]
        self.vectors: Float32 = np.concatenate([each.values for each in features])
        self.window_start: Float64 = np.concatenate([each.start + each.clip.start for each in features])
        self.clip_number: Int64 = np.repeat(np.arange(len(features), dtype=np.int64), counts)
        ends = np.cumsum(counts).tolist()
        parts = [self.vectors[end - count : end] for end, count in zip(ends, counts, strict=True)]  # in memory once
        self.features = tuple(replace(each, values=part) for each, part in zip(features, parts, strict=True))
        self.contents = dict(contents)
        self.windows = windows
        self.provenance = dict(provenance)
        self.failures = tuple(failures)

    @functools.cached_property
    def clips(self) -> tuple[Clip, ...]:
        """The clips that have vectors."""
        return tuple(each.clip for each in self.features)

    @property
    def dimension(self) -> int:
        """How many values a vector has."""
        return int(self.vectors.shape[1])

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        steps = [self.provenance[kind]["name"].rpartition(":")[2] for kind in ("frontend", "extractor")]
        rows = f"{len(self)} windows of {len(self.features)} clips" if self.windows else f"{len(self)} clips"
        pooled = "" if self.windows else f", {self.provenance['pooling']} over the clip"
        return f"<asd.Embeddings: {rows}, {self.dimension} values each; {' → '.join(steps)}{pooled}>"

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write them to a file, whole or not at all.

        Parameters
        ----------
        path : str or Path
            ``*.npz`` (NumPy, without pickle) or ``*.parquet`` (needs pyarrow).
        overwrite : bool
            Whether an existing file may be replaced.

        Raises
        ------
        ConfigError
            If the name ends otherwise, or pyarrow is not installed.
        DataError
            If the file exists or cannot be written; an old file stays as it was.
        """
        from asd.detection.output import EMBEDDINGS, reserve
        from asd.detection.vectors_file import check_suffix, write

        path = as_path(path)
        check_suffix(path)
        with reserve(path, overwrite=overwrite, content=EMBEDDINGS) as file:
            write(self, file)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. Nothing from the file is executed; the recordings need not be there.

        Raises
        ------
        ConfigError
            If the name ends otherwise than on ``.npz`` or ``.parquet``, or pyarrow is not installed.
        DataError
            If the file is missing, damaged, or holds something else.
        """
        from asd.detection.vectors_file import read

        return cls(**read(as_path(path)))

    def to_frame(self) -> Any:
        """Return a pandas data frame, or one of polars where pandas is not installed.

        Its columns are ``path``, ``clip_start``, ``clip_seconds``, ``window_start``, ``group``, and one for each value
        of the vectors, ``v0``, ``v1`` and so on.

        Raises
        ------
        ConfigError
            If neither is installed.
        """
        rows = [(self.clips[number], self.features[number].seconds) for number in self.clip_number]
        own = {
            "path": [str(clip.path) for clip, _ in rows],
            "clip_start": [clip.start for clip, _ in rows],
            "clip_seconds": [seconds for _, seconds in rows],
            "window_start": self.window_start,
            "group": [clip.group for clip, _ in rows],
        }
        columns = own | {f"v{i}": self.vectors[:, i] for i in range(self.dimension)}
        for library in ("pandas", "polars"):
            if importlib.util.find_spec(library):
                return importlib.import_module(library).DataFrame(columns)
        raise ConfigError("a data frame needs pandas or polars: pip install pandas")


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return what of two provenances tells that their embeddings may not be compared, as ``extractor (…, not …)``."""
    first, second = _decisive(one), _decisive(other)
    return [
        f"{name} {first[name]!r:.80}, not {second[name]!r:.80}"
        for name in first
        if name in second and first[name] != second[name]
    ]


def _decisive(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a provenance decides the values; where a file of weights lies does not, its content does."""
    found: dict[str, Any] = {}
    for kind in ("frontend", "extractor"):
        component = provenance.get(kind) or {}
        found[kind] = component.get("name")
        parameters = component.get("parameters") or {}
        found |= {f"{kind}.{name}": value for name, value in parameters.items() if not name.startswith("weights")}
    return found | {name: provenance[name] for name in _STATED if name in provenance}
