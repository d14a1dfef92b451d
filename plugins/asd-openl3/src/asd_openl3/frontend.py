"""Front end ``openl3-mel``: the spectrograms that OpenL3 was trained on."""

from __future__ import annotations

import functools
from typing import get_args

import numpy as np
import torch

from asd.errors import AudioError, ConfigError
from asd.plugin import Audio, Float32, Frontend, Representation, Windows, mel_filter_bank, one_of
from asd_openl3.representations import HOP_LENGTH, SAMPLE_RATE, SPECTROGRAMS, Name, Spectrogram, record

# kapre 0.1.4, which OpenL3 was trained with.
_SMALLEST_MAGNITUDE = 1e-10
_DYNAMIC_RANGE = 80.0
_WINDOWS_AT_ONCE = 2
"""Windows whose spectra fit into a processor's cache together."""
_BANDS_AT_ONCE = 32


class OpenL3Spectrogram(Frontend):
    """Cut sound into windows of one second and compute the spectrogram of each, exactly as openl3 0.4.2 does.

    Decibels are ten times the logarithm of magnitudes, relative to the window's maximum, and end at -80.

    Parameters
    ----------
    representation : {"mel256", "mel128", "linear"}
        256 or 128 mel bands, or 257 bins of a short spectrum; the extractor needs the same value.
    hop : float
        Seconds from one window to the next; 0.5 as in arXiv:2012.06282 (the openl3 package's own default is 0.1).
    center : bool
        Centre the first window on the first sample, as the openl3 package does: half a second of silence goes before
        the recording. Silence also fills the last window up, in either case.

    References
    ----------
    Cramer et al. 2019, "Look, Listen and Learn More: Design Choices for Deep Audio Embeddings", ICASSP;
    github.com/marl/openl3, openl3/core.py and openl3/models.py; github.com/keunwoochoi/kapre.
    """

    name = "openl3-mel"
    sample_rate = SAMPLE_RATE
    pad_end = True

    def __init__(self, *, representation: Name = "mel256", hop: float = 0.5, center: bool = True) -> None:
        self.representation = one_of(self, "representation", representation, get_args(Name))
        self.hop = hop
        self.center = center
        if not hop * SAMPLE_RATE >= 1:
            raise ConfigError(f"openl3-mel: hop is {hop:g} s, expected a time above 0 such as 0.5")
        self.pad_start = SAMPLE_RATE // 2 if center else 0

    @property
    def produces(self) -> Representation:
        """A spectrogram (bands, frames)."""
        return record(self.representation)

    @property
    def window_length(self) -> int:
        """Samples of a window: one second."""
        return SAMPLE_RATE

    @property
    def window_hop(self) -> int:
        """Samples from the start of one window to the start of the next."""
        return int(self.hop * SAMPLE_RATE)  # the openl3 package, too, cuts the fraction off

    def __call__(self, audio: Audio) -> Windows:
        """Return float32 spectrograms of shape (n_windows, bands, frames), lowest band first.

        Raises
        ------
        AudioError
            If `audio` is shorter than a window.
        """
        samples = audio.samples[0]
        if len(samples) < SAMPLE_RATE:
            raise AudioError(
                f"{audio.source or 'sound'}: {len(samples)} samples are shorter than OpenL3's window of {SAMPLE_RATE} "
                "(1 s at 48 kHz); record longer clips or use --short pad"
            )
        with torch.inference_mode():
            # A copy, as torch warns of memory that is read-only.
            windows = torch.tensor(samples, dtype=torch.float32).unfold(0, SAMPLE_RATE, self.window_hop)
            make = functools.partial(spectrograms, kind=SPECTROGRAMS[self.representation])
            values: Float32 = torch.cat([make(part) for part in torch.split(windows, _WINDOWS_AT_ONCE)]).numpy()
        start = np.arange(len(values), dtype=np.float64) * (self.window_hop / SAMPLE_RATE)
        return Windows(values, start, 1.0)


def spectrograms(windows: torch.Tensor, kind: Spectrogram) -> torch.Tensor:
    """Return the spectrograms in dB, float32 (n, bands, frames), of windows, float32 (n, 48000)."""
    beyond = (kind.frames - 1) * HOP_LENGTH + kind.n_fft - SAMPLE_RATE
    windows = torch.nn.functional.pad(windows, (0, max(0, beyond)))
    spectrum = torch.stft(windows, kind.n_fft, HOP_LENGTH, window=_hann(kind.n_fft), center=False, return_complex=True)
    magnitude = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag).sqrt_()
    if kind.n_mels is not None:
        parts = [torch.matmul(weights, magnitude[:, bins]) for bins, weights in _bank(kind.n_fft, kind.n_mels)]
        magnitude = torch.cat(parts, dim=1)
    decibels = magnitude.clamp_(min=_SMALLEST_MAGNITUDE).log10_().mul_(10.0)
    decibels -= decibels.amax((1, 2), keepdim=True)
    return decibels.clamp_(min=-_DYNAMIC_RANGE)


@functools.lru_cache(maxsize=4)
def _hann(length: int) -> torch.Tensor:
    return torch.hann_window(length, periodic=True)


@functools.lru_cache(maxsize=4)
def _bank(n_fft: int, n_mels: int) -> list[tuple[slice, torch.Tensor]]:
    """Return the mel filter bank as (bins, weights of a few bands): most of the whole matrix is zeros."""
    bank = mel_filter_bank(sample_rate=SAMPLE_RATE, n_fft=n_fft, n_mels=n_mels)
    blocks = []
    for start in range(0, n_mels, _BANDS_AT_ONCE):
        block = bank[start : start + _BANDS_AT_ONCE]
        used = np.flatnonzero(block.any(axis=0))
        bins = slice(int(used[0]), int(used[-1]) + 1)
        blocks.append((bins, torch.tensor(block[:, bins])))
    return blocks
