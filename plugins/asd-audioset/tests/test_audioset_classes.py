"""EfficientAT mn04 hears what is there: known sounds are among the five likeliest of AudioSet's 527 classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asd.experiment import read
from asd.plugin import Audio, Clip, Runtime, create
from asd_audioset.labels import class_names

RATE = 32000
TIME = np.arange(10 * RATE) / RATE


def tone(frequency: float) -> Any:
    return np.sin(2 * np.pi * frequency * TIME)


def white_noise() -> Any:
    return np.random.default_rng(0).standard_normal(len(TIME)) / 3


def pink_noise() -> Any:
    spectrum = np.fft.rfft(white_noise())
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)))
    return noise / noise.std() / 3


def dialling() -> Any:
    """Keys of a telephone: two tones of 0.2 s each 0.4 s (ITU-T Q.23)."""
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477)
    signal = np.zeros(len(TIME))
    for key in range(24):
        pressed = (0.4 * key <= TIME) & (0.4 * key + 0.2 > TIME)
        signal += pressed * (tone(rows[key % 4]) + tone(columns[key % 3])) / 2
    return signal


def busy_signal() -> Any:
    """The North American one: 480 Hz and 620 Hz, half a second on, half a second off."""
    return (TIME % 1 < 0.5) * (tone(480) + tone(620)) / 2


def chirp() -> Any:
    return np.sin(2 * np.pi * (200 * TIME + 75 * TIME**2))


SYNTHETIC: dict[str, Callable[[], Any]] = {
    "Sine wave": lambda: tone(440),
    "White noise": white_noise,
    "Pink noise": pink_noise,
    "Telephone dialing, DTMF": dialling,
    "Busy signal": busy_signal,
    "Chirp tone": chirp,
    "Silence": lambda: np.zeros(len(TIME)),
}
RECORDED = {
    "Cash register": "cash_register.flac",
    "Drum roll": "drum_roll.flac",
    "Guitar": "guitar.flac",
    "Cymbal": "splash_cymbal.flac",
    "Tabla": "tabla.flac",
}


def probabilities(samples: Any) -> Any:
    """Return what EfficientAT makes of a clip that is one window."""
    window = np.floor(len(samples) / RATE * 100) / 100
    frontend = create("frontend", "efficientat-mel", {"window": window, "hop": window})
    extractor = create("extractor", "efficientat-mn04-torch")
    extractor.runtime = Runtime(device="cpu")
    audio = Audio(samples[np.newaxis].astype(np.float32), RATE)
    return extractor.class_probabilities(frontend(audio).values)[0]


def likeliest(found: Any) -> list[str]:
    return [class_names()[index] for index in np.argsort(found)[:-6:-1]]


def test_there_are_527_classes_in_audiosets_order() -> None:
    names = class_names()
    assert len(names) == len(set(names)) == 527
    assert (names[0], names[137], names[526]) == ("Speech", "Music", "Field recording")


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_generated_sound_is_recognised(name: str) -> None:
    assert name in likeliest(probabilities(0.3 * SYNTHETIC[name]()))


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_is_recognised(name: str) -> None:
    path = Path(__file__).parent / "recordings" / RECORDED[name]
    assert name in likeliest(probabilities(read(Clip(path), sample_rate=RATE).samples[0]))


@pytest.mark.slow
def test_a_quiet_fan_is_heard_as_noise(shared: Path) -> None:
    clips = sorted((shared / "data" / "fan_id_00" / "normal").glob("*.flac"))
    found = [probabilities(read(Clip(path), sample_rate=RATE).samples[0]) for path in clips]
    assert likeliest(np.mean(found, axis=0))[0] == "White noise"
