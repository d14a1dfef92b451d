"""The logarithm of mel bands, as the networks of AudioSet take it: triangles that are linear in mel, in float32."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from asd.plugin import Float64


def mel(frequency: Float64) -> Float64:
    """Return frequencies in Hz on HTK's mel scale, 1127 ln(1 + f / 700)."""
    return 1127.0 * np.log1p(frequency / 700.0)


@dataclass(frozen=True)
class LogMel:
    """How frames of samples become log-mel bands: ln(mel + offset).

    Parameters
    ----------
    sample_rate : int
        In Hz.
    frame_length, hop_length : int
        Samples per frame, and from one frame to the next.
    n_fft : int
        Length to which a frame is padded with zeros.
    n_mels : int
        Number of bands.
    f_min, f_max : float
        Lowest and highest frequency in Hz.
    power : bool
        Whether bands sum squared magnitudes; else magnitudes.
    periodic : bool
        Whether the Hann window is periodic; else symmetric.
    offset : float
        Added before the logarithm.
    """

    sample_rate: int
    frame_length: int
    hop_length: int
    n_fft: int
    n_mels: int
    f_min: float
    f_max: float
    power: bool
    periodic: bool
    offset: float

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        """Return float32[n, n_mels] for float32[n, frame_length]."""
        bank = self._bank
        spectrum = torch.view_as_real(torch.fft.rfft(frames * self._window, self.n_fft)[:, : len(bank)])
        energy = spectrum[..., 0].square().addcmul_(spectrum[..., 1], spectrum[..., 1])
        if not self.power:
            energy.sqrt_()
        return (energy @ bank).add_(self.offset).log_()

    @cached_property
    def _window(self) -> torch.Tensor:
        return torch.hann_window(self.frame_length, periodic=self.periodic)

    @cached_property
    def _bank(self) -> torch.Tensor:
        """Triangles, float32[bins, n_mels]; bins above the highest frequency (weight zero) are left out."""
        bins = mel(np.linspace(0.0, self.sample_rate / 2, self.n_fft // 2 + 1))
        lowest, highest = mel(np.array([self.f_min, self.f_max]))
        edges = np.linspace(lowest, highest, self.n_mels + 2)
        width = edges[1] - edges[0]
        rising = (bins[:, np.newaxis] - edges[:-2]) / width
        falling = (edges[2:] - bins[:, np.newaxis]) / width
        bank = np.maximum(0.0, np.minimum(rising, falling))
        used = np.flatnonzero(bank.any(axis=1))[-1] + 1
        return torch.from_numpy(bank[:used].astype(np.float32))


EFFICIENTAT = LogMel(
    sample_rate=32000,
    frame_length=800,
    hop_length=320,
    n_fft=1024,
    n_mels=128,
    f_min=0.0,
    f_max=15000.0,
    power=True,
    periodic=False,
    offset=1e-5,
)
"""As fschmid56/EfficientAT, models/preprocess.py."""

YAMNET = LogMel(
    sample_rate=16000,
    frame_length=400,
    hop_length=160,
    n_fft=512,
    n_mels=64,
    f_min=125.0,
    f_max=7500.0,
    power=False,
    periodic=True,
    offset=0.001,
)
"""As tensorflow/models, research/audioset/yamnet/params.py."""

VGGISH = replace(YAMNET, offset=0.01)
"""As tensorflow/models, research/audioset/vggish/vggish_params.py."""
