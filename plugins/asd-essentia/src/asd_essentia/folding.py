"""MusiCNN's weights in the form in which they are fastest to compute with.

Batch norm follows the rectifier, and the maximum over frequency follows that. Both are monotonic in each channel, so
that the maximum can be taken first, of bare matrix products; a channel whose batch norm turns the order around gets its
kernel negated. What is left to do afterwards is done on a tenth to a hundredth of the values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

Tensors = Mapping[str, torch.Tensor]

_EPSILON = 1e-3


@dataclass(frozen=True)
class Channels:
    """What happens to a convolution's maxima: ``clamp(maximum + bias, low, high) + shift``, each float32[channels]."""

    bias: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    shift: torch.Tensor

    def __call__(self, maxima: torch.Tensor) -> torch.Tensor:
        """Return the activations, float32, of the maxima (..., channels or more)."""
        used = maxima[..., : len(self.bias)].float()
        return (used + self.bias).clamp(self.low, self.high) + self.shift

    def to(self, device: torch.device) -> Channels:
        """Return the same on another device."""
        return Channels(self.bias.to(device), self.low.to(device), self.high.to(device), self.shift.to(device))


def batch_norm(tensors: Tensors, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scale and the shift that a batch norm amounts to in inference."""
    name = "batch_normalization" + (f"_{number}" if number else "")
    scale = tensors[f"{name}/gamma"] / torch.sqrt(tensors[f"{name}/moving_variance"] + _EPSILON)
    return scale, tensors[f"{name}/beta"] - tensors[f"{name}/moving_mean"] * scale


def convolution(tensors: Tensors, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a convolution's kernel (time, frequency, channels) and bias."""
    name = "conv2d" + (f"_{number}" if number else "")
    return tensors[f"{name}/kernel"].squeeze(2), tensors[f"{name}/bias"]


def maximum_first(tensors: Tensors, conv: int, norm: int) -> tuple[torch.Tensor, Channels]:
    """Return the kernel (time, frequency, channels) whose products' maximum is taken, and what happens to that."""
    kernel, bias = convolution(tensors, conv)
    scale, shift = batch_norm(tensors, norm)
    infinite = torch.full_like(scale, math.inf)
    zero = torch.zeros_like(scale)
    rising = scale >= 0
    # scale · relu(z) is relu(scale · z) for a positive scale, and min(scale · z, 0) for a negative one.
    channels = Channels(scale * bias, torch.where(rising, zero, -infinite), torch.where(rising, infinite, zero), shift)
    return kernel * scale, channels
