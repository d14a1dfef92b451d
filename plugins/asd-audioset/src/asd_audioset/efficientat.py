"""Embeddings and class probabilities from EfficientAT."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

import asd_torch
from asd.errors import AsdError, ConfigError
from asd.plugin import Float32, Representation, one_of
from asd_audioset import mobilenet
from asd_audioset.layers import GlobalMean, TimeMean
from asd_audioset.pretrained import Network, PretrainedExtractor
from asd_audioset.published import EFFICIENTAT_MODELS, EfficientATModel
from asd_registry import WeightFile, did_you_mean

Pool = Literal["global", "time"]

_BANDS = 128
_MIN_FRAMES = 32
"""Frames that become one step of the last stage: a shorter window would mostly show padding."""


class EfficientAT(PretrainedExtractor):
    """Activations of EfficientAT, a MobileNetV3 that was trained to tag AudioSet's sounds.

    Parameters
    ----------
    model : str
        mn01_as to mn40_as_ext; mn04_as is included, larger ones are more accurate.
    layer : int
        Stage whose activations are taken, 0 to 16, the last.
    pool : {"global", "time"}
        Mean over frequency and time, or over time alone (frequency is kept, as GenRep does).
    weights : str
        default (what its publisher offers), a file, a URL, or random.
    weights_sha256 : str or None
        SHA-256 that the file must have, or its first 8 digits or more.
    seed : int
        Determines random weights.

    References
    ----------
    Schmid et al. 2023, arXiv:2211.04772; pooling over time: GenRep, arXiv:2409.05035.
    """

    def __init__(
        self,
        *,
        model: str = "mn10_as",
        layer: int = mobilenet.N_STAGES - 1,
        pool: Pool = "global",
        weights: str = "default",
        weights_sha256: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(weights=weights, weights_sha256=weights_sha256, seed=seed)
        self.model = model
        self.layer = layer
        self.pool = one_of(self, "pool", pool, get_args(Pool))
        _check_model(model, weights, weights_sha256)
        if layer not in range(mobilenet.N_STAGES):
            stages = ", ".join(map(str, range(mobilenet.N_STAGES)))
            raise ConfigError(f"EfficientAT {model} has no layer {layer}; it has {stages} (--extractor.layer)")

    @property
    def consumes(self) -> Representation:
        """Log-mel windows (128 bands, any number of frames)."""
        return Representation("efficientat-mel", (_BANDS, None), 32000)

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        channels, rows = mobilenet.stage_shapes(self._published.width, _BANDS)[self.layer]
        return channels if self.pool == "global" else channels * rows

    def class_probabilities(self, values: Any) -> Float32:
        """Return the probability of each of AudioSet's classes, float32[n_windows, 527].

        Parameters
        ----------
        values : float32 array of shape (n_windows, 128, frames)
            Log-mel windows; the network was trained on windows of 10 s.

        Raises
        ------
        AsdError
            If the windows have another shape, or the weights cannot be had.
        """
        return self._run(self._tagger, values)

    @property
    def _published(self) -> EfficientATModel:
        return EFFICIENTAT_MODELS[self.model]

    @property
    def _default_weight(self) -> WeightFile | str:
        return self._published.weight or self._published.url

    def _check_windows(self, shape: tuple[int, ...]) -> None:
        super()._check_windows(shape)
        if shape[-1] < _MIN_FRAMES:
            raise AsdError(
                f"EfficientAT takes windows of at least {_MIN_FRAMES} frames (0.32 s), got {shape[-1]}; use longer ones"
            )

    @property
    def _name(self) -> str:  # type: ignore[override]  # a plain attribute elsewhere
        return f"EfficientAT {self.model}"

    def _empty(self) -> nn.Module:
        return mobilenet.EfficientATNetwork(self._published.width)

    def _read(self, path: Path) -> Mapping[str, torch.Tensor]:
        return mobilenet.with_torchvision_names(asd_torch.read_tensors(path))

    def _cut(self, network: Any) -> nn.Module:
        pooling = GlobalMean() if self.pool == "global" else TimeMean()
        return nn.Sequential(network.features[: self.layer + 1], pooling)

    @cached_property
    def _tagger(self) -> Network:
        return self._ready(nn.Sequential(self._loaded(), nn.Sigmoid()))


def _check_model(model: str, weights: str, sha256: str | None) -> None:
    if model not in EFFICIENTAT_MODELS:
        raise ConfigError(f"unknown EfficientAT model {model!r}; {did_you_mean(model, EFFICIENTAT_MODELS)}")
    published = EFFICIENTAT_MODELS[model]
    if published.weight is None and weights == "default" and sha256 is None:
        raise ConfigError(
            f"{model} is not downloaded, as no SHA-256 of it is known; fetch {published.url} and give its path "
            "(--extractor.weights), or give the hash that you trust (--extractor.weights_sha256)"
        )
