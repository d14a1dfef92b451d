"""Bilinear upscaling as two matrix products, which a CPU does faster than any gather."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from asd.plugin import Float32

# Output pixels at a time. Each depends on few input pixels, so that most of a whole weight matrix would be zeros; and
# matrix products this small are not spread over threads by OpenBLAS (its limit is 2**18 multiplications), whose
# threads would fight with those of the network that runs beside.
_PIXELS_AT_A_TIME = 28


def upscale(images: Float32, size: int) -> Float32:
    """Return images of shape (n, height, width, channels) as (n, size, size, channels), contiguous.

    Pixel centres lie at half-pixels and borders repeat, as in
    ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)``.
    """
    count, height, width, channels = images.shape
    horizontal, vertical = _blocks(width, size, channels), _blocks(height, size, 1)
    wide = np.empty((height, size * channels), np.float32)
    upscaled = np.empty((count, size, size * channels), np.float32)
    for image, target in zip(images.reshape(count, height, width * channels), upscaled, strict=True):
        for output, used, weights in horizontal:
            np.matmul(image[:, used], weights.T, out=wide[:, output])
        for output, used, weights in vertical:
            np.matmul(weights, wide[used], out=target[output])
    return upscaled.reshape(count, size, size, channels)


def _weights(source: int, target: int) -> Float32:
    """Return float32[target, source]: what each source pixel gives to each target pixel."""
    position = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0.0, source - 1.0)
    distance = np.abs(position[:, np.newaxis] - np.arange(source))
    weights: Float32 = np.maximum(0.0, 1.0 - distance).astype(np.float32)
    return weights


@lru_cache(maxsize=16)
def _blocks(source: int, target: int, channels: int) -> list[tuple[slice, slice, Float32]]:
    """Return (output values, input values, weights) for interleaved channels, a few output pixels at a time."""
    return list(
        _split(np.kron(_weights(source, target), np.eye(channels, dtype=np.float32)), _PIXELS_AT_A_TIME * channels)
    )


def _split(weights: Float32, step: int) -> Iterator[tuple[slice, slice, Float32]]:
    for start in range(0, len(weights), step):
        block = weights[start : start + step]
        used = np.flatnonzero(block.any(axis=0))
        inputs = slice(int(used[0]), int(used[-1]) + 1)
        yield slice(start, start + len(block)), inputs, np.ascontiguousarray(block[:, inputs])
