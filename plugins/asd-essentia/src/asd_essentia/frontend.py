"""Windows of samples for networks that Essentia runs: it makes their spectrograms itself."""

from __future__ import annotations

import math

import numpy as np

from asd.errors import ConfigError
from asd.plugin import Audio, Float64, Frontend, Representation, Windows

SAMPLE_RATE = 16000
"""In Hz."""
FRAME = 512
"""Samples of a frame."""
HOP = 256
"""Samples from one frame to the next."""


class MusicnnWaveform(Frontend):
    """Cut sound into the very windows of ``musicnn-mel``, for an extractor that makes its own spectrogram.

    Parameters
    ----------
    window : float
        Length of a window in seconds, rounded down to frames of 512 samples every 256; the network was trained on 3.
    hop : float
        From the start of one window to the start of the next in seconds, rounded down likewise.
    """

    sample_rate = SAMPLE_RATE
    _name = "musicnn-waveform"

    def __init__(self, *, window: float = 1.0, hop: float = 0.5) -> None:
        self.window = window
        self.hop = hop
        for name, seconds in (("window", window), ("hop", hop)):
            if not HOP / SAMPLE_RATE <= seconds < math.inf:
                raise ConfigError(
                    f"{self._name}: {name} is {seconds:g} s, expected at least {HOP / SAMPLE_RATE:g} s (one frame)"
                )

    @property
    def produces(self) -> Representation:
        """A waveform (samples,)."""
        return Representation("waveform", (self.window_length,), SAMPLE_RATE)

    @property
    def window_length(self) -> int:
        """Samples that a window looks at."""
        return (_frames(self.window) - 1) * HOP + FRAME

    @property
    def window_hop(self) -> int:
        """Samples from the start of one window to the start of the next."""
        return _frames(self.hop) * HOP

    def __call__(self, audio: Audio) -> Windows:
        """Return read-only float32 windows of shape (n_windows, samples); windows that overlap share memory."""
        cut = np.lib.stride_tricks.sliding_window_view(audio.samples[0], self.window_length)[:: self.window_hop]
        start: Float64 = np.arange(len(cut), dtype=np.float64) * (self.window_hop / SAMPLE_RATE)
        return Windows(cut, start, self.window_length / SAMPLE_RATE)


class EffnetWaveform(MusicnnWaveform):
    """Cut sound into windows as long as the patches that Essentia's networks of Discogs take.

    Parameters
    ----------
    window : float
        Length of a window in seconds, rounded down to frames of 512 samples every 256; the networks take 2.048.
    hop : float
        From the start of one window to the start of the next in seconds, rounded down likewise.
    """

    _name = "effnet-waveform"

    def __init__(self, *, window: float = 2.048, hop: float = 1.024) -> None:
        super().__init__(window=window, hop=hop)


def _frames(seconds: float) -> int:
    """Return the whole frames in a length of time: 1 s is 62, 3 s are 187, as Essentia counts its patches."""
    return int(seconds * SAMPLE_RATE / HOP + 1e-9)
