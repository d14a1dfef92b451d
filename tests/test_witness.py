"""Of several branches, which one tells copies of clips: never one whose few values change alike by chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from asd.detection.config import Branch, Config
from asd.detection.duplicates import find_duplicates
from asd.detection.features import ClipFeatures, most_telling
from asd.detection.training import pooled_features
from asd.records import Clip


def features(clip: int, *dimensions: int, windows: int = 10) -> list[ClipFeatures]:
    """Return what branches of these dimensions made of a clip of noise."""
    rng = np.random.default_rng(clip)
    start = np.arange(windows, dtype=np.float64)
    return [
        ClipFeatures(
            Clip(Path(f"{clip}.wav")), rng.normal(size=(windows, d)).astype(np.float32), start, 10.0, 16000, False
        )
        for d in dimensions
    ]


def test_the_level_alone_makes_no_clip_a_copy_of_another() -> None:
    branches = [Branch(name=name, embedding_pooling="mean") for name in ("level", "timbre", "tonality")]
    config = Config(branches=tuple(branches)).resolved()
    clips = [pooled_features(features(clip, 1, 256, 20), config) for clip in range(40)]
    assert [[len(each.values) for each in branches] for branches in clips] == [[1, 10, 1]] * 40
    assert find_duplicates(most_telling(clips)) == []
