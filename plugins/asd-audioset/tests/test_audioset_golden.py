"""YAMNet and VGGish give the numbers of Google's own code (on seeded random weights: the real ones are not at hand)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asd.plugin import Audio, Runtime, create

pytestmark = pytest.mark.parity


def cosine(a: Any, b: Any) -> Any:
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("network", ["yamnet", "vggish"])
def test_patches_equal_those_of_googles_code(network: str, golden: dict[str, Any]) -> None:
    windows = create("frontend", f"{network}-mel")(Audio(golden["audio"][np.newaxis], 16000))
    np.testing.assert_allclose(windows.values, golden[f"{network}_patches"], atol=1e-4)
    assert windows.start.tolist() == [0.0, 0.48]


def check_embeddings(name: str, weights: Path, patches: Any, expected: Any) -> None:
    for precision, error, lowest in (("fp32", 1e-5, 0.99999), ("auto", 0.02, 0.999)):
        extractor = create("extractor", name, {"weights": str(weights)})
        extractor.runtime = Runtime(device="cpu", precision=precision)  # type: ignore[arg-type]  # a text of the list
        found = extractor.embed(patches)
        assert found.shape == (len(patches), extractor.dimension)
        assert found.dtype == np.float32
        assert abs(found - expected).max() <= error * abs(expected).max()
        assert cosine(found, expected).min() >= lowest


def test_yamnet_embeddings_equal_those_of_googles_code(yamnet_file: Path, golden: dict[str, Any]) -> None:
    check_embeddings("yamnet-keras", yamnet_file, golden["yamnet_patches"], golden["yamnet_embeddings"])


@pytest.mark.slow
def test_vggish_embeddings_equal_those_of_googles_code(vggish_file: Path, golden: dict[str, Any]) -> None:
    check_embeddings("vggish-audioset", vggish_file, golden["vggish_patches"], golden["vggish_embeddings"])
