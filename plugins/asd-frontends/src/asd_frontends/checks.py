"""What the mel front ends check of their parameters together."""

from __future__ import annotations

import numpy as np

from asd.errors import ConfigError
from asd.plugin import mel_filter_bank

_BANK_LIMIT = 1 << 24
"""Numbers in a mel filter bank, 128 MB in float64: more bands or bins than any sound needs."""


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
    if n_mels * (n_fft // 2 + 1) > _BANK_LIMIT:
        raise ConfigError(
            f"{owner}: n_mels {n_mels} and n_fft {n_fft} make a filter bank of {n_mels * (n_fft // 2 + 1):,} numbers, "
            f"expected at most {_BANK_LIMIT:,}; lower one of them"
        )
    bank = mel_filter_bank(sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels, f_min=f_min, f_max=f_max)
    empty = int(np.count_nonzero(~bank.any(axis=1)))
    if empty:
        raise ConfigError(
            f"{owner}: {empty} of {n_mels} mel bands hold no frequency bin, as bins lie {sample_rate / n_fft:.3g} Hz "
            f"apart; lower n_mels or raise n_fft (now {n_fft})"
        )
