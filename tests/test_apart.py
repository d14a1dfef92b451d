"""Recordings that are decoded in processes of their own: as here, and a crash ends nothing but that process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.detection import apart
from asd.errors import AudioError
from asd.experiment import Clip, ClipReader, Decoders
from waiting import PATIENCE

RATE = 8000
_HOSTILE = """
import os, signal, time
from asd.detection import apart_process
decode = apart_process.open_sound
def open_sound(path):
    start = path.read_bytes()[:5]
    if start == b"CRASH":
        os.kill(os.getpid(), signal.SIGSEGV)
    if start == b"SLEEP":
        time.sleep(3600)
    if start == b"RAISE":
        raise KeyError("of a decoder")
    return decode(path)
apart_process.open_sound = open_sound
apart_process.main()
"""
"""Stands for a decoder with a weakness: what it does with files that begin so."""


@pytest.fixture
def decoders() -> Iterator[Decoders]:
    """Return processes that decode."""
    found = Decoders(1, seconds=PATIENCE)
    yield found
    found.close()


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch, decoders: Decoders) -> Decoders:
    """Return processes with a decoder that has a weakness."""
    monkeypatch.setattr(apart, "_START", f"exec({_HOSTILE!r})")
    return decoders


def heard(path: Path, **part: float) -> tuple[object, ...]:
    """Return all that a reader finds out, or the text of its error."""
    reader = ClipReader(Clip(path, **part))
    try:
        samples = np.concatenate(list(reader)).tolist()
    except AudioError as error:
        return (str(error),)
    return samples, reader.notes, reader.level, reader.seconds, reader.file_rate, reader.channels, reader.silent


def recordings(folder: Path) -> list[Path]:
    """Return recordings, sound and damaged ones."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (3 * RATE, 2)).astype(np.float32)
    for name in ("a.wav", "a.flac", "a.ogg", "a.mp3"):
        soundfile.write(folder / name, noise, RATE)
    soundfile.write(folder / "scaled.wav", np.round(noise * 30000), RATE, subtype="FLOAT")
    soundfile.write(folder / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    (folder / "cut.flac").write_bytes((folder / "a.flac").read_bytes()[:-5000])
    (folder / "cut.ogg").write_bytes((folder / "a.ogg").read_bytes()[:-3000])
    (folder / "short.wav").write_bytes((folder / "a.wav").read_bytes()[:-3000])
    (folder / "text.wav").write_text("no sound at all")
    (folder / "empty.wav").touch()
    return [*sorted(folder.iterdir()), folder / "not there.wav"]


def test_what_is_decoded_apart_is_what_is_decoded_here(tmp_path: Path, decoders: Decoders) -> None:
    for file in recordings(tmp_path):
        assert heard(decoders.path(file)) == heard(file)
        assert heard(decoders.path(file), start=0.5, duration=1.0) == heard(file, start=0.5, duration=1.0)


def test_a_recording_that_is_given_up_disturbs_no_other(tmp_path: Path, decoders: Decoders) -> None:
    for name in ("first.wav", "second.wav"):
        soundfile.write(tmp_path / name, np.random.default_rng(len(name)).uniform(-1, 1, 20 * RATE), RATE)
    blocks = ClipReader(Clip(decoders.path(tmp_path / "first.wav"))).samples()
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    assert heard(decoders.path(tmp_path / "second.wav")) == heard(tmp_path / "second.wav")


@pytest.mark.parametrize(
    ("start", "text"),
    [
        ("CRASH", "cannot be decoded: its decoder ended (SIGSEGV); convert it to WAV"),
        ("SLEEP", "cannot be decoded: takes longer than 2 s; convert it to WAV"),
        ("RAISE", "cannot be decoded: KeyError: 'of a decoder'; convert it to WAV"),
    ],
)
def test_a_file_that_breaks_its_decoder_is_an_error_of_that_file(
    start: str, text: str, tmp_path: Path, hostile: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = tmp_path / "bad.wav", tmp_path / "good.wav"
    bad.write_text(start)
    soundfile.write(good, np.zeros(RATE), RATE)
    with monkeypatch.context() as patch:
        if start == "SLEEP":
            patch.setattr(hostile, "_seconds", 2.0)
        assert heard(hostile.path(bad)) == (f"{bad}: {text}",)
    assert heard(hostile.path(good)) == heard(good)


def test_a_path_made_from_it_is_a_plain_one(tmp_path: Path, decoders: Decoders) -> None:
    path = decoders.path(tmp_path / "a.wav")
    assert path == tmp_path / "a.wav"
    (tmp_path / "b.flac").write_bytes(b"no sound")
    with pytest.raises(AudioError, match="not a recording"):
        list(ClipReader(Clip(path.with_name("b.flac"))))
    assert decoders._idle == []  # no process was needed
