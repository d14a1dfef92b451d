"""Base class of the extractors of this package."""

from __future__ import annotations

import logging
import math
import sys
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

import asd_torch
from asd.errors import AsdError
from asd.plugin import Extractor, Float32, Representation, Runtime, check_weights, digest_of, resolve_weights
from asd_registry import WeightFile

_log = logging.getLogger("asd")

_ALTERNATIVE = "efficientat-mn04"
"""The extractor of this package whose weights ship with it."""

Network = Callable[[torch.Tensor], torch.Tensor]


class PretrainedExtractor(Extractor):
    """A network that turns each log-mel window into an embedding, with weights from a file.

    Parameters
    ----------
    weights : str
        default (what its publisher offers), a file, a URL, or random.
    weights_sha256 : str or None
        SHA-256 that the file must have, or its first 8 digits or more.
    seed : int
        Determines random weights.
    """

    _name: str
    """What messages call the network."""

    _auto_precision: Literal["fp32"] | None = "fp32"
    """What precision ``auto`` means. With bfloat16, EfficientAT's embeddings of machine sound have a cosine of 0.993 to
    the exact ones, and so narrow a network is hardly faster."""

    _values_each = 32 * 128 * 100
    """Values of spectrogram that a core takes at a time: fewer keep it idle, more do not fit its cache."""

    def __init__(self, *, weights: str = "default", weights_sha256: str | None = None, seed: int = 0) -> None:
        self.weights = weights
        self.weights_sha256 = weights_sha256
        self.seed = seed
        check_weights(weights, ("default", "random"), sha256=weights_sha256)

    @property
    @abstractmethod
    def _default_weight(self) -> WeightFile | str:
        """What ``default`` stands for: a published file, or the URL of one whose hash the user gives."""

    @abstractmethod
    def _empty(self) -> nn.Module:
        """Return the whole network without its weights."""

    @abstractmethod
    def _read(self, path: Path) -> Mapping[str, torch.Tensor]:
        """Return the tensors of a weight file by the network's names."""

    def _cut(self, network: Any) -> nn.Module:
        """Return the part of the network that maps windows (n, 1, …) to embeddings."""
        whole: nn.Module = network
        return whole

    def embed(self, values: Any) -> Float32:
        """Return embeddings, float32[n_windows, dimension].

        Parameters
        ----------
        values : float32 array of shape (n_windows, *window shape)
            Log-mel windows of the network's own front end.

        Raises
        ------
        AsdError
            If the windows have another shape, or the weights cannot be had.
        """
        return self._run(self._network, values)

    def computes_with(self) -> Runtime:
        """Return the runtime with the device and the precision of the network."""
        return asd_torch.resolved(self.runtime, self._plan)

    def weight_hashes(self) -> dict[str, str]:
        """Return the SHA-256 of the weight file by its name; nothing for random weights."""
        return dict(self._hashes)

    @cached_property
    def _path(self) -> Path:
        known = {"default": self._default_weight}
        return resolve_weights(self.weights, known, sha256=self.weights_sha256, alternative=_ALTERNATIVE)

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return {} if self.weights == "random" else {self._path.name: digest_of(self._path)}

    @cached_property
    def _plan(self) -> asd_torch.Plan:
        return asd_torch.plan(self.runtime, auto=self._auto_precision)

    @cached_property
    def _network(self) -> Network:
        return self._ready(self._cut(self._loaded()))

    def _loaded(self) -> nn.Module:
        network = self._empty()
        if self.weights == "random":
            _log.warning("%s has random weights (seed %d): good for tests, not for results", self._name, self.seed)
            randomise(network, self.seed)
        else:
            asd_torch.load_into(network, self._read(self._path), self._name, str(self._path))
        return network

    def _ready(self, network: nn.Module) -> Network:
        """Return `network` ready to compute, each of the processor's cores on windows of its own."""
        prepared = asd_torch.prepare(network, self._plan)
        # How many windows a core takes follows from the size of a batch, as windows may be of any length.
        return asd_torch.share_windows(lambda windows: prepared(windows.unsqueeze(1)), self._plan, sys.maxsize)

    def _run(self, network: Network, values: Any) -> Float32:
        values = asd_torch.as_array(values)
        shape = tuple(values.shape[1:])
        self._check_windows(shape)
        batch_size = max(self._values_each // math.prod(shape), 1) * torch.get_num_threads()
        return asd_torch.run(network, values, self._plan, self.runtime.batch_size, batch_size)

    def _check_windows(self, shape: tuple[int, ...]) -> None:
        expected = self.consumes
        if not expected.accepts(Representation(expected.kind, shape)):
            raise AsdError(f"the network takes {expected} windows, got shape {shape}; use its own front end")


def randomise(network: nn.Module, seed: int) -> None:
    """Give `network` random weights that `seed` determines and that keep the size of what passes (He et al. 2015)."""
    generator = torch.Generator().manual_seed(seed)
    scales = {id(each.weight) for each in network.modules() if isinstance(each, nn.BatchNorm2d)}
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, math.sqrt(2 / parameter[0].numel()), generator=generator)
            else:  # not what is in them: it may be what another tensor left there
                parameter.fill_(float(id(parameter) in scales))
