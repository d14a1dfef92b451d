"""The front ends of MusiCNN: Essentia's numbers, and windows that are what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from asd.errors import ConfigError
from asd.plugin import Audio, create
from asd_essentia.frontend import MusicnnWaveform

RANDOM = np.random.default_rng(0)
TIME = np.arange(32000) / 16000


def audio(samples: np.ndarray) -> Audio:
    return Audio(np.asarray(samples, np.float32)[np.newaxis], 16000)


@pytest.mark.parity
def test_the_spectrogram_is_essentias(log_mel: Any, golden: Any, golden_sound: np.ndarray) -> None:
    np.testing.assert_allclose(log_mel(golden_sound), golden["spectrogram"], rtol=0, atol=1e-4)


@pytest.mark.parity
@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(32000),
        RANDOM.normal(size=32000) * 1e-4,
        RANDOM.normal(size=32000),
        0.9 * np.sin(2 * np.pi * 440 * TIME),
        0.5 * np.sin(2 * np.pi * (50 + 1900 * TIME) * TIME),
        np.eye(1, 32000, 9000)[0],
    ],
    ids=["silence", "hiss", "loud noise", "tone", "sweep", "click"],
)
def test_the_spectrogram_is_that_of_essentia_here(essentia: None, log_mel: Any, samples: np.ndarray) -> None:
    from asd_essentia.engine import _essentia

    mel = _essentia().TensorflowInputMusiCNN()
    signal = samples.astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(signal, 512)[::256]
    np.testing.assert_allclose(log_mel(signal), np.stack([mel(f) for f in frames]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("window", "hop", "frames", "hop_samples"),
    [(1.0, 0.5, 62, 31 * 256), (3.0, 1.5, 187, 93 * 256), (0.016, 0.016, 1, 256), (1.0, 2.0, 62, 125 * 256)],
)
def test_seconds_become_frames_as_essentia_counts(window: float, hop: float, frames: int, hop_samples: int) -> None:
    frontend = MusicnnWaveform(window=window, hop=hop)
    assert frontend.window_length == (frames - 1) * 256 + 512
    assert frontend.window_hop == hop_samples
    assert frontend.produces.shape == (frontend.window_length,)


def test_the_waveform_windows_are_those_of_the_spectrogram(log_mel: Any) -> None:
    signal = audio(RANDOM.normal(size=50000))
    mel, waveform = create("frontend", "musicnn-mel")(signal), MusicnnWaveform()(signal)
    assert waveform.values.shape == (5, 16128)
    np.testing.assert_array_equal(waveform.start, mel.start)
    np.testing.assert_allclose(log_mel(waveform.values[3]), mel.values[3], atol=1e-6)


def test_a_recording_as_long_as_a_window_gives_one() -> None:
    assert MusicnnWaveform()(audio(np.zeros(16128))).values.shape == (1, 16128)


@pytest.mark.parametrize("name", ["musicnn-waveform", "effnet-waveform"])
@pytest.mark.parametrize("parameter", ["window", "hop"])
@pytest.mark.parametrize(("value", "shown"), [(0.01, "0.01"), (-1, "-1"), (float("nan"), "nan"), (float("inf"), "inf")])
def test_a_window_must_hold_a_frame(name: str, parameter: str, value: float, shown: str) -> None:
    with pytest.raises(ConfigError) as raised:
        create("frontend", name, {parameter: value})
    assert str(raised.value) == f"{name}: {parameter} is {shown} s, expected at least 0.016 s (one frame)"
