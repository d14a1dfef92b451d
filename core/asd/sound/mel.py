"""The mel filter bank of the project, and the spectrograms that are made with it; all in float32.

Nothing is centred or padded: frame i looks at the samples ``[i * hop_length, i * hop_length + n_fft)`` alone, so that
a long recording can be cut into blocks without a seam.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

import numpy as np

from asd.records import Float32, Float64

Formula = Literal["slaney", "htk"]
Norm = Literal["slaney"] | None

# Slaney's Auditory Toolbox (1998): linear up to 1000 Hz in steps of 200/3 Hz, then 27 steps to a factor of 6.4.
_SLANEY_STEP = 200.0 / 3.0
_SLANEY_KNEE = 1000.0
_SLANEY_LOG_STEP = float(np.log(6.4) / 27.0)

_SAMPLES_AT_A_TIME = 2**16
"""Measured: larger pieces leave the processor's cache, and their memory comes from the system each time."""
_BANDS_AT_A_TIME = 16
_PRODUCTS_AT_A_TIME = 2**18
"""OpenBLAS spreads larger matrix products over threads, which would fight with those of a network that runs beside."""


def hz_to_mel(frequency: Float64, formula: Formula = "slaney") -> Float64:
    """Return frequencies in Hz on the mel scale of Slaney's Auditory Toolbox or of HTK."""
    if formula == "htk":
        return 2595.0 * np.log10(1.0 + frequency / 700.0)
    above = _SLANEY_KNEE / _SLANEY_STEP + np.log(np.maximum(frequency, _SLANEY_KNEE) / _SLANEY_KNEE) / _SLANEY_LOG_STEP
    return np.where(frequency < _SLANEY_KNEE, frequency / _SLANEY_STEP, above)


def mel_to_hz(mel: Float64, formula: Formula = "slaney") -> Float64:
    """Return mel values as frequencies in Hz; the inverse of `hz_to_mel`."""
    if formula == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    knee = _SLANEY_KNEE / _SLANEY_STEP
    above = _SLANEY_KNEE * np.exp(_SLANEY_LOG_STEP * (np.maximum(mel, knee) - knee))
    return np.where(mel < knee, mel * _SLANEY_STEP, above)


