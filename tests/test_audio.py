"""Reading recordings: whatever libsndfile reads, and one clear line for what it should not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.errors import AudioError
from asd.files.digest import digest_of
from asd.records import Channel, Clip
from asd.sound.reading import ClipReader, duration_of, read


def tone(path: Path, *, rate: int = 16000, seconds: float = 1.0, channels: int = 1, frequency: float = 440.0) -> Path:
    """Write a tone whose level grows with the channel's number."""
    time = np.arange(round(rate * seconds)) / rate
    level = np.linspace(0.1, 0.8, channels)
    soundfile.write(path, level * np.sin(2 * np.pi * frequency * time)[:, np.newaxis], rate)
    return path


def peak_frequency(samples: np.ndarray, rate: int) -> float:
    return float(np.fft.rfftfreq(len(samples), 1 / rate)[np.abs(np.fft.rfft(samples)).argmax()])


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff", "w64", "caf"])
def test_reads_every_format(tmp_path: Path, suffix: str) -> None:
    audio = read(Clip(tone(tmp_path / f"a.{suffix}", seconds=2)))
    assert audio.sample_rate == 16000
    assert audio.samples.dtype == np.float32
    assert audio.samples.shape == (1, 32000)
    assert peak_frequency(audio.samples[0], 16000) == pytest.approx(440, abs=1)


@pytest.mark.parametrize("rate", [4000, 8000, 11025, 22050, 44100, 48000, 96000, 192000])
def test_resamples_any_rate(tmp_path: Path, rate: int) -> None:
    reader = ClipReader(Clip(tone(tmp_path / "a.wav", rate=rate, seconds=3)), sample_rate=16000)
    samples = np.concatenate(list(reader))
    assert len(samples) == pytest.approx(48000, abs=2)
    assert peak_frequency(samples, 16000) == pytest.approx(440, abs=1)
    assert reader.seconds == pytest.approx(3)
    assert reader.notes == []


def test_blocks_are_the_whole(tmp_path: Path) -> None:
    """Streaming must not change a sample, resampled or not."""
    import soxr

    rng = np.random.default_rng(0)
    signal = rng.normal(0, 0.1, 44100 * 20).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", signal, 44100, subtype="FLOAT")
    blocks = list(ClipReader(Clip(tmp_path / "a.wav")))
    assert len(blocks) > 2
    np.testing.assert_array_equal(np.concatenate(blocks), signal)
    streamed = np.concatenate(list(ClipReader(Clip(tmp_path / "a.wav"), sample_rate=16000)))
    np.testing.assert_allclose(streamed, soxr.resample(signal, 44100, 16000), atol=1e-6)


@pytest.mark.parametrize("channels", range(1, 17))
def test_any_channel_count(tmp_path: Path, channels: int) -> None:
    path = tone(tmp_path / "a.wav", channels=channels)
    level = np.linspace(0.1, 0.8, channels)
    expected: dict[Channel, float] = {"mix": float(level.mean()), 1: level[0], channels: level[-1]}
    for channel, amplitude in expected.items():
        assert np.abs(read(Clip(path), channel=channel).samples).max() == pytest.approx(amplitude, abs=2e-3)


def test_a_channel_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"has 2 channel\(s\), asked for channel 3; use --channel mix or 1–2"):
        read(Clip(tone(tmp_path / "a.wav", channels=2)), channel=3)


def test_a_part_of_a_recording(tmp_path: Path) -> None:
    signal = np.arange(16000, dtype=np.float32) / 16000
    soundfile.write(tmp_path / "a.wav", signal, 16000, subtype="FLOAT")
    part = Clip(tmp_path / "a.wav", start=0.25, duration=0.5)
    np.testing.assert_array_equal(read(part).samples[0], signal[4000:12000])
    assert str(part).endswith("a.wav [0.25–0.75 s]")
    assert duration_of(tmp_path / "a.wav") == 1.0


def test_digest_is_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_of(tmp_path / "a").startswith("ba7816bf8f01cfea")


def test_notes_silence_and_clipping(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    soundfile.write(tmp_path / "loud.wav", np.sign(np.sin(np.arange(16000))), 16000, subtype="FLOAT")
    for name, note in (("silent", "digital silence: is the microphone connected?"), ("loud", "clipped: the level")):
        reader = ClipReader(Clip(tmp_path / f"{name}.wav"))
        list(reader)
        assert reader.notes[0].startswith(note)


def test_an_unfinished_streamed_header_is_no_reason_to_refuse(tmp_path: Path) -> None:
    """Recorders that write to a pipe leave 0xFFFFFFFF as the length."""
    content = bytearray(tone(tmp_path / "a.wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(bytes(content))
    assert read(Clip(tmp_path / "a.wav")).samples.shape == (1, 16000)


def bad(tmp_path: Path, case: str) -> Path:
    path = tmp_path / ("a.flac" if case.endswith("FLAC") else "a.wav")
    if case == "empty":
        path.touch()
    elif case == "text":
        path.write_text("this is not sound\n" * 100)
    elif case == "archive":
        path.write_bytes(b"PK\x03\x04" + bytes(100))
    elif case == "zero samples":
        soundfile.write(path, np.zeros(0), 16000)
    elif case in ("nan", "inf"):
        signal = np.zeros(16000, np.float32)
        signal[12345] = float(case)
        soundfile.write(path, signal, 16000, subtype="FLOAT")
    elif case.startswith(("cut", "damaged")):
        rng = np.random.default_rng(0)
        soundfile.write(path, rng.normal(0, 0.1, 160000), 16000)
        if case.startswith("cut"):
            os.truncate(path, path.stat().st_size // 2)
        else:
            content = bytearray(path.read_bytes())
            content[100000:150000] = bytes(50000)
            path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("missing", r"a\.wav: no such file$"),
        ("empty", r"a\.wav: empty file \(0 bytes\); copy it again from its source$"),
        ("text", r"a\.wav: not a recording that libsndfile can read \(.*\); expected WAV, FLAC, OGG, MP3 or AIFF$"),
        ("archive", r"a\.wav: an archive, not a recording; name what is in it: zip://::.*a\.wav$"),
        ("zero samples", r"a\.wav: holds no samples; record it again or leave it out$"),
        ("nan", r"a\.wav: holds NaN or infinite samples, the first at 0\.771563 s; export it again$"),
        ("inf", r"a\.wav: holds NaN or infinite samples, the first at 0\.771563 s; export it again$"),
        (
            "cut WAV",
            r"a\.wav: cut off: its header states 320000 bytes of sound, the file holds 159978; copy it again",
        ),
        ("cut FLAC", r"a\.flac: cut off: its header states 160000 samples, the file holds \d+; copy it again"),
        ("damaged FLAC", r"a\.flac: damaged: .*; copy it again from its source$"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path, case: str, text: str) -> None:
    with pytest.raises(AudioError, match=text) as error:
        read(Clip(bad(tmp_path, case)), sample_rate=8000)
    assert "\n" not in str(error.value)


def test_eight_channels_of_a_real_recording(shared: Path) -> None:
    path = shared / "data" / "fan_id_00" / "eight_channel_normal.wav"
    channels = [read(Clip(path), channel=i).samples[0] for i in range(1, 9)]
    np.testing.assert_allclose(read(Clip(path)).samples[0], np.mean(channels, axis=0), atol=1e-6)
    assert len({digest.tobytes() for digest in channels}) == 8
