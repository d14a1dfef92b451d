"""Embeddings from image networks."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

import asd_torch
from asd.errors import AsdError, ConfigError
from asd.plugin import Extractor, Float32, Representation, Runtime, check_weights, digest_of, one_of, resolve_weights
from asd_imagenet import layers, models, sources
from asd_imagenet.plugin import DIMENSIONS, EMBEDDED_MODEL
from asd_imagenet.pooling import Pool, default_pool, pooled

_log = logging.getLogger("asd")
_DEFAULT_BATCH_SIZE = 32
_WINDOWS_PER_CORE = 16

Embed = Callable[[torch.Tensor], torch.Tensor]


class ImageNetExtractor(Extractor):
    """Activations of an image network trained on ImageNet, as in arXiv:2006.03429.

    Parameters
    ----------
    model : str
        A classifier of torchvision.models.
    layer : tuple of str or None
        Layers whose pooled activations are concatenated; None: what the final classifier is fed.
    pool : {"default", "average", "max", "2x2", "flatten"}
        How a feature map becomes a vector; default: averaged over the map, for SqueezeNet over its four quarters.
    weights : str
        default (the file that ships with squeezenet1_0, torchvision's best for others), a weight set of torchvision
        such as IMAGENET1K_V1, a file, a URL, or random.
    weights_sha256 : str or None
        SHA-256 that the file must have, or its first 8 digits or more; a URL is not used without it.
    seed : int
        Determines random weights.
    """

    def __init__(
        self,
        *,
        model: str = "squeezenet1_0",
        layer: tuple[str, ...] | None = None,
        pool: Pool = "default",
        weights: str = "default",
        weights_sha256: str | None = None,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.layer = layer
        self.pool = one_of(self, "pool", pool, get_args(Pool))
        self.weights = weights
        self.weights_sha256 = weights_sha256
        self.seed = seed
        models.check_model(model)
        check_weights(weights, ("random", *sources.published(model)), sha256=weights_sha256)
        if layer is not None and (not layer or not all(layer)):
            raise ConfigError("layer is empty; name at least one, or leave it out for what the classifier is fed")

    @property
    def consumes(self) -> Representation:
        """Pictures (3, height, width), of the size that the weights were trained for."""
        size = self._image_size
        return Representation("image", (3, size, size))

    @property
    def dimension(self) -> int:
        """Length of an embedding; found without weights and without computing."""
        if self.layer is None and self.pool == "default" and self.model in DIMENSIONS:
            return DIMENSIONS[self.model]
        return self._inferred_dimension

    def embed(self, values: Any) -> Float32:
        """Return embeddings, float32[n_windows, dimension].

        Parameters
        ----------
        values : float32 array of shape (n_windows, 3, height, width)
            Scaled by ImageNet's mean and standard deviation; NumPy or anything with ``__dlpack__``; fastest if
            channels lie last in memory.

        Raises
        ------
        AsdError
            If the pictures have another shape, or the weights cannot be had.
        """
        values, expected = asd_torch.as_array(values), self.consumes.shape
        if tuple(values.shape[1:]) != expected:
            raise AsdError(f"{self.model} takes pictures of shape {expected}, got {tuple(values.shape[1:])}")
        plan = asd_torch.plan(self.runtime)
        return asd_torch.run(self._shared, values, plan, self.runtime.batch_size, _DEFAULT_BATCH_SIZE)

    def computes_with(self) -> Runtime:
        """Return the runtime with the device and the precision of the network."""
        return asd_torch.resolved(self.runtime, asd_torch.plan(self.runtime))

    def weight_hashes(self) -> dict[str, str]:
        """Return the SHA-256 of the weight file by its name; nothing for random weights."""
        return dict(self._hashes)

    @functools.cached_property
    def _image_size(self) -> int:
        return models.image_size(self.model, self.weights)

    @functools.cached_property
    def _file(self) -> Path:
        """The weight file; verifying a large one takes a while."""
        known = sources.published(self.model)
        return resolve_weights(self.weights, known, sha256=self.weights_sha256, alternative=EMBEDDED_MODEL)

    @functools.cached_property
    def _hashes(self) -> dict[str, str]:
        if self.weights == "random":
            return {}
        return {self._file.name: digest_of(self._file)}

    @functools.cached_property
    def _network(self) -> nn.Module:
        return asd_torch.prepare(self._cut(self._loaded()), asd_torch.plan(self.runtime))

    @functools.cached_property
    def _shared(self) -> Embed:
        vectors = functools.partial(self._vectors, self._network)
        return asd_torch.share_windows(vectors, asd_torch.plan(self.runtime), _WINDOWS_PER_CORE)

    def _loaded(self) -> nn.Module:
        if self.weights == "random":
            _log.warning("%s has random weights (seed %d): good for tests, not for results", self.model, self.seed)
            return models.build_random(self.model, self._image_size, self.seed)
        network = models.build(self.model, self._image_size, pretrained=True)
        sources.load(network, self._file, self.model)
        return network

    def _cut(self, network: nn.Module) -> nn.Module:
        if self.layer is None:
            return layers.before_classifier(network, self.model)
        return layers.up_to_layers(network, self.model, self.layer)

    def _vectors(self, network: nn.Module, windows: torch.Tensor) -> torch.Tensor:
        activations = network(windows)
        found = activations if isinstance(activations, dict) else {"": activations}
        if self.pool != "default" and all(tensor.dim() == 2 for tensor in found.values()):
            raise ConfigError(
                f"pool {self.pool!r} has nothing to pool: {self.model} gives vectors here; "
                "leave pool out, or name a layer that gives a feature map"
            )
        pool = default_pool(self.model) if self.pool == "default" else self.pool
        return torch.cat(
            [pooled(tensor, pool, channels_last=self._is_channels_last(name)) for name, tensor in found.items()], dim=1
        )

    def _is_channels_last(self, layer: str) -> bool:
        return self.model.startswith("swin") and layer.partition(".")[0] in ("features", "norm")

    @functools.cached_property
    def _inferred_dimension(self) -> int:
        size = self._image_size
        network = self._cut(models.build(self.model, size, pretrained=False)).to("meta")
        with torch.inference_mode():
            return self._vectors(network, torch.empty(1, 3, size, size, device="meta")).shape[1]
