"""Random weights, for tests where the published ones cannot be had."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from asd.plugin import create
from asd_audioset.pretrained import randomise

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


@pytest.mark.parametrize("left", [0.0, 1.0, float("nan")])
def test_what_memory_held_before_does_not_count(left: float) -> None:
    """Layers that are made without values hold whatever was there."""
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Linear(3, 2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(left)
    randomise(network, 1)
    rows = {name: parameter.tolist() for name, parameter in network.named_parameters() if parameter.dim() == 1}
    assert rows == {"0.bias": [0, 0], "1.weight": [1, 1], "1.bias": [0, 0], "2.bias": [0, 0]}
