"""Detector ``subcluster-adacos``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asd.errors import DataError
from asd.plugin import CheckedDetector, Features, Float32, Float64, Rows, whole_number

_log = logging.getLogger("asd")
_ROWS_AT_A_TIME = 4096


class SubClusterAdaCos(CheckedDetector):
    """Cosine distance to the nearest training row, in a projection that was trained to tell classes apart.

    What tells machines, operating states or attributes apart is often what changes in a fault. The classes are the
    groups of the clips (``--group``: a column of the manifest, or the folder). Rows without a label, all rows if there
    are none, are put into classes by k-means.

    Parameters
    ----------
    n_components : int
        Length of a projected row.
    hidden : int
        Width of the layer between.
    n_subclusters : int
        Centres of a class.
    n_pseudo_classes : int
        Classes that k-means makes of the rows without a label; fewer if there are few rows.
    epochs : int
        Passes over the training rows.
    train_batch : int
        Rows of a step of training.
    seed : int
        Seed of first weights, order, mixing and k-means.

    References
    ----------
    Wilkinghoff 2021, Sub-cluster AdaCos, IJCNN. It trains the whole network; here the network stays as it is, and two
    layers on its embeddings are trained.
    """

    name = "subcluster-adacos"
    takes_rows = True

    first_: Float32
    second_: Float32
    references_: Float32

    def __init__(
        self,
        *,
        n_components: int = 64,
        hidden: int = 128,
        n_subclusters: int = 8,
        n_pseudo_classes: int = 16,
        epochs: int = 50,
        train_batch: int = 64,
        seed: int = 0,
    ) -> None:
        self.n_components = whole_number(self, "n_components", n_components, 2)
        self.hidden = whole_number(self, "hidden", hidden, 1)
        self.n_subclusters = whole_number(self, "n_subclusters", n_subclusters, 1)
        self.n_pseudo_classes = whole_number(self, "n_pseudo_classes", n_pseudo_classes, 2)
        self.epochs = whole_number(self, "epochs", epochs, 1)
        self.train_batch = whole_number(self, "train_batch", train_batch, 2)
        self.seed = whole_number(self, "seed", seed, 0)

    @classmethod
    def example_parameters(cls, folder: Path) -> dict[str, Any]:
        """Return parameters for a short training; see `asd.plugin.Component`."""
        return {"epochs": 2, "hidden": 16, "n_components": 8}

    def _learn(self, features: Features, rows: Rows | None = None) -> None:
        from asd_discriminative.training import Settings, train

        values = np.asarray(features, np.float32)
        classes = self._classes(values, None if rows is None else rows.group)
        settings = Settings(**{field: getattr(self, field) for field in Settings.__dataclass_fields__})
        self.first_, self.second_ = train(self.name, values, classes, settings)
        self.references_ = self._projected(values).astype(np.float32)

    def _classes(self, values: Float32, group: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64]:
        """Return the class of each row: its group, or what k-means makes of the rows that have none."""
        classes = np.full(len(values), -1) if group is None else np.unique(group, return_inverse=True)[1]
        unknown = classes == -1 if group is None else group == -1
        labelled = len(np.unique(classes[~unknown]))
        if unknown.any():
            found = self._pseudo_classes(values[unknown])
            classes[unknown] = found + (classes.max() + 1)
            _log.info(
                "%s: %d of %d rows have no group; k-means made %d classes of them",
                self.name, unknown.sum(), len(values), found.max() + 1,
            )  # fmt: skip
        elif labelled < 2:
            raise DataError(
                f"{self.name}: all training clips are in one group; give groups that differ (--group), or leave "
                "--group out: k-means then makes classes"
            )
        return np.asarray(np.unique(classes, return_inverse=True)[1], np.int64)

    def _pseudo_classes(self, values: Float32) -> npt.NDArray[np.int64]:
        from sklearn.cluster import KMeans

        distinct = len(np.unique(values, axis=0))
        count = min(self.n_pseudo_classes, max(len(values) // 2, 1), distinct)
        found = KMeans(count, n_init=1, random_state=self.seed).fit(values)
        return np.asarray(found.labels_, np.int64)

    def _projected(self, features: Features) -> Float64:
        # In float64, as a product's rounding depends on how many rows are multiplied at a time.
        hidden = np.maximum(np.asarray(features, np.float64) @ self.first_, 0)
        projected = hidden @ self.second_
        length = np.linalg.norm(projected, axis=1, keepdims=True)
        return np.asarray(projected / np.maximum(length, np.finfo(np.float32).tiny))

    def _score(self, features: Features) -> Float64:
        scores = np.empty(len(features))
        for first in range(0, len(features), _ROWS_AT_A_TIME):
            block = slice(first, first + _ROWS_AT_A_TIME)
            scores[block] = 1 - (self._projected(features[block]) @ self.references_.T).max(axis=1)
        return scores
