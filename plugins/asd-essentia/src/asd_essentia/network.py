"""MusiCNN in torch."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from asd_essentia import layers
from asd_essentia.folding import Tensors, batch_norm, convolution
from asd_essentia.temporal import Temporal
from asd_essentia.timbral import TAPS, Timbral


class Network:
    """MusiCNN, ready to compute the activations of some of its layers.

    Parameters
    ----------
    tensors : mapping of str to torch.Tensor
        Weights by TensorFlow's names.
    names : tuple of str
        Layers whose activations are wanted (`asd_essentia.plugin.Layer`).
    device, dtype : torch.device, torch.dtype
        Where and in which number format to compute; pooling and dense layers compute in float32.

    References
    ----------
    Pons and Serra 2019, arXiv:1909.06654; the graph is that of the models frozen for Essentia.
    """

    def __init__(
        self, tensors: Tensors, names: tuple[str, ...], device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        self._names = names
        self._needed = layers.needed(names)
        self._dtype = dtype
        scale, shift = batch_norm(tensors, 0)
        self._scale, self._shift = float(scale), float(shift)
        self._timbral = Timbral(tensors, device, dtype)
        self._temporal = Temporal(tensors, device, dtype)
        self._convolutions = [_Convolution(tensors, number, device, dtype) for number in (5, 6, 7)]
        self._penultimate = _dense(tensors, "dense", 9, device)
        self._taggram = _dense(tensors, "dense_1", 10, device)

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        """Return the activations, float32 (n, dimension), of windows (n, frames, 96)."""
        computed = self._computed(self._features(windows))
        return torch.cat(layers.picked(self._names, computed), dim=1)

    def _features(self, windows: torch.Tensor) -> torch.Tensor:
        """Return what the pooling sees, float32 (n, frames, 753)."""
        frames, view = _shared_frames(windows)
        scaled = (frames.float() * self._scale + self._shift).to(self._dtype).as_strided(windows.shape, view)
        front = torch.cat([self._timbral(scaled), self._temporal(scaled)], dim=2)
        first = self._convolutions[0](front)
        second = self._convolutions[1](first) + first
        third = self._convolutions[2](second) + second
        return torch.cat([front, first, second, third], dim=2)

    def _computed(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        found = {"mean-pool": features.mean(dim=1)}
        if self._needed != ("mean-pool",):
            found["max-pool"] = features.amax(dim=1)
        if not set(self._needed).isdisjoint(("penultimate", "taggram")):
            pooled = torch.stack([found["max-pool"], found["mean-pool"]], dim=2).flatten(1)
            found["penultimate"] = F.linear(pooled, *self._penultimate)
            found["taggram"] = torch.sigmoid(F.linear(F.relu(found["penultimate"]), *self._taggram))
        return found


def _shared_frames(windows: torch.Tensor) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Return the frames that windows consist of, each once where windows share memory, and the strides over them."""
    count, frames, bands = windows.shape
    if windows.stride()[1:] != (bands, 1) or windows.stride(0) % bands:
        windows = windows.contiguous()
    strides = windows.stride()
    length = (count - 1) * strides[0] // bands + frames
    return windows.as_strided((length, bands), (bands, 1)), strides


class _Convolution:
    """A convolution over 7 frames and all that came before, then rectifier and batch norm."""

    def __init__(self, tensors: Tensors, number: int, device: torch.device, dtype: torch.dtype) -> None:
        kernel, bias = convolution(tensors, number)
        self._kernel = kernel.permute(2, 1, 0).contiguous().to(device, dtype)
        self._bias = bias.to(device, dtype)
        self._scale, self._shift = (tensor.to(device) for tensor in batch_norm(tensors, number + 1))

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Return the activations, float32 (n, frames, 64), of features (n, frames, size)."""
        columns = features.to(self._kernel.dtype).transpose(1, 2)
        found = F.conv1d(columns, self._kernel, self._bias, padding=TAPS // 2)
        return F.relu(found).transpose(1, 2).float() * self._scale + self._shift


def _dense(tensors: Tensors, name: str, norm: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weight and the bias of a dense layer with the batch norm before it folded in."""
    kernel, bias = tensors[f"{name}/kernel"], tensors[f"{name}/bias"]
    scale, shift = batch_norm(tensors, norm)
    return (kernel * scale[:, None]).T.contiguous().to(device), (bias + shift @ kernel).to(device)
