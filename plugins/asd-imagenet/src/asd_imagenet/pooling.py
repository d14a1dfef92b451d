"""Turn activations of any shape into one vector a window."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional as F

from asd.errors import ConfigError

Pool = Literal["default", "average", "max", "2x2", "flatten"]


def default_pool(model: str) -> Pool:
    """Return how a model's feature maps are pooled unless the user says: averaged, SqueezeNet's in 2×2 quarters.

    arXiv:2006.03429 makes 2048 values of SqueezeNet's 512 maps.
    """
    return "2x2" if model.startswith("squeezenet") else "average"


def pooled(activations: torch.Tensor, pool: Pool, *, channels_last: bool = False) -> torch.Tensor:
    """Return float32 vectors (windows, values) of `activations`.

    Parameters
    ----------
    activations : tensor
        Vectors (windows, values), which stay as they are; tokens (windows, tokens, values); or feature maps
        (windows, values, height, width).
    pool : {"average", "max", "2x2", "flatten"}
        Over all tokens or positions; ``2x2`` averages each quarter of a map, ``flatten`` keeps every value.
    channels_last : bool
        Whether feature maps come as (windows, height, width, values), as Swin transformers have them.

    Raises
    ------
    ConfigError
        If the activations have another number of axes, or ``2x2`` meets tokens.
    """
    activations = activations.float()
    if activations.dim() == 2:
        return activations
    if activations.dim() == 4 and channels_last:
        activations = activations.permute(0, 3, 1, 2)
    if activations.dim() == 3:
        activations = activations.transpose(1, 2)
    if activations.dim() not in (3, 4):
        raise ConfigError(f"a layer with activations of shape {tuple(activations.shape[1:])} cannot be pooled")
    if pool == "flatten":
        return activations.flatten(1)
    if pool == "2x2":
        if activations.dim() == 3:
            raise ConfigError("pool 2x2 needs a feature map, but this layer gives tokens; use average, max or flatten")
        return F.adaptive_avg_pool2d(activations, 2).flatten(1)
    positions = activations.flatten(2)
    return positions.amax(2) if pool == "max" else positions.mean(2)
