"""Seeded random weights of the true shapes in the publishers' own formats: the real files cannot be had in tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.random import Generator, default_rng

SEED = 20201222

YAMNET_CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)

VGGISH_SHAPES = {
    "features.0": (64, 1, 3, 3),
    "features.3": (128, 64, 3, 3),
    "features.6": (256, 128, 3, 3),
    "features.8": (256, 256, 3, 3),
    "features.11": (512, 256, 3, 3),
    "features.13": (512, 512, 3, 3),
    "embeddings.0": (4096, 12288),
    "embeddings.2": (4096, 4096),
    "embeddings.4": (128, 4096),
}


def _normal(rng: Generator, shape: tuple[int, ...], fan_in: int) -> Any:
    return rng.standard_normal(shape, dtype=np.float32) * np.float32((2.0 / fan_in) ** 0.5)


def _write_layer(file: h5py.File, rng: Generator, layer: str, kernel: str, shape: tuple[int, ...], fan_in: int) -> None:
    channels = shape[2] if kernel == "depthwise_kernel" else shape[3]
    file[f"{layer}/{layer}/{kernel}:0"] = _normal(rng, shape, fan_in)
    norm = f"{layer}/bn/{layer}/bn"
    file[f"{norm}/beta:0"] = rng.normal(0.0, 0.1, channels).astype(np.float32)
    file[f"{norm}/moving_mean:0"] = rng.normal(0.0, 0.1, channels).astype(np.float32)
    file[f"{norm}/moving_variance:0"] = rng.uniform(0.5, 1.5, channels).astype(np.float32)


def write_yamnet(path: Path, seed: int = SEED) -> Path:
    """Write random weights in the layout of Google's yamnet.h5 (Keras HDF5)."""
    rng = default_rng(seed)
    inputs = YAMNET_CHANNELS[0]
    with h5py.File(path, "w") as file:
        _write_layer(file, rng, "layer1/conv", "kernel", (3, 3, 1, inputs), 9)
        for number, outputs in enumerate(YAMNET_CHANNELS[1:], 2):
            _write_layer(file, rng, f"layer{number}/depthwise_conv", "depthwise_kernel", (3, 3, inputs, 1), 9)
            _write_layer(file, rng, f"layer{number}/pointwise_conv", "kernel", (1, 1, inputs, outputs), inputs)
            inputs = outputs
        file["logits/logits/kernel:0"] = _normal(rng, (inputs, 521), inputs)
        file["logits/logits/bias:0"] = np.zeros(521, np.float32)
    return path


def write_vggish(path: Path, seed: int = SEED) -> Path:
    """Write random weights in the layout of torchvggish's release."""
    rng = default_rng(seed)
    tensors = {}
    for name, shape in VGGISH_SHAPES.items():
        tensors[f"{name}.weight"] = torch.from_numpy(_normal(rng, shape, int(np.prod(shape[1:]))))
        tensors[f"{name}.bias"] = torch.from_numpy(rng.normal(0.0, 0.1, shape[0]).astype(np.float32))
    torch.save(tensors, path)
    return path


def tone_in_noise(sample_rate: int, seconds: float, seed: int = SEED) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a swept tone with harmonics in noise, float32[n]."""
    time = np.arange(round(sample_rate * seconds)) / sample_rate
    phase = 2 * np.pi * (180 * time + 60 * time**2)
    tones = sum(np.sin(k * phase) / k for k in range(1, 8))
    noise = default_rng(seed).standard_normal(len(time))
    return (0.1 * tones + 0.02 * noise).astype(np.float32)


@pytest.fixture(scope="session")
def yamnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of random YAMNet weights."""
    return write_yamnet(tmp_path_factory.mktemp("yamnet") / "yamnet.h5")


@pytest.fixture(scope="session")
def vggish_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of random VGGish weights (288 MB, as the real one)."""
    return write_vggish(tmp_path_factory.mktemp("vggish") / "vggish.pth")


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """Return what Google's own code gave (golden/README.md), and the ``audio`` that it was given."""
    with np.load(Path(__file__).parent / "golden" / "golden.npz") as arrays:
        return {**arrays, "audio": tone_in_noise(16000, 1.5)}
