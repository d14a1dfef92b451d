"""Extractors ``openl3-env`` and ``openl3-music``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

from asd.errors import AsdError, ConfigError
from asd.plugin import Extractor, Float32, Representation, Runtime, digest_of, one_of
from asd_openl3 import sources
from asd_openl3.representations import SPECTROGRAMS, Content, Name, Size, record

Engine = Literal["torch", "openl3"]


class OpenL3(Extractor):
    """Embeddings of OpenL3's audio network, which was trained on AudioSet to match sounds with pictures.

    Parameters
    ----------
    content : {"env", "music"}
        Videos of environmental sound, or of music, that the network was trained on.
    representation : {"mel256", "mel128", "linear"}
        The spectrogram that it was trained on; the front end needs the same value.
    embedding_size : {512, 6144}
        Values of an embedding: the last feature map pooled over all of its positions, or kept as 4 by 3 of them.
    weights : str
        default (the publisher's file, fetched at first use), a file as published (.h5 or .h5.gz), a URL, or random.
        With the engine openl3, default means the file inside that package.
    weights_sha256 : str or None
        SHA-256 that the file must have; a URL is not used without it.
    engine : {"torch", "openl3"}
        What computes: PyTorch, or the network of the openl3 package (TensorFlow) in a process of its own.
    seed : int
        Determines random weights.

    References
    ----------
    Cramer et al. 2019, "Look, Listen and Learn More: Design Choices for Deep Audio Embeddings", ICASSP;
    github.com/marl/openl3.
    """

    def __init__(
        self,
        *,
        content: Content,
        representation: Name = "mel256",
        embedding_size: Size = 512,
        weights: str = "default",
        weights_sha256: str | None = None,
        engine: Engine = "torch",
        seed: int = 0,
    ) -> None:
        self.content = content
        self.representation = representation
        self.embedding_size = embedding_size
        self.weights = weights
        self.weights_sha256 = weights_sha256
        self.engine = engine
        self.seed = seed
        self._check()
        self.isolation = "process" if engine == "openl3" else None

    def _check(self) -> None:
        choices = {"content": Content, "representation": Name, "embedding_size": Size, "engine": Engine}
        for name, choice in choices.items():
            one_of(self, name, getattr(self, name), get_args(choice))
        sources.check(self.weights, self.weights_sha256, content=self.content, representation=self.representation)
        if self.engine == "openl3" and self.weights == "random":
            raise ConfigError("OpenL3: random weights are for engine torch; give the engine openl3 default or a file")

    @property
    def consumes(self) -> Representation:
        """A spectrogram (bands, frames) of one second."""
        return record(self.representation)

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return self.embedding_size

    def embed(self, values: Any) -> Float32:
        """Return embeddings, float32[n_windows, embedding_size].

        Parameters
        ----------
        values : float32 array of shape (n_windows, bands, frames)
            Spectrograms in dB as the front end ``openl3-mel`` gives them; NumPy or anything with ``__dlpack__``.

        Raises
        ------
        AsdError
            If the spectrograms have another shape, the weights cannot be had, or the engine is not installed.
        """
        expected = self.consumes.shape
        if tuple(values.shape[1:]) != expected:
            raise AsdError(
                f"OpenL3 {self.representation} takes spectrograms of shape {expected}, got "
                f"{tuple(values.shape[1:])}; use the front end openl3-mel with the same representation"
            )
        return self._engine(values)

    def computes_with(self) -> Runtime:
        """Return the runtime with the device and the precision of the network; the engine openl3 does not tell."""
        if self.engine == "openl3":
            return self.runtime
        import asd_torch

        return asd_torch.resolved(self.runtime, asd_torch.plan(self.runtime))

    def weight_hashes(self) -> dict[str, str]:
        """Return the SHA-256 of the weight file by its name; nothing for random weights."""
        return dict(self._hashes)

    @functools.cached_property
    def _hashes(self) -> dict[str, str]:
        if self.weights == "random":
            return {}
        path = self._find()
        return {path.name: digest_of(path)}

    def _find(self) -> Path:
        if self.engine == "openl3" and self.weights == "default":
            from asd_openl3.package import bundled_weights

            return bundled_weights(self.content, self.representation)
        return sources.find(self.weights, self.weights_sha256, content=self.content, representation=self.representation)

    @functools.cached_property
    def _engine(self) -> Callable[[Any], Float32]:
        if self.engine == "openl3":
            from asd_openl3.package import PackageEngine

            return PackageEngine(self._find(), self.representation, self.embedding_size)
        from asd_openl3.torch_engine import TorchEngine

        weights = self.seed if self.weights == "random" else self._find()
        return TorchEngine(weights, SPECTROGRAMS[self.representation].pooling[self.embedding_size], self.runtime)
