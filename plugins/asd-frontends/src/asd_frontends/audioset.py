"""Front ends ``yamnet-mel`` and ``vggish-mel``: the patches that Google's networks of AudioSet were trained on."""

from __future__ import annotations

from typing import Literal

import numpy as np

from asd.plugin import Audio, Float32, Frontend, OnnxGraph, Representation, Windows, filtered_frames
from asd_frontends import onnx
from asd_frontends.spacing import runs, steps, windows
from asd_frontends.triangles import mel_triangles

Network = Literal["yamnet", "vggish"]

_RATE = 16000
_FRAME = 400
_HOP = 160
_N_FFT = 512
_BANDS = 64
_LOWEST, _HIGHEST = 125.0, 7500.0
_FRAMES = 96
_OFFSETS: dict[Network, float] = {"yamnet": 0.001, "vggish": 0.01}
"""Added before the logarithm."""


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

    sample_rate = _RATE

    def __init__(self, *, network: Network, hop: float = 0.48) -> None:
        self.network = network
        self.hop = hop
        self._hop_frames = steps(f"{network}-mel", "hop", hop)

    @property
    def produces(self) -> Representation:
        """A patch (96 frames, 64 bands)."""
        return Representation(f"{self.network}-mel", (_FRAMES, _BANDS), _RATE)

    @property
    def window_length(self) -> int:
        """Samples that a patch covers: 0.975 s, as the last frame is 25 ms long."""
        return (_FRAMES - 1) * _HOP + _FRAME

    @property
    def window_hop(self) -> int:
        """Samples from the start of one patch to the start of the next."""
        return self._hop_frames * _HOP

    def __call__(self, audio: Audio) -> Windows:
        """Return float32 patches of shape (n_windows, 96, 64), earliest frame and lowest band first."""
        frames = np.lib.stride_tricks.sliding_window_view(audio.samples[0], _FRAME)[::_HOP]
        bands = filtered_frames(frames, self._bank, n_fft=_N_FFT, power=1)
        bands += np.float32(_OFFSETS[self.network])
        np.log(bands, out=bands)
        patches = runs(np.ascontiguousarray(bands.T), _FRAMES, self._hop_frames).copy()
        return windows(patches, length=self.window_length, hop=self.window_hop, sample_rate=_RATE)

    def to_onnx(self, graph: OnnxGraph, samples: str) -> str:
        """Add the windows to `graph`; see `asd.plugin.OnnxGraph`."""
        frames = onnx.cut_frames(graph, samples, onnx.regular(_FRAMES, _FRAME, _HOP))
        bands = onnx.filtered(graph, frames, _FRAME, self._bank, power=1)
        return graph.op("Log", graph.op("Add", bands, graph.constant(np.float32(_OFFSETS[self.network]))))

    @property
    def _bank(self) -> Float32:
        return mel_triangles(sample_rate=_RATE, n_fft=_N_FFT, n_mels=_BANDS, f_min=_LOWEST, f_max=_HIGHEST)
