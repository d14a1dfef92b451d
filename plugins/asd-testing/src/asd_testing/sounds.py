"""Input for the components: generated machine sound, its windows, its features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from asd.experiment import ANOMALY_KINDS, AnomalyKind, Machine
from asd.plugin import Audio, Float32, Representation, mel_spectrogram
from asd_testing.use import Array, as_array, compute, prepared

_RATE = 16000
_FRAME = 1024
_BANDS = 24
_WINDOW_FRAMES = 4


@dataclass(frozen=True)
class Features:
    """Features to fit and to test a detector with, each float32[n, d]."""

    training: Float32
    normal: Float32
    anomalous: Float32


def samples(sample_rate: int, count: int, seed: int = 0, anomaly: AnomalyKind | None = None) -> Float32:
    """Return machine sound, float32[1, count]."""
    machine = Machine(sample_rate=sample_rate)
    return machine.record(count / sample_rate, seed=seed, anomaly=anomaly).audio.samples[:, :count]


@cache
def plain_features() -> Features:
    """Return mean log-mel energies of windows of a quarter of a second: features for any detector."""
    training = _joined(range(20), 5.0, None)
    return Features(training, _joined(range(100, 105), 5.0, None), _anomalous())


def _anomalous() -> Float32:
    kinds = [kind for kind in ANOMALY_KINDS if kind != "drop-outs"]
    return np.concatenate([_windows(5.0, 200 + seed, kind) for seed, kind in enumerate(kinds)])


def _joined(seeds: range, seconds: float, anomaly: AnomalyKind | None) -> Float32:
    return np.concatenate([_windows(seconds, seed, anomaly) for seed in seeds])


def _windows(seconds: float, seed: int, anomaly: AnomalyKind | None) -> Float32:
    sound = samples(_RATE, round(seconds * _RATE), seed, anomaly)[0]
    energies = mel_spectrogram(sound, sample_rate=_RATE, n_fft=_FRAME, hop_length=_FRAME, n_mels=_BANDS, f_min=50.0)
    count = energies.shape[1] // _WINDOW_FRAMES
    grouped = energies[:, : count * _WINDOW_FRAMES].reshape(_BANDS, count, _WINDOW_FRAMES)
    return np.asarray(np.log10(grouped.mean(axis=2).T + 1e-10), np.float32)


def features_through(frontend: Any, extractor: Any, *, training: int, test: int) -> Features:
    """Return features of machine sound through a front end and an extractor: `training` and `test` windows."""

    def embedded(count: int, seed: int, kinds: tuple[AnomalyKind | None, ...]) -> Float32:
        each = -(-count // len(kinds))
        parts = [windows(frontend, each, seed + i, kind) for i, kind in enumerate(kinds)]
        return np.concatenate([compute(extractor, part) for part in parts])[:count]

    kinds = tuple(kind for kind in ANOMALY_KINDS if kind != "drop-outs")
    frontend, extractor = (prepared(part, type(part).__name__, None) for part in (frontend, extractor))
    return Features(
        embedded(training, 0, (None,) * 8), embedded(test, 100, (None,) * 4), embedded(test, 200, tuple(kinds))
    )


def windows(frontend: Any, count: int, seed: int = 0, anomaly: AnomalyKind | None = None) -> Array:
    """Return `count` windows of machine sound from a front end."""
    rate = frontend.sample_rate
    length = frontend.window_length
    needed = 3 * rate if length is None else length + (count - 1) * frontend.window_hop
    return as_array(frontend(Audio(samples(rate, needed, seed, anomaly), rate)).values)[:count]


def noise_windows(representation: Representation, count: int) -> Float32:
    """Return windows of noise in the shape of `representation`, for extractors without a known front end."""
    shape = (64,) if representation.kind == "any" else tuple(size or 64 for size in representation.shape)
    return np.random.default_rng(0).normal(0, 0.5, (count, *shape)).astype(np.float32)
