"""The numbers of the openl3 package: spectrograms, embeddings, both sizes, both centrings."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import torch

from asd.experiment import Config, Pipeline
from asd.plugin import Audio, Clip, Runtime
from asd_openl3.frontend import OpenL3Spectrogram
from asd_openl3.representations import SPECTROGRAMS

Array = npt.NDArray[Any]
NAMES = sorted(SPECTROGRAMS)
# Without a GPU the automatic precision is float32, whatever the representation: the smallest one shows it.
PRECISIONS = [
    *((name, "fp32") for name in NAMES),
    *((name, "auto") for name in (NAMES if torch.cuda.is_available() else ["mel128"])),
]
VARIANTS = [(512, True), (512, False), (6144, True), (6144, False)]


def embeddings(
    sound: Array, folder: Path, weights: Path, representation: str, size: int, center: bool, precision: Any
) -> Array:
    soundfile.write(folder / "sound.wav", sound, 48000, subtype="FLOAT")
    options = {
        "frontend": {"name": "openl3-mel", "representation": representation, "center": center},
        "extractor": {
            "name": "openl3-env",
            "representation": representation,
            "embedding_size": size,
            "weights": str(weights),
        },
    }
    pipeline = Pipeline(Config.from_mapping(options), Runtime(precision=precision))
    features = pipeline.embed(Clip(folder / "sound.wav"))
    centre_of_window = features.start + (0.5 if center else 0.0)
    np.testing.assert_allclose(centre_of_window, np.arange(len(features.start)) * 0.5)  # the package's time stamps
    return features.values


def assert_equal(ours: Array, theirs: Array, precision: str) -> None:
    lengths = np.linalg.norm(ours, axis=1), np.linalg.norm(theirs, axis=1)
    cosine = (ours * theirs).sum(axis=1) / (lengths[0] * lengths[1])
    assert cosine.min() >= 0.9995
    if precision == "fp32":
        assert (np.linalg.norm(ours - theirs, axis=1) / lengths[1]).max() <= 1e-4


@pytest.mark.parity
@pytest.mark.parametrize("representation", NAMES)
def test_spectrograms_are_the_packages(golden: dict[str, Array], sound: Array, representation: str) -> None:
    frontend = OpenL3Spectrogram(representation=representation, center=False)  # type: ignore[arg-type]
    first = frontend(Audio(sound[np.newaxis], 48000)).values[0]
    np.testing.assert_allclose(first[::8, ::8], golden[f"{representation}_spectrogram"], atol=1e-3, rtol=0)


@pytest.mark.parity
@pytest.mark.slow
@pytest.mark.parametrize(("representation", "precision"), PRECISIONS)
def test_embeddings_are_the_packages(
    golden: dict[str, Array], sound: Array, weight_file: Path, tmp_path: Path, representation: str, precision: str
) -> None:
    for size, center in VARIANTS:
        theirs = golden[f"{representation}_{size}_{'center' if center else 'nocenter'}"]
        heard = sound if size == 512 else sound[:48000]
        ours = embeddings(heard, tmp_path, weight_file, representation, size, center, precision)
        assert len(ours) == len(theirs) + (size == 6144 and center)
        assert_equal(ours[: len(theirs)], theirs, precision)


@pytest.mark.parity
@pytest.mark.parametrize("representation", NAMES)
def test_spectrograms_are_those_of_the_shared_reference(shared: Path, representation: str) -> None:
    reference = np.load(shared / "reference" / "openl3" / "golden.npz")
    frontend = OpenL3Spectrogram(representation=representation, center=False)  # type: ignore[arg-type]
    first = frontend(Audio(reference["audio"][np.newaxis], 48000)).values[0]
    theirs = reference[f"{representation}_spectrogram"]
    assert first.shape == theirs.shape
    # A bin that nearly cancels, 40 dB down, depends on the processor's FFT: measured 1.04e-3 dB on one.
    np.testing.assert_allclose(first, theirs, atol=2e-3, rtol=0)


@pytest.fixture(scope="module")
def reference_weights(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what makes the weight file of a representation that the reference was computed with, once."""
    folder, script = tmp_path_factory.mktemp("reference"), shared / "reference" / "openl3" / "make_weights.py"

    @cache
    def made(representation: str) -> Path:
        path = folder / f"{representation}.h5"
        subprocess.run([sys.executable, script, representation, path], check=True)
        return path

    return made


@pytest.mark.parity
@pytest.mark.slow
@pytest.mark.parametrize(("representation", "precision"), PRECISIONS)
def test_embeddings_are_those_of_the_shared_reference(
    shared: Path, reference_weights: Callable[[str], Path], tmp_path: Path, representation: str, precision: str
) -> None:
    folder = shared / "reference" / "openl3"
    weights = reference_weights(representation)
    reference = np.load(folder / "golden.npz")
    for size, center in VARIANTS:
        name = "center" if center else "nocenter"
        theirs = reference[f"{representation}_{size}_{name}"]
        sound = reference["audio"] if size == 512 else reference["audio"][:48000]
        ours = embeddings(sound, tmp_path, weights, representation, size, center, precision)
        assert size != 512 or len(ours) == len(reference[f"ts_{name}"])
        assert_equal(ours[: len(theirs)], theirs, precision)


@pytest.mark.parity
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("openl3") is None, reason="the openl3 package is not installed")
@pytest.mark.parametrize("representation", NAMES)
def test_the_packages_engine_gives_the_same(weight_file: Path, representation: str) -> None:
    windows = np.random.default_rng(0).uniform(-60, 0, (2, *SPECTROGRAMS[representation].shape)).astype(np.float32)
    given = []
    for engine in ("torch", "openl3"):
        extractor = {"name": "openl3-env", "representation": representation, "weights": str(weight_file)}
        frontend = {"name": "openl3-mel", "representation": representation}
        config = Config.from_mapping({"extractor": {**extractor, "engine": engine}, "frontend": frontend})
        given.append(Pipeline(config, Runtime(precision="fp32")).extractor.embed(windows))
    assert_equal(given[0], given[1], "fp32")
