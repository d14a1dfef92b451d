"""Train a projection on rows with classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from asd.plugin import Float32, track
from asd_discriminative.loss import SubClusterAdaCos

_LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Settings:
    """What decides a training; as the parameters of the detector."""

    n_components: int
    hidden: int
    n_subclusters: int
    epochs: int
    train_batch: int
    seed: int


def train(name: str, features: Float32, classes: npt.NDArray[np.int64], settings: Settings) -> tuple[Float32, Float32]:
    """Return the two matrices of a projection, float32[d, hidden] and float32[hidden, n_components].

    Neither layer has an offset: with one, every row could be mapped onto one point (Ruff et al. 2018, Deep one-class
    classification).

    Parameters
    ----------
    name : str
        What the progress display says.
    features : float32 array of shape (n, d)
        Rows of healthy sound.
    classes : int64 array of shape (n,)
        Class of each row, counted from 0.
    settings : Settings
        What decides the training.
    """
    # Layers draw their first weights from torch's global generator: it is given back as it was.
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.default_generator.manual_seed(settings.seed)
        network = _network(features.shape[1], settings)
        targets = nn.functional.one_hot(torch.from_numpy(classes)).to(torch.float32)
        loss = SubClusterAdaCos(targets.shape[1], settings.n_subclusters, settings.n_components)
        optimiser = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE)
        values = torch.from_numpy(np.require(features, np.float32, ["C", "W"]))
        for _ in track(range(settings.epochs), name):
            for batch in torch.randperm(len(values)).split(settings.train_batch):  # type: ignore[no-untyped-call]  # torch's
                mixed, wanted = _mixed(values[batch], targets[batch])
                optimiser.zero_grad()
                result = loss(nn.functional.normalize(network(mixed), dim=1), wanted)
                result.backward()
                optimiser.step()
    first, second = (weight.detach().T.contiguous().numpy() for weight in network.parameters())
    return first, second


def _network(dimension: int, settings: Settings) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(dimension, settings.hidden, bias=False),
        nn.ReLU(),
        nn.Linear(settings.hidden, settings.n_components, bias=False),
    )


def _mixed(values: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return half of the rows mixed with another row each (Zhang et al. 2018, mixup, arXiv:1710.09412)."""
    share = torch.where(torch.rand(len(values), 1) < 0.5, torch.rand(len(values), 1), torch.ones(len(values), 1))
    other = torch.randperm(len(values))
    return share * values + (1 - share) * values[other], share * targets + (1 - share) * targets[other]
