"""The extractor without a network."""

from __future__ import annotations

import numpy as np
import pytest

from asd.errors import AsdError
from asd.experiment import Config, Pipeline
from asd.plugin import create


def test_means_and_deviations_of_each_band() -> None:
    patches = np.random.default_rng(0).normal(size=(5, 64, 32)).astype(np.float32)
    features = create("extractor", "mel-statistics").embed(patches)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[:, :64], patches.mean(axis=2), rtol=1e-6)
    np.testing.assert_allclose(features[:, 64:], patches.std(axis=2), rtol=1e-6)


def test_its_own_front_end_is_the_mel_patch() -> None:
    chain = Pipeline(Config.from_mapping({"extractor": "mel-statistics"}))
    assert chain.config.frontend is not None
    assert chain.config.frontend.name == "mel-patch"


def test_windows_of_another_shape() -> None:
    text = r"^mel-statistics: expected windows of shape \(any, any\), got float32 of shape \(320,\); use the front end"
    with pytest.raises(AsdError, match=text):
        create("extractor", "mel-statistics").embed(np.zeros((2, 320), np.float32))
