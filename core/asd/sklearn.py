"""A scikit-learn estimator over clips: `AnomalousSoundDetector`. Needs scikit-learn, which asd itself does not.

>>> from asd.sklearn import AnomalousSoundDetector  # doctest: +SKIP
>>> detector = AnomalousSoundDetector(detector="gmm").fit(paths_of_healthy_clips)  # doctest: +SKIP
>>> detector.predict(paths_of_today)  # +1: normal, -1: anomalous  # doctest: +SKIP
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from asd.detection.config import Config
from asd.detection.features import Failure
from asd.detection.groups import column_of
from asd.detection.model import Model
from asd.detection.training import MINIMUM_CLIPS
from asd.detection.verdict import Verdict
from asd.errors import AsdError, DataError
from asd.records import Clip, Float64, Int64
from asd.sound.data import Table, entries_of, recording_path

try:
    from sklearn.base import BaseEstimator, OutlierMixin
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError("asd.sklearn needs scikit-learn 1.6 or newer: pip install 'scikit-learn>=1.6'") from error

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["AnomalousSoundDetector"]

_log = logging.getLogger("asd")
_NOT_OF_CONFIG = ("rate", "workers", "cache")


class AnomalousSoundDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Learn the sound of a healthy machine and detect clips that differ, as an estimator of scikit-learn.

    Clips are a list of paths, of pairs (samples, rate), of arrays or of `asd.Clip`, in any mixture; a frame with a
    column ``path``; or an array of shape (n_clips, n_samples), a row for each clip. Arrays need `rate`.

    Parameters
    ----------
    frontend, extractor, detector, quality, branches, embedding_pooling, standardise, deviation_floor, pca, pooling, \
top_fraction, fusion, group, channel, short, tail, folds, false_alarms_per_hour, seed
        As for `asd.Config` and `asd.fit`: a component is a name, or a mapping with ``name`` and parameters.
    rate : int or None
        Sample rate in Hz of arrays that come without one.
    workers : int
        Threads that decode ahead of the network.
    cache : bool
        Whether embeddings are taken from the embedding cache and kept there: a grid search then computes none twice.

    Attributes
    ----------
    model_ : asd.Model
        What was fitted; `asd.Model.save` keeps it.
    offset_ : float
        The decision's level: a clip is anomalous if its `score_samples` is below it.
    n_features_in_ : int
        Samples of a clip; only after a fit on an array of shape (n_clips, n_samples).
    """

    def __init__(
        self,
        *,
        frontend: Any = None,
        extractor: Any = None,
        detector: Any = None,
        quality: str = "default",
        branches: Sequence[Any] = (),
        embedding_pooling: str = "none",
        standardise: bool = True,
        deviation_floor: float = 1.0,
        pca: Any = "auto",
        pooling: str = "mean",
        top_fraction: float = 0.1,
        fusion: str = "gated",
        group: str | None = None,
        channel: Any = "mix",
        short: str = "pad",
        tail: str = "move",
        folds: int = 5,
        false_alarms_per_hour: float | None = None,
        seed: int = 0,
        rate: int | None = None,
        workers: int = 1,
        cache: bool = True,
    ) -> None:
        self.frontend = frontend
        self.extractor = extractor
        self.detector = detector
        self.quality = quality
        self.branches = branches
        self.embedding_pooling = embedding_pooling
        self.standardise = standardise
        self.deviation_floor = deviation_floor
        self.pca = pca
        self.pooling = pooling
        self.top_fraction = top_fraction
        self.fusion = fusion
        self.group = group
        self.channel = channel
        self.short = short
        self.tail = tail
        self.folds = folds
        self.false_alarms_per_hour = false_alarms_per_hour
        self.seed = seed
        self.rate = rate
        self.workers = workers
        self.cache = cache

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Learn from clips of the healthy machine.

        Parameters
        ----------
        X : sequence of clips, or array of shape (n_clips, n_samples)
            The clips.
        y : array of shape (n_clips,), optional
            Labels, +1: normal, −1: anomalous. Clips labelled −1 are not learned from, so that a grid search may score
            by labels; all else in it is ignored.

        Raises
        ------
        ValueError
            If a clip cannot be used, or parameters or clips do not allow a model; the text says how to correct it.
        """
        with _value_errors():
            clips = self._clips(X, reset=True)
            if y is not None:
                clips = _normal(clips, np.ravel(np.asarray(y)))
            params = self.get_params(deep=False)
            config = Config.from_mapping({name: params[name] for name in params if name not in _NOT_OF_CONFIG})
            self.model_ = Model.fit(clips, config, workers=self.workers, strict=True, cache=self.cache)
            self.offset_ = self.model_.decision.level
        return self

    def score_samples(self, X: Any) -> Float64:  # noqa: N803
        """Return how normal each clip is, float64[n_clips] between 0 and 1; higher is more normal.

        It is the clip's p-value with its ties resolved by the score: the part of the held-out healthy clips that are at
        least as unusual. One of the clips themselves, which the p-value counts too, is replaced by a fraction that
        falls with the score.
        """
        check_is_fitted(self, "model_")
        with _value_errors():
            clips = self._clips(X, reset=False)
            verdicts = [_judged(each) for each in self.model_.score(clips, workers=self.workers, cache=self.cache)]
        healthy = self.model_.calibration.scores
        scores = np.array([verdict.score for verdict in verdicts])
        p_values = np.array([verdict.p_value for verdict in verdicts])
        return _without_ties(p_values, scores, healthy)

    def decision_function(self, X: Any) -> Float64:  # noqa: N803
        """Return `score_samples` less `offset_`, float64[n_clips]: below 0 for anomalous clips."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Int64:  # noqa: N803
        """Return +1 for normal and −1 for anomalous clips, int64[n_clips]: what `asd.score` says."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _clips(self, X: Any, *, reset: bool) -> list[Clip]:  # noqa: N803
        """Return one clip for each element of X."""
        if _is_table(X):
            least = MINIMUM_CLIPS if reset else 1
            rows = validate_data(self, X, reset=reset, dtype="numeric", ensure_min_samples=least)
            return [_clip(entry) for entry in entries_of(list(rows), rate=self.rate)]
        if reset and hasattr(self, "n_features_in_"):
            del self.n_features_in_
        if isinstance(X, str | Path):
            raise DataError(f"X takes a list with an element for each clip, got the path {str(X)!r}; list its files")
        clips: list[Clip] = []
        for entry in entries_of(list(X) if getattr(X, "ndim", 0) == 3 else X, rate=self.rate):
            if isinstance(entry, Table):
                column = column_of(self.group) or ""
                clips += [Clip(r.path, r.start, r.duration, r.columns.get(column)) for r in entry.rows]
            else:
                clips.append(_clip(entry))
        if not clips:
            raise DataError("there are no clips; give paths, arrays or pairs (samples, rate)")
        return clips

    def __getstate__(self) -> dict[str, Any]:
        """Return its state with the model as the content of a model file."""
        state: dict[str, Any] = super().__getstate__()
        if "model_" in state:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "model.asd")
                self.model_.save(path)
                state = {**state, "model_": path.read_bytes()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` returned."""
        if "model_" in state:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "model.asd")
                path.write_bytes(state["model_"])
                state = {**state, "model_": Model.load(path, cache=state["cache"])}
        super().__setstate__(state)


