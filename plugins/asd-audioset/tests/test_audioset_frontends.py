"""The front ends: equal to what the networks were trained on, and free of seams."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from asd.errors import ConfigError
from asd.plugin import Audio, create

FRONTENDS = [
    ("efficientat-mel", {}),
    ("efficientat-mel", {"window": 0.32, "hop": 0.01}),
    ("efficientat-mel", {"window": 0.5, "hop": 1.25}),
    ("yamnet-mel", {}),
    ("vggish-mel", {"hop": 0.96}),
]


def noise(seconds: float, rate: int = 32000) -> Any:
    return (0.1 * np.random.default_rng(1).standard_normal(round(seconds * rate))).astype(np.float32)


@cache
def kaldi_triangles() -> torch.Tensor:
    """Kaldi's mel bands, one weight at a time; the bin at half the sample rate is left at zero."""
    bins = 1127 * np.log(1 + np.arange(512) * 31.25 / 700)
    step = 1127 * np.log(1 + 15000 / 700) / 129
    bank = torch.zeros(128, 513)
    for band in range(128):
        for index, mel in enumerate(bins):
            rising, falling = (mel - band * step) / step, ((band + 2) * step - mel) / step
            bank[band, index] = max(0.0, min(rising, falling))
    return bank


def reference(samples: Any) -> Any:
    """The published front end step by step: pre-emphasis, torch.stft, mel bands, logarithm."""
    emphasised = torch.from_numpy(samples[1:] - np.float32(0.97) * samples[:-1])
    window = torch.hann_window(800, periodic=False)
    power = torch.stft(emphasised, 1024, 320, 800, window, center=True, return_complex=True).abs() ** 2
    return (((kaldi_triangles() @ power + 1e-5).log() + 4.5) / 5).numpy()


@pytest.mark.parity
@pytest.mark.parametrize(("window", "hop"), [(1.0, 0.5), (0.32, 0.13), (2.5, 3.0)])
def test_efficientat_mel_equals_the_published_front_end(window: float, hop: float) -> None:
    samples = noise(7.3)
    frontend = create("frontend", "efficientat-mel", {"window": window, "hop": hop})
    windows = frontend(Audio(samples[np.newaxis], 32000))
    assert len(windows.values) == 1 + int((7.3 - window) / hop)
    for start, values in zip(windows.start, windows.values, strict=True):
        first = round(start * 32000)
        expected = reference(samples[first : first + round(window * 32000)])
        np.testing.assert_allclose(values, expected, atol=1e-4)


@pytest.mark.parity
def test_efficientat_mel_of_silence_is_the_floor() -> None:
    windows = create("frontend", "efficientat-mel")(Audio(np.zeros((1, 32000), np.float32), 32000))
    np.testing.assert_allclose(windows.values, (np.log(1e-5) + 4.5) / 5, rtol=1e-6)


@pytest.mark.parametrize(("name", "parameters"), FRONTENDS)
def test_a_window_depends_on_its_own_samples_alone(name: str, parameters: dict[str, Any]) -> None:
    frontend = create("frontend", name, parameters)
    samples = noise(4.1, frontend.sample_rate)
    whole = frontend(Audio(samples[np.newaxis], frontend.sample_rate))
    count = 1 + (len(samples) - frontend.window_length) // frontend.window_hop
    assert whole.values.shape == (count, *frontend.produces.shape)
    np.testing.assert_allclose(whole.start, np.arange(count) * frontend.window_hop / frontend.sample_rate)
    assert whole.duration == pytest.approx(frontend.window_length / frontend.sample_rate)
    for index in range(0, count, 7):
        first = index * frontend.window_hop
        alone = samples[first : first + frontend.window_length]
        one = frontend(Audio(alone[np.newaxis], frontend.sample_rate))
        np.testing.assert_allclose(one.values, whole.values[index : index + 1], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("efficientat-mel", {"window": 0.2}, "window is 0.2 s, expected at least 0.32 s, one step of EfficientAT's"),
        ("efficientat-mel", {"window": 1.005}, "window is 1.005 s, expected a multiple of 0.01 s, the distance of"),
        ("efficientat-mel", {"hop": 0.0}, "hop is 0 s, expected a multiple of 0.01 s"),
        ("yamnet-mel", {"hop": -0.48}, "yamnet-mel: hop is -0.48 s, expected a multiple of 0.01 s"),
        ("vggish-mel", {"hop": 0.333}, "vggish-mel: hop is 0.333 s, expected a multiple of 0.01 s"),
    ],
)
def test_impossible_windows_are_refused(name: str, parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        create("frontend", name, parameters)
    assert "\n" not in str(caught.value)
    assert "--frontend." in str(caught.value)
