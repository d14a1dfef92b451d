"""The loss that teaches a projection to tell classes apart."""

from __future__ import annotations

import math

import torch
from torch import nn

_CLIP = 1 - 1e-6
"""Largest cosine that an angle is taken of: its derivative is infinite at one."""


class SubClusterAdaCos(nn.Module):
    """Cross-entropy over scaled cosines to several fixed centres a class; the scale adapts to the batches.

    Centres are drawn on the unit sphere and stay where they are: what is learned is the projection alone.

    Parameters
    ----------
    n_classes, n_subclusters : int
        Classes, and centres of each.
    dimension : int
        Length of a projected row.

    References
    ----------
    Wilkinghoff 2021, Sub-cluster AdaCos: learning representations for anomalous sound detection, IJCNN; Zhang et al.
    2019, AdaCos, arXiv:1905.00292.
    """

    centres: torch.Tensor

    def __init__(self, n_classes: int, n_subclusters: int, dimension: int) -> None:
        super().__init__()
        self.shape = (n_classes, n_subclusters)
        total = n_classes * n_subclusters
        centres = torch.randn(total, dimension)
        self.register_buffer("centres", nn.functional.normalize(centres, dim=1))
        self.scale = math.sqrt(2) * math.log(max(total - 1, 2))

    def forward(self, projected: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch.

        Parameters
        ----------
        projected : float32 tensor of shape (n, dimension)
            Rows of length one.
        targets : float32 tensor of shape (n, n_classes)
            Weight of each class; a row sums to one.
        """
        cosines = projected @ self.centres.T
        if self.training:
            self._adapt(cosines.detach(), targets)
        logs = torch.log_softmax(self.scale * cosines, dim=1).view(-1, *self.shape)
        return -(targets * torch.logsumexp(logs, dim=2)).sum(dim=1).mean()

    def _adapt(self, cosines: torch.Tensor, targets: torch.Tensor) -> None:
        own = targets.repeat_interleave(self.shape[1], dim=1)
        others = torch.where(own > 0, torch.zeros_like(cosines), torch.exp(self.scale * cosines))
        average = others.sum(dim=1).mean().clamp_min(1e-12)
        best = torch.where(own > 0, cosines, torch.full_like(cosines, -1)).amax(dim=1)
        angle = torch.acos(best.clamp(-_CLIP, _CLIP)).median().clamp_max(math.pi / 4)
        if float(average) > 1:  # as in the paper; else the batch says nothing of the scale
            self.scale = max(float(torch.log(average) / torch.cos(angle)), 1.0)
