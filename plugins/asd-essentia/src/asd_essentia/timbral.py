"""MusiCNN's timbral features: convolutions of 7 frames × 38 and 67 bands, and their maximum over frequency.

With the 7 frames that a kernel sees laid side by side band by band, what it sees at one frequency is a run of memory:
the convolution is a matrix product for each frequency, and no product need be kept, as only the maximum counts.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from asd_essentia.folding import Channels, Tensors, maximum_first

TAPS = 7
_EDGE = TAPS // 2
_ROWS_AT_ONCE = 2048
"""Frames whose products and maxima stay in the processors' caches."""
_ALIGNMENT = 16
"""Matrix units are fastest with a multiple of this many channels."""


class Timbral:
    """The two groups of timbral filters.

    Parameters
    ----------
    tensors : mapping of str to torch.Tensor
        The network's weights.
    device, dtype : torch.device, torch.dtype
        Where and in which number format to compute.
    """

    def __init__(self, tensors: Tensors, device: torch.device, dtype: torch.dtype) -> None:
        self._groups: list[tuple[torch.Tensor, Channels]] = []
        for conv, norm in ((0, 1), (1, 2)):
            kernel, channels = maximum_first(tensors, conv, norm)
            matrix = kernel.transpose(0, 1).flatten(0, 1)
            matrix = F.pad(matrix, (0, -matrix.shape[1] % _ALIGNMENT))
            self._groups.append((matrix.to(device, dtype), channels.to(device)))

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        """Return the activations, float32 (n, frames, 408), of windows (n, frames, bands).

        Windows that share memory share the work on frames whose neighbours are the same in both.
        """
        count, frames, bands = windows.shape
        hop = windows.stride(0) // bands
        if count > 1 and 0 < hop < frames - 2 * _EDGE and windows.stride()[1:] == (bands, 1):
            rows, index = _shared_rows(windows, hop)
            return self._of_rows(rows)[index]
        rows = _with_neighbours(F.pad(windows, (0, 0, _EDGE, _EDGE))).flatten(0, 1)
        return self._of_rows(rows).reshape(count, frames, -1)

    def _of_rows(self, rows: torch.Tensor) -> torch.Tensor:
        found = []
        parts = torch.chunk(rows, -(-len(rows) // _ROWS_AT_ONCE))
        for matrix, channels in self._groups:
            maxima = [_highest_product(part, matrix) for part in parts]
            found.append(channels(torch.cat(maxima)))
        return torch.cat(found, dim=1)


def _shared_rows(windows: torch.Tensor, hop: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each different frame with its neighbours once, and which of them each window consists of.

    Beyond its ends a window sees zeros, where the recording has more sound: its outermost frames are its own.
    """
    count, frames, bands = windows.shape
    length = (count - 1) * hop + frames
    recording = windows.as_strided((1, length, bands), (0, bands, 1))
    edge = 2 * _EDGE
    rows = [
        _with_neighbours(F.pad(recording, (0, 0, _EDGE, _EDGE))),
        _with_neighbours(F.pad(windows[:, :edge], (0, 0, _EDGE, 0))),
        _with_neighbours(F.pad(windows[:, -edge:], (0, 0, 0, _EDGE))),
    ]
    window, frame = torch.arange(count)[:, None], torch.arange(frames)[None, :]
    index = hop * window + frame
    index[:, :_EDGE] = length + _EDGE * window + frame[:, :_EDGE]
    index[:, -_EDGE:] = length + _EDGE * count + _EDGE * window + frame[:, :_EDGE]
    return torch.cat([part.flatten(0, 1) for part in rows]), index.to(windows.device)


def _with_neighbours(padded: torch.Tensor) -> torch.Tensor:
    """Return (n, frames - 6, bands · 7): in each band the values of a frame and of those 3 before and behind it."""
    return padded.unfold(1, TAPS, 1).flatten(2)


def _highest_product(rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Return the highest product of `matrix` with the runs of each row that begin at a band."""
    seen = matrix.shape[0]
    highest = torch.mm(rows[:, :seen], matrix)
    product = torch.empty_like(highest)
    for start in range(TAPS, rows.shape[1] - seen + 1, TAPS):
        torch.mm(rows[:, start : start + seen], matrix, out=product)
        torch.maximum(highest, product, out=highest)
    return highest
