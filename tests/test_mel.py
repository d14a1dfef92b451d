"""The mel filter bank and its spectrograms against librosa's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from asd.records import Float32
from asd.sound.mel import (
    _band_groups,
    _frames_at_a_time,
    filtered_frames,
    hz_to_mel,
    mel_filter_bank,
    mel_spectrogram,
    mel_to_hz,
    pcen,
    power_spectrogram,
    power_to_db,
)


@pytest.fixture(scope="module")
def librosa() -> Any:
    return pytest.importorskip("librosa")


@pytest.fixture(scope="module")
def hum() -> Float32:
    """Three seconds of a noisy 440 Hz hum at 16 kHz."""
    time = np.arange(48000) / 16000
    noise = np.random.default_rng(0).normal(scale=0.01, size=len(time))
    return (0.3 * np.sin(2 * np.pi * 440 * time) + noise).astype(np.float32)


@pytest.mark.parity
@pytest.mark.parametrize("formula", ["slaney", "htk"])
@pytest.mark.parametrize("norm", ["slaney", None])
@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "n_mels", "f_min", "f_max"),
    [(16000, 1024, 64, 0.0, None), (48000, 2048, 128, 50.0, 14000.0), (8000, 512, 40, 20.0, 3999.0)],
)
def test_filter_bank_equals_librosas(
    librosa: Any,
    sample_rate: int,
    n_fft: int,
    n_mels: int,
    f_min: float,
    f_max: float | None,
    formula: Any,
    norm: Any,
) -> None:
    bank = mel_filter_bank(
        sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels, f_min=f_min, f_max=f_max, formula=formula, norm=norm
    )
    theirs = librosa.filters.mel(
        sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=f_min, fmax=f_max, htk=formula == "htk", norm=norm
    )
    assert bank.dtype == np.float32
    np.testing.assert_allclose(bank, theirs, atol=1e-7 * theirs.max(), rtol=1e-6)


@pytest.mark.parametrize("formula", ["slaney", "htk"])
def test_mel_scale_goes_there_and_back(formula: Any) -> None:
    frequencies = np.array([0.0, 999.0, 1000.0, 1001.0, 8000.0])
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(frequencies, formula), formula), frequencies, atol=1e-9)


def test_a_cached_filter_bank_cannot_be_spoilt() -> None:
    bank = mel_filter_bank(sample_rate=16000, n_fft=1024, n_mels=64)
    with pytest.raises(ValueError, match="read-only"):
        bank[0, 0] = 1.0


@pytest.mark.parity
@pytest.mark.parametrize(("n_fft", "hop_length"), [(1024, 256), (400, 160), (1000, 333)])
def test_power_spectrogram_equals_librosas(librosa: Any, hum: Float32, n_fft: int, hop_length: int) -> None:
    ours = power_spectrogram(hum, n_fft=n_fft, hop_length=hop_length)
    theirs = np.abs(librosa.stft(hum, n_fft=n_fft, hop_length=hop_length, center=False)) ** 2
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-6 * theirs.max(), rtol=1e-4)


@pytest.mark.parity
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(("n_mels", "f_min", "f_max"), [(64, 0.0, None), (50, 100.0, 7000.0)])
def test_mel_spectrogram_equals_librosas(
    librosa: Any, hum: Float32, n_mels: int, f_min: float, f_max: float | None, power: Any
) -> None:
    ours = mel_spectrogram(
        hum, sample_rate=16000, n_fft=1024, hop_length=256, n_mels=n_mels, f_min=f_min, f_max=f_max, power=power
    )
    theirs = librosa.feature.melspectrogram(
        y=hum, sr=16000, n_fft=1024, hop_length=256, center=False, n_mels=n_mels, fmin=f_min, fmax=f_max, power=power
    )
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-7)
    decibels = librosa.power_to_db(theirs, ref=1.0, amin=1e-10, top_db=None)
    np.testing.assert_allclose(power_to_db(ours), decibels, atol=1e-3)


def test_empty_bands_are_silent() -> None:
    noise = np.random.default_rng(0).normal(size=512).astype(np.float32)
    mel = mel_spectrogram(noise, sample_rate=16000, n_fft=256, hop_length=128, n_mels=128)
    bank = mel_filter_bank(sample_rate=16000, n_fft=256, n_mels=128)
    empty = ~bank.any(axis=1)
    assert empty.any()
    assert not mel[empty].any()
    assert (mel[~empty] > 0).all()


@pytest.mark.parametrize("n_mels", [1, 7, 16, 32, 100])
@pytest.mark.parametrize("n_fft", [256, 1024, 4096])
def test_matrix_products_stay_below_what_openblas_spreads_over_threads(n_mels: int, n_fft: int) -> None:
    bank = mel_filter_bank(sample_rate=16000, n_fft=n_fft, n_mels=n_mels)
    frames = _frames_at_a_time(10_000, n_fft)
    left = bank.copy()
    for bands, bins in _band_groups(bank, frames):
        left[bands, bins] = 0
        count = len(bank[bands])
        assert count == 1 or count * (bins.stop - bins.start) * frames <= 2**18
    assert not left.any()


def test_frames_may_be_shorter_than_their_transform_and_lie_anywhere() -> None:
    bank = mel_filter_bank(sample_rate=16000, n_fft=512, n_mels=20)
    frames = np.random.default_rng(0).normal(size=(300, 400)).astype(np.float32)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)
    exact = bank @ np.abs(np.fft.rfft(frames * window, 512)).T
    bands = filtered_frames(frames[::-1], bank, n_fft=512, power=1, symmetric=True)
    assert bands.shape == (20, 300)
    np.testing.assert_allclose(bands[:, ::-1], exact, rtol=1e-5)


def test_silence_is_floored() -> None:
    silence = np.zeros(2048, np.float32)
    mel = mel_spectrogram(silence, sample_rate=16000, n_fft=1024, hop_length=256, n_mels=64)
    np.testing.assert_allclose(power_to_db(mel), -100.0, rtol=1e-6)
    assert (pcen(mel, frame_rate=62.5) == 0.0).all()


@pytest.mark.parity
def test_pcen_equals_librosas(librosa: Any, hum: Float32) -> None:
    mel = mel_spectrogram(hum, sample_rate=16000, n_fft=1024, hop_length=256, n_mels=64, power=1)
    frames = 0.4 * 16000 / 256
    step = (np.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
    theirs = librosa.pcen(mel, sr=16000, hop_length=256, zi=(1 - step) * mel[:, :1])
    np.testing.assert_allclose(pcen(mel, frame_rate=62.5), theirs, atol=1e-5)


@pytest.mark.parity
def test_pcen_parameters_are_librosas(librosa: Any, hum: Float32) -> None:
    mel = mel_spectrogram(hum, sample_rate=16000, n_fft=1024, hop_length=256, n_mels=64, power=1)
    ours = pcen(mel, frame_rate=62.5, gain=0.8, bias=10.0, exponent=0.25, time_constant=0.06, floor=1e-3)
    frames = 0.06 * 62.5
    step = (np.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
    theirs = librosa.pcen(
        mel,
        sr=16000,
        hop_length=256,
        gain=0.8,
        bias=10.0,
        power=0.25,
        time_constant=0.06,
        eps=1e-3,
        zi=(1 - step) * mel[:, :1],
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
