"""OpenL3's audio network in PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import nn

import asd_torch
from asd.plugin import Float32
from asd_openl3.hdf5 import CHANNELS, layout

# The batch norms' epsilon is Keras' default.
_EPSILON = 1e-3
_POOLED = (2, 4, 6)
"""Convolutions that a pooling follows, counted from 1."""


@dataclass(frozen=True)
class Normalisation:
    """The network's first layer, ``values * scale + shift``; done before the values lose digits in bfloat16."""

    scale: float
    shift: float


class _Flatten(nn.Module):
    """Lay a feature map out as Keras does, channels last."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.permute(0, 2, 3, 1).flatten(1)


def build(pooling: tuple[int, int], weights: list[Float32], source: str) -> tuple[Normalisation, nn.Module]:
    """Return the network's first layer, and the rest of it.

    Parameters
    ----------
    pooling : (int, int)
        Bands and frames of the last feature map that are pooled into one.
    weights : list of float32 array
        As `asd_openl3.hdf5.read_weights` gives them.
    source : str
        Where they come from, for messages.

    References
    ----------
    github.com/marl/openl3, openl3/models.py.
    """
    gamma, beta, mean, variance = (float(tensor[0]) for tensor in weights[:4])
    scale = gamma / (variance + _EPSILON) ** 0.5
    with torch.device("meta"):
        network = nn.Sequential(*_layers(), nn.MaxPool2d(pooling), _Flatten())
    names = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    tensors = {name: _as_torch(tensor) for name, tensor in zip(names, weights[4:], strict=True)}
    asd_torch.load_into(network, tensors, "OpenL3's audio network", source)
    return Normalisation(scale, beta - mean * scale), network


def _layers() -> list[nn.Module]:
    layers: list[nn.Module] = []
    for number, (given, made) in enumerate(pairwise(CHANNELS), 1):
        layers.append(nn.Conv2d(given, made, 3, padding=1))
        if number < len(CHANNELS) - 1:
            layers.append(nn.BatchNorm2d(made, eps=_EPSILON))
            # Keras' model rectifies first; the maximum commutes with that, and leaves a quarter to rectify.
            layers += [nn.MaxPool2d(2)] if number in _POOLED else []
            layers.append(nn.ReLU(inplace=True))
    return layers


def _as_torch(tensor: Float32) -> torch.Tensor:
    """Return a tensor of Keras with its axes in torch's order."""
    return torch.from_numpy(np.ascontiguousarray(tensor.transpose(3, 2, 0, 1)) if tensor.ndim == 4 else tensor)


def random_weights(seed: int) -> list[Float32]:
    """Return weights as before training (He et al. 2015), but an input normalised for spectrograms in dB."""
    generator = np.random.default_rng(seed)
    return [_random(what, shape, generator) for what, shape in layout()]


def _random(what: str, shape: tuple[int, ...], generator: np.random.Generator) -> Float32:
    if what.endswith("kernel"):
        deviation = np.float32((2.0 / np.prod(shape[:3])) ** 0.5)
        return generator.standard_normal(shape, dtype=np.float32) * deviation
    input_statistics = {"the input's batch norm, moving mean": -40.0, "the input's batch norm, moving variance": 400.0}
    usual = 1.0 if what.endswith(("gamma", "variance")) else 0.0
    return np.full(shape, input_statistics.get(what, usual), dtype=np.float32)
