"""Front end ``musicnn-mel``: what MusiCNN was trained on, as Essentia's TensorflowInputMusiCNN computes it."""

from __future__ import annotations

import math

import numpy as np

from asd.errors import ConfigError
from asd.plugin import Audio, Float32, Frontend, OnnxGraph, Representation, Windows, filtered_spectrogram
from asd_frontends import onnx
from asd_frontends.musicnn_bank import BANDS, FRAME, HOP, SAMPLE_RATE, mel_bank
from asd_frontends.spacing import runs, windows


class MusicnnMel(Frontend):
    """Cut the log mel spectrogram that MusiCNN takes into overlapping windows.

    Parameters
    ----------
    window : float
        Length of a window in seconds, rounded down to frames of 512 samples every 256; the network was trained on 3.
    hop : float
        From the start of one window to the start of the next in seconds, rounded down likewise.

    References
    ----------
    Pons and Serra 2019, arXiv:1909.06654; equal to Essentia's TensorflowInputMusiCNN. Windows of 1 s every 0.5 s:
    Müller et al. 2020, arXiv:2012.06282.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, *, window: float = 1.0, hop: float = 0.5) -> None:
        self.window = window
        self.hop = hop
        for name, seconds in (("window", window), ("hop", hop)):
            if not HOP / SAMPLE_RATE <= seconds < math.inf:
                raise ConfigError(
                    f"musicnn-mel: {name} is {seconds:g} s, expected at least {HOP / SAMPLE_RATE:g} s (one frame)"
                )

    @property
    def frames(self) -> int:
        """Frames of a window."""
        return _frames(self.window)

    @property
    def produces(self) -> Representation:
        """Log mel magnitudes (frames, 96)."""
        return Representation("musicnn-mel", (self.frames, BANDS), SAMPLE_RATE)

    @property
    def window_length(self) -> int:
        """Samples that a window looks at."""
        return (self.frames - 1) * HOP + FRAME

    @property
    def window_hop(self) -> int:
        """Samples from the start of one window to the start of the next."""
        return _frames(self.hop) * HOP

    def __call__(self, audio: Audio) -> Windows:
        """Return read-only float32 windows of shape (n_windows, frames, 96); windows that overlap share memory."""
        values = runs(log_mel(audio.samples[0]), self.frames, _frames(self.hop))
        return windows(values, length=self.window_length, hop=self.window_hop, sample_rate=SAMPLE_RATE)

    def to_onnx(self, graph: OnnxGraph, samples: str) -> str:
        """Add the windows to `graph`; see `asd.plugin.OnnxGraph`."""
        frames = onnx.cut_frames(graph, samples, onnx.regular(self.frames, FRAME, HOP))
        power = onnx.filtered(graph, frames, FRAME, mel_bank(), symmetric=True)
        return onnx.log10(graph, graph.op("Add", onnx.scaled(graph, power, 10000.0), graph.constant(np.float32(1.0))))


def log_mel(samples: Float32) -> Float32:
    """Return MusiCNN's input for a stretch of sound: log10(1 + 10000 × mel power).

    Parameters
    ----------
    samples : float32 array of shape (n,)
        At 16 kHz, at least 512 samples.

    Returns
    -------
    float32 array of shape (1 + (n - 512) // 256, 96)
        Frame i looks at the samples ``[256 i, 256 i + 512)``.
    """
    power = filtered_spectrogram(samples, mel_bank(), n_fft=FRAME, hop_length=HOP, symmetric=True)
    mel = np.multiply(power.T, np.float32(10000.0), order="C")
    mel += np.float32(1.0)
    return np.log10(mel, out=mel)


def _frames(seconds: float) -> int:
    """Return the whole frames in a length of time: 1 s is 62, 3 s are 187, as Essentia counts its patches."""
    return int(seconds * SAMPLE_RATE / HOP + 1e-9)
