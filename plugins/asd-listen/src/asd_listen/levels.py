"""Levels in 1/3-octave bands, second by second and minute by minute."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from asd.plugin import Float32, Float64

NOMINAL = (
    *(25.0, 31.5, 40.0, 50.0, 63.0, 80.0, 100.0, 125.0, 160.0, 200.0, 250.0, 315.0, 400.0, 500.0, 630.0, 800.0),
    *(1000.0, 1250.0, 1600.0, 2000.0, 2500.0, 3150.0, 4000.0, 5000.0, 6300.0, 8000.0, 10000.0, 12500.0, 16000.0),
    20000.0,
)
"""Nominal centre frequencies in Hz of IEC 61260-1:2014; the exact ones are 1000 times powers of 10^(1/10)."""
_FIRST = -16
"""Number of the lowest band: 10^(-16/10) kHz = 25 Hz."""
SILENCE = -150.0
"""dB of full scale that stand for nothing at all."""
_MINUTE = 60.0


@lru_cache(maxsize=8)
def bands_at(sample_rate: int) -> tuple[float, ...]:
    """Return the nominal centres in Hz of the bands that lie below half the sample rate as a whole."""
    return tuple(f for i, f in enumerate(NOMINAL) if _centre(i) * 10**0.05 <= sample_rate / 2)


@lru_cache(maxsize=8)
def _weights(sample_rate: int, count: int) -> Float32:
    """Return the share of each bin of a spectrum of `count` samples in each band, (n_bands, n_bins)."""
    width = sample_rate / count
    bins = np.arange(count // 2 + 1) * width
    rows = []
    for i in range(len(bands_at(sample_rate))):
        low, high = _centre(i) / 10**0.05, _centre(i) * 10**0.05
        rows.append(np.clip(np.minimum(bins + width / 2, high) - np.maximum(bins - width / 2, low), 0, None) / width)
    weights: Float32 = np.array(rows, np.float32).reshape(-1, len(bins))
    return weights


def _centre(index: int) -> float:
    return float(1000 * 10 ** ((_FIRST + index) / 10))


@lru_cache(maxsize=8)
def _window(count: int) -> Float32:
    window = np.hanning(count + 1)[:-1]
    scaled: Float32 = (window / np.sqrt(np.mean(window**2))).astype(np.float32)
    return scaled


def band_powers(samples: Float32, sample_rate: int) -> Float64:
    """Return the mean square of samples in each band of `bands_at`.

    The bands are ideal ones of the spectrum, not the filters whose slopes IEC 61260 limits; of steady sound both agree.

    Parameters
    ----------
    samples : float32 array of shape (n,)
        About a second of sound.
    sample_rate : int
        In Hz.
    """
    count = len(samples)
    spectrum = np.fft.rfft(samples * _window(count))
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    power *= 2 / count**2
    return _reduced(power, sample_rate, count)


@lru_cache(maxsize=8)
def _edges(sample_rate: int, count: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Float32]:
    weights = _weights(sample_rate, count)
    used = weights > 0
    return used.argmax(axis=1), weights.shape[1] - used[:, ::-1].argmax(axis=1), weights


def _reduced(power: Float32, sample_rate: int, count: int) -> Float64:
    first, stop, weights = _edges(sample_rate, count)
    return np.array([float(np.dot(w[a:b], power[a:b])) for w, a, b in zip(weights, first, stop, strict=True)])


def decibels(power: npt.ArrayLike) -> Float64:
    """Return powers in dB of full scale (a mean square of one)."""
    return np.asarray(10 * np.log10(np.maximum(np.asarray(power, np.float64), 10 ** (SILENCE / 10))))


@dataclass
class Second:
    """Levels of a second.

    Parameters
    ----------
    time : float
        When it began.
    level : float
        In dB of full scale.
    peak : float
        Largest sample.
    bands : float64 array of shape (n_bands,)
        Mean square in each band.
    sample_rate : int
        In Hz.
    """

    time: float
    level: float
    peak: float
    bands: Float64
    sample_rate: int


@dataclass(frozen=True)
class Minute:
    """Levels of a minute: mean and highest second of each band in dB by its nominal centre in Hz, and of the whole."""

    time: float
    seconds: float
    level: float
    bands: dict[float, tuple[float, float]]


@dataclass
class LevelMeter:
    """Measures sound second by second, and adds seconds up to minutes."""

    _parts: list[Float32] = field(default_factory=list)
    _held: int = 0
    _time: float = 0.0
    _rate: int = 0
    _minute: list[Second] = field(default_factory=list)

    @property
    def waiting(self) -> float:
        """Seconds of sound since the last second that is complete."""
        return self._held / self._rate if self._rate else 0.0

    def add(self, samples: Float32, sample_rate: int, time: float) -> list[Second]:
        """Take in samples (n,), the first of them of `time`, and return the seconds that are complete."""
        if sample_rate != self._rate:
            self._parts, self._held, self._rate = [], 0, sample_rate
        found: list[Second] = []
        while len(samples):
            if not self._held:
                self._time = time
            taken = samples[: sample_rate - self._held]
            self._parts.append(taken)
            self._held += len(taken)
            samples, time = samples[len(taken) :], time + len(taken) / sample_rate
            if self._held == sample_rate:
                found.append(self._second(np.concatenate(self._parts)))
                self._parts, self._held = [], 0
        return found

    def _second(self, samples: Float32) -> Second:
        level = float(decibels(float(np.dot(samples, samples)) / len(samples)))
        peak = float(max(samples.max(), -samples.min()))
        return Second(self._time, level, peak, band_powers(samples, self._rate), self._rate)

    def minute(self, second: Second) -> Minute | None:
        """Add a second, and return the minute that is over by it, if one is."""
        seconds = self._minute
        over = bool(seconds) and (
            second.time - seconds[0].time >= _MINUTE
            or second.time < seconds[0].time
            or second.sample_rate != seconds[0].sample_rate
        )
        done = self.flush() if over else None
        self._minute.append(second)
        return done

    def flush(self) -> Minute | None:
        """Return what there is of a minute."""
        seconds, self._minute = self._minute, []
        if not seconds:
            return None
        powers = np.array([each.bands for each in seconds])
        mean, most = decibels(powers.mean(axis=0)), decibels(powers.max(axis=0))
        bands = zip(bands_at(seconds[0].sample_rate), mean.tolist(), most.tolist(), strict=True)
        level = float(decibels(np.mean([10 ** (each.level / 10) for each in seconds])))
        return Minute(seconds[0].time, float(len(seconds)), level, {hertz: (a, b) for hertz, a, b in bands})
