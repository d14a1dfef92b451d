"""A wrong parameter is answered with what came, what was expected and how to mend it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from asd.errors import ConfigError
from asd_frontends.image import MelImage
from asd_frontends.patch import MelPatch
from asd_frontends.stack import MelStack
from asd_frontends.waveform import Waveform


@pytest.mark.parametrize(
    ("cls", "parameters", "text"),
    [
        (
            MelImage,
            {"n_fft": 0},
            "mel-image: n_fft must be a whole number of at least 1, got 0; use --frontend.n_fft 1 or more",
        ),
        (
            MelPatch,
            {"hop_length": -256},
            "mel-patch: hop_length must be a whole number of at least 1, got -256; use --frontend.hop_length 1 or more",
        ),
        (
            MelStack,
            {"frames": 0},
            "mel-stack: frames must be a whole number of at least 1, got 0; use --frontend.frames 1 or more",
        ),
        (Waveform, {"window": 0.0}, "waveform: window must be a number above 0, got 0.0; change --frontend.window"),
        (Waveform, {"hop": 1e-5}, "waveform: hop is 1e-05 s, expected at least one sample (6.3e-05 s)"),
        (
            MelImage,
            {"f_max": 10000.0},
            "mel-image: f_max is 10000 Hz, expected at most half the sample rate (8000 Hz); "
            "lower f_max or raise sample_rate",
        ),
        (
            MelStack,
            {"f_min": 5000.0, "f_max": 4000.0},
            "mel-stack: f_min is 5000 Hz, expected from 0 Hz to below f_max (4000 Hz)",
        ),
        (
            MelPatch,
            {"n_fft": 256, "n_mels": 128},
            "mel-patch: 13 of 128 mel bands hold no frequency bin, as bins lie 62.5 Hz apart; "
            "lower n_mels or raise n_fft (now 256)",
        ),
        (
            MelPatch,
            {"n_fft": 1 << 31},
            "mel-patch: n_mels 64 and n_fft 2147483648 make a filter bank of 68,719,476,800 numbers, "
            "expected at most 16,777,216; lower one of them",
        ),
        (
            MelImage,
            {"colour_map": "jet"},
            "mel-image: colour_map must be viridis, magma, inferno, plasma or gray, got 'jet'; "
            "change --frontend.colour_map",
        ),
        (
            MelImage,
            {"reference": "file"},
            "mel-image: reference must be fixed, clip or patch, got 'file'; change --frontend.reference",
        ),
        (MelPatch, {"db_min": 30.0}, "mel-patch: db_min is 30 dB, expected less than db_max (20 dB)"),
        (
            MelPatch,
            {"scaling": "pcen", "db_max": 3.0},
            "mel-patch: scaling pcen has no decibels, got reference fixed, db_min None and db_max 3.0; "
            "leave these out or use scaling log",
        ),
    ],
)
def test_wrong_parameters(cls: Any, parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(text)}$"):
        cls(**parameters)
