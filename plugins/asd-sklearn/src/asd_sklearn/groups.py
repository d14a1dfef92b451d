"""Groups of training windows, each of which becomes a bank of references."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from asd.errors import ConfigError
from asd.plugin import Features, Int64, Rows
from asd_sklearn.base import quiet

if TYPE_CHECKING:
    from asd_sklearn.neighbours import NearestNeighbours

Grouping = Literal["none", "labels", "kmeans"]

_REFERENCES_OF_A_CLUSTER = 4


def bank_numbers(detector: NearestNeighbours, features: Features, rows: Rows | None) -> Int64:
    """Return the bank of each training window, int64[n], counted from 0.

    Raises
    ------
    ConfigError
        If the clips' groups are asked for and none is known.
    """
    if detector.groups == "none":
        return np.zeros(len(features), np.int64)
    if detector.groups == "labels":
        group = None if rows is None else rows.group
        if group is None or (group < 0).all():
            raise ConfigError(
                f"{detector.name}: groups is 'labels', but no clip's group is known; name the groups of the clips, or "
                "use --detector.groups kmeans or none"
            )
        return np.unique(group, return_inverse=True)[1].astype(np.int64)
    return _clusters(detector, features)


def _clusters(detector: NearestNeighbours, features: Features) -> Int64:
    from sklearn.cluster import KMeans

    count = max(1, min(detector.n_groups, len(features) // _REFERENCES_OF_A_CLUSTER))
    centred = features - features.mean(axis=0, dtype=np.float64)  # squared distances cancel far from the origin
    if detector.metric == "cosine":
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        centred = np.divide(features, lengths, out=np.zeros(features.shape), where=lengths > 0)
    with quiet(detector.name):
        labels = KMeans(count, n_init=10, random_state=detector.seed).fit_predict(centred)
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def distinct(features: Features, banks: Int64) -> npt.NDArray[np.bool_]:
    """Return which rows, bool[n], are the first of their bank with these values."""
    first = np.zeros(len(features), bool)
    for bank in np.unique(banks):
        rows = np.flatnonzero(banks == bank)
        first[rows[np.unique(features[rows], axis=0, return_index=True)[1]]] = True
    return first
