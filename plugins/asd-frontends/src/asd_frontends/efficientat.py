"""Front end ``efficientat-mel``: what EfficientAT, a tagger of AudioSet, was trained on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asd.errors import ConfigError
from asd.plugin import Audio, Float32, Frontend, OnnxGraph, Representation, Windows, filtered_frames
from asd_frontends import onnx
from asd_frontends.spacing import STEP_SECONDS, steps, windows
from asd_frontends.triangles import mel_triangles

_RATE = 32000
_FRAME = 800
_HOP = 320
_N_FFT = 1024
_BANDS = 128
_HIGHEST = 15000.0
_PRE_EMPHASIS = np.float32(0.97)
_FLOOR = np.float32(1e-5)

_MIN_FRAMES = 32
"""Frames that become one step of the last stage of MobileNetV3: a shorter window would mostly show padding."""


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

    sample_rate = _RATE

    def __init__(self, *, window: float = 1.0, hop: float = 0.5) -> None:
        self.window = window
        self.hop = hop
        self._frames = steps("efficientat-mel", "window", window)
        self._hop_frames = steps("efficientat-mel", "hop", hop)
        if self._frames < _MIN_FRAMES:
            raise ConfigError(
                f"efficientat-mel: window is {window:g} s, expected at least {_MIN_FRAMES * STEP_SECONDS:g} s, one "
                "step of EfficientAT's last stage; raise --frontend.window"
            )

    @property
    def produces(self) -> Representation:
        """A window (128 bands, frames)."""
        return Representation("efficientat-mel", (_BANDS, self._frames), _RATE)

    @property
    def window_length(self) -> int:
        """Samples that a window covers."""
        return self._frames * _HOP

    @property
    def window_hop(self) -> int:
        """Samples from the start of one window to the start of the next."""
        return self._hop_frames * _HOP

    def __call__(self, audio: Audio) -> Windows:
        """Return float32 windows of shape (n_windows, 128, frames), lowest band first, scaled as in training.

        What overlapping windows share is computed once. A frame reaches 400 samples to both sides of its centre, and
        centres lie 320 samples apart from a window's start on: the first two and the last reach over its ends, where
        the window is mirrored.
        """
        samples = np.asarray(audio.samples[0], np.float32)
        emphasised = samples[:-1] * -_PRE_EMPHASIS
        emphasised += samples[1:]
        own = np.lib.stride_tricks.sliding_window_view(emphasised, self.window_length - 1)[:: self.window_hop]
        values = np.empty((len(own), _BANDS, self._frames), np.float32)
        inner = np.lib.stride_tricks.sliding_window_view(emphasised[2 * _HOP - _FRAME // 2 :], _FRAME)[::_HOP]
        shared = np.lib.stride_tricks.sliding_window_view(_log_mel(inner), self._frames - 3, axis=1)
        values[:, :, 2:-1] = shared[:, :: self._hop_frames][:, : len(own)].transpose(1, 0, 2)
        outer = _log_mel(own[:, self._ends].reshape(-1, _FRAME)).reshape(_BANDS, len(own), 3)
        values[:, :, [0, 1, -1]] = outer.transpose(1, 0, 2)
        return windows(values, length=self.window_length, hop=self.window_hop, sample_rate=_RATE)

    def to_onnx(self, graph: OnnxGraph, samples: str) -> str:
        """Add the windows to `graph`; see `asd.plugin.OnnxGraph`."""
        last = self.window_length - 1
        first, second = ([graph.constant([at]) for at in ends] for ends in ((0, last), (1, last + 1)))
        axis = graph.constant([1])
        before, after = (graph.op("Slice", samples, *ends, axis) for ends in (first, second))
        emphasised = graph.op("Sub", after, graph.op("Mul", before, graph.constant(_PRE_EMPHASIS)))
        frames = onnx.cut_frames(graph, emphasised, self._positions(np.arange(self._frames)))
        bands = onnx.filtered(graph, frames, _FRAME, _bank(), symmetric=True)
        logs = graph.op("Log", graph.op("Add", bands, graph.constant(_FLOOR)))
        return graph.op("Transpose", onnx.scaled(graph, logs, 0.2, offset=4.5), perm=[0, 2, 1])

    @property
    def _ends(self) -> npt.NDArray[np.intp]:
        """Positions within a window of the samples of its first two frames and its last, (3, 800)."""
        return self._positions(np.array([0, 1, self._frames - 1]))

    def _positions(self, frames: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Positions within a window of the samples of some of its frames, (n, 800); it is mirrored at its ends."""
        last = self.window_length - 2
        centres = _HOP * frames
        positions = np.abs(centres[:, np.newaxis] + np.arange(-_FRAME // 2, _FRAME // 2, dtype=np.intp))
        mirrored: npt.NDArray[np.intp] = np.minimum(positions, 2 * last - positions)
        return mirrored


def _log_mel(frames: Float32) -> Float32:
    """Return the scaled logarithm of mel power, float32[128, n], of float32[n, 800]."""
    bands = filtered_frames(frames, _bank(), n_fft=_N_FFT, symmetric=True)
    bands += _FLOOR
    np.log(bands, out=bands)
    bands += np.float32(4.5)
    bands *= np.float32(0.2)
    return bands


def _bank() -> Float32:
    return mel_triangles(sample_rate=_RATE, n_fft=_N_FFT, n_mels=_BANDS, f_min=0.0, f_max=_HIGHEST)
