"""Models of features that somebody else computed: a detector, its calibration and its alarm, without recordings."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from asd.contract.interfaces import Extractor, Runtime
from asd.detection.config import Config, ResolvedConfig
from asd.detection.features import ClipFeatures, Failure, silence
from asd.detection.manifest import FeaturesEntry
from asd.detection.pipeline import Pipeline
from asd.detection.vectors import Embeddings, differences
from asd.errors import ConfigError, DataError
from asd.records import Clip, Float32, Representation

_TAKEN = ("detector", "standardise", "deviation_floor", "pca", "embedding_pooling", "pooling", "top_fraction", "folds",
          "false_alarms_per_hour", "seed")  # fmt: skip
"""The options of a fit that do not concern recordings."""
_GROUP = "group"
_SECONDS = 10.0
"""How long a clip is taken to last where nobody says."""

_log = logging.getLogger("asd")


@dataclass(frozen=True)
class KnownFeatures:
    """What a model knows of the features that it was fitted on.

    Parameters
    ----------
    dimension : int
        How many values a vector has.
    windows : bool
        Whether each window of a clip has a vector; otherwise each clip has one.
    provenance : dict or None
        How they were computed (`Embeddings.provenance`); None: not known, as of plain arrays.
    """

    dimension: int
    windows: bool
    provenance: dict[str, Any] | None = None

    def as_entry(self) -> FeaturesEntry:
        """Return what a model file keeps of it."""
        return {"dimension": self.dimension, "windows": self.windows, "provenance": self.provenance}


class _Given(Extractor):
    """Stands for whoever computed the features."""

    consumes = Representation("any", ())
    dimension = None

    def embed(self, values: Any) -> Float32:
        raise DataError("features are given, not computed")


class FeaturePipeline(Pipeline):
    """Stands for the front end and the extractor of a model that was fitted on features: there are none.

    Parameters
    ----------
    config : ResolvedConfig
        As `asd.Config.on_features` returns it.
    runtime : Runtime
        How the detector computes.
    known : KnownFeatures
        What the features are.
    """

    def __init__(self, config: ResolvedConfig, runtime: Runtime, known: KnownFeatures) -> None:
        self.config = config
        self.runtime = runtime
        self.known = known
        self.cache = None
        self.embedders = []
        self._embedder_of = []

    @property
    def sample_rate(self) -> int:
        """Rate in Hz of the front end that computed the features; 0: not known."""
        return int((self.known.provenance or {}).get("sample_rate", 0))

    @property
    def runtimes(self) -> list[Runtime]:
        """How the detector computes."""
        return [self.runtime]

    def extractor_of(self, branch: int) -> Extractor:
        """Return an extractor that knows nothing of what the features measure."""
        return _Given()

    def embedder(self, branch: int) -> NoReturn:
        """Refuse: there is none."""
        self.require_recordings()

    def embed_branches(self, *clips: Any, **how: Any) -> NoReturn:
        """Refuse: there is nothing to embed recordings with."""
        self.require_recordings()

    def require_recordings(self) -> NoReturn:
        """Say that the model cannot take recordings."""
        raise DataError(
            "this model was fitted on features and takes no recordings; give it features of the same kind "
            "(asd.score_features), or fit one on recordings (asd.fit)"
        )


@dataclass(frozen=True)
class Given:
    """Features by clip, as models take them.

    Parameters
    ----------
    clips : list of ClipFeatures
        Of each clip its vectors.
    contents : mapping of Path to str
        SHA-256 of each recording or, of arrays, of each row.
    known : KnownFeatures
        What they are.
    """

    clips: list[ClipFeatures]
    contents: Mapping[Path, str]
    known: KnownFeatures

    def to_learn(self) -> tuple[list[ClipFeatures], list[Failure]]:
        """Return the clips that a fit can learn from, and those that it leaves out as a fit on recordings does."""
        failures = [silence(each.clip) for each in self.clips if each.silent]
        for failure in failures:
            _log.warning("left out: %s", failure.error)
        return [each for each in self.clips if not each.silent], failures

    def grouped(self, groups: Sequence[Any] | None) -> Given:
        """Return them with the group of each clip; None: those that they have."""
        if groups is None:
            return self
        labels = [None if _is_missing(label) else str(label) for label in np.asarray(groups, object).ravel()]
        if len(labels) != len(self.clips):
            raise DataError(f"groups takes a label for each of the {len(self.clips)} clips, got {len(labels)}")
        named = [
            replace(each, clip=replace(each.clip, group=label)) for each, label in zip(self.clips, labels, strict=True)
        ]
        return replace(self, clips=named)


def given(features: Any, seconds: float | None = None) -> Given:
    """Return features by clip.

    Parameters
    ----------
    features : array of shape (n_clips, dimension), Embeddings, str or Path
        A row for each clip; or what `asd.embed` returned, or a file of it.
    seconds : float, optional
        How long a clip lasts, where `features` is an array; default: 10.

    Raises
    ------
    DataError
        If they are no such thing.
    """
    if isinstance(features, str | Path):
        features = Embeddings.load(features)
    if isinstance(features, Embeddings):
        known = KnownFeatures(features.dimension, features.windows, features.provenance)
        return Given(list(features.features), features.contents, known)
    rows = _rows(features)
    if seconds is not None and not 0 < seconds < math.inf:
        raise ConfigError(f"seconds takes the length of a clip, above 0, got {seconds!r}")
    clips = [
        ClipFeatures(
            clip=Clip(Path(f"features[{i}]")),
            values=row[np.newaxis],
            start=np.zeros(1),
            seconds=float(seconds or _SECONDS),
            file_rate=0,
            silent=False,
            pooled=True,
        )
        for i, row in enumerate(rows)
    ]
    contents = {each.clip.path: hashlib.sha256(each.values.tobytes()).hexdigest() for each in clips}
    return Given(clips, contents, KnownFeatures(rows.shape[1], windows=False))


def _rows(features: Any) -> Float32:
    """Return an array of features, checked, as float32[n, dimension]."""
    try:
        array = np.asarray(features)
    except Exception as error:  # lists of unequal lengths; a tensor with a gradient raises what it likes
        reason = " ".join(str(error).split())
        raise DataError(f"features takes float[n_clips, dimension], a row for each clip: {reason}") from error
    if array.ndim != 2 or 0 in array.shape:
        hint = "; of windows give what asd.embed returns, or pool them to a row for each clip" if array.ndim > 2 else ""
        raise DataError(f"features takes float[n_clips, dimension], a row for each clip, got shape {array.shape}{hint}")
    if array.dtype.kind not in "fiub":
        raise DataError(f"features takes numbers, got {array.dtype}")
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise DataError(
            f"features takes finite numbers, got {array[row, column]} in row {row}, column {column}; leave "
            "such rows out"
        )
    return rows


def check_same_kind(known: KnownFeatures, new: KnownFeatures) -> None:
    """Refuse features of another kind than those that a model was fitted on.

    Raises
    ------
    DataError
        If they are.
    """
    words = {True: "windows", False: "one vector for each clip"}
    if known.windows != new.windows:
        raise DataError(
            f"the model was fitted on {words[known.windows]}, got {words[new.windows]}; embed with windows="
            f"{known.windows}"
        )
    if known.dimension != new.dimension:
        raise DataError(f"the model was fitted on features of {known.dimension} values, got {new.dimension}")
    if known.provenance and new.provenance and (found := differences(new.provenance, known.provenance)):
        raise DataError(f"these embeddings are not of the kind that the model was fitted on: {'; '.join(found[:3])}")


def config_of(options: Mapping[str, Any], features: Given) -> ResolvedConfig:
    """Return the configuration of a model of features.

    Raises
    ------
    ConfigError
        If an option is unknown, or concerns what these features do not have.
    """
    for name in options:
        if name not in _TAKEN:
            raise ConfigError(
                f"{name}: features are computed already; fit_features takes groups, seconds, runtime, "
                f"{', '.join(_TAKEN)}"
            )
    if "embedding_pooling" in options and not features.known.windows:
        raise ConfigError("embedding_pooling is for windows; these features have one vector for each clip already")
    grouped = any(each.clip.group is not None for each in features.clips)
    return Config.from_mapping({**options, **({"group": _GROUP} if grouped else {})}).on_features()


def _is_missing(label: Any) -> bool:
    return label is None or (isinstance(label, float) and math.isnan(label))
