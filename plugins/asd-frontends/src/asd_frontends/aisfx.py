"""Front end ``aisfx-mel``: what aiSFX, a network for sound effects, was trained on."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from asd.plugin import (
    Audio,
    Float32,
    Frontend,
    OnnxGraph,
    Representation,
    Windows,
    filtered_spectrogram,
    mel_filter_bank,
    one_of,
    whole_number,
)
from asd_frontends import onnx
from asd_frontends.spacing import runs, windows

Normalise = Literal["window", "recording", "none"]

_RATE = 44100
_N_FFT = 2048
_HOP = 1024
_BANDS = 96
_GAIN = np.float32(1e4)
_SCALE = np.float32(1 / 9.457798957824707)
"""The package's constant: about the largest logarithm in its training data."""


class AisfxMel(Frontend):
    """Cut the log-mel spectrogram that aiSFX takes into overlapping blocks, with the peak of the samples at one.

    Parameters
    ----------
    frames : int
        Frames of a block; the network was trained on 100 (2.3 s).
    frame_hop : int
        Frames from one block to the next.
    normalise : {"window", "recording", "none"}
        What is divided by its largest absolute sample: each block by itself, so that recordings of any length are read
        in blocks; the whole recording, as the package does, held in memory; or nothing, which keeps the level.

    References
    ----------
    Ma and Lerch 2022, Representation Learning for the Automatic Indexing of Sound Effects Libraries, ISMIR; equal to
    the package aisfx 0.1.2 with ``normalise="recording"``.
    """

    name = "aisfx-mel"
    sample_rate = _RATE

    def __init__(self, *, frames: int = 100, frame_hop: int = 50, normalise: Normalise = "window") -> None:
        self.frames = whole_number(self, "frames", frames, 1)
        self.frame_hop = whole_number(self, "frame_hop", frame_hop, 1)
        self.normalise = one_of(self, "normalise", normalise, get_args(Normalise))

    @property
    def produces(self) -> Representation:
        """A block (frames, 96 bands)."""
        return Representation("aisfx-mel", (self.frames, _BANDS), _RATE)

    @property
    def window_length(self) -> int | None:
        """Samples that a block covers; None if the peak is that of the whole recording."""
        return None if self.normalise == "recording" else self._length

    @property
    def window_hop(self) -> int:
        """Samples from the start of one block to the start of the next."""
        return self.frame_hop * _HOP

    @property
    def pad_start(self) -> int:  # type: ignore[override]  # a plain attribute elsewhere
        """Samples of silence before a recording: the package centres its first frame on the first sample."""
        return 0 if self.normalise == "recording" else _N_FFT // 2

    @property
    def _length(self) -> int:
        return (self.frames - 1) * _HOP + _N_FFT

    def __call__(self, audio: Audio) -> Windows:
        """Return float32 blocks of shape (n_windows, frames, 96), earliest frame and lowest band first."""
        samples = audio.samples[0]
        if self.normalise == "recording":
            samples = self._whole(samples)
        mel = np.ascontiguousarray(filtered_spectrogram(samples, _bank(), n_fft=_N_FFT, hop_length=_HOP).T)
        blocks = runs(mel, self.frames, self.frame_hop).copy()
        if self.normalise == "window":
            own = np.lib.stride_tricks.sliding_window_view(samples, self._length)[:: self.window_hop]
            peaks = np.array([_peak(each) for each in own], np.float32)[:, np.newaxis, np.newaxis]
            blocks /= peaks
            blocks /= peaks  # the square of a very small peak would be zero
        blocks *= _GAIN
        np.log10(np.add(blocks, np.float32(1.0), out=blocks), out=blocks)
        blocks *= _SCALE
        found = windows(blocks, length=self._length, hop=self.window_hop, sample_rate=_RATE)
        before = _N_FFT // 2 / _RATE if self.normalise == "recording" else 0.0
        return Windows(found.values, found.start - before, found.duration)

    def to_onnx(self, graph: OnnxGraph, samples: str) -> str:
        """Add the windows to `graph`; see `asd.plugin.OnnxGraph`."""
        if self.normalise == "recording":
            raise NotImplementedError("normalise is 'recording'; fit with --frontend.normalise window or none")
        if self.normalise == "window":
            peak = graph.op("ReduceMax", graph.op("Abs", samples), axes=[1], keepdims=1)
            silent = graph.op("Equal", peak, graph.constant(np.float32(0.0)))
            samples = graph.op("Div", samples, graph.op("Where", silent, graph.constant(np.float32(1.0)), peak))
        frames = onnx.cut_frames(graph, samples, onnx.regular(self.frames, _N_FFT, _HOP))
        power = onnx.scaled(graph, onnx.filtered(graph, frames, _N_FFT, _bank()), float(_GAIN))
        logs = onnx.log10(graph, graph.op("Add", power, graph.constant(np.float32(1.0))))
        return onnx.scaled(graph, logs, float(_SCALE))

    def _whole(self, samples: Float32) -> Float32:
        """Return a recording with its peak at one and half a frame of silence at both ends."""
        shortest = self._length - _N_FFT
        if len(samples) < shortest:
            samples = np.resize(samples, shortest)
        return np.pad(samples / _peak(samples), _N_FFT // 2)


def _peak(samples: Float32) -> np.float32:
    """Return the largest absolute sample; 1 for silence, which stays as it is."""
    peak = max(samples.max(), -samples.min())
    return np.float32(peak) if peak > 0 else np.float32(1.0)


@lru_cache(maxsize=1)
def _bank() -> Float32:
    """Return HTK's triangles, each of which sums to one, read-only float32 (96, 1025)."""
    bank = mel_filter_bank(sample_rate=_RATE, n_fft=_N_FFT, n_mels=_BANDS, formula="htk", norm=None)
    normalised: Float32 = bank / bank.sum(axis=1, keepdims=True)
    normalised.flags.writeable = False
    return normalised
