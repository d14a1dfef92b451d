"""Embeddings from VGGish."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

import asd_torch
from asd.plugin import Representation
from asd_audioset.pretrained import PretrainedExtractor
from asd_audioset.published import VGGISH
from asd_registry import WeightFile

_CONVOLUTIONS: tuple[int | None, ...] = (64, None, 128, None, 256, 256, None, 512, 512, None)
"""Output channels of each convolution; None: halve height and width by the maximum."""

_DIMENSION = 128


class VGGish(PretrainedExtractor):
    """VGGish's embedding layer before its non-linearity: 128 values for each patch of 0.96 s.

    Parameters
    ----------
    weights : str
        default (torchvggish's release of Google's weights), a file, a URL, or random.
    weights_sha256 : str or None
        SHA-256 that the file must have, or its first 8 digits or more.
    seed : int
        Determines random weights.

    References
    ----------
    Hershey et al. 2017, arXiv:1609.09430; tensorflow/models, research/audioset/vggish/vggish_slim.py. The whitening
    and rounding of AudioSet's released features are left out.
    """

    _name = "VGGish"
    _auto_precision = None  # nine plain layers keep a cosine of 0.9999 in bfloat16
    _values_each = 4 * 96 * 64

    @property
    def consumes(self) -> Representation:
        """Log-mel patches (96 frames, 64 bands)."""
        return Representation("vggish-mel", (96, 64), 16000)

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return _DIMENSION

    @property
    def _default_weight(self) -> WeightFile:
        return VGGISH

    def _empty(self) -> nn.Module:
        return _Network()

    def _read(self, path: Path) -> Mapping[str, torch.Tensor]:
        return asd_torch.read_tensors(path)


class _Dense(nn.Linear):
    """A fully connected layer without initial values: drawing 70 million, only to replace them, takes a second."""

    def reset_parameters(self) -> None:
        """Leave the memory as it is."""


class _Network(nn.Module):
    """VGGish with the layers' names of torchvggish's weight file."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for outputs in _CONVOLUTIONS:
            if outputs is None:
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = outputs
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            _Dense(inputs * 6 * 4, 4096), nn.ReLU(), _Dense(4096, 4096), nn.ReLU(), _Dense(4096, _DIMENSION)
        )

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        # TensorFlow's flatten runs over time, frequency, channels.
        features: torch.Tensor = self.embeddings(self.features(patches).permute(0, 2, 3, 1).flatten(1))
        return features
