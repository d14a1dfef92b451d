"""Extractors ``sound-level`` and ``tonality``: how loud sound is, and how far tones stand out of it."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

import numpy as np

from asd.errors import ConfigError, DataError
from asd.plugin import (
    CheckedExtractor,
    FeatureInfo,
    Float32,
    Float64,
    OnnxGraph,
    Representation,
    hz_to_mel,
    mel_to_hz,
    number,
    power_spectrogram,
    power_to_db,
    whole_number,
)
from asd_frontends import onnx
from asd_frontends.background import STEP, median, neighbours, running_median

_F_MIN = 40.0
"""Lowest frequency of tones in Hz."""

_SPECTRUM_FLOOR = 1e-12
"""Least power of a bin: less than 16-bit recordings hold, more than a resampler leaves above their own band."""


class SoundLevel(CheckedExtractor):
    """The level of a window in dB relative to full scale: ten times the logarithm of the mean square.

    One value, so that a detector decides by it alone. Among the many values of ``band-levels`` a change of level by a
    few dB is lost if there are few recordings to learn from.

    Parameters
    ----------
    sample_rate : int
        In Hz; the front end's.
    floor : float
        Least level in dB.
    """

    name = "sound-level"

    def __init__(self, *, sample_rate: int = 32000, floor: float = -120.0) -> None:
        self.sample_rate = whole_number(self, "sample_rate", sample_rate, 1)
        self.floor = number(self, "floor", floor, at_least=-300, below=0)

    @property
    def consumes(self) -> Representation:
        """Waveforms (samples,) of any length at the sample rate."""
        return Representation("waveform", (None,), self.sample_rate)

    @property
    def dimension(self) -> int:
        """One."""
        return 1

    def features(self) -> list[FeatureInfo]:
        """Return what the value measures."""
        return [FeatureInfo("level", "dB")]

    def _embed(self, windows: Float32) -> Float32:
        power = np.square(windows, dtype=np.float64).mean(axis=1, keepdims=True)
        return power_to_db(power.astype(np.float32), floor=10 ** (self.floor / 10))

    def to_onnx(self, graph: OnnxGraph, windows: str) -> str:
        """Add the embeddings to `graph`; see `asd.plugin.OnnxGraph`."""
        samples = graph.op("Cast", windows, to=np.float64)
        power = graph.op("ReduceMean", graph.op("Mul", samples, samples), axes=[1], keepdims=1)
        return onnx.decibels(graph, graph.op("Cast", power, to=np.float32), 10 ** (self.floor / 10))


class Tonality(CheckedExtractor):
    """How far tones stand out of each frequency band, in dB, whatever the level.

    The median over the frames of a fine power spectrum, in dB, less its running median over frequency, is how far each
    bin stands out of its surroundings; negative values count as zero. Of each mel band: the root mean square over its
    bins. A new whine, the hum of a motor or the harmonics of a gear raise it, even far below the level of the machine,
    and broadband noise does not.

    Parameters
    ----------
    sample_rate : int
        In Hz; the front end's.
    n_fft : int
        Samples per Hann-windowed frame; frames overlap by half. It decides how fine the spectrum is.
    n_bands : int
        Mel bands from 40 Hz to half the sample rate.
    width : float
        Width of the running median over frequency in Hz.

    Notes
    -----
    In the spirit of DIN 45681 and ISO/PAS 20065, which measure tones against the noise about them.
    """

    name = "tonality"

    def __init__(self, *, sample_rate: int = 32000, n_fft: int = 8192, n_bands: int = 20, width: float = 200.0) -> None:
        self.sample_rate = whole_number(self, "sample_rate", sample_rate, 100)
        self.n_fft = whole_number(self, "n_fft", n_fft, 256)
        self.n_bands = whole_number(self, "n_bands", n_bands, 1)
        self.width = number(self, "width", width, above=0)
        spacing = sample_rate / n_fft
        if width < 3 * spacing:
            raise ConfigError(
                f"{self.name}: width is {width:g} Hz, expected at least {3 * spacing:g} Hz (three bins); "
                "raise --extractor.width or --extractor.n_fft"
            )
        if (np.diff(self._bins) < 1).any():
            raise ConfigError(
                f"{self.name}: n_bands is {n_bands}, which leaves a band without a bin ({spacing:g} Hz wide); "
                "lower --extractor.n_bands or raise --extractor.n_fft"
            )

    @property
    def consumes(self) -> Representation:
        """Waveforms (samples,) of any length at the sample rate."""
        return Representation("waveform", (None,), self.sample_rate)

    @property
    def dimension(self) -> int:
        """The number of bands."""
        return self.n_bands

    def features(self) -> list[FeatureInfo]:
        """Return what each value measures."""
        edges = (self._bins * self.sample_rate / self.n_fft).tolist()
        return [FeatureInfo("tonality", "dB", band) for band in pairwise(edges)]

    @cached_property
    def _bins(self) -> Float64:
        """First bin of each band, and the bin after the last."""
        lowest, highest = hz_to_mel(np.array([_F_MIN, self.sample_rate / 2]), "htk")
        edges = mel_to_hz(np.linspace(lowest, highest, self.n_bands + 1), "htk")
        return np.ceil(edges * self.n_fft / self.sample_rate)

    def _embed(self, windows: Float32) -> Float32:
        if windows.shape[1] < self.n_fft:
            raise DataError(
                f"{self.name}: windows of {windows.shape[1]} samples, expected at least {self.n_fft}; "
                "raise --frontend.window or lower --extractor.n_fft"
            )
        # A periodic Hann window's squares sum to 3/8 of its length.
        middle = np.array([median(self._spectra(window)) for window in windows]) * np.float32(16 / 3 / self.n_fft**2)
        spectra = power_to_db(middle, floor=_SPECTRUM_FLOOR)
        prominence = np.maximum(spectra - running_median(spectra.T, self._half).T, 0.0)
        bins = self._bins.astype(np.intp)
        sums = np.add.reduceat(np.square(prominence[:, : bins[-1]]), bins[:-1], axis=1)
        return np.asarray(np.sqrt(sums / np.diff(bins)), np.float32)

    def _spectra(self, window: Float32) -> Float32:
        """Return the power spectra of the frames of samples, float32[n_bins, n_frames]."""
        return power_spectrogram(window, n_fft=self.n_fft, hop_length=self.n_fft // 2)

    @property
    def _half(self) -> int:
        """Bins to each side of the centre of a running median."""
        return max(1, round(self.width * self.n_fft / self.sample_rate / 2))

    def to_onnx(self, graph: OnnxGraph, windows: str) -> str:
        """Add the embeddings to `graph`; see `asd.plugin.OnnxGraph`."""
        spectra = onnx.fine_spectra(graph, windows, self.n_fft, self.n_fft // 2)
        median = onnx.scaled(graph, onnx.median(graph, spectra, 1), 16 / 3 / self.n_fft**2)
        spectrum = onnx.decibels(graph, median, _SPECTRUM_FLOOR)
        above = graph.op("Sub", spectrum, self._background_to_onnx(graph, spectrum))
        prominence = graph.op("Max", above, graph.constant(np.float32(0)))
        squares = graph.op("Mul", prominence, prominence)
        bins = self._bins.astype(np.int64).tolist()
        means = [
            graph.op("ReduceMean", graph.op("Gather", squares, graph.constant(np.arange(*band)), axis=1), axes=[1])
            for band in pairwise(bins)
        ]
        return graph.op("Sqrt", graph.op("Concat", *means, axis=1))

    def _background_to_onnx(self, graph: OnnxGraph, spectrum: str) -> str:
        bins = self.n_fft // 2 + 1
        around = graph.constant(neighbours(bins, self._half))
        medians = onnx.median(graph, graph.op("Gather", spectrum, around, axis=1), 2)
        pixels = graph.op("Unsqueeze", medians, graph.constant([1, 2]))
        scales = graph.constant(np.array([1, 1, 1, STEP], np.float32))
        fine = graph.op(
            "Resize", pixels, "", scales, mode="linear", coordinate_transformation_mode="asymmetric"
        )  # its last values repeat the last median, as they do where it is interpolated
        whole = graph.op("Squeeze", fine, graph.constant([1, 2]))
        return graph.op("Slice", whole, graph.constant([0]), graph.constant([bins]), graph.constant([1]))
