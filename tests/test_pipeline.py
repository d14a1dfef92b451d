"""From clips to features: blocks without seams, threads that work ahead, and what does not fit."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.detection import embedder as embedder_module
from asd.detection.config import Config
from asd.detection.pipeline import ClipFeatures, Failure, Pipeline
from asd.detection.prefetch import prefetch
from asd.errors import AudioError, ConfigError
from asd.records import Clip

VECTORS = {"frontend": "mel-stack", "extractor": "identity"}


def noise(path: Path, seconds: float = 3.0, *, seed: int = 0, rate: int = 16000) -> Clip:
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, int(rate * seconds)), rate)
    return Clip(path)


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline(Config.from_mapping(VECTORS))


def test_a_long_recording_has_no_seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = noise(tmp_path / "a.wav", 20.0)
    pipeline = Pipeline(Config.from_mapping(VECTORS))
    whole = pipeline.embed(clip)
    for seconds in (0.1, 1.0, 7.77):
        monkeypatch.setattr(embedder_module, "_BLOCK_SECONDS", seconds)
        cut = pipeline.embed(clip)
        np.testing.assert_allclose(cut.start, whole.start, atol=1e-9)
        np.testing.assert_allclose(cut.values, whole.values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.0, 2.01, 5.0])
@pytest.mark.parametrize("block", [0.1, 1.0, 2.0])
def test_no_window_is_lost_at_any_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline, seconds: float, block: float
) -> None:
    monkeypatch.setattr(embedder_module, "_BLOCK_SECONDS", block)
    features = pipeline.embed(noise(tmp_path / "a.wav", seconds))
    length, hop = pipeline.frontend.window_length, pipeline.frontend.window_hop
    assert length is not None
    count, left = 1 + (int(seconds * 16000) - length) // hop, (int(seconds * 16000) - length) % hop
    moved = [(int(seconds * 16000) - length) / 16000] if left else []  # one more window, which ends with the recording
    assert len(features.values) == count + len(moved)
    np.testing.assert_allclose(features.start, [*(np.arange(count) * hop / 16000), *moved], atol=1e-9)


@pytest.mark.parametrize("seconds", [0.1, 0.2, 1.0, 2.01])
@pytest.mark.parametrize("block", [0.1, 30.0])
def test_the_ends_of_a_recording_are_padded_for_a_front_end_that_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline, seconds: float, block: float
) -> None:
    frontend, (length, hop) = pipeline.frontend, (pipeline.frontend.window_length, pipeline.frontend.window_hop)
    assert length is not None
    clip = noise(tmp_path / "a.wav", seconds)
    sound = soundfile.read(clip.path, dtype="float32")[0]
    sound = np.resize(sound, max(length, len(sound)))
    silence = np.zeros((length - 1000 - len(sound)) % hop)
    soundfile.write(tmp_path / "padded.wav", np.concatenate([np.zeros(1000), sound, silence]), 16000)
    expected = pipeline.embed(Clip(tmp_path / "padded.wav"))

    monkeypatch.setattr(frontend, "pad_start", 1000)
    monkeypatch.setattr(frontend, "pad_end", True)
    monkeypatch.setattr(embedder_module, "_BLOCK_SECONDS", block)
    features = pipeline.embed(clip)
    np.testing.assert_allclose(features.values, expected.values, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(features.start, expected.start - 1000 / 16000, atol=1e-9)
    assert len(features.notes) == (1 if seconds < length / 16000 else 0)


def test_threads_change_nothing_and_keep_the_order(tmp_path: Path, pipeline: Pipeline) -> None:
    clips = [noise(tmp_path / f"{i}.wav", 1 + i % 3, seed=i) for i in range(9)]
    (tmp_path / "4.wav").write_text("broken")
    results = [list(pipeline.embed_all(clips, workers=workers)) for workers in (0, 1, 3)]
    for result in results:
        assert [r.clip for r in result] == clips
        assert isinstance(result[4], Failure)
        for got, expected in zip(result, results[0], strict=True):
            if isinstance(got, ClipFeatures) and isinstance(expected, ClipFeatures):
                np.testing.assert_array_equal(got.values, expected.values)
    assert sum(isinstance(r, Failure) for r in results[0]) == 1


def test_a_short_clip_is_padded_with_a_note_or_refused(tmp_path: Path, pipeline: Pipeline) -> None:
    clip = noise(tmp_path / "a.wav", 0.05)
    features = pipeline.embed(clip)
    assert len(features.values) == 1
    assert features.notes[0].startswith("0.05 s is shorter than a window of 0.192 s: padded with its own repetition")
    refusing = Pipeline(Config.from_mapping({**VECTORS, "short": "refuse"}))
    with pytest.raises(AudioError, match=r"0\.05 s is shorter than a window .* record longer clips or use --short pad"):
        refusing.embed(clip)


def test_components_that_do_not_fit_are_named() -> None:
    with pytest.raises(
        ConfigError, match=r"^squeezenet1_0 takes image \(3, 224, 224\); mel-stack gives vector \(320,\)$"
    ):
        Pipeline(Config.from_mapping({"frontend": "mel-stack", "extractor": "squeezenet1_0"}))


def test_prefetch_bounds_what_waits_and_stops_its_threads() -> None:
    made: list[tuple[int, int]] = []

    def source(number: int) -> Iterator[int]:
        for item in range(50):
            made.append((number, item))
            yield item

    lanes = prefetch([lambda n=n: source(n) for n in range(10)], workers=2)  # type: ignore[misc]
    first = next(lanes)
    assert next(first) == 0
    time.sleep(0.3)
    assert len(made) <= 3 * 4  # three lanes at most, each with two waiting, one in hand and one taken
    lanes.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("asd-prefetch")]


def test_prefetch_hands_errors_over_and_goes_on() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise AudioError("cut off")

    lanes = prefetch([failing, lambda: iter([2])], workers=1)
    lane = next(lanes)
    assert next(lane) == 1
    with pytest.raises(AudioError, match="cut off"):
        next(lane)
    assert list(next(lanes)) == [2]
