"""Extractor ``envelope``: what repeats in a frequency band, such as knocks, clicks and squeals; and its front end."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from asd.errors import ConfigError, DataError
from asd.plugin import (
    CheckedExtractor,
    FeatureInfo,
    Float32,
    Float64,
    OnnxGraph,
    Representation,
    number,
    power_spectrogram,
    whole_number,
)
from asd_frontends import onnx
from asd_frontends.background import STEP, median, neighbours, running_median
from asd_frontends.waveform import Waveform

_SPECTRUM_FLOOR = 1e-12
"""Least power of a bin: less than 16-bit recordings hold, more than a resampler leaves above their own band."""

_OVERLAP = 4
"""Frames that a sample lies in: the envelope then holds all that a frame lets through."""

_SIDE = 4.0
"""The floor of the envelope's spectrum is its median over as many Hz to each side."""

_PERIODS = 4
"""Periods of the slowest rate that a window holds at least: a Hann window does not resolve less."""

_LEAST_PEAK = 1e-20
"""Least power of the envelope's spectrum: silence has no peaks, rounding errors are none."""


class EnvelopeWaveform(Waveform):
    """Cut sound into windows of five seconds for ``envelope``: long enough to see what repeats once a second.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    window : float
        Length of a window in seconds.
    hop : float
        From the start of one window to the start of the next, in seconds.
    """

    name = "envelope-waveform"

    def __init__(self, *, sample_rate: int = 32000, window: float = 5.0, hop: float = 2.5) -> None:
        super().__init__(sample_rate=sample_rate, window=window, hop=hop)


