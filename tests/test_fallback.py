"""Formats that libsndfile cannot read: PyAV reads them, and without it the error says how to get it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.errors import AudioError, DataError
from asd.records import Clip
from asd.sound import fallback
from asd.sound.finding import find_clips
from asd.sound.reading import ClipReader, duration_of, read

av = pytest.importorskip("av", reason="PyAV is not installed")

SECONDS = 4
NAMES = {"x.m4a": "MPEG-4 (M4A, MP4, 3GP)", "x.wma": "WMA", "x.webm": "WebM or Matroska", "x.oga": "FLAC in Ogg"}
FORMATS = {  # name: (FFmpeg's format, codec, sample rate)
    "x.m4a": ("ipod", "aac", 16000),
    "lossless.m4a": ("ipod", "alac", 16000),
    "x.3gp": ("3gp", "aac", 16000),
    "x.mov": ("mov", "pcm_s24le", 16000),
    "float.mka": ("matroska", "pcm_f32le", 16000),
    "x.aac": ("adts", "aac", 16000),
    "x.wma": ("asf", "wmav2", 44100),
    "x.webm": ("webm", "libopus", 48000),
    "x.mka": ("matroska", "flac", 16000),
    "x.oga": ("ogg", "flac", 16000),
    "x.ac3": ("ac3", "ac3", 48000),
    "x.wv": ("wv", "wavpack", 16000),
}
MP3_IN_WAVE = ("wav", "libmp3lame", 16000)


def write(path: Path, format_: str, codec: str, rate: int, *, channels: int = 1, scale: float = 1.0) -> Path:
    """Write 4 s of a tone of 440 Hz whose level grows."""
    time = np.arange(rate * SECONDS) / rate
    tone = np.sin(2 * np.pi * 440 * time) * np.linspace(0.1, 0.5, len(time))
    samples = np.stack([scale * tone / (1 + i) for i in range(channels)]).astype(np.float32)
    layout = {1: "mono", 2: "stereo"}[channels]
    with av.open(str(path), "w", format=format_) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 96000
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, layout, rate, context.frame_size or None)
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            container.mux(stream.encode(part))
    return path


def peak_frequency(samples: np.ndarray, rate: int) -> float:
    return float(np.fft.rfftfreq(len(samples), 1 / rate)[np.abs(np.fft.rfft(samples)).argmax()])


@pytest.mark.parametrize("name", FORMATS)
def test_reads_what_libsndfile_cannot(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, *FORMATS[name])
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.SoundFile(path)
    reader = ClipReader(Clip(path))
    samples = np.concatenate(list(reader))
    assert reader.seconds == duration_of(path) == pytest.approx(SECONDS, abs=0.15)
    assert reader.file_rate == FORMATS[name][2]
    assert reader.channels == 1
    assert reader.notes == []
    assert peak_frequency(samples, reader.file_rate) == pytest.approx(440, abs=1)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", FORMATS)
def test_a_part(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, *FORMATS[name])
    rate = FORMATS[name][2]
    whole = read(Clip(path)).samples[0]
    part = read(Clip(path, 2.5, 1.0)).samples[0]
    assert len(part) == rate
    # WebM counts time in milliseconds, so that a position is off by at most one.
    slack = rate // 1000 if name.endswith("webm") else 0
    first = round(2.5 * rate)
    error = min(np.abs(part - whole[first + i : first + i + rate]).max() for i in range(-slack, slack + 1))
    assert error < 1e-3
    clips = find_clips([path], segment=1.0)
    assert sum(len(read(clip).samples[0]) for clip in clips) == pytest.approx(len(whole), abs=2)


def test_two_channels(tmp_path: Path) -> None:
    path = write(tmp_path / "x.m4a", *FORMATS["x.m4a"], channels=2)
    first, second, mix = (np.abs(read(Clip(path), channel=channel).samples).max() for channel in (1, 2, "mix"))
    assert (first, second, mix) == (
        pytest.approx(0.5, abs=0.05),
        pytest.approx(0.25, abs=0.05),
        pytest.approx(0.375, abs=0.05),
    )


def test_float_samples_of_integer_scale(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mka", *FORMATS["float.mka"], scale=32768)
    reader = ClipReader(Clip(path))
    assert np.abs(np.concatenate(list(reader))).max() == pytest.approx(0.5, abs=0.01)
    assert reader.notes == ["float samples of the scale of 16-bit integers: divided by 32768"]


def test_mp3_in_a_wave_file_needs_no_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.wav", *MP3_IN_WAVE)
    monkeypatch.setattr(fallback, "is_installed", lambda: False)
    audio = read(Clip(path))
    assert audio.samples.shape[1] / audio.sample_rate == pytest.approx(SECONDS, abs=0.15)
    assert peak_frequency(audio.samples[0], audio.sample_rate) == pytest.approx(440, abs=1)


@pytest.mark.parametrize("name", NAMES)
def test_without_pyav_the_error_says_how_to_get_it(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / name, *FORMATS[name])
    monkeypatch.setattr(fallback, "is_installed", lambda: False)
    with pytest.raises(AudioError) as error:
        read(Clip(path))
    assert str(error.value) == (
        f"{path}: {NAMES[name]}, which libsndfile cannot read; pip install av, or convert it to WAV or FLAC"
    )


def test_a_folder_says_what_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.m4a", "b.M4A", "c.raw", "d.txt"):
        (tmp_path / name).write_text("x")
    monkeypatch.setattr("asd.sound.finding.is_installed", lambda: False)
    with pytest.raises(DataError, match=r"holds no recordings \(.*\); 3 files of types that are not read \(2 \.m4a, 1"):
        find_clips([tmp_path])
    (tmp_path / "e.wav").write_text("x")
    assert [clip.path.name for clip in find_clips([tmp_path])] == ["e.wav"]
    assert caplog.messages == [
        f"{tmp_path}: left out 3 files of types that are not read (2 .m4a, 1 .raw): pip install av"
    ]
    monkeypatch.setattr("asd.sound.finding.is_installed", lambda: True)
    assert [clip.path.name for clip in find_clips([tmp_path])] == ["a.m4a", "b.M4A", "e.wav"]


def test_a_cut_off_file(tmp_path: Path) -> None:
    """The index of a QuickTime file may stand before the sound; then the file opens, and ends too early."""
    path = write(tmp_path / "x.mov", *FORMATS["x.mov"])
    content = path.read_bytes()
    sound, index = content.index(b"mdat") - 4, content.index(b"moov") - 4
    moved = bytearray(content[index:])
    at = moved.index(b"stco") + 12  # the places of the sound in the file
    for i in range(int.from_bytes(moved[at - 4 : at], "big")):
        (place,) = struct.unpack_from(">I", moved, at + 4 * i)
        struct.pack_into(">I", moved, at + 4 * i, place + len(moved))
    whole = content[:sound] + bytes(moved) + content[sound:index]
    path.write_bytes(whole)
    assert duration_of(path) == SECONDS
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AudioError, match=r"x\.mov: cut off: its header states 4 s, 1\.\d+ s can be decoded"):
        read(Clip(path))


@pytest.mark.parametrize("name", ["x.m4a", "x.webm", "x.oga"])
def test_damaged_files(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, *FORMATS[name])
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * 300 + content[400:])
    with pytest.raises(AudioError) as error:
        read(Clip(path))
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
