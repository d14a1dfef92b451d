"""Front end ``mel-stack``: a few frames of a mel spectrogram side by side, as one vector."""

from __future__ import annotations

import numpy as np

from asd.plugin import (
    Audio,
    Frontend,
    OnnxGraph,
    Representation,
    Windows,
    mel_filter_bank,
    mel_spectrogram,
    power_to_db,
    whole_number,
)
from asd_frontends import onnx
from asd_frontends.checks import check_mel


class MelStack(Frontend):
    """Stack neighbouring frames of a log-mel spectrogram into one vector, in dB relative to a power of one.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_mels : int
        Mel bands of a frame.
    n_fft : int
        Samples per Hann-windowed frame.
    hop_length : int
        Samples from one frame to the next.
    frames : int
        Frames in a vector.
    frame_hop : int
        Frames from one vector to the next.
    f_min : float
        Lowest frequency in Hz.
    f_max : float or None
        Highest frequency in Hz; none: half the sample rate.

    References
    ----------
    Purohit et al. 2019, arXiv:1909.09347: 64 bands, frames of 1024 samples every 512, 5 frames in a vector.
    """

    name = "mel-stack"

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        n_mels: int = 64,
        n_fft: int = 1024,
        hop_length: int = 512,
        frames: int = 5,
        frame_hop: int = 1,
        f_min: float = 0.0,
        f_max: float | None = None,
    ) -> None:
        self.sample_rate = sample_rate
        self.n_mels = n_mels
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.frames = frames
        self.frame_hop = frame_hop
        self.f_min = f_min
        self.f_max = f_max
        for parameter in ("sample_rate", "n_mels", "n_fft", "hop_length", "frames", "frame_hop"):
            whole_number(self, parameter, getattr(self, parameter), 1)
        check_mel(self.name, sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels, f_min=f_min, f_max=f_max)

    @property
    def produces(self) -> Representation:
        """A vector (frames · n_mels,)."""
        return Representation("vector", (self.frames * self.n_mels,), self.sample_rate)

    @property
    def window_length(self) -> int:
        """Samples that a vector covers."""
        return (self.frames - 1) * self.hop_length + self.n_fft

    @property
    def window_hop(self) -> int:
        """Samples from the start of one vector to the start of the next."""
        return self.frame_hop * self.hop_length

    def __call__(self, audio: Audio) -> Windows:
        """Return float32 vectors of shape (n_windows, frames · n_mels), frame after frame, lowest band first."""
        mel = mel_spectrogram(
            audio.samples[0],
            sample_rate=self.sample_rate,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            n_mels=self.n_mels,
            f_min=self.f_min,
            f_max=self.f_max,
        )
        level = np.ascontiguousarray(power_to_db(mel).T)
        stacks = np.lib.stride_tricks.sliding_window_view(level.ravel(), self.frames * self.n_mels)
        vectors = stacks[:: self.frame_hop * self.n_mels].copy()
        start = np.arange(len(vectors), dtype=np.float64) * (self.window_hop / self.sample_rate)
        return Windows(vectors, start, self.window_length / self.sample_rate)

    def to_onnx(self, graph: OnnxGraph, samples: str) -> str:
        """Add the windows to `graph`; see `asd.plugin.OnnxGraph`."""
        frames = onnx.cut_frames(graph, samples, onnx.regular(self.frames, self.n_fft, self.hop_length))
        bank = mel_filter_bank(
            sample_rate=self.sample_rate, n_fft=self.n_fft, n_mels=self.n_mels, f_min=self.f_min, f_max=self.f_max
        )
        return graph.op("Flatten", onnx.decibels(graph, onnx.filtered(graph, frames, self.n_fft, bank)))
