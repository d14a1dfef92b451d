"""Any torch module as an extractor: asd fit DATA -o m.asd --plugin-file own_extractor.py --extractor my-network.

Put your own network, with weights that you trained, in the place of the small one here.
"""

import numpy as np
import torch

from asd import Extractor, Representation
from asd_registry import ComponentSpec, hookimpl


class MyNetwork(Extractor):
    """Mean over time of a small convolutional network on mel patches.

    Parameters
    ----------
    channels : int
        Channels of the convolutions, and numbers in an embedding.
    seed : int
        Seed of the network's random weights.
    """

    consumes = Representation("patch", (None, None))

    def __init__(self, *, channels: int = 32, seed: int = 0) -> None:
        self.channels = channels
        self.seed = seed
        self._network: torch.nn.Module | None = None

    @property
    def dimension(self) -> int:
        return self.channels

    @torch.inference_mode()
    def embed(self, values: np.ndarray) -> np.ndarray:
        if self._network is None:  # at first use: whoever lists or checks parameters needs no network
            self._network = self._make()
        patches = torch.from_numpy(np.array(values, dtype=np.float32))[:, None]
        return self._network(patches).mean(dim=(2, 3)).numpy()

    def _make(self) -> torch.nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            first = torch.nn.Conv2d(1, self.channels, 5, stride=2)
            second = torch.nn.Conv2d(self.channels, self.channels, 3, stride=2)
        return torch.nn.Sequential(first, torch.nn.ReLU(), second, torch.nn.ReLU()).eval()


@hookimpl
def asd_components():
    yield ComponentSpec(
        kind="extractor",
        name="my-network",
        summary="A small convolutional network on mel patches",
        target=f"{__name__}:MyNetwork",
        licence="MIT",
        requires=("torch",),
        frontend="mel-patch",
        dimension=32,
    )
