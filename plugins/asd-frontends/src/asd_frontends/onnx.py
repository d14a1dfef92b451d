"""Spectra as parts of an ONNX graph: the discrete Fourier transform as two matrix products."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from asd.plugin import Float32, OnnxGraph


def cut_frames(graph: OnnxGraph, windows: str, positions: npt.NDArray[np.integer]) -> str:
    """Return frames, float32 (windows, frames, samples), of windows of samples.

    Parameters
    ----------
    graph : OnnxGraph
        What grows.
    windows : str
        Float32 (windows, samples).
    positions : integer array of shape (frames, samples)
        Where in its window each sample of a frame lies.
    """
    return graph.op("Gather", windows, graph.constant(positions.astype(np.int64)), axis=1)


def regular(count: int, length: int, hop: int) -> npt.NDArray[np.integer]:
    """Return the positions of `count` frames of `length` samples, `hop` apart."""
    return hop * np.arange(count)[:, np.newaxis] + np.arange(length)


def strided_spectra(graph: OnnxGraph, windows: str, n_fft: int, hop: int, bins: npt.NDArray[np.integer]) -> str:
    """Return power spectra of Hann-windowed frames of windows of any length, float32 (windows, bins, frames)."""
    samples = np.arange(n_fft)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * samples / n_fft)
    angles = 2 * np.pi * (np.outer(bins, samples) % n_fft) / n_fft
    channel = graph.op("Unsqueeze", windows, graph.constant([1]))
    parts = [
        graph.op("Conv", channel, graph.constant((wave * hann)[:, np.newaxis].astype(np.float32)), strides=[hop])
        for wave in (np.cos(angles), np.sin(angles))
    ]
    real, imaginary = (graph.op("Mul", part, part) for part in parts)
    return graph.op("Add", real, imaginary)


def filtered(
    graph: OnnxGraph, frames: str, length: int, bank: Float32, *, power: Literal[1, 2] = 2, symmetric: bool = False
) -> str:
    """Return what a filter bank makes of the spectra of frames, float32 (windows, frames, bands).

    Parameters
    ----------
    graph : OnnxGraph
        What grows.
    frames : str
        Float32 (windows, frames, length).
    length : int
        Samples of a frame; a Hann window of this length is applied.
    bank : float32 array of shape (bands, n_fft // 2 + 1)
        Weight of each bin in each band.
    power, symmetric
        As for `asd.plugin.filtered_frames`.
    """
    n_fft = 2 * (bank.shape[1] - 1)
    bins = np.flatnonzero(bank.any(axis=0))
    samples = np.arange(length)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * samples / (length - 1 if symmetric else length))
    # Whole turns are taken off in integers: the angle of a late sample in a high bin would lose digits.
    angles = 2 * np.pi * (np.outer(samples, bins) % n_fft) / n_fft
    parts = [
        graph.op("MatMul", frames, graph.constant((wave * hann[:, np.newaxis]).astype(np.float32)))
        for wave in (np.cos(angles), np.sin(angles))
    ]
    real, imaginary = (graph.op("Mul", part, part) for part in parts)
    spectra = graph.op("Add", real, imaginary)
    if power == 1:
        spectra = graph.op("Sqrt", spectra)
    return graph.op("MatMul", spectra, graph.constant(np.ascontiguousarray(bank[:, bins].T)))


def scaled(graph: OnnxGraph, values: str, factor: float, offset: float = 0.0) -> str:
    """Return ``(values + offset) * factor`` in float32."""
    if offset:
        values = graph.op("Add", values, graph.constant(np.float32(offset)))
    return graph.op("Mul", values, graph.constant(np.float32(factor)))


def log10(graph: OnnxGraph, values: str) -> str:
    """Return decimal logarithms."""
    return scaled(graph, graph.op("Log", values), 1 / np.log(10))


def decibels(graph: OnnxGraph, power: str, floor: float = 1e-10) -> str:
    """Return power in dB; as `asd.plugin.power_to_db`."""
    return scaled(graph, log10(graph, graph.op("Max", power, graph.constant(np.float32(floor)))), 10.0)


def fine_spectra(graph: OnnxGraph, windows: str, n_fft: int, hop_length: int) -> str:
    """Return power spectra, float32 (windows, frames, bins), by a fast transform: a matrix of it would be too large.

    Parameters
    ----------
    graph : OnnxGraph
        What grows.
    windows : str
        Float32 (windows, samples), of any number of samples from `n_fft` on.
    n_fft, hop_length : int
        Samples per Hann-windowed frame, and from one frame to the next.
    """
    length = graph.op("Gather", graph.op("Shape", windows), graph.constant(np.int64(1)))
    end = graph.op("Add", length, graph.constant(np.int64(1 - n_fft)))
    starts = graph.op("Range", graph.constant(np.int64(0)), end, graph.constant(np.int64(hop_length)))
    offsets = graph.constant(np.arange(n_fft)[np.newaxis])
    positions = graph.op("Add", graph.op("Unsqueeze", starts, graph.constant([1])), offsets)
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)
    frames = graph.op("Mul", graph.op("Gather", windows, positions, axis=1), graph.constant(hann))
    spectra = graph.op("DFT", graph.op("Unsqueeze", frames, graph.constant([3])), axis=2, onesided=1)
    return graph.op("ReduceSumSquare", spectra, axes=[3], keepdims=0)


def median(graph: OnnxGraph, values: str, axis: int) -> str:
    """Return the median of a dimension, whatever its size, which is left out."""
    count = graph.op("Gather", graph.op("Shape", values), graph.constant([axis]))
    ordered = graph.op("TopK", values, count, axis=axis, largest=0)
    below = graph.op("Div", graph.op("Sub", count, graph.constant([1])), graph.constant([2]))
    above = graph.op("Div", count, graph.constant([2]))
    middle = graph.op("Gather", ordered, graph.op("Concat", below, above, axis=0), axis=axis)
    return graph.op("ReduceMean", middle, axes=[axis], keepdims=0)
