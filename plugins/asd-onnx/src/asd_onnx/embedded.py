"""Base class of the extractors whose network is inside this package."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from asd.errors import ConfigError, PluginError
from asd.plugin import CheckedExtractor, Extractor, Float32, OnnxGraph, Runtime, locate
from asd_onnx.catalogue import Embedded
from asd_onnx.engine import COUNTERPARTS, Counterpart, choose, counterpart_extractor, problem_of, require
from asd_onnx.session import Session


class EmbeddedExtractor(CheckedExtractor):
    """A network of this package: ONNX Runtime computes it, or the plugin that has the same weights in PyTorch.

    What only PyTorch can do, such as other weights, is left to that plugin, too.
    """

    @property
    @abstractmethod
    def _network(self) -> Embedded:
        """The network's file."""

    @property
    @abstractmethod
    def _outputs(self) -> Sequence[str]:
        """The outputs of the file that are concatenated to an embedding."""

    @property
    def _only_in_torch(self) -> str | None:
        """What of the parameters only PyTorch can do, for messages; None: nothing."""
        return None

    def _embed(self, windows: Float32) -> Float32:
        if self._in_torch:
            return self._torch.embed(windows)
        computed = dict(zip(self._session.output_names, self._session.run(windows), strict=True))
        return np.concatenate([computed[name] for name in self._outputs], axis=1)

    def choose_engine(self, clips: int) -> Runtime:
        """Return the runtime with the engine, and its precision, that is best here for so many clips."""
        if self._only_in_torch:
            return replace(self.runtime, engine="torch")
        return choose(self._network.title, self.runtime, clips, self._counterpart)

    def computes_with(self) -> Runtime:
        """Return the runtime with the device, the precision and the engine of the network."""
        if self._in_torch:
            return self._torch.computes_with()
        return replace(self._session.computes_with(), batch_size=self.runtime.batch_size)

    def weight_hashes(self) -> dict[str, str]:
        """Return the SHA-256 of the weights that the network was made from, by the name of their file.

        Raises
        ------
        PluginError
            If PyTorch is to compute and is not there: said before any recording is read.
        """
        if self._only_in_torch:
            return self._made_in_torch.weight_hashes()
        if self._in_torch:
            require(self._counterpart)
        name, sha256 = self._network.origin
        return {name: sha256}

    def to_onnx(self, graph: OnnxGraph, windows: str) -> str:
        """Add the embeddings to `graph`; see `asd.plugin.OnnxGraph`."""
        if self._only_in_torch:
            raise NotImplementedError(f"{self._only_in_torch} needs PyTorch; fit with what ONNX Runtime computes")
        path = locate(self._network.weight)
        parts = {name: graph.network(path, name, windows) for name in dict.fromkeys(self._outputs)}
        return graph.op("Concat", *(parts[name] for name in self._outputs), axis=1)

    def close(self) -> None:
        """End the threads that compute."""
        for part in ("_session", "_made_in_torch"):
            if part in vars(self):
                vars(self).pop(part).close()

    @property
    def _in_torch(self) -> bool:
        needed = self._only_in_torch
        if needed and self.runtime.engine == "onnx":
            raise ConfigError(f"{self._network.title}: {needed} needs PyTorch; leave --engine out, or give torch")
        return needed is not None or self._chosen.engine == "torch"

    @cached_property
    def _chosen(self) -> Runtime:
        """The runtime with its engine: of an extractor that no pipeline asked to choose, the one for a few clips."""
        return self.runtime if self.runtime.engine != "auto" else self.choose_engine(0)

    @cached_property
    def _session(self) -> Session:
        network = self._network
        runtime = replace(self._chosen, batch_size=self.runtime.batch_size or network.together)
        return Session(locate(network.weight), runtime, outputs=tuple(dict.fromkeys(self._outputs)), name=network.title)

    @property
    def _torch(self) -> Extractor:
        self._made_in_torch.runtime = self._chosen  # it may have been asked for its dimension before that was known
        return self._made_in_torch

    @cached_property
    def _made_in_torch(self) -> Extractor:
        if self._counterpart is None:
            raise ConfigError(f"{self._network.title} computes with onnx only; leave --engine out")
        if self._only_in_torch and (lacking := problem_of(self._counterpart)):
            raise PluginError(f"{self._network.title}: {self._only_in_torch} needs PyTorch: {lacking}")
        parameters = {name: value for name, value in self.get_params().items() if name != "model"}  # that is its name
        return counterpart_extractor(self._counterpart, parameters, self.runtime)

    @property
    def _counterpart(self) -> Counterpart | None:
        return COUNTERPARTS.get(self._network.name)