@lru_cache(maxsize=16)
def mel_filter_bank(
    *,
    sample_rate: int,
    n_fft: int,
    n_mels: int,
    f_min: float = 0.0,
    f_max: float | None = None,
    formula: Formula = "slaney",
    norm: Norm = "slaney",
) -> Float32:
    """Return triangular filters that sum the bins of a spectrum into mel bands, as ``librosa.filters.mel`` does.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_fft : int
        Samples per frame.
    n_mels : int
        Number of bands.
    f_min, f_max : float
        Lowest and highest frequency in Hz; `f_max` None: half the sample rate.
    formula : {"slaney", "htk"}
        The mel scale.
    norm : {"slaney", None}
        ``"slaney"`` gives every triangle the same area, None the same height of one.

    Returns
    -------
    read-only float32 array of shape (n_mels, n_fft // 2 + 1)
        A band that is narrower than the bins' spacing may be empty (all zeros).
    """
    bins = np.linspace(0.0, sample_rate / 2.0, n_fft // 2 + 1)
    ends = hz_to_mel(np.array([f_min, sample_rate / 2.0 if f_max is None else f_max]), formula)
    edges = mel_to_hz(np.linspace(ends[0], ends[1], n_mels + 2), formula)
    widths = np.diff(edges)[:, np.newaxis]
    slopes = edges[:, np.newaxis] - bins
    bank = np.maximum(0.0, np.minimum(-slopes[:-2] / widths[:-1], slopes[2:] / widths[1:]))
    if norm == "slaney":
        bank *= 2.0 / (edges[2:] - edges[:-2])[:, np.newaxis]
    return _read_only(bank.astype(np.float32))


def power_spectrogram(samples: Float32, *, n_fft: int, hop_length: int) -> Float32:
    """Return the squared magnitude of the short-time Fourier transform with a periodic Hann window, not centred.

    Parameters
    ----------
    samples : float32 array of shape (n,)
        At least `n_fft` samples.
    n_fft, hop_length : int
        Samples per frame, and from one frame to the next.

    Returns
    -------
    float32 array of shape (n_fft // 2 + 1, 1 + (n - n_fft) // hop_length)
        A transposed view: the bins of a frame lie side by side.
    """
    frames = _frames(samples, n_fft, hop_length)
    power = np.empty((len(frames), n_fft // 2 + 1), np.float32)
    for part, spectra in _power_spectra(frames, n_fft):
        power[part] = spectra
    return power.T


def mel_spectrogram(
    samples: Float32,
    *,
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    n_mels: int,
    f_min: float = 0.0,
    f_max: float | None = None,
    formula: Formula = "slaney",
    norm: Norm = "slaney",
    power: Literal[1, 2] = 2,
) -> Float32:
    """Return the mel spectrogram, equal to ``librosa.feature.melspectrogram(center=False)``.

    Parameters
    ----------
    samples : float32 array of shape (n,)
        At least `n_fft` samples.
    sample_rate, n_fft, n_mels, f_min, f_max, formula, norm
        As for `mel_filter_bank`.
    hop_length : int
        Samples from one frame to the next.
    power : {1, 2}
        1 sums magnitudes, 2 sums their squares.

    Returns
    -------
    float32 array of shape (n_mels, 1 + (n - n_fft) // hop_length)
        Lowest band first.
    """
    bank = mel_filter_bank(
        sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels, f_min=f_min, f_max=f_max, formula=formula, norm=norm
    )
    return filtered_spectrogram(samples, bank, n_fft=n_fft, hop_length=hop_length, power=power)


def filtered_spectrogram(
    samples: Float32,
    bank: Float32,
    *,
    n_fft: int,
    hop_length: int,
    power: Literal[1, 2] = 2,
    symmetric: bool = False,
) -> Float32:
    """Return what a filter bank makes of the spectrogram.

    Parameters
    ----------
    samples : float32 array of shape (n,)
        At least `n_fft` samples.
    bank : float32 array of shape (bands, n_fft // 2 + 1)
        Weight of each bin in each band.
    n_fft, hop_length : int
        Samples per frame, and from one frame to the next.
    power : {1, 2}
        1 sums magnitudes, 2 sums their squares.
    symmetric : bool
        Whether the Hann window ends in a zero as it begins with one; otherwise it is periodic.

    Returns
    -------
    float32 array of shape (bands, 1 + (n - n_fft) // hop_length)
    """
    frames = _frames(samples, n_fft, hop_length)
    return filtered_frames(frames, bank, n_fft=n_fft, power=power, symmetric=symmetric)


def filtered_frames(
    frames: Float32, bank: Float32, *, n_fft: int, power: Literal[1, 2] = 2, symmetric: bool = False
) -> Float32:
    """Return what a filter bank makes of the spectra of frames, wherever these were cut.

    Parameters
    ----------
    frames : float32 array of shape (n, length)
        A Hann window of this length is applied. Frames may overlap in memory.
    bank : float32 array of shape (bands, n_fft // 2 + 1)
        Weight of each bin in each band.
    n_fft : int
        Length to which a frame is padded with zeros: at least its own.
    power, symmetric
        As for `filtered_spectrogram`.

    Returns
    -------
    float32 array of shape (bands, n)
    """
    groups = list(_band_groups(bank, _frames_at_a_time(len(frames), n_fft)))
    bands_by_frames = np.zeros((len(bank), len(frames)), np.float32)
    for part, spectra in _power_spectra(frames, n_fft, symmetric):
        if power == 1:
            np.sqrt(spectra, out=spectra)
        for bands, bins in groups:
            np.matmul(bank[bands, bins], spectra[:, bins].T, out=bands_by_frames[bands, part])
    return bands_by_frames


def power_to_db(power: Float32, *, floor: float = 1e-10) -> Float32:
    """Return ``10 log10(power)`` in dB relative to a power of one; what lies under `floor` counts as `floor`."""
    decibels = np.log10(np.maximum(power, np.float32(floor)))
    decibels *= np.float32(10.0)
    return decibels


def pcen(
    spectrogram: Float32,
    *,
    frame_rate: float,
    gain: float = 0.98,
    bias: float = 2.0,
    exponent: float = 0.5,
    time_constant: float = 0.4,
    floor: float = 1e-6,
) -> Float32:
    """Return the per-channel energy normalisation of spectrograms: each band is divided by its own recent level.

    The recent level starts at that of the first frame, so that every spectrogram is judged by itself.

    Parameters
    ----------
    spectrogram : float32 array of shape (..., bands, frames)
        Mel magnitudes.
    frame_rate : float
        Frames per second.
    gain : float
        How far the level is taken out: 0 not at all, 1 wholly.
    bias, exponent : float
        Of the compression ``(x + bias) ** exponent - bias ** exponent``.
    time_constant : float
        Of the recent level, in seconds.
    floor : float
        Added to the recent level.

    Returns
    -------
    float32 array of the same shape

    References
    ----------
    Wang et al. 2017, arXiv:1607.05666; equal to ``librosa.pcen(spectrogram, zi=(1 - b) * spectrogram[..., :1])``.
    """
    frames = time_constant * frame_rate
    step = np.float32((np.sqrt(1.0 + 4.0 * frames**2) - 1.0) / (2.0 * frames**2))
    recent = np.empty_like(spectrogram)
    level = spectrogram[..., 0]
    for frame in range(spectrogram.shape[-1]):
        level = level + step * (spectrogram[..., frame] - level)
        recent[..., frame] = level
    ratio = spectrogram * (recent + np.float32(floor)) ** np.float32(-gain)
    return np.float32(bias**exponent) * np.expm1(np.float32(exponent) * np.log1p(ratio / np.float32(bias)))


def _frames(samples: Float32, length: int, hop_length: int) -> Float32:
    return np.lib.stride_tricks.sliding_window_view(samples, length)[::hop_length]


def _power_spectra(frames: Float32, n_fft: int, symmetric: bool = False) -> Iterator[tuple[slice, Float32]]:
    """Yield (which frames, float32[frames, n_fft // 2 + 1]), a few frames at a time, each time in the same memory."""
    length = frames.shape[1]
    # NumPy 2 transforms in float64, slower, unless it divides by the length ("forward"), which is undone here.
    window = _hann(length, symmetric) * np.float32(n_fft)
    step = _frames_at_a_time(len(frames), n_fft)
    padded = np.zeros((step, n_fft), np.float32)
    spectrum = np.empty((step, n_fft // 2 + 1), np.complex64)
    power, squares = np.empty((2, *spectrum.shape), np.float32)
    for first in range(0, len(frames), step):
        count = min(step, len(frames) - first)
        np.multiply(frames[first : first + count], window, out=padded[:count, :length])
        np.fft.rfft(padded, norm="forward", out=spectrum)  # type: ignore[arg-type]  # the stubs know complex128 alone
        np.square(spectrum.real, out=power)
        power += np.square(spectrum.imag, out=squares)
        yield slice(first, first + count), power[:count]


def _frames_at_a_time(count: int, n_fft: int) -> int:
    return max(1, min(count, _SAMPLES_AT_A_TIME // n_fft))


def _band_groups(bank: Float32, frames: int) -> Iterator[tuple[slice, slice]]:
    """Yield (bands, bins) outside of which a filter bank, mostly zeros, holds nothing; small ones for many frames."""
    used = bank != 0
    first, last = used.argmax(axis=1), bank.shape[1] - used[:, ::-1].argmax(axis=1)
    is_empty = ~used.any(axis=1)
    first[is_empty], last[is_empty] = bank.shape[1], 0
    band = 0
    while band < len(bank):
        count = _BANDS_AT_A_TIME
        while True:
            bands = slice(band, min(band + count, len(bank)))
            bins = slice(int(first[bands].min()), int(last[bands].max()))
            if count == 1 or count * (bins.stop - bins.start) * frames <= _PRODUCTS_AT_A_TIME:
                break
            count //= 2
        if bins.start < bins.stop:
            yield bands, bins
        band += count


@lru_cache(maxsize=16)
def _hann(length: int, symmetric: bool = False) -> Float32:
    period = length - 1 if symmetric else length
    return _read_only((0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(length) / period)).astype(np.float32))


def _read_only(array: Float32) -> Float32:
    array.flags.writeable = False
    return array
