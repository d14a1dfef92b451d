"""What the tests of the embedding cache share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from asd.detection.config import Choice, Config
from asd.detection.embeddings import EmbeddingCache
from asd.detection.pipeline import ClipFeatures, Pipeline
from asd.records import Clip

CONFIG = Config(frontend=Choice("mel-stack"), extractor=Choice("identity"))


def four_recordings(folder: Path) -> list[Clip]:
    """Write four recordings of a second of noise."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{index}.wav" for index in range(4)]
    for path in paths:
        soundfile.write(path, rng.normal(0, 0.1, 16000), 16000)
    return [Clip(path) for path in paths]


def values(results: object) -> list[np.ndarray]:
    return [features.values for features, _ in results]  # type: ignore[attr-defined]


def computed(pipeline: Pipeline, clips: list[Clip], cache: EmbeddingCache) -> int:
    """Embed and return how many clips were computed, not taken from the cache."""
    count = 0
    embed = pipeline.extractor.embed

    def counted(windows: object) -> object:
        nonlocal count
        count += 1
        return embed(windows)

    pipeline.extractor.embed = counted  # type: ignore[assignment, method-assign]
    try:
        assert all(isinstance(result, ClipFeatures) for result in pipeline.embed_all(clips, cache=cache))
    finally:
        del pipeline.extractor.embed
    return count