class Envelope(CheckedExtractor):
    """How far a pulsation stands out of the fluctuation of each frequency band, in dB, whatever the level.

    Knocks of a bearing, clicks of a valve or a belt's squeal repeat several times a second. They raise a line in the
    spectrum of the band's envelope at their rate, even if they are far below the noise: over some seconds the noise's
    own fluctuation averages out. Of each band and range of rates: the highest line of the envelope's spectrum over the
    median about it, as power in dB.

    The envelope is the logarithm of the band's power, each bin of the spectrogram divided by its median over time, so
    that steady tones do not hide what happens beside them and single bangs count little.

    Parameters
    ----------
    sample_rate : int
        In Hz; the front end's.
    n_fft : int
        Samples per Hann-windowed frame; frames overlap by three quarters. Short frames follow fast rates.
    bands_per_octave : int
        Bands of an octave.
    f_min : float
        Lowest frequency in Hz; the bands reach up to half the sample rate.
    rate_min : float
        Slowest rate in Hz (times a second).
    n_rates : int
        Ranges of rates, each an octave.

    Notes
    -----
    Envelope analysis of rotating machines: Randall and Antoni 2011, Rolling element bearing diagnostics: a tutorial,
    Mechanical Systems and Signal Processing 25, 485-520. White noise gives 5 to 10 dB, the highest of a range's lines:
    more where a range has more of them.
    """

    name = "envelope"

    def __init__(
        self,
        *,
        sample_rate: int = 32000,
        n_fft: int = 512,
        bands_per_octave: int = 2,
        f_min: float = 250.0,
        rate_min: float = 1.5,
        n_rates: int = 6,
    ) -> None:
        self.sample_rate = whole_number(self, "sample_rate", sample_rate, 1)
        self.n_fft = whole_number(self, "n_fft", n_fft, 16)
        self.bands_per_octave = whole_number(self, "bands_per_octave", bands_per_octave, 1)
        self.f_min = number(self, "f_min", f_min, above=0)
        self.rate_min = number(self, "rate_min", rate_min, above=0)
        self.n_rates = whole_number(self, "n_rates", n_rates, 1)
        self._check_bands()
        self._check_rates()

    def _check_bands(self) -> None:
        highest = self.sample_rate / 2 ** (1 + 1 / self.bands_per_octave)
        if self.f_min > highest:
            raise ConfigError(
                f"{self.name}: f_min is {self.f_min:g} Hz, expected at most {highest:g} Hz (one band below half the "
                "sample rate); lower --extractor.f_min"
            )
        if (np.diff(self._bins) < 1).any():
            raise ConfigError(
                f"{self.name}: bands_per_octave is {self.bands_per_octave}, which leaves a band without a bin "
                f"({self.sample_rate / self.n_fft:g} Hz wide); lower --extractor.bands_per_octave or raise "
                "--extractor.n_fft"
            )

    def _check_rates(self) -> None:
        fastest = _OVERLAP * self.sample_rate / self.n_fft / 2 - _SIDE
        if self._rates[-1] > fastest:
            raise ConfigError(
                f"{self.name}: n_rates is {self.n_rates}, which reaches up to {self._rates[-1]:g} times a second, "
                f"expected at most {fastest:g} with frames of {self.n_fft} samples; lower --extractor.n_rates or "
                "--extractor.n_fft"
            )

    @property
    def consumes(self) -> Representation:
        """Waveforms (samples,) of any length at the sample rate."""
        return Representation("waveform", (None,), self.sample_rate)

    @property
    def dimension(self) -> int:
        """The number of bands times that of ranges of rates."""
        return (len(self._bins) - 1) * self.n_rates

    def features(self) -> list[FeatureInfo]:
        """Return what each value measures."""
        edges = (self._bins * self.sample_rate / self.n_fft).tolist()
        rates = [f"pulsation {slow:g}–{fast:g} times a second" for slow, fast in pairwise(self._rates.tolist())]
        return [FeatureInfo(rate, "dB", band) for rate in rates for band in pairwise(edges)]

    @cached_property
    def _bins(self) -> npt.NDArray[np.intp]:
        """First bin of each band, and the bin after the last; no band reaches beyond half the sample rate."""
        count = int(self.bands_per_octave * np.log2(self.sample_rate / 2 / self.f_min) + 1e-9)
        edges = self.f_min * 2.0 ** (np.arange(count + 1) / self.bands_per_octave)
        return np.round(edges * self.n_fft / self.sample_rate).astype(np.intp)

    @cached_property
    def _rates(self) -> Float64:
        """Edges of the ranges of rates in Hz."""
        return np.asarray(self.rate_min * 2.0 ** np.arange(self.n_rates + 1))

    def _embed(self, windows: Float32) -> Float32:
        """Return the embeddings, float32[n_windows, dimension], range after range, the lowest band first."""
        least = int(np.ceil(_PERIODS / self.rate_min * self.sample_rate)) + self.n_fft
        if windows.shape[1] < least:
            raise DataError(
                f"{self.name}: windows of {windows.shape[1]} samples, expected at least {least}: {_PERIODS} periods of "
                f"{self.rate_min:g} Hz; raise --frontend.window or --extractor.rate_min"
            )
        return np.array([self._pulsation(window) for window in windows], np.float32).reshape(-1, self.dimension)

    def _pulsation(self, window: Float32) -> Float64:
        """Return the highest lines of the envelopes' spectra, float64[dimension] in dB, of samples, float32[n]."""
        spectra, spacing = self._spectra(self._envelopes(window))
        floor = running_median(spectra, max(1, round(_SIDE / spacing)))
        above = spectra / np.maximum(floor, _LEAST_PEAK)
        first = np.ceil(self._rates / spacing).astype(np.intp)
        peaks = np.maximum.reduceat(above[: first[-1]], first[:-1], axis=0)
        return np.asarray(10 * np.log10(np.maximum(peaks, 1.0))).ravel()

    def to_onnx(self, graph: OnnxGraph, windows: str) -> str:
        """Add the embeddings to `graph`; see `asd.plugin.OnnxGraph`."""
        (length,) = graph.shape(windows)
        if length is None:
            raise NotImplementedError("the front end's windows have no fixed length")
        count = 1 + (length - self.n_fft) // (self.n_fft // _OVERLAP)
        spacing = self.sample_rate / (self.n_fft // _OVERLAP) / count
        envelopes = self._envelopes_to_onnx(graph, windows, count)
        above = self._lines_to_onnx(graph, envelopes, count, spacing)
        first = np.ceil(self._rates / spacing).astype(np.int64).tolist()
        peaks = [
            graph.op("ReduceMax", graph.op("Gather", above, graph.constant(np.arange(*lines)), axis=1), axes=[1])
            for lines in pairwise(first)
        ]
        return graph.op("Flatten", onnx.decibels(graph, graph.op("Concat", *peaks, axis=1), 1.0))

    def _envelopes_to_onnx(self, graph: OnnxGraph, windows: str, count: int) -> str:
        frames = onnx.cut_frames(graph, windows, onnx.regular(count, self.n_fft, self.n_fft // _OVERLAP))
        bank = np.eye(self.n_fft // 2 + 1, dtype=np.float32)[self._bins[0] : self._bins[-1]]
        power = onnx.scaled(graph, onnx.filtered(graph, frames, self.n_fft, bank), 16 / 3 / self.n_fft**2)
        power = graph.op("Max", power, graph.constant(np.float32(_SPECTRUM_FLOOR)))
        apart = graph.op("Gather", power, graph.constant(np.arange(0, count, _OVERLAP)), axis=1)
        usual = graph.op("Unsqueeze", onnx.median(graph, apart, 1), graph.constant([1]))
        widths = np.diff(self._bins)
        means = np.repeat(np.diag(1 / widths), widths, axis=0)
        relative = graph.op("Cast", graph.op("Div", power, usual), to=np.float64)
        return graph.op("Log", graph.op("MatMul", relative, graph.constant(means)))

    def _lines_to_onnx(self, graph: OnnxGraph, envelopes: str, count: int, spacing: float) -> str:
        """Return how far the lines of the envelopes' spectra stand out, float32 (windows, lines, bands)."""
        stop = int(np.ceil((self._rates[-1] + _SIDE) / spacing)) + 1
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(count) / count)
        angles = 2 * np.pi * (np.outer(np.arange(stop), np.arange(count)) % count) / count
        deviations = graph.op("Sub", envelopes, graph.op("ReduceMean", envelopes, axes=[1], keepdims=1))
        parts = [
            graph.op("MatMul", graph.constant(np.ascontiguousarray(wave * hann)), deviations)
            for wave in (np.cos(angles), np.sin(angles))
        ]
        real, imaginary = (graph.op("Mul", part, part) for part in parts)
        spectra = graph.op("Div", graph.op("Add", real, imaginary), graph.constant(np.array(np.square(hann).sum())))
        side = max(1, round(_SIDE / spacing))
        centres = np.arange(0, stop, STEP)
        around = graph.constant(neighbours(stop, side))
        medians = onnx.median(graph, graph.op("Gather", spectra, around, axis=1), 2)
        between = np.array([np.interp(np.arange(stop), centres, own) for own in np.eye(len(centres))]).T
        floor = graph.op("MatMul", graph.constant(np.ascontiguousarray(between)), medians)
        floor = graph.op("Max", floor, graph.constant(np.array(_LEAST_PEAK, np.float64)))
        return graph.op("Cast", graph.op("Div", spectra, floor), to=np.float32)

    def _envelopes(self, window: Float32) -> Float64:
        """Return the logarithm of each band's power over time, float64[n_frames, n_bands]."""
        power = power_spectrogram(window, n_fft=self.n_fft, hop_length=self.n_fft // _OVERLAP)
        # A periodic Hann window's squares sum to 3/8 of its length.
        power = np.maximum(
            power[self._bins[0] : self._bins[-1]] * np.float32(16 / 3 / self.n_fft**2), np.float32(_SPECTRUM_FLOOR)
        )
        # Frames that do not overlap tell the median as well as all.
        power /= median(power[:, ::_OVERLAP])[:, np.newaxis]
        first = self._bins[:-1] - self._bins[0]
        return np.log(np.add.reduceat(power, first, axis=0).astype(np.float64) / np.diff(self._bins)[:, np.newaxis]).T

    def _spectra(self, envelopes: Float64) -> tuple[Float64, float]:
        """Return the power spectra of envelopes, float64[n_lines, n_bands], and the spacing of their lines in Hz."""
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(len(envelopes)) / len(envelopes))
        deviations = (envelopes - envelopes.mean(axis=0)) * hann[:, np.newaxis]
        spacing = self.sample_rate / (self.n_fft // _OVERLAP) / len(envelopes)
        stop = int(np.ceil((self._rates[-1] + _SIDE) / spacing)) + 1
        return np.square(np.abs(np.fft.rfft(deviations, axis=0)[:stop])) / np.square(hann).sum(), spacing
