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
