"""Front end ``waveform``: the samples themselves, for extractors that make their own spectrogram."""

from __future__ import annotations

import numpy as np

from asd.errors import ConfigError
from asd.plugin import Audio, Frontend, OnnxGraph, Representation, Windows, number, whole_number


class Waveform(Frontend):
    """Cut sound into overlapping windows.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    window : float
        Length of a window in seconds.
    hop : float
        From the start of one window to the start of the next, in seconds.

    References
    ----------
    Müller et al. 2020, arXiv:2012.06282: windows of 1 s every 0.5 s.
    """

    name = "waveform"

    def __init__(self, *, sample_rate: int = 16000, window: float = 1.0, hop: float = 0.5) -> None:
        self.sample_rate = whole_number(self, "sample_rate", sample_rate, 1)
        self.window = number(self, "window", window, above=0)
        self.hop = number(self, "hop", hop, above=0)
        for name, seconds in (("window", window), ("hop", hop)):
            if round(seconds * sample_rate) < 1:
                raise ConfigError(
                    f"{self.name}: {name} is {seconds:g} s, expected at least one sample ({1 / sample_rate:.2g} s)"
                )

    @property
    def produces(self) -> Representation:
        """A waveform (samples,)."""
        return Representation("waveform", (self.window_length,), self.sample_rate)

    @property
    def window_length(self) -> int:
        """Samples of a window."""
        return round(self.window * self.sample_rate)

    @property
    def window_hop(self) -> int:
        """Samples from the start of one window to the start of the next."""
        return round(self.hop * self.sample_rate)

    def __call__(self, audio: Audio) -> Windows:
        """Return float32 windows of shape (n_windows, samples)."""
        windows = np.lib.stride_tricks.sliding_window_view(audio.samples[0], self.window_length)[:: self.window_hop]
        start = np.arange(len(windows), dtype=np.float64) * (self.window_hop / self.sample_rate)
        return Windows(windows.copy(), start, self.window_length / self.sample_rate)

    def to_onnx(self, graph: OnnxGraph, samples: str) -> str:
        """Add the windows to `graph`; see `asd.plugin.OnnxGraph`."""
        return samples
