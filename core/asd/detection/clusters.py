"""Operating states that nobody named: groups of clips whose embeddings lie apart, found by clustering.

Clips are dealt into many small clusters by k-means, and clusters are joined until a valley lies between any two. For a
valley, all clips of the two are projected on the line through their centres, each clip's own centre being computed
without it, and counted in three stretches of equal length: around each centre, and in the middle. If all clips were of
one state, so that their density has a single peak on that line, the middle would hold as many as around one of the
centres at least. A sign test says how surely it holds fewer than around either. So clips of one state stay one group,
however stretched, skewed or wide it is; that is what criteria which compare with normal or even distributions get
wrong, such as the gap statistic (Tibshirani, Walther, Hastie 2001, Estimating the number of clusters in a data set via
the gap statistic, Journal of the Royal Statistical Society B 63).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from asd.records import Float64, Int64

FEWEST = 10
"""Clips of a state: of fewer, no valley is sure."""
MOST_FOUND = 12
"""Clusters to begin with, and so the most states that can be found."""
_SURE = 0.001
"""Chance of a valley in clips of one state."""
_COMPONENTS = 10
"""Principal components to look at: states move many dimensions together."""
_MOST_CLIPS = 2000
"""Clips to look at; the others belong to the state whose centre is nearest."""
_PROJECTED = 256
"""Dimensions that are left of longer embeddings by random projection, which keeps distances (Johnson, Lindenstrauss
1984)"""
_BEGINNINGS = 9
"""Clusterings that vote on how many states there are."""
_ITERATIONS = 50


def found_states(parts: Sequence[Float64], count: int | None = None, seed: int = 0) -> Int64:
    """Return the number of each clip's state, int64[n_clips]: the state of most clips is 0.

    Parameters
    ----------
    parts : sequence of float64 arrays of shape (n_clips, dimension)
        Their embeddings by each branch; all branches weigh the same, however long their embeddings are.
    count : int, optional
        How many states there are; default: as many as lie apart, 1 if none do.
    seed : int
        Of the clusters to begin with.
    """
    rng = np.random.default_rng(seed)
    everything = _components(parts, rng)
    points = everything[rng.choice(len(everything), min(len(everything), _MOST_CLIPS), replace=False)]
    begin = min(MOST_FOUND, len(points) // FEWEST) if count is None else count
    if begin < 2:
        return np.zeros(len(everything), np.int64)
    tried = [_clustered(points, begin, rng) for _ in range(_BEGINNINGS)]
    if count is None:
        tried = [_joined(points, labels) for labels in tried]
        counts = [int(labels.max()) + 1 for labels in tried]
        usual = int(np.bincount(counts).argmax())  # of as many votes, the fewest states
        tried = [labels for labels, own in zip(tried, counts, strict=True) if own == usual]
    labels = min(tried, key=lambda labels: _left(points, labels))
    order = np.argsort(-np.bincount(labels), kind="stable")
    centres = np.stack([points[labels == k].mean(axis=0) for k in order])
    return np.asarray(_squares(everything, centres).argmin(axis=1))


def _components(parts: Sequence[Float64], rng: np.random.Generator) -> Float64:
    """Return the leading principal components of the clips, each dimension in deviations."""
    points = np.concatenate([_in_deviations(part, rng) for part in parts], axis=1)
    _, axes = np.linalg.eigh(points.T @ points)  # ascending
    return np.asarray(points @ axes[:, -_COMPONENTS:])


def _in_deviations(part: Float64, rng: np.random.Generator) -> Float64:
    spread, dimension = part.std(axis=0), part.shape[1]
    points = (part - part.mean(axis=0)) / np.where(spread > 0, spread, 1.0) / math.sqrt(dimension)
    if dimension > _PROJECTED:
        points = points @ rng.normal(size=(dimension, _PROJECTED)) / math.sqrt(_PROJECTED)
    return np.asarray(points)


def _clustered(points: Float64, count: int, rng: np.random.Generator) -> Int64:
    """Return clusters by k-means (Arthur, Vassilvitskii 2007, k-means++: the advantages of careful seeding)."""
    centres = points[rng.integers(len(points), size=1)]
    while len(centres) < count:
        near = _squares(points, centres).min(axis=1)
        chance = near / near.sum() if near.sum() else None
        centres = np.concatenate([centres, points[rng.choice(len(points), size=1, p=chance)]])
    labels = np.full(len(points), -1)
    for _ in range(_ITERATIONS):
        former, labels = labels, _squares(points, centres).argmin(axis=1)
        if (labels == former).all():
            break
        centres = np.stack([points[labels == k].mean(axis=0) if k in labels else centres[k] for k in range(count)])
    return np.unique(labels, return_inverse=True)[1]


def _left(points: Float64, labels: Int64) -> float:
    """Return the squares that clusters do not explain."""
    return sum(
        float(points[labels == k].var(axis=0).sum()) * np.count_nonzero(labels == k) for k in set(labels.tolist())
    )


def _joined(points: Float64, labels: Int64) -> Int64:
    """Return the clusters after joining those between which no valley is sure.

    Of the two of which it is the least sure, the smaller one joins the cluster that is nearest to it.
    """
    labels = labels.copy()
    while (count := int(labels.max()) + 1) > 1:
        own = [points[labels == k] for k in range(count)]
        doubt = {(i, j): _doubt(own[i], own[j]) for j in range(count) for i in range(j)}
        pair = max(doubt, key=lambda pair: (doubt[pair], -min(len(own[k]) for k in pair)))
        if doubt[pair] <= _SURE:
            break
        small = min(pair, key=lambda k: len(own[k]))
        centres = np.stack([each.mean(axis=0) for each in own])
        away = _squares(centres, centres[small : small + 1])[:, 0]
        away[small] = math.inf
        labels[labels == small] = away.argmin()
        labels[labels > small] -= 1
    return labels


def _doubt(one: Float64, other: Float64) -> float:
    """Return the chance of a valley as deep between two clusters if they were one."""
    places = np.concatenate([_places(one, other), 1 - _places(other, one)])
    around = [int(np.count_nonzero(np.abs(places - centre) <= 1 / 6)) for centre in (0.0, 0.5, 1.0)]
    few = min(around[0], around[2])
    return _at_most(around[1], few + around[1])


def _places(own: Float64, other: Float64) -> Float64:
    """Return where clips lie between the centre of the others of their cluster, 0, and that of another one, 1."""
    if len(own) < 2:
        return np.full(len(own), 0.5)
    centres = (own.sum(axis=0) - own) / (len(own) - 1)
    line = other.mean(axis=0) - centres
    lengths = np.maximum((line**2).sum(axis=1), np.finfo(np.float64).tiny)
    return np.asarray(((own - centres) * line).sum(axis=1) / lengths)


def _at_most(few: int, count: int) -> float:
    """Return the chance of at most so many heads of `count` coins."""
    return float(sum(math.comb(count, k) for k in range(few + 1)) / 2**count)


def _squares(points: Float64, centres: Float64) -> Float64:
    return np.stack([((points - centre) ** 2).sum(axis=1) for centre in centres], axis=1)
