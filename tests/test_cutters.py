"""Clips that processes of their own cut: as they are cut here or not at all; a crash ends its process alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd.detection import cutters
from asd.experiment import Cutters, Model, cut_clip, judge_together
from own_components import Distance
from waiting import until

RATE = 16000
FRAMES: dict[str, Any] = {"frontend": "mel-stack", "extractor": "identity", "detector": "gmm"}
BANDS: dict[str, Any] = {"extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"}
PIPELINE: dict[str, Any] = {"branches": [{"name": "frames", **FRAMES}, {"name": "bands", **BANDS}]}
_HOSTILE = """
import os, signal, time
from asd.detection import cutter_process
facts = cutter_process.recording_facts
def recording_facts(path):
    start = path.read_bytes()[:5]
    if start == b"CRASH":
        os.kill(os.getpid(), signal.SIGSEGV)
    if start == b"SLEEP":
        time.sleep(300)
    if start == b"RAISE":
        raise KeyError("of a decoder")
    return facts(path)
cutter_process.recording_facts = recording_facts
cutter_process.main()
"""
"""Stands for a decoder with a weakness: what it does with files that begin so."""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("recordings")
    for seed in range(10):
        rng = np.random.default_rng(seed)
        soundfile.write(folder / f"{seed}.flac", rng.normal(0, 0.05, (RATE + 1600 * seed, 2)), RATE)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def model(recordings: list[Path]) -> Iterator[Model]:
    with asd.fit(recordings, cache=False, **PIPELINE) as found:
        yield found


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cutters]:
    """Return one process that cuts, with a weakness; another takes its place at once."""
    monkeypatch.setattr(cutters, "_START", f"exec({_HOSTILE!r})")
    monkeypatch.setattr(cutters, "_PAUSE", 0.0)
    found = Cutters(1)
    yield found
    found.close()


def test_what_is_cut_by_others_is_what_is_cut_here(model: Model, recordings: list[Path], one: Cutters) -> None:
    clips = [asd.Clip(path, 0.25, 0.75, "a state") for path in recordings[:3]] + [asd.Clip(recordings[9])]
    assert one.cut(model, clips[0]) is None, "nobody is waited for"
    until(lambda: one.ready)
    for clip in clips:
        here, there = cut_clip(model, clip), one.cut(model, clip)
        assert there is not None
        assert there.clip == clip
        assert there.clip.group == clip.group
        for own, its in zip(here.windows, there.windows, strict=True):
            for (slot, starts), (other, others) in zip(own, its, strict=True):  # type: ignore[arg-type]
                for one_s, its_s in ((slot.values, other.values), (slot.rows, other.rows), (starts, others)):
                    assert (one_s is None) == (its_s is None)
                    assert one_s is None or (one_s.dtype == its_s.dtype and np.array_equal(one_s, its_s))
        (ours,), (theirs,) = judge_together([(model, here)]), judge_together([(model, there)])
        assert ours.to_dict() == theirs.to_dict()


@pytest.mark.parametrize("start", [b"CRASH", b"RAISE", b"no sound", b""])
def test_what_cannot_be_cut_is_left_to_the_caller(
    model: Model, recordings: list[Path], one: Cutters, tmp_path: Path, start: bytes
) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(start)
    one.cut(model, asd.Clip(recordings[0]))
    until(lambda: one.ready)
    assert one.cut(model, asd.Clip(bad)) is None
    assert until(lambda: one.cut(model, asd.Clip(recordings[0]))), "another takes its place"


def test_what_takes_too_long_is_ended(model: Model, recordings: list[Path], one: Cutters, tmp_path: Path) -> None:
    (tmp_path / "slow.wav").write_bytes(b"SLEEP")
    one.cut(model, asd.Clip(recordings[0]))
    until(lambda: one.ready)
    one._seconds = 0.2
    assert one.cut(model, asd.Clip(tmp_path / "slow.wav")) is None
    assert one.ready == 0


def test_long_clips_are_cut_where_they_are_judged(
    model: Model, recordings: list[Path], one: Cutters, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "long.wav", np.full(61 * 1000, 0.1), 1000)
    one.cut(model, asd.Clip(recordings[0]))
    until(lambda: one.ready)
    assert one.cut(model, asd.Clip(tmp_path / "long.wav")) is None
    assert one.cut(model, asd.Clip(tmp_path / "long.wav", 1.0, 1.0)) is not None


def test_models_of_classes_of_no_plugin_are_left_to_the_caller(recordings: list[Path], one: Cutters) -> None:
    with asd.fit(recordings, cache=False, **{**FRAMES, "detector": Distance}) as own:
        assert one.cut(own, asd.Clip(recordings[0])) is None
        assert one.ready == 0


def test_the_end_waits_for_no_process_that_is_not_ready(model: Model, recordings: list[Path]) -> None:
    several = Cutters(3)
    several.cut(model, asd.Clip(recordings[0]))
    several.close()
    assert several.ready == 0
    assert several.cut(model, asd.Clip(recordings[0])) is None


def test_a_process_that_cannot_be_started_is_no_error(
    model: Model, recordings: list[Path], one: Cutters, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: Any, **options: Any) -> Any:
        tried.append(options)
        raise OSError("Cannot allocate memory")

    tried: list[Any] = []
    with monkeypatch.context() as broken:
        broken.setattr(cutters, "start_python", start)
        assert one.cut(model, asd.Clip(recordings[0])) is None
        until(lambda: tried)
    assert until(lambda: one.cut(model, asd.Clip(recordings[0])))
