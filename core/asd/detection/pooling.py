"""From windows to clips: pooling of a clip's embeddings before the detector, or of its windows' scores after it."""

from __future__ import annotations

import numpy as np

from asd.detection.config import Steps
from asd.records import Float32, Float64


def pool_embeddings(values: Float32, config: Steps) -> Float32:
    """Return what a detector gets of a clip: its windows' embeddings, or one vector.

    Parameters
    ----------
    values : float32 array of shape (n_windows, dimension)
        Embeddings of the windows of one clip.
    config : Steps
        `embedding_pooling` counts.

    Returns
    -------
    float32 array of shape (n_windows, dimension), (1, dimension) or, with ``"mean-std"``, (1, 2 * dimension)
    """
    how = config.embedding_pooling
    if how == "none":
        return values
    if how == "max":
        return np.asarray(values.max(axis=0, keepdims=True))
    mean: Float32 = values.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
    if how == "mean":
        return mean
    return np.concatenate([mean, values.std(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)], axis=1)


def pooled_as_if(values: Float32, config: Steps) -> Float32:
    """Return for each window the vector of a clip that is like this window throughout.

    Detectors that learned one vector a clip tell by it where in a clip it sounds unusual. The deviation over time,
    which a window does not have, is the clip's.
    """
    if config.embedding_pooling != "mean-std":
        return values
    return np.concatenate([values, np.broadcast_to(values.std(axis=0), values.shape)], axis=1, dtype=np.float32)


def pool_scores(scores: Float64, config: Steps) -> float:
    """Return a clip's score from its windows' scores, float64[n_windows]."""
    if config.pooling == "max":
        return float(scores.max())
    if config.pooling == "top":
        count = max(1, round(config.top_fraction * len(scores)))
        return float(np.sort(scores)[-count:].mean())
    return float(scores.mean())
