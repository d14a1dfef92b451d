"""Recordings at any rate: the core's resampling against the openl3 package's, and what the embeddings make of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from asd.experiment import Config, Pipeline
from asd.plugin import Clip, ClipReader

Array = npt.NDArray[Any]

# resampy 0.4.3, kaiser_best (what openl3 0.4.2 resamples with), on these very tones.
REFERENCE_GAIN_ERROR = {0.05: 0.0001, 0.5: 0.0001, 0.8: 0.0001, 0.85: 0.0047, 0.9: 2.22}
"""dB, by frequency as a share of half the lower rate; the first three are below 0.00005."""
REFERENCE_SPURIOUS = -128.0
"""dB relative to the tone: images, aliases and rounding."""


def resampled(folder: Path, rate: int, frequency: float) -> Array:
    """Return one second at 48 kHz from the middle of a tone recorded at `rate`, windowed so that nothing leaks."""
    time = np.arange(2 * rate) / rate
    soundfile.write(folder / "tone.wav", 0.1 * np.sin(2 * np.pi * frequency * time), rate, subtype="FLOAT")
    samples = np.concatenate(list(ClipReader(Clip(folder / "tone.wav"), sample_rate=48000)))
    start = (len(samples) - 48000) // 2
    return np.abs(np.fft.rfft(samples[start : start + 48000].astype(np.float64) * np.kaiser(48000, 20)))


@pytest.mark.parity
@pytest.mark.parametrize("rate", [8000, 16000, 44100, 96000])
def test_resampling_is_as_good_as_the_packages(tmp_path: Path, rate: int) -> None:
    full = 0.1 * np.kaiser(48000, 20).sum() / 2
    for share, error in REFERENCE_GAIN_ERROR.items():
        frequency = round(share * min(rate, 48000) / 2)
        spectrum = resampled(tmp_path, rate, frequency)
        tone = slice(max(0, frequency - 12), frequency + 13)
        gain = 20 * np.log10(spectrum[tone].max() / full)
        assert abs(gain) <= max(error, 0.0015)  # 0.0015 dB: soxr's slow roll-off at 44.1 kHz, a two-hundredth of 1 %
        spectrum[tone] = 0
        assert 20 * np.log10(spectrum.max() / full) <= REFERENCE_SPURIOUS


@pytest.mark.parity
def test_what_lies_above_the_networks_band_does_not_fold_back(tmp_path: Path) -> None:
    full = 0.1 * np.kaiser(48000, 20).sum() / 2
    for frequency in (25000, 27000, 30000, 40000):
        assert 20 * np.log10(resampled(tmp_path, 96000, frequency).max() / full) <= REFERENCE_SPURIOUS


def machine_sound(rate: int, highest: float) -> Array:
    """Return 1.5 s of noise with a hum's harmonics, nothing above `highest` Hz: the same sound at any rate."""
    random = np.random.RandomState(3)
    lines = int(highest * 1.5)
    amplitudes = (random.randn(lines) + 1j * random.randn(lines)) / np.arange(1, lines + 1)
    amplitudes[74::75] *= 40  # every 50 Hz
    spectrum = np.zeros(int(rate * 1.5) // 2 + 1, complex)
    spectrum[1 : lines + 1] = amplitudes
    return 0.02 * np.fft.irfft(spectrum, int(rate * 1.5)) * rate


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory, weight_file: Path) -> Callable[[int, float], Array]:
    """Return what embeds `machine_sound` of a rate and a highest frequency, each once."""
    path = tmp_path_factory.mktemp("rates") / "clip.wav"
    extractor = {"name": "openl3-env", "weights": str(weight_file)}
    config = Config.from_mapping({"extractor": extractor, "frontend": {"name": "openl3-mel", "center": False}})
    pipeline = Pipeline(config)

    @cache
    def embedded(rate: int, highest: float) -> Array:
        samples = machine_sound(rate, highest)
        assert np.abs(samples).max() < 1
        # 24 bits: rounding to 16 is a noise of its own up to half the file's rate: not the same sound at any rate.
        soundfile.write(path, samples, rate, subtype="PCM_24")
        return pipeline.embed(Clip(path)).values[:2]

    return embedded


def cosines(a: Array, b: Array) -> Array:
    similarity: Array = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return similarity


@pytest.mark.slow
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100, 88200, 96000])
def test_a_clip_at_any_rate_embeds_as_at_the_networks_own(embeddings: Callable[[int, float], Array], rate: int) -> None:
    highest = 0.9 * min(rate, 48000) / 2
    own = embeddings(48000, highest)
    assert cosines(embeddings(rate, highest), own).min() >= 0.99
    if rate <= 16000:  # the measure sees what is missing: a fuller band is another sound
        assert cosines(embeddings(48000, 20000.0), own).max() < 0.99
