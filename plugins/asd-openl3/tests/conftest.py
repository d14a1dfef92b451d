"""A weight file of OpenL3's layout with seeded weights, and the golden values that the openl3 package gave for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest

from asd_openl3.hdf5 import layout

GOLDEN = Path(__file__).parent / "data" / "golden.npz"
Tensors = list[npt.NDArray[np.float32]]


def seeded_tensors(seed: int = 1) -> Tensors:
    """Return weights that any mix-up of tensors would show; RandomState's numbers are the same for ever."""
    random = np.random.RandomState(seed)

    def tensor(what: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        drawn = random.randn(*shape)
        if what.endswith("kernel"):
            return drawn * np.sqrt(2.0 / np.prod(shape[:3]))
        if what.startswith("the input") and "moving" in what:
            return 400.0 + drawn if what.endswith("variance") else -20.0 + drawn
        return 1.0 + 0.1 * np.abs(drawn) if what.endswith(("gamma", "variance")) else 0.1 * drawn

    return [tensor(what, shape).astype(np.float32) for what, shape in layout()]


def write_keras(path: Path, tensors: Tensors) -> Path:
    """Write as Keras does: a group for each layer, in an order that its names do not give; some hold no weights."""
    layers = list(_layers(tensors))
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name, _ in layers]
        file.attrs["backend"] = b"tensorflow"
        for name, weights in layers:
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{part}:0".encode() for part in weights]
            for part, value in weights.items():
                group.create_dataset(f"{name}/{part}:0", data=value)
    return path


def _layers(tensors: Tensors) -> Iterator[tuple[str, dict[str, Any]]]:
    left = iter(tensors)

    def take(*parts: str) -> dict[str, Any]:
        return {part: next(left) for part in parts}

    batch_norm = ("gamma", "beta", "moving_mean", "moving_variance")
    yield "input_1", {}
    yield "batch_normalization_9", take(*batch_norm)
    for number in range(7, 0, -1):
        yield f"conv2d_{number}", take("kernel", "bias")
        yield f"batch_normalization_{number}", take(*batch_norm)
        yield f"activation_{number}", {}
    yield "audio_embedding_layer", take("kernel", "bias")


def make_sound(seconds: float = 1.6) -> npt.NDArray[np.float32]:
    """Return noise, a sweep and a tone that comes late, at 48 kHz."""
    random = np.random.RandomState(0)
    time = np.arange(int(48000 * seconds)) / 48000
    sweep = np.sin(2 * np.pi * (200 * time + 3000 * time**2))
    tone = np.sin(2 * np.pi * 9000 * time) * (time > 0.7)
    return (0.05 * random.randn(len(time)) + 0.2 * sweep + 0.1 * tone).astype(np.float32)


@pytest.fixture(scope="session")
def weight_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_keras(tmp_path_factory.mktemp("openl3") / "seeded.h5", seeded_tensors())


@pytest.fixture(scope="session")
def golden() -> dict[str, npt.NDArray[np.float32]]:
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def sound() -> npt.NDArray[np.float32]:
    return make_sound()
