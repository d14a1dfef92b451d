"""Checks of constructor parameters; their errors say what came, what was expected and how to mend it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from asd.errors import ConfigError
from asd.plugin import mel_filter_bank


def check_positive(owner: str, **values: float) -> None:
    """Raise `ConfigError` unless every value is greater than zero."""
    for name, value in values.items():
        if not value > 0:
            raise ConfigError(f"{owner}: {name} is {value:g}, expected more than 0")


def check_choice(owner: str, name: str, value: object, choices: Collection[str]) -> None:
    """Raise `ConfigError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ConfigError(f"{owner}: {name} is {value!r}, expected one of {', '.join(choices)}")


def check_mel(owner: str, *, sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float | None) -> None:
    """Raise `ConfigError` if the band limits are impossible or a mel band would hold no frequency bin."""
    nyquist = sample_rate / 2
    highest = nyquist if f_max is None else f_max
    if highest > nyquist:
        raise ConfigError(
            f"{owner}: f_max is {highest:g} Hz, expected at most half the sample rate ({nyquist:g} Hz); "
            "lower f_max or raise sample_rate"
        )
    if not 0 <= f_min < highest:
        raise ConfigError(f"{owner}: f_min is {f_min:g} Hz, expected from 0 Hz to below f_max ({highest:g} Hz)")
    bank = mel_filter_bank(sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels, f_min=f_min, f_max=f_max)
    empty = int(np.count_nonzero(~bank.any(axis=1)))
    if empty:
        raise ConfigError(
            f"{owner}: {empty} of {n_mels} mel bands hold no frequency bin, as bins lie {sample_rate / n_fft:.3g} Hz "
            f"apart; lower n_mels or raise n_fft (now {n_fft})"
        )
