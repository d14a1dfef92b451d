"""The networks: convolutional autoencoders of patches, a dense autoencoder of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn


@dataclass(frozen=True)
class Architecture:
    """An encoder of convolutions that each halve the patch; the decoder mirrors it.

    Parameters
    ----------
    channels : tuple of int
        Feature maps of each convolution.
    kernel : int
        Side of the square kernels: odd with `pooling`, even without.
    activation : type of torch.nn.Module
        What follows each convolution but the last of the decoder.
    batch_norm : bool
        Whether a batch norm stands before each activation.
    pooling : bool
        Halve by 2×2 max pooling and double by repetition; otherwise by stride 2.
    bottleneck : int or None
        Length of the dense code; None: the last feature maps are the code.
    """

    channels: tuple[int, ...]
    kernel: int
    activation: type[nn.Module]
    batch_norm: bool
    pooling: bool
    bottleneck: int | None

    @property
    def reduction(self) -> int:
        """How many times smaller each side of the last feature maps is than the patch."""
        return int(2 ** len(self.channels))


ARCHITECTURES = {
    "lenet": Architecture((32, 64, 128), 5, nn.ELU, batch_norm=True, pooling=True, bottleneck=128),
    "small": Architecture((12, 24, 48), 4, nn.ReLU, batch_norm=False, pooling=False, bottleneck=None),
}
"""The two autoencoders of arXiv:2006.03429."""


def convolutional(architecture: Architecture, shape: tuple[int, int], bottleneck: int | None) -> nn.Sequential:
    """Return an untrained network float32[n, height · width] → float32[n, height · width].

    Parameters
    ----------
    architecture : Architecture
        Its layers.
    shape : tuple of int
        Height and width of a patch, multiples of the architecture's `reduction`.
    bottleneck : int or None
        Length of the dense code; None: no dense layers.
    """
    height, width = (side // architecture.reduction for side in shape)
    code_shape = (architecture.channels[-1], height, width)
    layers: list[nn.Module] = [nn.Unflatten(1, (1, *shape))]
    for before, after in pairwise((1, *architecture.channels)):
        layers += _halving(architecture, before, after)
    if bottleneck is not None:
        size = code_shape[0] * height * width
        layers += [nn.Flatten(), nn.Linear(size, bottleneck), nn.Linear(bottleneck, size), nn.Unflatten(1, code_shape)]
        layers += _activated(architecture, code_shape[0])
    maps = (*reversed(architecture.channels), 1)
    for before, after in pairwise(maps):
        layers += _doubling(architecture, before, after)
    return nn.Sequential(*layers, nn.Flatten())


def _halving(architecture: Architecture, before: int, after: int) -> list[nn.Module]:
    if not architecture.pooling:
        padding = architecture.kernel // 2 - 1
        strided = nn.Conv2d(before, after, architecture.kernel, stride=2, padding=padding)
        return [strided, *_activated(architecture, after)]
    return [_same_size(architecture, before, after), *_activated(architecture, after), nn.MaxPool2d(2)]


def _doubling(architecture: Architecture, before: int, after: int) -> list[nn.Module]:
    if architecture.pooling:
        layers: list[nn.Module] = [nn.Upsample(scale_factor=2), _same_size(architecture, before, after)]
    else:
        padding = architecture.kernel // 2 - 1
        layers = [nn.ConvTranspose2d(before, after, architecture.kernel, stride=2, padding=padding)]
    # One map is the patch itself: nothing limits its range.
    return layers if after == 1 else [*layers, *_activated(architecture, after)]


def _same_size(architecture: Architecture, before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, architecture.kernel, padding=architecture.kernel // 2)


def _activated(architecture: Architecture, channels: int) -> list[nn.Module]:
    norm = [nn.BatchNorm2d(channels)] if architecture.batch_norm else []
    return [*norm, architecture.activation()]


def dense(dimension: int, hidden: Sequence[int], bottleneck: int) -> nn.Sequential:
    """Return an untrained network float32[n, dimension] → float32[n, dimension] with ReLU between dense layers.

    Parameters
    ----------
    dimension : int
        Length of a vector.
    hidden : sequence of int
        Widths of the encoder's layers; the decoder mirrors them.
    bottleneck : int
        Length of the code.
    """
    widths = (dimension, *hidden, bottleneck, *reversed(hidden))
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], dimension))


class Reconstruction(nn.Module):
    """An autoencoder with its input scaling, float[n, d] → float32[n]: the mean squared error of each window.

    Parameters
    ----------
    network : torch.nn.Module
        Reproduces scaled windows float[n, d].
    level, scale : float
        Mean and standard deviation of all training values together: two numbers, so that the network learns from
        decibels, from [0, 1] and from standardised features alike while the windows keep their shape.
    """

    level: torch.Tensor
    scale: torch.Tensor

    def __init__(self, network: nn.Module, level: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("level", torch.tensor(level, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))

    def scaled_error(self, windows: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of each window in units of the training values' variance."""
        scaled = (windows - self.level) / self.scale
        # Half precision is for the network: squares and their sum would lose small differences between windows.
        difference: torch.Tensor = self.network(scaled).float() - scaled.float()
        return difference.square().mean(dim=1)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of each window in the squared units of the features."""
        return self.scaled_error(windows) * self.scale.float().square()
