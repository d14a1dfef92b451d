"""Digests of recordings, kept between runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.detection import identity
from asd.files import digest, known


@pytest.fixture(autouse=True)
def size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_CACHE_SIZE", "2GB")


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recording that is old enough to be trusted, with a cache of its own."""
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 3 * 48000), 48000)
    monkeypatch.setattr(identity, "_SETTLED", -1.0)
    identity._content.cache_clear()
    return path


def unread(path: Path, *_: str) -> str:
    raise AssertionError(f"{path} is read again")


def again(path: Path) -> str:
    """Return the digest as another process would."""
    identity._content.cache_clear()
    return identity.content_of(path)


def test_a_recording_that_has_not_changed_is_not_read_by_the_next_run(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = identity.content_of(recording)
    assert first == hashlib.sha256(recording.read_bytes()).hexdigest()
    monkeypatch.setattr(digest, "digest_of", unread)
    assert again(recording) == first


@pytest.mark.parametrize("place", [0, 0.5, 1], ids=["beginning", "middle", "end"])
def test_another_recording_of_the_same_name_size_and_times_is_another_one(
    recording: Path, monkeypatch: pytest.MonkeyPatch, place: float
) -> None:
    """A card from a recorder without a clock: every file is of the first of January 1980."""
    monkeypatch.setattr(identity, "stamp_of", lambda path: (1, 2, path.stat().st_size, 0, 0))
    first = identity.content_of(recording)
    content = bytearray(recording.read_bytes())
    content[min(int(place * len(content)), len(content) - 1)] ^= 1
    recording.write_bytes(content)
    assert again(recording) == hashlib.sha256(content).hexdigest() != first


def test_the_digest_of_a_recording_that_changes_while_it_is_read_is_not_kept(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = iter(range(100))
    monkeypatch.setattr(identity, "stamp_of", lambda path: (next(stamps), path.stat().st_size, 0, 0))
    kept: list[str] = []
    monkeypatch.setattr(known, "remember", lambda key, *_: kept.append(key))
    identity.content_of(recording)
    assert not kept


@pytest.mark.parametrize("off", [{"ASD_CACHE_SIZE": "0"}, {}], ids=["no cache", "small file"])
def test_a_digest_is_not_kept_where_that_is_not_wanted_or_saves_nothing(
    recording: Path, monkeypatch: pytest.MonkeyPatch, off: dict[str, str]
) -> None:
    for name, value in off.items():
        monkeypatch.setenv(name, value)
    if not off:
        recording.write_bytes(b"small")
    first = identity.content_of(recording)
    assert again(recording) == first == hashlib.sha256(recording.read_bytes()).hexdigest()
    assert not list((recording.parent / "cache").glob("known*"))
