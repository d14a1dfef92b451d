"""Digests of recordings, kept between runs."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from asd.detection import identity
from asd.detection.embeddings import EmbeddingCache
from asd.detection.pipeline import Pipeline
from asd.files import digest, known
from asd.records import Clip
from caching import CONFIG
from waiting import PATIENCE


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


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> known._File:
    """What is known, nothing yet; after the first, what is new waits."""
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(known, "_COMMIT_SECONDS", math.inf)
    return known._opened(os.getpid(), tmp_path / "cache")


def written(file: known._File) -> list[tuple[str, str]]:
    """Return what another process would find."""
    with contextlib.closing(sqlite3.connect(file._path)) as other:
        return other.execute("SELECT key, sha256 FROM known ORDER BY key").fetchall()


def test_digests_of_the_same_half_second_are_written_together(file: known._File) -> None:
    for key in "abc":
        known.remember(key, "sha256", key * 64)
    assert [known.known(key, "sha256") for key in "abcd"] == ["a" * 64, "b" * 64, "c" * 64, None]
    known.remember("a", "seconds", 2.5)
    assert (known.known("a", "sha256"), known.known("a", "seconds")) == ("a" * 64, 2.5)
    assert written(file) == [("a", "a" * 64)]
    known.flush()
    assert written(file) == [(key, key * 64) for key in "abc"]
    assert (known.known("a", "sha256"), known.known("a", "seconds")) == ("a" * 64, 2.5)
    known.remember("d", "sha256", "d" * 64)
    known.remove_all()
    known.flush()
    assert written(file) == []


def test_what_waits_is_written_at_the_end_of_the_program(file: known._File) -> None:
    program = (
        "import math; from asd.files import known; known._COMMIT_SECONDS = math.inf\n"
        "for key in 'abc': known.remember(key, 'sha256', key * 64)\n"
        "raise KeyboardInterrupt"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=PATIENCE)
    assert ended.stderr.endswith(b"KeyboardInterrupt\n")
    assert written(file) == [(key, key * 64) for key in "abc"]


def test_what_waits_is_written_at_the_end_of_a_pass(file: known._File, tmp_path: Path) -> None:
    """A worker process ends without further ado."""
    clips = []
    for number in range(3):
        clips.append(Clip(tmp_path / f"{number}.wav"))
        soundfile.write(clips[-1].path, np.random.default_rng(number).normal(0, 0.1, 3 * 16000), 16000)
        os.utime(clips[-1].path, (0, 0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "_SETTLED", -1.0)
        cache = EmbeddingCache(tmp_path / "cache" / "embeddings.sqlite")
        list(Pipeline(CONFIG).embed_all(clips, cache=cache))
        cache.close()
    digests = {hashlib.sha256(clip.path.read_bytes()).hexdigest() for clip in clips}
    assert {sha256 for _, sha256 in written(file)} == digests


def test_a_full_drive_costs_time_only_and_no_memory(file: known._File) -> None:
    known.remember("a", "sha256", "a" * 64)
    file._connection.execute("PRAGMA max_page_count = 1")  # as large as it is, and no larger
    for number in range(500):
        known.remember(f"{number:064}", "sha256", "b" * 64)
    known.flush()
    assert file._waiting == {}
    assert (known.known("a", "sha256"), known.known(f"{1:064}", "sha256")) == ("a" * 64, None)
    file._connection.execute("PRAGMA max_page_count = 100000")  # room was made
    known.remember("c", "sha256", "c" * 64)
    known.flush()
    assert written(file) == [("a", "a" * 64), ("c", "c" * 64)]


def test_more_than_most_is_forgotten_from_the_oldest_on(file: known._File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_MOST", 100)
    moments = itertools.count(1.0)
    monkeypatch.setattr(known, "time", SimpleNamespace(time=lambda: next(moments), monotonic=lambda: 0.0))
    for number in range(1, 1011):
        known.remember(f"{number:064}", "sha256", "b" * 64)
    known.flush()
    assert [int(key) for key, _ in written(file)] == list(range(911, 1011))
