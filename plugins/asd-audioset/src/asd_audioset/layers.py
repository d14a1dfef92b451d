"""Average the feature maps of a network."""

from __future__ import annotations

import torch
from torch import nn


class GlobalMean(nn.Module):
    """Mean over both axes of a feature map, in float32."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (n, channels) of (n, channels, height, width)."""
        return features.float().mean((2, 3))


class TimeMean(nn.Module):
    """Mean over the last axis of a feature map, in float32; the other is kept."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (n, channels * height) of (n, channels, height, width)."""
        return features.float().mean(3).flatten(1)
