"""Read OpenL3's weight files: HDF5 as Keras writes it, plain or compressed by gzip. Nothing in them is executed."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from asd.errors import WeightError
from asd.plugin import Float32
from asd_torch.hdf5 import group_at, open_hdf5, read_dataset, read_names

CHANNELS = (1, 64, 64, 128, 128, 256, 256, 512, 512)
"""Of the picture and of the feature map after each convolution; all three spectrograms have the same network."""

_GZIP = b"\x1f\x8b"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MOST_BYTES = 100_000_000
"""Of an uncompressed file: five times what the network takes."""
_BATCH_NORM = ("gamma", "beta", "moving mean", "moving variance")


def layout() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield what each tensor of the network is called, for people, and its shape, in the order of the file."""
    yield from (("the input's batch norm, " + part, (1,)) for part in _BATCH_NORM)
    for number, (given, made) in enumerate(pairwise(CHANNELS), 1):
        yield f"convolution {number}, kernel", (3, 3, given, made)
        yield f"convolution {number}, bias", (made,)
        if number < len(CHANNELS) - 1:
            yield from ((f"batch norm {number}, {part}", (made,)) for part in _BATCH_NORM)


def read_weights(path: Path) -> list[Float32]:
    """Return the 36 tensors of an OpenL3 audio network in the order and the layout of Keras.

    Parameters
    ----------
    path : Path
        A file of ``Model.save_weights``, such as ``openl3_audio_mel256_env.h5`` or what the publisher offers,
        ``openl3_audio_mel256_env-v0_4_0.h5.gz``. Layers come in the order of the attribute ``layer_names``, tensors
        in that of ``weight_names``: the names themselves differ between releases.

    Raises
    ------
    WeightError
        If the file cannot be read, is cut off, is not HDF5, or holds another network.
    """
    content = uncompressed(path)
    with open_hdf5(path, "damaged or cut off, or no weight file of Keras", "fetch it again", content) as file:
        tensors = list(_tensors(file, content))
    _check(path, tensors)
    return tensors


def uncompressed(path: Path) -> bytes:
    """Return a weight file as plain HDF5; errors as for `read_weights`."""
    try:
        content = path.read_bytes()
        if content.startswith(_GZIP):
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise WeightError(f"{path}: holds more than {_MOST_BYTES:,} bytes, OpenL3's networks hold 19 million")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise WeightError(f"{path}: damaged or cut off ({_first_line(error)}); fetch it again") from error
    except OSError as error:
        raise WeightError(f"{path}: cannot read this weight file ({error.strerror})") from error
    if not content.startswith(_HDF5):
        raise WeightError(
            f"{path}: not an HDF5 file; expected OpenL3's weights as published, openl3_audio_….h5 or .h5.gz"
        )
    return content


def _tensors(file: Any, content: bytes) -> Iterator[Float32]:
    whole_model = "layer_names" not in file.attrs
    layers = group_at(file, "model_weights") if whole_model else file
    for layer in read_names(layers, "layer_names", content):
        group = group_at(layers, layer)
        for name in read_names(group, "weight_names", content):
            yield read_dataset(group, name)


def _check(path: Path, tensors: list[Float32]) -> None:
    expected = list(layout())
    for (what, shape), tensor in zip(expected, tensors, strict=False):
        if tensor.shape != shape:
            raise WeightError(f"{path}: not an OpenL3 audio network: {what} has shape {tensor.shape}, expected {shape}")
        if not np.isfinite(tensor).all():
            raise WeightError(f"{path}: {what} holds NaN or infinite values; fetch the file again")
    if len(tensors) != len(expected):
        raise WeightError(
            f"{path}: not an OpenL3 audio network: it has {len(tensors)} tensors, expected {len(expected)}"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip("'\"").splitlines() or [type(error).__name__])[0]
