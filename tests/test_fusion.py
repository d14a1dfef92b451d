"""Fusion of branches: the promise of the alarm holds for the fused score, and a silent branch costs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asd.detection.config import Config, ResolvedConfig
from asd.detection.features import ClipFeatures
from asd.detection.pooling import pool_embeddings, pool_scores
from asd.detection.training import learn_branches
from asd.plugin import Runtime
from asd.records import Clip

LEVELS = (0.05, 0.1, 0.2)


def config(detectors: tuple[str, str], fusion: str, *, folds: int = 5) -> ResolvedConfig:
    """Return a pipeline of a branch that scores windows, and a gated one that scores one vector a clip."""
    shared = {"frontend": "mel-stack", "extractor": "identity"}
    return Config.from_mapping(
        {
            "fusion": fusion,
            "folds": folds,
            "branch": [
                {**shared, "name": "frames", "detector": detectors[0], "pca": 0.9},
                {**shared, "name": "bands", "detector": detectors[1], "embedding_pooling": "mean", "gate": 1.0},
            ],
        }
    ).resolved()


def drawn(count: int, rng: np.random.Generator, *, dimension: int = 8) -> list[list[ClipFeatures]]:
    """Return what two branches make of clips of a machine in two states, some clips being far from all others."""
    state = 3.0 * rng.integers(2, size=count)
    offset = rng.standard_t(3, size=(count, dimension)) + state[:, None]  # heavy tails: scores are skewed
    first = offset[:, None] + rng.normal(size=(count, 4, dimension))
    second = np.exp(np.minimum(offset, 20) / 2 + 0.5 * rng.normal(size=offset.shape))[:, None]

    def features(values: Any, i: int) -> ClipFeatures:
        return ClipFeatures(
            Clip(Path(f"/{i}.wav")), values.astype(np.float32), np.arange(len(values) * 1.0), 10.0, 16000, False
        )

    return [[features(first[i], i), features(second[i], i)] for i in range(count)]


def false_alarms(
    config: ResolvedConfig, train: list[list[ClipFeatures]], test: list[list[ClipFeatures]]
) -> list[float]:
    """Return the fraction of healthy clips that alarm at each level, by detectors that are trained here."""
    branches, calibration = learn_branches(config, train, Runtime())
    scores = np.empty((len(test), len(branches[0].members), len(branches)))
    for b, branch in enumerate(branches):
        rows = [pool_embeddings(clip[b].values, branch.config) for clip in test]
        ends = np.cumsum([len(each) for each in rows])[:-1]
        for k, member in enumerate(branch.members):
            windows = np.split(member.score(np.concatenate(rows)), ends)
            scores[:, k, b] = [pool_scores(own, branch.config) for own in windows]
    p_values = np.array([calibration.p_value(each) for each in scores])
    return [float(np.mean(p_values <= level + 1e-12)) for level in LEVELS]


@pytest.mark.parametrize("fusion", ["gated", "max"])
@pytest.mark.parametrize(("count", "resamples"), [(20, 1000), (60, 400), (200, 100)])
def test_healthy_clips_alarm_as_often_as_promised(count: int, resamples: int, fusion: str) -> None:
    """Detectors are trained and folds dealt in every resample; each judges as many new clips as fit into the time."""
    rng = np.random.default_rng(count)
    pipeline = config(("mahalanobis", "knn"), fusion)
    found = np.array([false_alarms(pipeline, drawn(count, rng), drawn(20, rng)) for _ in range(resamples)])
    deviation = found.std(axis=0, ddof=1) / np.sqrt(resamples)
    for level, mean, error in zip(LEVELS, found.mean(axis=0), deviation, strict=True):
        promised = int(level * (count + 1) + 1e-9) / (count + 1)
        assert mean - 1.96 * error <= promised
        assert mean + 1.96 * error >= promised / 3  # nor does it hold because nothing ever alarms
