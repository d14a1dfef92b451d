"""The isolation forest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from asd.plugin import Features, Float64, whole_number
from asd_sklearn.base import FeatureDetector, quiet


class IsolationForest(FeatureDetector):
    """How few random cuts it takes to isolate a window from normal ones: 2 to the minus mean path length, scaled.

    Parameters
    ----------
    n_estimators : int
        Trees; 128 in arXiv:2006.03429.
    max_samples : int
        Training windows drawn for each tree (all of them if there are fewer).
    seed : int
        Seed of the draws.

    Notes
    -----
    The score is scikit-learn's negated ``score_samples``, between 0 and 1.
    Source: Müller et al. 2020, arXiv:2006.03429; Liu, Ting, Zhou 2008, Isolation Forest, ICDM.
    """

    name = "isolation-forest"
    renamed: ClassVar[Mapping[str, str]] = {"trees": "n_estimators"}
    roots_: Any
    cut_features_: Any
    thresholds_: Any
    children_: Any
    path_lengths_: Any
    depth_: Any
    expected_length_: Any

    def __init__(self, *, n_estimators: int = 128, max_samples: int = 256, seed: int = 0) -> None:
        self.n_estimators = whole_number(self, "n_estimators", n_estimators, 1)
        self.max_samples = whole_number(self, "max_samples", max_samples, 2)
        self.seed = whole_number(self, "seed", seed, 0)

    def _learn(self, features: Features) -> None:
        from sklearn.ensemble import IsolationForest as Model

        samples = min(self.max_samples, len(features))
        model = Model(n_estimators=self.n_estimators, max_samples=samples, random_state=self.seed)
        with quiet(self.name):
            model.fit(features)
        trees = [estimator.tree_ for estimator in model.estimators_]
        depths = np.concatenate([tree.compute_node_depths() for tree in trees]) - 1
        sizes = np.array([tree.node_count for tree in trees])
        self.roots_ = np.cumsum(sizes) - sizes
        self._join(trees)
        self.path_lengths_ = depths + _mean_path_length(np.concatenate([tree.n_node_samples for tree in trees]))
        self.depth_ = depths.max()
        self.expected_length_ = _mean_path_length(np.array([samples]))[0]

    def _join(self, trees: list[Any]) -> None:
        """Put the nodes of all trees in a row; a leaf is its own child, so that descending stops there."""
        first = np.repeat(self.roots_, [tree.node_count for tree in trees])
        children = np.array(
            [np.concatenate([getattr(tree, side) for tree in trees]) for side in ("children_left", "children_right")]
        )
        is_leaf = children[0] < 0
        self.children_ = np.where(is_leaf, np.arange(len(first)), children + first)
        self.cut_features_ = np.where(is_leaf, 0, np.concatenate([tree.feature for tree in trees]))
        self.thresholds_ = np.concatenate([tree.threshold for tree in trees])

    def _score_block(self, features: Features) -> Float64:
        # scikit-learn grows and descends its trees in single precision, with thresholds in double.
        values = features.astype(np.float32)
        nodes = np.repeat(self.roots_[np.newaxis], len(values), axis=0)
        row_starts = (np.arange(len(values)) * values.shape[1])[:, np.newaxis]
        for _ in range(int(self.depth_)):
            cut = values.ravel()[row_starts + self.cut_features_[nodes]]
            nodes = self.children_[(cut > self.thresholds_[nodes]).astype(np.intp), nodes]
        lengths = self.path_lengths_[nodes].mean(axis=1)
        return np.asarray(2.0 ** (-lengths / self.expected_length_))

    def _values_per_row(self) -> int:
        return int(self.dimension_) + 4 * len(self.roots_)


def _mean_path_length(counts: npt.NDArray[Any]) -> Float64:
    """Return the mean length of a path that isolates one of `counts` windows (Liu, Ting, Zhou 2008, equation 1)."""
    lengths: Float64 = (counts == 2).astype(np.float64)
    many = counts[counts > 2].astype(np.float64)
    lengths[counts > 2] = 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many
    return lengths
