"""The front ends that the networks of AudioSet were trained with."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Literal

import numpy as np
import torch

import asd_torch
from asd.errors import ConfigError
from asd.plugin import Audio, Float32, Float64, Frontend, Representation, Windows
from asd_audioset import logmel
from asd_audioset.logmel import LogMel

Transform = Callable[[torch.Tensor], torch.Tensor]

MIN_FRAMES = 32
"""Frames that become one step of the last stage of MobileNetV3: a shorter window would mostly show padding."""

_FRAMES_EACH = 256
"""Frames whose spectra a core computes at a time: they fit into its cache."""

_STEP_SECONDS = 0.01
_PRE_EMPHASIS = 0.97


class EfficientATMel(Frontend):
    """Windows of a log-mel spectrogram as EfficientAT was trained on, each centred and padded within itself.

    Parameters
    ----------
    window : float
        Length of a window in seconds, a multiple of 0.01; the networks were trained on 10 s.
    hop : float
        From the start of one window to the next in seconds, a multiple of 0.01.

    References
    ----------
    Schmid et al. 2023, arXiv:2211.04772, and fschmid56/EfficientAT, models/preprocess.py; the default window and hop
    are those of arXiv:2012.06282.
    """

    sample_rate = logmel.EFFICIENTAT.sample_rate

    def __init__(self, *, window: float = 1.0, hop: float = 0.5) -> None:
        self.window = window
        self.hop = hop
        self._frames = _steps("efficientat-mel", "window", window)
        self._hop_frames = _steps("efficientat-mel", "hop", hop)
        if self._frames < MIN_FRAMES:
            raise ConfigError(
                f"efficientat-mel: window is {window:g} s, expected at least {MIN_FRAMES * _STEP_SECONDS:g} s, one "
                "step of EfficientAT's last stage; raise --frontend.window"
            )

    @property
    def produces(self) -> Representation:
        """A window (128 bands, frames)."""
        return Representation("efficientat-mel", (logmel.EFFICIENTAT.n_mels, self._frames), self.sample_rate)

    @property
    def window_length(self) -> int:
        """Samples that a window covers."""
        return self._frames * logmel.EFFICIENTAT.hop_length

    @property
    def window_hop(self) -> int:
        """Samples from the start of one window to the start of the next."""
        return self._hop_frames * logmel.EFFICIENTAT.hop_length

    def __call__(self, audio: Audio) -> Windows:
        """Return float32 windows of shape (n_windows, 128, frames), lowest band first, scaled as in training."""
        samples = _samples(audio)
        windows = self._windows(torch.sub(samples[1:], samples[:-1], alpha=_PRE_EMPHASIS))
        windows += np.float32(4.5)
        windows *= np.float32(0.2)
        starts = _starts(len(windows), self.window_hop / self.sample_rate)
        return Windows(windows.transpose(0, 2, 1), starts, self.window_length / self.sample_rate)

    def _windows(self, samples: torch.Tensor) -> Float32:
        """Return log-mel windows (n, frames, bands); what overlapping windows share is computed once.

        A frame reaches 400 samples to both sides of its centre, and centres lie 320 samples apart from a window's
        start on: the first two and the last reach over its ends, where the window is mirrored.
        """
        transform = logmel.EFFICIENTAT
        length, hop, half = transform.frame_length, transform.hop_length, transform.frame_length // 2
        own = samples.unfold(0, self.window_length - 1, self.window_hop)
        windows = np.empty((len(own), self._frames, transform.n_mels), np.float32)
        shared = self._log_mel(samples[2 * hop - half :].unfold(0, length, hop)).numpy()
        windows[:, 2:-1] = _cut(shared, self._frames - 3, self._hop_frames)[: len(own)]
        ends = torch.tensor([0, 1, self._frames - 1])
        reach = _mirrored(ends[:, None] * hop + torch.arange(-half, half), self.window_length - 1)
        windows[:, ends] = self._log_mel(own[:, reach].flatten(0, 1)).numpy().reshape(len(own), 3, -1)
        return windows

    @cached_property
    def _log_mel(self) -> Transform:
        return _shared(logmel.EFFICIENTAT)


class PatchMel(Frontend):
    """Patches of 96 frames (0.96 s) of a log-mel spectrogram as YAMNet and VGGish were trained on.

    Parameters
    ----------
    network : {"yamnet", "vggish"}
        They differ in what is added before the logarithm.
    hop : float
        From the start of one patch to the next in seconds, a multiple of 0.01.

    References
    ----------
    tensorflow/models, research/audioset: yamnet/features.py (hop 0.48 s) and vggish/vggish_input.py (hop 0.96 s).
    """

    sample_rate = logmel.YAMNET.sample_rate
    _FRAMES = 96

    def __init__(self, *, network: Literal["yamnet", "vggish"], hop: float = 0.48) -> None:
        self.network = network
        self.hop = hop
        self._hop_frames = _steps(f"{network}-mel", "hop", hop)

    @property
    def produces(self) -> Representation:
        """A patch (96 frames, 64 bands)."""
        return Representation(f"{self.network}-mel", (self._FRAMES, self._transform.n_mels), self.sample_rate)

    @property
    def window_length(self) -> int:
        """Samples that a patch covers: 0.975 s, as the last frame is 25 ms long."""
        return (self._FRAMES - 1) * self._transform.hop_length + self._transform.frame_length

    @property
    def window_hop(self) -> int:
        """Samples from the start of one patch to the start of the next."""
        return self._hop_frames * self._transform.hop_length

    @property
    def _transform(self) -> LogMel:
        return logmel.YAMNET if self.network == "yamnet" else logmel.VGGISH

    def __call__(self, audio: Audio) -> Windows:
        """Return float32 patches of shape (n_windows, 96, 64), earliest frame and lowest band first."""
        transform = self._transform
        bands = self._log_mel(_samples(audio).unfold(0, transform.frame_length, transform.hop_length)).numpy()
        patches = np.ascontiguousarray(_cut(bands, self._FRAMES, self._hop_frames))
        starts = _starts(len(patches), self.window_hop / self.sample_rate)
        return Windows(patches, starts, self.window_length / self.sample_rate)

    @cached_property
    def _log_mel(self) -> Transform:
        return _shared(self._transform)


def _steps(owner: str, name: str, seconds: float) -> int:
    """Return how many frames `seconds` are."""
    steps = round(seconds / _STEP_SECONDS)
    if steps < 1 or abs(steps * _STEP_SECONDS - seconds) > 1e-6:
        raise ConfigError(
            f"{owner}: {name} is {seconds:g} s, expected a multiple of {_STEP_SECONDS:g} s, the distance of frames; "
            f"change --frontend.{name}"
        )
    return steps


def _starts(count: int, hop: float) -> Float64:
    return np.arange(count, dtype=np.float64) * hop


def _samples(audio: Audio) -> torch.Tensor:
    return torch.from_numpy(np.require(audio.samples[0], np.float32, ["C", "W"]))


def _shared(transform: LogMel) -> Transform:
    """Return `transform` with its frames shared among the processor's cores."""
    here = asd_torch.Plan(torch.device("cpu"), torch.float32, "where the samples are")
    return asd_torch.share_windows(transform, here, _FRAMES_EACH)


def _cut(bands: Float32, length: int, hop: int) -> Float32:
    """Return a view (n, length, bands) of all runs of `length` frames, `hop` apart."""
    return np.lib.stride_tricks.sliding_window_view(bands, length, axis=0)[::hop].transpose(0, 2, 1)


def _mirrored(positions: torch.Tensor, length: int) -> torch.Tensor:
    """Return positions reflected at the first and the last of `length` samples, which are not repeated."""
    positions = positions.abs()
    return torch.where(positions < length, positions, 2 * (length - 1) - positions)
