"""Embeddings from YAMNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asd.errors import WeightError
from asd.plugin import Representation
from asd_audioset.layers import GlobalMean
from asd_audioset.pretrained import PretrainedExtractor
from asd_audioset.published import YAMNET
from asd_registry import WeightFile
from asd_torch.hdf5 import open_hdf5, read_dataset

# Stride and output channels of each layer: tensorflow/models, research/audioset/yamnet/yamnet.py.
_LAYERS = (
    (2, 32),
    (1, 64),
    (2, 128),
    (1, 128),
    (2, 256),
    (1, 256),
    (2, 512),
    (1, 512),
    (1, 512),
    (1, 512),
    (1, 512),
    (1, 512),
    (2, 1024),
    (1, 1024),
)
_BATCH_NORM_EPSILON = 1e-4


class YAMNet(PretrainedExtractor):
    """The average of YAMNet's last feature map, what its classifier is fed: 1024 values for each patch of 0.96 s.

    Parameters
    ----------
    weights : str
        default (Google's yamnet.h5), a file, a URL, or random.
    weights_sha256 : str or None
        SHA-256 that the file must have, or its first 8 digits or more.
    seed : int
        Determines random weights.

    References
    ----------
    Plakal and Ellis 2020, tensorflow/models, research/audioset/yamnet.
    """

    _name = "YAMNet"

    @property
    def consumes(self) -> Representation:
        """Log-mel patches (96 frames, 64 bands)."""
        return Representation("yamnet-mel", (96, 64), 16000)

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return _LAYERS[-1][1]

    @property
    def _default_weight(self) -> WeightFile:
        return YAMNET

    def _empty(self) -> nn.Module:
        return _network()

    def _read(self, path: Path) -> Mapping[str, torch.Tensor]:
        return _read_keras(path)

    def _cut(self, network: Any) -> nn.Module:
        return nn.Sequential(network, GlobalMean())


def _network() -> nn.Sequential:
    """Return the layers by their names in the weight file."""
    (stride, channels), *others = _LAYERS
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["layer1/conv"] = _convolution(1, channels, stride=stride)
    for number, (stride, outputs) in enumerate(others, 2):
        layers[f"layer{number}/depthwise_conv"] = _convolution(channels, channels, stride=stride, groups=channels)
        layers[f"layer{number}/pointwise_conv"] = _convolution(channels, outputs, kernel=1)
        channels = outputs
    return nn.Sequential(layers)


def _convolution(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    same = kernel // 2 if stride == 1 else 0
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if stride == 2:
        # TensorFlow's "same" padding of an even length at stride 2: one row and one column, at the end.
        layers["pad"] = nn.ZeroPad2d((0, 1, 0, 1))
    layers["convolution"] = nn.Conv2d(inputs, outputs, kernel, stride, same, groups=groups, bias=False)
    layers["norm"] = nn.BatchNorm2d(outputs, eps=_BATCH_NORM_EPSILON)
    layers["relu"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


def _read_keras(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a Keras weight file of YAMNet by the names of `_network`.

    Raises
    ------
    WeightError
        If it is not HDF5, cut off, or lacks a layer.
    """
    with open_hdf5(path, "not an HDF5 file, or cut off", f"fetch {YAMNET.url} again") as file:
        try:
            return {name: tensor for layer in _network()._modules for name, tensor in _tensors(file, layer)}
        except KeyError as error:
            lacking = f"it lacks {error.args[0]!r}; expected {YAMNET.url}"
            raise WeightError(f"{path} does not fit YAMNet: {lacking}") from error


def _tensors(file: Any, layer: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of a convolution and of its batch norm, which has no scale."""
    depthwise = layer.endswith("depthwise_conv")
    kernel = _dataset(file, layer, "depthwise_kernel" if depthwise else "kernel")
    # Keras has (height, width, input, output) channels, and (height, width, channel, 1) for depthwise ones.
    yield f"{layer}.convolution.weight", kernel.permute((2, 3, 0, 1) if depthwise else (3, 2, 0, 1)).contiguous()
    norm = f"{layer}/bn"
    beta = _dataset(file, norm, "beta")
    yield f"{layer}.norm.weight", torch.ones_like(beta)
    yield f"{layer}.norm.bias", beta
    yield f"{layer}.norm.running_mean", _dataset(file, norm, "moving_mean")
    yield f"{layer}.norm.running_var", _dataset(file, norm, "moving_variance")


def _dataset(file: Any, layer: str, name: str) -> torch.Tensor:
    path = f"{layer}/{layer}/{name}:0"
    return torch.from_numpy(read_dataset(file, path))
