"""What the tests of the autoencoders share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from asd.plugin import Float32

SIDE = 16


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep checkpoints out of the user's cache folder; return the folder where they go."""
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "checkpoints"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small lose more by waiting for a second thread than they gain by it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def patches() -> Callable[..., Float32]:
    """Return a maker of flattened 16 × 16 patches: mixtures of three tones' bands; `shift` makes other bands."""

    def make(count: int, *, shift: float = 0.0, seed: int = 0) -> Float32:
        rng = np.random.default_rng(seed)
        bands = np.sin(np.outer(np.arange(1, 4), np.linspace(0, 6, SIDE)) + shift)
        mixtures = rng.uniform(0.2, 1.0, (count, 3)) @ bands
        values = mixtures[:, :, np.newaxis] + 0.1 * rng.standard_normal((count, SIDE, SIDE))
        return values.reshape(count, -1).astype(np.float32)

    return make
