"""The extractor band-levels and its front end: what each value is, and what silence and low rates give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from asd.errors import ConfigError, DataError
from asd.plugin import Audio, create, power_spectrogram
from asd_frontends.bands import BandLevels

RATE = 32000
TIME = np.arange(RATE) / RATE
RNG = np.random.default_rng(0)


def measured(sound: np.ndarray, **parameters: Any) -> dict[tuple[str, tuple[float, float] | None], float]:
    """Return each value of one second of sound by its quantity and its band."""
    extractor = BandLevels(**parameters)
    values = extractor.embed(sound.astype(np.float32)[np.newaxis])[0]
    infos = extractor.features()
    assert len(infos) == len(values) == extractor.dimension
    assert {info.unit for info in infos} == {"dB"}
    return {(i.name, i.band): float(v) for i, v in zip(infos, values, strict=True)}


def at(values: dict[tuple[str, tuple[float, float] | None], float], quantity: str, frequency: float) -> float:
    """Return a quantity in the band about a frequency."""
    return next(v for (name, band), v in values.items() if name == quantity and band and band[0] <= frequency < band[1])


def whole(values: dict[tuple[str, tuple[float, float] | None], float], quantity: str) -> float:
    """Return a quantity of all bands together."""
    return values[quantity, None]


def test_the_level_is_the_mean_square_in_db() -> None:
    sine = 0.5 * np.sqrt(2) * np.sin(2 * np.pi * 1000 * TIME)
    values = measured(sine)
    for quantity in ("level (10 %)", "level (50 %)", "level (90 %)"):
        assert at(values, quantity, 1000) == pytest.approx(-6.02, abs=0.05)
        assert whole(values, quantity) == pytest.approx(-6.02, abs=0.05)
    assert at(values, "level (50 %)", 4000) < -90
    assert whole(measured(0.1 * RNG.normal(size=RATE)), "level (50 %)") == pytest.approx(-20, abs=0.3)


def test_every_bin_between_the_limits_is_in_one_band() -> None:
    noise = (0.1 * RNG.normal(size=RATE)).astype(np.float32)
    extractor = BandLevels(quantiles=(0.5,))
    bands, wide = np.split(extractor.embed(noise[np.newaxis])[0].reshape(4, -1)[0], [-1])
    spectra = power_spectrogram(noise, n_fft=2048, hop_length=1024)[extractor._bins[0] : extractor._bins[-1]]
    assert np.median(10 * np.log10(spectra.sum(axis=0) * 16 / 3 / 2048**2)) == pytest.approx(wide[0], abs=0.01)
    assert 10 * np.log10((10 ** (bands / 10)).sum()) == pytest.approx(wide[0], abs=0.5)
    widths = np.diff(extractor._bins)
    assert widths.min() >= 2
    assert (np.diff(widths[:-1]) >= -1).all()  # the last band takes what remains


def test_twice_as_loud_is_six_db_in_every_level_and_nothing_else() -> None:
    noise = 0.1 * RNG.normal(size=RATE)
    once, twice = measured(noise), measured(2 * noise)
    for key, value in once.items():
        expected = 6.02 if key[0].startswith("level") else 0.0
        assert twice[key] - value == pytest.approx(expected, abs=0.01), key


def test_fluctuation_is_fast_or_slow() -> None:
    noise = 0.1 * RNG.normal(size=RATE)
    steady = measured(noise)
    slow = measured(noise * np.where(TIME % 0.5 < 0.25, 1.0, 0.1))
    fast = measured(noise * np.where(TIME % 0.128 < 0.064, 1.0, 0.1))
    for values, quantity in ((slow, "slow fluctuation"), (fast, "fast fluctuation")):
        assert whole(values, quantity) > whole(steady, quantity) + 3
    assert whole(slow, "slow fluctuation") > whole(fast, "slow fluctuation") + 3
    assert whole(fast, "fast fluctuation") > whole(slow, "fast fluctuation") + 3


def test_a_faint_tone_shows_in_its_band_alone() -> None:
    noise = 0.1 * RNG.normal(size=RATE)
    plain, with_tone = measured(noise), measured(noise + 0.01 * np.sin(2 * np.pi * 4000 * TIME))  # 23 dB below
    assert at(with_tone, "tone prominence", 4000) > at(plain, "tone prominence", 4000) + 3
    assert at(with_tone, "tone prominence", 2000) == pytest.approx(at(plain, "tone prominence", 2000), abs=0.1)
    assert at(with_tone, "level (50 %)", 4000) < at(plain, "level (50 %)", 4000) + 2


def test_silence_and_bands_above_the_recordings_own_rate_are_the_floor() -> None:
    silence = measured(np.zeros(RATE))
    assert {round(value, 3) for (name, _), value in silence.items() if name.startswith("level")} == {-100.0}
    assert {value for (name, _), value in silence.items() if not name.startswith("level")} == {0.0}
    import soxr

    recorded = [soxr.resample(0.3 * RNG.normal(size=16000), 16000, RATE) for _ in range(2)]
    first, second = (measured(sound) for sound in recorded)
    above = [key for key in first if key[1] and key[1][0] > 8600]
    assert len(above) > 12
    assert all(first[key] == second[key] for key in above)


def test_windows_follow_one_another() -> None:
    windows = create("frontend", "band-waveform")(Audio(np.zeros((1, 3 * RATE), np.float32), RATE))
    assert windows.values.shape == (3, RATE)
    np.testing.assert_array_equal(windows.start, [0, 1, 2])


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (
            {"quantiles": ()},
            "band-levels: quantiles is empty, expected fractions from 0 to 1, such as 0.1,0.5,0.9",
        ),
        (
            {"quantiles": (0.5, 50.0)},
            "band-levels: quantiles must be a number of at least 0 and at most 1, got 50.0; "
            "change --extractor.quantiles",
        ),
        (
            {"f_min": 16000.0},
            "band-levels: f_min is 16000 Hz, expected at most 15968.8 Hz (two bins below half the sample rate); "
            "lower f_min or raise sample_rate",
        ),
        (
            {"n_fft": 8},
            "band-levels: n_fft must be a whole number of at least 16, got 8; use --extractor.n_fft 16 or more",
        ),
    ],
)
def test_unfit_parameters_are_refused(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        BandLevels(**parameters)
    assert str(caught.value) == text


@pytest.mark.parametrize("parameters", [{"f_min": 15968.0}, {"n_fft": 17}, {"bands_per_octave": 1}, {"n_fft": 16384}])
def test_extreme_parameters_still_make_bands(parameters: dict[str, Any]) -> None:
    assert np.isfinite(list(measured(0.1 * RNG.normal(size=4 * RATE), **parameters).values())).all()


def test_a_window_of_too_few_frames_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        BandLevels().embed(np.zeros((1, 3200), np.float32))
    assert str(caught.value) == (
        "band-levels: windows of 3200 samples, expected at least 9216; raise --frontend.window"
    )