def _is_table(X: Any) -> bool:  # noqa: N803
    """Return whether it is numbers in rows, as scikit-learn knows them, rather than a list of clips."""
    if hasattr(X, "tocsr"):  # a sparse matrix, which scikit-learn refuses in its own words
        return True
    if isinstance(X, list | tuple):
        return bool(X) and all(isinstance(row, list) for row in X)
    if hasattr(X, "__array__") and not hasattr(X, "columns"):
        try:
            array = np.asarray(X)
        except Exception:  # reading it as sound says what is wrong
            return False
        numbers = array.dtype.kind in "fiubc" or (array.ndim == 2 and not isinstance(array.flat[0], str | Path))
        return numbers and array.ndim < 3
    return False


def _judged(verdict: Verdict | Failure) -> Verdict:
    if isinstance(verdict, Failure):
        raise verdict.error
    return verdict


def _clip(entry: Any) -> Clip:
    return entry if isinstance(entry, Clip) else Clip(recording_path(entry))


def _normal(clips: list[Clip], labels: Any) -> list[Clip]:
    """Return the clips that are not labelled −1."""
    if len(labels) != len(clips):
        raise DataError(f"y has {len(labels)} labels, X {len(clips)} clips; give a label for each clip")
    anomalous = labels == -1
    values = np.unique(labels)
    if len(values) == 2 and not np.any(anomalous):
        _log.warning("y holds %s and %s, not +1 and -1: no clip is left out", *values.tolist())
    return [clip for clip, left_out in zip(clips, np.broadcast_to(anomalous, len(clips)), strict=True) if not left_out]


def _without_ties(p_values: Float64, scores: Float64, healthy: Float64) -> Float64:
    """Return p-values whose ties are resolved by scores: below the p-value, by less than the step to the next."""
    middle = np.median(healthy)
    spread = float(np.median(np.abs(healthy - middle))) or float(healthy.std()) or 1.0
    fraction = 0.5 - np.arctan((scores - middle) / spread) / np.pi
    count = np.rint(p_values * (len(healthy) + 1)) - 1
    return np.asarray((count + fraction) / (len(healthy) + 1))


@contextmanager
def _value_errors() -> Iterator[None]:
    """Raise what a user can correct as a ValueError, as scikit-learn does."""
    try:
        yield
    except AsdError as error:
        raise ValueError(str(error)) from error
