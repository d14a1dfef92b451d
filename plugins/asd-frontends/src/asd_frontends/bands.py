"""Extractor ``band-levels``: how loud each frequency band is, and how its level fluctuates; and its front end."""

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
    OnnxGraph,
    Representation,
    number,
    power_spectrogram,
    power_to_db,
    whole_number,
)
from asd_frontends import onnx
from asd_frontends.waveform import Waveform

_FRAMES_OF_SLOW = 4
"""Frames that one value of the slow fluctuation averages: 128 ms by default."""

_BINS_OF_A_BAND = 2
"""Least width of a band, in bins of the spectrum: a Hann window does not resolve less."""


class BandWaveform(Waveform):
    """Cut sound into windows of one second, one after the other, for ``band-levels``.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    window : float
        Length of a window in seconds.
    hop : float
        From the start of one window to the start of the next, in seconds.
    """

    name = "band-waveform"

    def __init__(self, *, sample_rate: int = 32000, window: float = 1.0, hop: float = 1.0) -> None:
        super().__init__(sample_rate=sample_rate, window=window, hop=hop)


class BandLevels(CheckedExtractor):
    """Level and fluctuation of frequency bands, absolute, in dB relative to full scale.

    Of each band, and of all bands together: the quantiles of its level over the frames of a window; the fast
    fluctuation (root mean square difference of successive frames, divided by the square root of two); the slow
    fluctuation (deviation of the means of four frames each); the tone prominence (the highest bin of the window's mean
    spectrum over the mean of the band's bins). All in dB, so that a detector can say what changed by how much.

    Parameters
    ----------
    sample_rate : int
        In Hz; the front end's.
    n_fft : int
        Samples per Hann-windowed frame; frames overlap by half.
    bands_per_octave : int
        Bands of an octave, as far as the spectrum's bins allow: no band is narrower than two bins.
    f_min : float
        Lowest frequency in Hz; the bands reach up to half the sample rate.
    quantiles : tuple of float
        Quantiles (0–1) of the level.
    floor : float
        Least level of a band in dB.

    Notes
    -----
    0 dB is a mean square of one. Bands above half the rate of the recording hold nothing but the resampler's residue,
    far below the floor: they are the same number in each recording of that rate, which ``deviation`` leaves out.
    """

    name = "band-levels"

    def __init__(
        self,
        *,
        sample_rate: int = 32000,
        n_fft: int = 2048,
        bands_per_octave: int = 6,
        f_min: float = 40.0,
        quantiles: tuple[float, ...] = (0.1, 0.5, 0.9),
        floor: float = -100.0,
    ) -> None:
        self.sample_rate = whole_number(self, "sample_rate", sample_rate, 1)
        self.n_fft = whole_number(self, "n_fft", n_fft, 16)
        self.bands_per_octave = whole_number(self, "bands_per_octave", bands_per_octave, 1)
        self.f_min = number(self, "f_min", f_min, above=0)
        self.quantiles = tuple(number(self, "quantiles", q, at_least=0, at_most=1) for q in quantiles)
        self.floor = number(self, "floor", floor, at_least=-300, below=0)
        if not self.quantiles:
            raise ConfigError(f"{self.name}: quantiles is empty, expected fractions from 0 to 1, such as 0.1,0.5,0.9")
        highest = sample_rate / 2 - _BINS_OF_A_BAND * sample_rate / n_fft
        if self.f_min > highest:
            raise ConfigError(
                f"{self.name}: f_min is {self.f_min:g} Hz, expected at most {highest:g} Hz (two bins below half the "
                "sample rate); lower f_min or raise sample_rate"
            )

    @property
    def consumes(self) -> Representation:
        """Waveforms (samples,) of any length at the sample rate."""
        return Representation("waveform", (None,), self.sample_rate)

    @property
    def dimension(self) -> int:
        """Quantiles, two fluctuations and the tone prominence, of each band and of all together."""
        return (len(self.quantiles) + 3) * len(self._bins)

    def features(self) -> list[FeatureInfo]:
        """Return what each value measures."""
        edges = ((self._bins - 0.5) * self.sample_rate / self.n_fft).tolist()
        bands = [*pairwise(edges), None]
        levels = [f"level ({100 * quantile:g} %)" for quantile in self.quantiles]
        quantities = [*levels, "fast fluctuation", "slow fluctuation", "tone prominence"]
        return [FeatureInfo(quantity, "dB", band) for quantity in quantities for band in bands]

    @cached_property
    def _bins(self) -> npt.NDArray[np.intp]:
        """First bin of each band, and the bin after the last."""
        spacing, stop = self.sample_rate / self.n_fft, self.n_fft // 2
        edges = [self.f_min / spacing]
        while (above := max(edges[-1] + _BINS_OF_A_BAND, edges[-1] * 2 ** (1 / self.bands_per_octave))) < stop:
            edges.append(above)
        bins = np.unique(np.maximum(np.round(edges).astype(np.intp), 1))
        return np.append(bins[bins <= stop - _BINS_OF_A_BAND], stop)

    def _embed(self, windows: Float32) -> Float32:
        """Return the embeddings, float32[n_windows, dimension], quantity after quantity, the lowest band first."""
        least = self.n_fft + (2 * _FRAMES_OF_SLOW - 1) * (self.n_fft // 2)
        if windows.shape[1] < least:
            raise DataError(
                f"{self.name}: windows of {windows.shape[1]} samples, expected at least {least}; "
                "raise --frontend.window"
            )
        power, tone = zip(*map(self._bands, windows), strict=True)
        level = power_to_db(np.array(power), floor=10 ** (self.floor / 10))
        fast = np.sqrt(np.square(np.diff(level, axis=1)).mean(axis=1) / 2)
        return np.concatenate([*_quantiles(level, self.quantiles), fast, _slow(level), np.array(tone)], axis=1)

    def _bands(self, window: Float32) -> tuple[Float32, Float32]:
        """Return the power of each band in each frame, [frames, bands], and the prominence of tones in dB, [bands]."""
        first, starts = self._bins[0], self._bins[:-1] - self._bins[0]
        spectra = power_spectrogram(window, n_fft=self.n_fft, hop_length=self.n_fft // 2).T[:, first : self._bins[-1]]
        spectra = spectra * np.float32(16 / 3 / self.n_fft**2)  # a Hann window's squares sum to 3/8 of its length
        power = np.add.reduceat(spectra, starts, axis=1)
        power = np.concatenate([power, power.sum(axis=1, keepdims=True)], axis=1)
        mean = np.maximum(spectra.mean(axis=0), np.float32(10 ** (self.floor / 10) / self.n_fft))
        peaks = np.maximum.reduceat(mean, starts)
        means = np.add.reduceat(mean, starts) / np.diff(self._bins)
        peaks, means = np.append(peaks, peaks.max()), np.append(means, mean.mean())
        return power, np.asarray(power_to_db((peaks / means).astype(np.float32)))

    def to_onnx(self, graph: OnnxGraph, windows: str) -> str:
        """Add the embeddings to `graph`; see `asd.plugin.OnnxGraph`."""
        bins = np.arange(self._bins[0], self._bins[-1])
        spectra = onnx.strided_spectra(graph, windows, self.n_fft, self.n_fft // 2, bins)
        spectra = onnx.scaled(graph, spectra, 16 / 3 / self.n_fft**2)
        widths = np.diff(self._bins)
        sums = np.repeat(np.eye(len(widths), dtype=np.float32), widths, axis=1)
        sums = np.concatenate([sums, np.ones((1, len(bins)), np.float32)])
        power = graph.op("MatMul", graph.constant(sums), spectra)
        level = onnx.decibels(graph, power, 10 ** (self.floor / 10))
        parts = [*self._quantiles_to_onnx(graph, level), *_fluctuations_to_onnx(graph, level)]
        mean = graph.op("ReduceMean", spectra, axes=[2], keepdims=0)
        mean = graph.op("Max", mean, graph.constant(np.float32(10 ** (self.floor / 10) / self.n_fft)))
        starts = self._bins - self._bins[0]
        members = [*(np.arange(first, stop) for first, stop in pairwise(starts.tolist())), np.arange(len(bins))]
        picked = [graph.op("Gather", mean, graph.constant(own.astype(np.int64)), axis=1) for own in members]
        peaks, means = (
            graph.op("Concat", *(graph.op(kind, own, axes=[1], keepdims=1) for own in picked), axis=1)
            for kind in ("ReduceMax", "ReduceMean")
        )
        return graph.op("Concat", *parts, onnx.decibels(graph, graph.op("Div", peaks, means)), axis=1)

    def _quantiles_to_onnx(self, graph: OnnxGraph, level: str) -> list[str]:
        """Return the quantiles over the frames, of which the graph knows the number only when it runs."""
        count = graph.op("Gather", graph.op("Shape", level), graph.constant([2]), axis=0)
        ordered = graph.op("TopK", level, count, largest=0)
        last = graph.op("Sub", graph.op("Cast", count, to=np.float32), graph.constant(np.float32(1)))
        found = []
        for quantile in self.quantiles:
            place = onnx.scaled(graph, last, quantile)
            first, second = graph.op("Floor", place), graph.op("Ceil", place)
            below, above = (
                graph.op("Gather", ordered, graph.op("Cast", index, to=np.int64), axis=2) for index in (first, second)
            )
            step = graph.op("Mul", graph.op("Sub", above, below), graph.op("Sub", place, first))
            found.append(graph.op("Squeeze", graph.op("Add", below, step), graph.constant([2])))
        return found


def _fluctuations_to_onnx(graph: OnnxGraph, level: str) -> tuple[str, str]:
    """Return the fast and the slow fluctuation of levels, float32 (windows, bands, frames)."""
    axis, end = graph.constant([2]), graph.constant([np.iinfo(np.int64).max])
    later = graph.op("Slice", level, graph.constant([1]), end, axis)
    earlier = graph.op("Slice", level, graph.constant([0]), graph.constant([-1]), axis)
    steps = graph.op("Sub", later, earlier)
    squares = graph.op("ReduceMean", graph.op("Mul", steps, steps), axes=[2], keepdims=0)
    fast = graph.op("Sqrt", onnx.scaled(graph, squares, 0.5))
    means = graph.op("AveragePool", level, kernel_shape=[_FRAMES_OF_SLOW], strides=[_FRAMES_OF_SLOW])
    centred = graph.op("Sub", means, graph.op("ReduceMean", means, axes=[2], keepdims=1))
    variance = graph.op("ReduceMean", graph.op("Mul", centred, centred), axes=[2], keepdims=0)
    return fast, graph.op("Sqrt", variance)


def _quantiles(level: Float32, quantiles: tuple[float, ...]) -> list[npt.NDArray[np.floating]]:
    """Return quantiles over the frames; as `np.quantile`, which takes ten times as long."""
    ordered = np.sort(level, axis=1)
    found = []
    for quantile in quantiles:
        below, share = divmod(quantile * (level.shape[1] - 1), 1)
        first = int(below)
        second = min(first + 1, level.shape[1] - 1)
        found.append(np.float32(1 - share) * ordered[:, first] + np.float32(share) * ordered[:, second])
    return found


def _slow(level: Float32) -> Float32:
    count = level.shape[1] // _FRAMES_OF_SLOW
    parts = level[:, : count * _FRAMES_OF_SLOW].reshape(len(level), count, _FRAMES_OF_SLOW, -1)
    return np.asarray(parts.mean(axis=2).std(axis=1))
