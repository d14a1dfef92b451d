"""MusiCNN's temporal features: convolutions of 128, 64 and 32 frames in each band, and their maximum over the bands.

A window of a second is shorter than most kernels. So a stretch of the output is the product of the stretch of input
that it depends on, and of the kernel written out as a matrix for all its frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from asd_essentia.folding import Channels, Tensors, maximum_first

_STRETCH = 32
"""Frames of the output that are computed at once."""


@dataclass(frozen=True)
class _Stretch:
    """The part of the output ``[first, last)`` depends on the input ``inputs`` through ``matrix``."""

    first: int
    last: int
    inputs: slice
    matrix: torch.Tensor


class Temporal:
    """The three groups of temporal filters; parameters as for `asd_essentia.timbral.Timbral`."""

    def __init__(self, tensors: Tensors, device: torch.device, dtype: torch.dtype) -> None:
        self._kernels: list[torch.Tensor] = []
        self._channels: list[Channels] = []
        for conv, norm in ((2, 3), (3, 4), (4, 5)):
            kernel, channels = maximum_first(tensors, conv, norm)
            self._kernels.append(kernel.squeeze(1).to(device, dtype))
            self._channels.append(channels.to(device))
        self._stretches: dict[int, list[list[_Stretch]]] = {}
        # A core's cache holds the products of two windows; a graphics card wants much to do at once.
        self._windows_at_once = 2 if device.type == "cpu" else None

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        """Return the activations, float32 (n, frames, 153), of windows (n, frames, bands)."""
        frames = windows.shape[1]
        if frames not in self._stretches:
            self._stretches[frames] = [list(_stretches(kernel, frames)) for kernel in self._kernels]
        by_band = windows.transpose(1, 2).contiguous()
        found = []
        for stretches, channels in zip(self._stretches[frames], self._channels, strict=True):
            parts = [self._highest(by_band, stretch) for stretch in stretches]
            found.append(channels(torch.cat(parts, dim=1)))
        return torch.cat(found, dim=2)

    def _highest(self, by_band: torch.Tensor, stretch: _Stretch) -> torch.Tensor:
        """Return the maxima over the bands, (n, frames of the stretch, channels), of (n, bands, frames)."""
        at_once = self._windows_at_once or len(by_band)
        maxima = [
            torch.matmul(part[..., stretch.inputs], stretch.matrix).amax(1) for part in torch.split(by_band, at_once)
        ]
        return torch.cat(maxima).reshape(len(by_band), stretch.last - stretch.first, -1)


def _stretches(kernel: torch.Tensor, frames: int) -> Iterator[_Stretch]:
    """Cut the output of a convolution with zeros beyond the window's ends into stretches.

    Parameters
    ----------
    kernel : tensor of shape (taps, channels)
        Output frame t looks from frame t - (taps - 1) // 2 on, as TensorFlow pads an even kernel.
    frames : int
        Of a window.
    """
    taps, channels = kernel.shape
    before = (taps - 1) // 2
    for first in range(0, frames, _STRETCH):
        last = min(first + _STRETCH, frames)
        inputs = slice(max(0, first - before), min(frames, last - before + taps - 1))
        tap = torch.arange(inputs.start, inputs.stop)[:, None] - torch.arange(first, last)[None, :] + before
        inside = ((tap >= 0) & (tap < taps)).to(kernel)
        matrix = kernel[tap.clamp(0, taps - 1).to(kernel.device)] * inside[..., None]
        yield _Stretch(first, last, inputs, matrix.reshape(-1, (last - first) * channels).contiguous())
