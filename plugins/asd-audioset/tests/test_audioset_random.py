"""Random weights, for tests where the published ones cannot be had."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from asd.plugin import create

WINDOWS = {"efficientat": (3, 128, 100), "efficientat-mn04-torch": (3, 128, 100), "yamnet-keras": (3, 96, 64)}


@pytest.mark.parametrize("name", [*WINDOWS, pytest.param("vggish-audioset", marks=pytest.mark.slow)])
def test_the_seed_decides_random_weights(name: str, caplog: pytest.LogCaptureFixture) -> None:
    windows = np.random.default_rng(0).normal(size=WINDOWS.get(name, (3, 96, 64))).astype(np.float32)

    def embedded(seed: int) -> np.ndarray:
        extractor = create("extractor", name, {"weights": "random", "seed": seed})
        values = extractor.embed(windows)
        assert values.shape == (3, extractor.dimension)
        assert extractor.weight_hashes() == {}
        return values

    with caplog.at_level(logging.WARNING, logger="asd"):
        first, again, other = embedded(1), embedded(1), embedded(2)
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all()
    assert first.std() > 0
    assert not np.allclose(first, other)
    assert "has random weights (seed 1): good for tests, not for results" in caplog.text
