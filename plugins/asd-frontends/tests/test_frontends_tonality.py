"""The extractors sound-level and tonality: what their values are, and what silence, noise and tones give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from asd.errors import ConfigError, DataError
from asd_frontends.background import median
from asd_frontends.tonality import SoundLevel, Tonality

RATE = 32000
TIME = np.arange(RATE) / RATE
NOISE = 0.1 * np.random.default_rng(0).normal(size=RATE)


def tones(sound: np.ndarray, **parameters: Any) -> dict[tuple[float, float], float]:
    """Return the tonality of one second of sound by band."""
    extractor = Tonality(**parameters)
    values = extractor.embed(sound.astype(np.float32)[np.newaxis])[0]
    return {info.band: float(v) for info, v in zip(extractor.features(), values, strict=True) if info.band}


def test_the_level_is_the_mean_square_in_db() -> None:
    sine = 0.5 * np.sqrt(2) * np.sin(2 * np.pi * 1000 * TIME)
    levels = SoundLevel().embed(np.stack([sine, sine / 10, np.zeros(RATE)]).astype(np.float32))
    np.testing.assert_allclose(levels[:, 0], [-6.02, -26.02, -120.0], atol=0.01)
    assert [info.unit for info in SoundLevel().features()] == ["dB"]


def test_a_faint_tone_stands_out_of_its_band_alone() -> None:
    # The tone is 15 dB below the noise.
    faint = np.sqrt(2) * 0.1 * 10 ** (-15 / 20) * np.sin(2 * np.pi * 5000 * TIME)
    before, after = tones(NOISE), tones(NOISE + faint)
    raised = {band for band in before if after[band] - before[band] > 0.5}
    assert [band for band in before if band[0] <= 5000 < band[1]] == sorted(raised)


def test_the_level_of_noise_and_a_recording_of_half_the_rate_change_nothing() -> None:
    loud, quiet = tones(NOISE), tones(NOISE / 10)
    assert loud == pytest.approx(quiet, abs=0.01)
    # A recording at 16 kHz holds nothing above 8 kHz: those bands are exactly zero.
    spectrum = np.fft.rfft(NOISE)
    spectrum[RATE // 4 :] = 0
    low = tones(np.fft.irfft(spectrum, RATE))
    above = [value for band, value in low.items() if band[0] > 8300]
    assert len(above) >= 3
    assert set(above) == {0.0}


def test_silence_has_no_tones() -> None:
    assert set(tones(np.zeros(RATE)).values()) == {0.0}


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"width": 2.0}, "tonality: width is 2 Hz, expected at least 11.7188 Hz (three bins); "),
        ({"n_bands": 4000}, "tonality: n_bands is 4000, which leaves a band without a bin (3.90625 Hz wide); "),
        ({"n_fft": 8}, "tonality: n_fft must be a whole number of at least 256, got 8; use --extractor.n_fft 256 or"),
    ],
)
def test_bad_parameters_are_one_clear_line(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Tonality(**parameters)
    assert str(caught.value).startswith(text)


def test_windows_that_are_too_short_name_the_mend() -> None:
    with pytest.raises(DataError) as caught:
        Tonality().embed(np.zeros((1, 3200), np.float32))
    assert str(caught.value) == (
        "tonality: windows of 3200 samples, expected at least 8192; raise --frontend.window or lower --extractor.n_fft"
    )


@pytest.mark.parametrize("count", [1, 2, 7, 14, 53])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_median_is_that_of_numpy_bit_for_bit(count: int, kind: type) -> None:
    values = np.random.default_rng(count).normal(size=(5, 3, count)).astype(kind)
    found = median(values)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, np.median(values, axis=-1))


def test_each_window_has_the_tonality_that_it_has_by_itself() -> None:
    windows = np.random.default_rng(1).normal(size=(4, RATE)).astype(np.float32)
    alone = np.concatenate([Tonality().embed(each[np.newaxis]) for each in windows])
    np.testing.assert_array_equal(Tonality().embed(windows), alone)
