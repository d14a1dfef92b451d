"""The extractor envelope and its front end: what noise, knocks, squeals, tones and silence give."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from asd.errors import ConfigError, DataError
from asd.plugin import Audio, create
from asd_frontends.envelope import Envelope

RATE = 32000
TIME = np.arange(5 * RATE) / RATE
NOISE = 0.1 * np.random.default_rng(0).normal(size=len(TIME))


def measured(sound: np.ndarray, **parameters: Any) -> np.ndarray:
    """Return the values of five seconds of sound, (ranges of rates, bands)."""
    extractor = Envelope(**parameters)
    values = extractor.embed(sound.astype(np.float32)[np.newaxis])[0]
    assert len(extractor.features()) == len(values) == extractor.dimension
    return values.reshape(extractor.n_rates, -1)


def band_at(frequency: float) -> int:
    """Return the number of the default band about a frequency."""
    bands = [info.band for info in Envelope().features()]
    return next(i for i, band in enumerate(bands) if band and band[0] <= frequency < band[1])


def knocks(rate: float, ring: float) -> np.ndarray:
    """Return a ringing that begins anew `rate` times a second, of the power of `NOISE`."""
    since = TIME % (1 / rate)
    sound = np.exp(-since * 200) * np.sin(2 * np.pi * ring * since)
    return np.asarray(sound * np.sqrt(np.mean(NOISE**2) / np.mean(sound**2)))


def test_faint_knocks_show_at_their_rate_in_their_band_alone() -> None:
    before, after = measured(NOISE), measured(NOISE + 10 ** (-20 / 20) * knocks(7.3, 3500))
    raised = after - before
    band = band_at(3500)
    assert raised.max(axis=0).argmax() == band
    assert raised[2, band] > 5  # 6 to 12 times a second
    assert raised[:2, band].max() < 2  # slower than the knocks
    elsewhere = np.delete(raised, [band - 1, band, band + 1], axis=1)
    assert np.abs(elsewhere).max() < 1.5


def test_a_steady_tone_hides_no_knocks() -> None:
    tone = np.sin(2 * np.pi * 3200 * TIME)  # in the band of the knocks, 37 dB above them
    after = measured(NOISE + tone + 10 ** (-20 / 20) * knocks(7.3, 3500))
    assert after[2, band_at(3500)] > measured(NOISE + tone)[2, band_at(3500)] + 5


def test_one_bang_is_no_pulsation() -> None:
    bang = np.where((TIME > 2) & (TIME < 2.05), 30 * NOISE, 0)
    assert measured(NOISE + bang).max() < measured(NOISE).max() + 1


def test_white_noise_gives_little_and_its_level_changes_nothing() -> None:
    loud, quiet = measured(NOISE), measured(NOISE / 10)
    assert loud.max() < 13
    np.testing.assert_allclose(loud, quiet, atol=0.02)


def test_silence_and_bands_above_the_recordings_own_rate_show_nothing() -> None:
    assert not measured(np.zeros(len(TIME))).any()
    spectrum = np.fft.rfft(NOISE)
    spectrum[len(NOISE) // 4 :] = 0
    recorded_at_16_khz = measured(np.fft.irfft(spectrum, len(NOISE)))
    assert not recorded_at_16_khz[:, band_at(12000) :].any()
    assert recorded_at_16_khz[:, : band_at(7000)].all()


def test_the_values_say_what_they_are() -> None:
    infos = Envelope(bands_per_octave=1, n_rates=2).features()
    assert infos[0].name == "pulsation 1.5–3 times a second"
    assert infos[-1].name == "pulsation 3–6 times a second"
    assert [info.band for info in infos[:6]] == list(pairwise([250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0]))


def test_windows_overlap_by_half() -> None:
    windows = create("frontend", "envelope-waveform")(Audio(np.zeros((1, 10 * RATE), np.float32), RATE))
    assert windows.values.shape == (3, 5 * RATE)
    np.testing.assert_array_equal(windows.start, [0, 2.5, 5])


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (
            {"f_min": 15000.0},
            "envelope: f_min is 15000 Hz, expected at most 11313.7 Hz (one band below half the sample rate); "
            "lower --extractor.f_min",
        ),
        (
            {"bands_per_octave": 12},
            "envelope: bands_per_octave is 12, which leaves a band without a bin (62.5 Hz wide); "
            "lower --extractor.bands_per_octave or raise --extractor.n_fft",
        ),
        (
            {"n_rates": 7},
            "envelope: n_rates is 7, which reaches up to 192 times a second, expected at most 121 with frames of 512 "
            "samples; lower --extractor.n_rates or --extractor.n_fft",
        ),
    ],
)
def test_bad_parameters_are_one_clear_line(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Envelope(**parameters)
    assert str(caught.value) == text


def test_windows_that_are_too_short_name_the_mend() -> None:
    with pytest.raises(DataError) as caught:
        Envelope().embed(np.zeros((1, RATE), np.float32))
    assert str(caught.value) == (
        "envelope: windows of 32000 samples, expected at least 85846: 4 periods of 1.5 Hz; "
        "raise --frontend.window or --extractor.rate_min"
    )
