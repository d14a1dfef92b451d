"""Lengths that headers state wrongly or not at all: what can be decoded is read, and the user learns of it."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.errors import AudioError
from asd.records import Clip
from asd.sound.finding import find_clips
from asd.sound.layout import END_MISSING
from asd.sound.reading import ClipReader, duration_of, read

RATE = 8000
SECONDS = 4
RNG = np.random.default_rng(0)
SAMPLES = (
    0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE * SECONDS) / RATE) + RNG.normal(0, 0.02, RATE * SECONDS)
).astype(np.float32)


def encoded(format_: str, subtype: str | None = None, **options: object) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SAMPLES, RATE, format=format_, subtype=subtype, **options)
    return file.getvalue()


def put(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def behind(data: bytes, name: bytes) -> int:
    return data.index(name) + len(name)


def notes_and_seconds(path: Path) -> tuple[list[str], float]:
    reader = ClipReader(Clip(path))
    count = sum(map(len, reader))
    assert count / RATE == pytest.approx(reader.seconds)
    return reader.notes, reader.seconds


def with_size(format_: str, field: bytes, number: str, length: int) -> Callable[[int], bytes]:
    """Return what writes a size of the sound into a header, behind a field."""

    def write(size: int) -> bytes:
        data = encoded(format_)
        return put(data, behind(data, field) + length, struct.pack(number, size & (256 ** struct.calcsize(number) - 1)))

    return write


SIZED: dict[str, tuple[Callable[[int], bytes], int, int]] = {  # suffix: how, what the size counts besides, "unknown"
    "wav": (with_size("WAV", b"data", "<I", 0), 0, 0xFFFFFFFF),
    "rf64": (with_size("RF64", b"ds64", "<Q", 12), 0, (1 << 64) - 1),
    "w64": (with_size("W64", b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a", "<Q", 0), 24, (1 << 64) - 1),
    "aiff": (with_size("AIFF", b"SSND", ">I", 0), 8, 0xFFFFFFFF),
    "caf": (with_size("CAF", b"data", ">Q", 0), 4, (1 << 64) - 1),
    "au": (with_size("AU", b".snd", ">I", 4), 0, 0xFFFFFFFF),
}


@pytest.mark.parametrize("suffix", SIZED)
@pytest.mark.parametrize("share", [0.0, 0.25, 0.75])
def test_a_size_that_is_too_small_does_not_end_the_recording(tmp_path: Path, suffix: str, share: float) -> None:
    """A recorder that dies leaves 0, or what it had written when it last updated the header."""
    write, more, _ = SIZED[suffix]
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(write(round(2 * RATE * SECONDS * share) + (more if share else 0)))
    notes, seconds = notes_and_seconds(path)
    assert seconds == duration_of(path) == SECONDS
    assert notes == [f"its header states {share * SECONDS:.6g} s, 4 s can be decoded: all of it is used"]
    np.testing.assert_allclose(read(Clip(path)).samples[0], SAMPLES, atol=1e-4)


@pytest.mark.parametrize("suffix", SIZED)
def test_an_unknown_size_is_no_reason_for_a_note(tmp_path: Path, suffix: str) -> None:
    """Recorders that write to a pipe cannot go back to the header."""
    write, _, unknown = SIZED[suffix]
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(write(unknown))
    assert notes_and_seconds(path) == ([], SECONDS)
    clips = find_clips([path], segment=1.0)
    assert [(clip.start, clip.duration) for clip in clips] == [(0, 1), (1, 1), (2, 1), (3, 1)]
    np.testing.assert_allclose(np.concatenate([read(clip).samples[0] for clip in clips]), SAMPLES, atol=1e-4)


@pytest.mark.parametrize("suffix", [*SIZED, "flac", "mp3"])
def test_less_than_the_header_promises_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    data = encoded("RF64" if suffix == "rf64" else suffix.upper())
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError, match=rf"a\.{suffix}: cut off: its header states \d+ [a-z ]+, the file holds \d+"):
        read(Clip(path))


def test_a_header_that_counts_itself_is_tolerated(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(SIZED["wav"][0](2 * RATE * SECONDS + 44))
    notes, seconds = notes_and_seconds(path)
    assert seconds == SECONDS
    assert notes == ["its header states 4.00275 s, 4 s can be decoded: all of it is used"]


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (b"LIST\x04\x00\x00\x00abcd", []),
        (b"odd!\x06\x00\x00\x00abcdef" + b"more\x02\x00\x00\x00ab", []),
        (b"TAG" + bytes(range(125)), []),
        (bytes(1000), []),
        (b"\x12\x99footer" * 4, ["32 bytes behind the sound, which its header does not name, are left out"]),
    ],
    ids=["metadata", "unknown chunks", "ID3", "zeros", "footer"],
)
def test_what_stands_behind_the_sound_is_not_sound(tmp_path: Path, rest: bytes, expected: list[str]) -> None:
    (tmp_path / "a.wav").write_bytes(encoded("WAV") + rest)
    assert notes_and_seconds(tmp_path / "a.wav") == (expected, SECONDS)


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "ULAW", "GSM610", "FLOAT"])
def test_wrong_sizes_of_other_codecs(tmp_path: Path, subtype: str) -> None:
    data = encoded("WAV", subtype)
    (tmp_path / "right.wav").write_bytes(data)
    (tmp_path / "zero.wav").write_bytes(put(data, behind(data, b"data"), bytes(4)))
    right, zero = (read(Clip(tmp_path / f"{name}.wav")).samples for name in ("right", "zero"))
    np.testing.assert_array_equal(right, zero)


def test_flac_of_unknown_length(tmp_path: Path) -> None:
    """What ``flac -`` writes to a pipe: ``--segment`` ends, and cuts where it should."""
    data = encoded("FLAC")
    unknown = put(data, 21, bytes([data[21] & 0xF0, 0, 0, 0, 0]))
    path = tmp_path / "a.flac"
    path.write_bytes(unknown)
    assert notes_and_seconds(path) == ([], SECONDS)
    clips = find_clips([path], segment=1.5)
    assert [(clip.start, clip.duration) for clip in clips] == [(0, 1.5), (1.5, 1.5), (3, 1)]
    np.testing.assert_allclose(np.concatenate([read(clip).samples[0] for clip in clips]), SAMPLES, atol=1e-4)
    path.write_bytes(unknown[: len(unknown) * 2 // 3])
    notes, seconds = notes_and_seconds(path)
    assert notes == [END_MISSING]
    assert 0.5 * SECONDS < seconds < SECONDS
    path.write_bytes(put(data, 22, struct.pack(">I", RATE)))
    assert notes_and_seconds(path) == (["its header states 1 s, 4 s can be decoded: all of it is used"], SECONDS)


def mp3_without_header(**options: object) -> bytes:
    data = encoded("MP3", **options)
    return data[data.index(data[:2], 4) :]


def test_mp3_without_a_header_that_counts_its_frames(tmp_path: Path) -> None:
    """Its length is an estimate from the first frame otherwise: 355 of 600 s."""
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3_without_header(bitrate_mode="VARIABLE"))
    notes, seconds = notes_and_seconds(path)
    assert notes == []
    assert seconds == pytest.approx(SECONDS, abs=0.25)
    assert duration_of(path) == seconds
    path.write_bytes(path.read_bytes()[:-5])
    assert notes_and_seconds(path)[0] == [END_MISSING]


def test_an_mp3_header_that_counts_too_few(tmp_path: Path) -> None:
    data = encoded("MP3")
    count = behind(data, b"Info" if b"Info" in data else b"Xing") + 4
    (tmp_path / "a.mp3").write_bytes(put(data, count, struct.pack(">I", 10)))
    notes, seconds = notes_and_seconds(tmp_path / "a.mp3")
    assert seconds == pytest.approx(SECONDS, abs=0.25)
    assert notes[0].endswith("s can be decoded: all of it is used")


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("mp3", {}),
        ("ogg", {"subtype": "VORBIS"}),
        ("opus", {"subtype": "OPUS"}),
        ("flac", {}),
        ("wav", {}),
        ("aiff", {}),
        ("au", {}),
    ],
)
def test_recordings_one_after_the_other(tmp_path: Path, suffix: str, options: dict[str, object]) -> None:
    data = encoded({"opus": "OGG"}.get(suffix, suffix.upper()), **options)  # type: ignore[arg-type]
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data)
    one = read(Clip(path)).samples[0]
    path.write_bytes(data * 3)
    notes, seconds = notes_and_seconds(path)
    assert notes == ["3 recordings one after the other: all are used"]
    assert seconds == duration_of(path) == pytest.approx(3 * SECONDS)
    both = read(Clip(path)).samples[0]
    np.testing.assert_array_equal(both, np.tile(one, 3))
    part = read(Clip(path, start=3.5, duration=1)).samples[0]
    np.testing.assert_allclose(part, both[7 * RATE // 2 : 9 * RATE // 2], atol=2e-3)


def test_recordings_of_two_rates_one_after_the_other(tmp_path: Path) -> None:
    other = io.BytesIO()
    soundfile.write(other, SAMPLES, 16000, format="WAV")
    (tmp_path / "a.wav").write_bytes(encoded("WAV") + other.getvalue())
    with pytest.raises(AudioError, match="recordings of different sample rates or channel counts, one after the other"):
        read(Clip(tmp_path / "a.wav"))


@pytest.mark.parametrize(("suffix", "subtype"), [("ogg", "VORBIS"), ("opus", "OPUS")])
def test_ogg_that_has_no_end(tmp_path: Path, suffix: str, subtype: str) -> None:
    data = encoded("OGG", subtype)
    (tmp_path / f"a.{suffix}").write_bytes(data[: len(data) * 2 // 3])
    notes, seconds = notes_and_seconds(tmp_path / f"a.{suffix}")
    assert notes == [END_MISSING]
    assert 0 < seconds < SECONDS


def big_wave(path: Path, *, hours: float) -> Path:
    """Write a WAV file of more than 4 GiB whose sizes have wrapped, with a tone in its last second, and holes."""
    size = int(hours * 3600) * 48000 * 2
    head = struct.pack("<4sI4s4sI", b"RIFF", (size + 36) % 2**32, b"WAVE", b"fmt ", 16)
    head += struct.pack("<HHIIHH4sI", 1, 1, 48000, 96000, 2, 16, b"data", size % 2**32)
    tone = (10000 * np.sin(2 * np.pi * 1000 * np.arange(48000) / 48000)).astype("<i2").tobytes()
    with path.open("wb") as file:
        file.write(head)
        for at in (0, size % 2**32, size - len(tone)):
            file.seek(len(head) + at)
            file.write(tone)
    return path


def test_a_wave_file_over_4_gib(tmp_path: Path) -> None:
    path = big_wave(tmp_path / "a.wav", hours=37)
    assert duration_of(path) == 37 * 3600
    clips = find_clips([path], segment=3600)
    assert len(clips) == 37
    reader = ClipReader(Clip(path, start=37 * 3600 - 2, duration=2))
    samples = np.concatenate(list(reader))
    assert not samples[:48000].any()
    assert np.abs(samples[48000:]).max() == pytest.approx(10000 / 32768, abs=1e-3)
    assert reader.notes == ["its header states 43721.5 s, 133200 s can be decoded: all of it is used"]


def test_seeking_gives_the_samples_that_reading_gives(tmp_path: Path) -> None:
    """Also where the format has no positions (GSM), and where decoders carry something over from frame to frame."""
    cases = {
        "gsm.wav": ("WAV", "GSM610"),
        "a.aiff": ("AIFF", "DWVW_16"),
        "a.mp3": ("MP3", None),
        "a.ogg": ("OGG", "VORBIS"),
        "a.opus": ("OGG", "OPUS"),
        "ima.wav": ("WAV", "IMA_ADPCM"),
    }
    for name, (format_, subtype) in cases.items():
        path = tmp_path / name
        path.write_bytes(encoded(format_, subtype))
        whole = read(Clip(path)).samples[0]
        for start in (0.5, 1.23, 3.0):
            part = read(Clip(path, start, 0.75)).samples[0]
            first = round(start * RATE)
            np.testing.assert_allclose(part, whole[first : first + len(part)], atol=1e-6, err_msg=name)


def test_a_long_vorbis_stream_is_entered_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 44100, 2) as file:
        for _ in range(20):  # libsndfile cannot write much Vorbis at once
            file.write(rng.normal(0, 0.1, (44100, 2)))
    whole = read(Clip(path)).samples[0]
    clips = find_clips([path], segment=5.0)
    np.testing.assert_allclose(np.concatenate([read(clip).samples[0] for clip in clips]), whole, atol=1e-6)


@pytest.mark.parametrize("start", [SECONDS, 100.0])
def test_a_part_behind_the_end(tmp_path: Path, start: float) -> None:
    (tmp_path / "a.wav").write_bytes(encoded("WAV"))
    with pytest.raises(AudioError, match=r"a\.wav \[.*\]: reaches beyond the recording, which ends at 4 s"):
        read(Clip(tmp_path / "a.wav", start, 1.0))
    with pytest.raises(AudioError, match=r"a\.wav \[3–5 s\]: reaches beyond the recording"):
        read(Clip(tmp_path / "a.wav", 3.0, 2.0))
