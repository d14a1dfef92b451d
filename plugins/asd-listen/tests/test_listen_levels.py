"""Levels in 1/3-octave bands."""

from __future__ import annotations

import numpy as np
import pytest

from asd_listen.levels import NOMINAL, LevelMeter, band_powers, bands_at, decibels


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_a_tone_is_in_its_band_with_its_level(rate: int) -> None:
    time = np.arange(rate) / rate
    for index, hertz in enumerate(bands_at(rate)):
        exact = 1000 * 10 ** ((index - 16) / 10)
        tone = (0.1 * np.sin(2 * np.pi * exact * time)).astype(np.float32)
        levels = decibels(band_powers(tone, rate))
        assert int(levels.argmax()) == index, hertz
        assert levels[index] == pytest.approx(10 * np.log10(0.1**2 / 2), abs=0.7)


def test_bands_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 48000).astype(np.float32)
    share = (1000 * 10**1.35 - 1000 * 10**-1.65) / 24000
    assert band_powers(noise, 48000).sum() == pytest.approx(0.01 * share, rel=0.03)


def test_there_are_only_bands_that_the_rate_holds() -> None:
    assert bands_at(48000) == NOMINAL
    assert bands_at(16000)[-1] == 6300.0
    assert bands_at(8000)[-1] == 3150.0


def test_seconds_become_minutes_whatever_the_blocks() -> None:
    rng = np.random.default_rng(1)
    sound = rng.normal(0, 0.1, 61 * 8000).astype(np.float32)
    sound[30 * 8000 : 31 * 8000] *= 10
    meter, minutes, first = LevelMeter(), [], 0
    while first < len(sound):
        size = int(rng.integers(1, 5000))
        for second in meter.add(sound[first : first + size], 8000, 1000.0 + first / 8000):
            minutes += [minute] if (minute := meter.minute(second)) else []
        first += size
    (minute,) = minutes
    assert (minute.time, minute.seconds) == (pytest.approx(1000.0), 60.0)
    mean, most = minute.bands[1000.0]
    assert most - mean == pytest.approx(10 * np.log10(60 * 100 / 159), abs=1.5)
    assert minute.level == pytest.approx(10 * np.log10(np.mean(sound[: 60 * 8000] ** 2)), abs=0.01)
    assert meter.flush() is not None
    assert meter.flush() is None
