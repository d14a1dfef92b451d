"""What recordings' samples say of the recording: notes that a user can act on, and values that no sound has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.errors import AudioError
from asd.records import Channel, Clip
from asd.sound.reading import ClipReader, read

RATE = 16000
RNG = np.random.default_rng(0)
TONE = 0.4 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE) + RNG.normal(0, 0.02, 2 * RATE)
DEAD = "channel {} of {} is dead: the mix is {} dB lower; choose another with --channel"
CANCEL = "channels cancel each other in the mix (is one of inverted polarity?): choose one with --channel"
SCALED = "float samples of the scale of 16-bit integers: divided by 32768"
CLIPPED = "clipped: the level reaches full scale"


def notes(path: Path, samples: np.ndarray, subtype: str = "PCM_16", channel: Channel = "mix") -> list[str]:
    soundfile.write(path, samples, RATE, subtype=subtype)
    reader = ClipReader(Clip(path), channel=channel)
    list(reader)
    assert reader.channels == (1 if samples.ndim == 1 else samples.shape[1])
    return reader.notes


def test_channels_that_are_well_have_no_note(tmp_path: Path) -> None:
    noise = RNG.normal(0, 0.05, (2 * RATE, 4))
    assert notes(tmp_path / "a.wav", TONE) == []
    assert notes(tmp_path / "a.wav", np.stack([TONE, 0.1 * TONE], axis=1)) == []
    assert notes(tmp_path / "a.wav", noise) == []
    assert notes(tmp_path / "a.wav", np.stack([TONE, np.roll(TONE, 9)], axis=1)) == []  # a quarter of a period later


def test_a_dead_channel(tmp_path: Path) -> None:
    dead = np.zeros_like(TONE)
    assert notes(tmp_path / "a.wav", np.stack([TONE, dead], axis=1)) == [DEAD.format(2, 2, 6)]
    assert notes(tmp_path / "a.wav", np.stack([dead, TONE, TONE, dead], axis=1)) == [DEAD.format("1, 4", 4, 6)]
    hum = RNG.normal(0, 1e-4, len(TONE))
    assert notes(tmp_path / "a.wav", np.stack([TONE, hum], axis=1), "FLOAT") == [DEAD.format(2, 2, 6)]
    assert notes(tmp_path / "a.wav", np.stack([TONE, dead], axis=1), channel=1) == []
    silence = ["digital silence: is the microphone connected?"]
    assert notes(tmp_path / "a.wav", np.stack([TONE, dead], axis=1), channel=2) == silence
    assert notes(tmp_path / "a.wav", np.stack([dead, dead], axis=1)) == silence


def test_channels_that_cancel(tmp_path: Path) -> None:
    assert notes(tmp_path / "a.wav", np.stack([TONE, -TONE], axis=1)) == [CANCEL]
    assert notes(tmp_path / "a.wav", np.stack([TONE, -0.9 * TONE], axis=1)) == [CANCEL]
    assert notes(tmp_path / "a.wav", np.stack([TONE, -TONE], axis=1), channel=2) == []


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
def test_clipping_is_seen_in_every_width(tmp_path: Path, subtype: str) -> None:
    assert notes(tmp_path / "a.wav", np.clip(5 * TONE, -1, 1), subtype) == [CLIPPED]
    assert notes(tmp_path / "a.wav", TONE / np.abs(TONE).max() * 0.9, subtype) == []


def test_clipping_of_one_channel(tmp_path: Path) -> None:
    assert notes(tmp_path / "a.wav", np.stack([np.clip(5 * TONE, -1, 1), TONE], axis=1)) == [CLIPPED]


def test_a_recording_that_is_normalised_to_full_scale_is_not_clipped(tmp_path: Path) -> None:
    assert notes(tmp_path / "a.wav", TONE / np.abs(TONE).max()) == []


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize(("level", "is_whole"), [(1.0, True), (0.001, True), (1.0, False)])
def test_floats_of_the_scale_of_integers(tmp_path: Path, subtype: str, level: float, is_whole: bool) -> None:
    """What ``soundfile.write(path, int16.astype(float))`` makes; resampled, the values are not whole any more.

    (Quiet as well as not whole, nothing tells them from a recording of the usual scale.)
    """
    samples = level * 32768 * TONE
    if is_whole:
        samples = np.rint(samples)
    assert notes(tmp_path / "a.wav", samples, subtype) == [SCALED]
    np.testing.assert_allclose(read(Clip(tmp_path / "a.wav")).samples[0], samples / 32768, atol=1e-6)


def test_the_scale_is_that_of_the_recording_not_of_the_part(tmp_path: Path) -> None:
    quiet = np.concatenate([0.4 * np.sin(np.arange(RATE)), 32768 * TONE])
    soundfile.write(tmp_path / "a.wav", quiet, RATE, subtype="FLOAT")
    reader = ClipReader(Clip(tmp_path / "a.wav", duration=0.5))
    assert np.abs(np.concatenate(list(reader))).max() < 1e-4
    assert reader.notes == [SCALED]


def test_floats_a_little_over_full_scale_are_left_as_they_are(tmp_path: Path) -> None:
    assert notes(tmp_path / "a.wav", 4 * TONE, "FLOAT") == []
    assert np.abs(read(Clip(tmp_path / "a.wav")).samples).max() > 1.5


def flipped(samples: np.ndarray, at: int, bit: int) -> np.ndarray:
    """Return float32 samples with one bit of one of them flipped."""
    bits = samples.astype(np.float32).view(np.uint32).copy()
    bits[at] ^= np.uint32(1 << bit)
    return bits.view(np.float32)


@pytest.mark.parametrize("at", [0, 12345, 31999])
def test_a_flipped_exponent_bit(tmp_path: Path, at: int) -> None:
    path = tmp_path / "a.wav"
    samples = TONE.astype(np.float32)
    samples[at] = 0.01
    soundfile.write(path, flipped(samples, at, 30), RATE, subtype="FLOAT")
    value = f"{float(np.float32(0.01)) * 2.0**128:.4g}"
    with pytest.raises(AudioError) as error:
        read(Clip(path))
    assert str(error.value) == (
        f"{path}: holds the value {value} at {at / RATE:.6g} s, which is no sound (full scale is 1): "
        "damaged, or of another scale; copy or export it again"
    )


def test_a_damaged_sample_spoils_only_its_part(tmp_path: Path) -> None:
    samples = TONE.astype(np.float32)
    samples[20000] = 1.5e36
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    assert read(Clip(tmp_path / "a.wav", 0, 1)).samples.shape == (1, RATE)
    with pytest.raises(AudioError, match=r"holds the value 1\.5e\+36 at 1\.25 s, which is no sound"):
        read(Clip(tmp_path / "a.wav", 1, 1))


def test_a_spike_among_floats_of_the_scale_of_integers(tmp_path: Path) -> None:
    samples = np.rint(32768 * TONE).astype(np.float32)
    samples[100] = 1.5e36
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"holds the value 1\.5e\+36 at 0\.00625 s, .* \(full scale is 32768\)"):
        read(Clip(tmp_path / "a.wav"))


def test_floats_of_another_scale(tmp_path: Path) -> None:
    """24-bit integers as floats: which scale it is can't be known, so nothing is guessed."""
    soundfile.write(tmp_path / "a.wav", np.rint(8388608 * TONE), RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"of another scale; copy or export it again"):
        read(Clip(tmp_path / "a.wav"))


def test_level(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 0.1 * np.sqrt(2) * np.sin(np.arange(RATE)), RATE)
    reader = ClipReader(Clip(tmp_path / "a.wav"))
    assert reader.level == -np.inf
    list(reader)
    assert reader.level == pytest.approx(-20, abs=0.01)
