"""Sound that is judged while it comes: as recordings are, whatever the blocks, several streams at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd.detection.features import Failure
from asd.detection.live import LiveClip, LiveScorer, LiveStream
from asd.errors import AudioError, ConfigError
from asd.records import Clip, Float32

RATE = 16000
FRAMES: dict[str, Any] = {"frontend": "mel-stack", "extractor": "identity", "detector": "gmm"}
PIPELINES: dict[str, dict[str, Any]] = {
    "frames": FRAMES,
    "windows side by side": {"extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"},
    "windows that overlap": {"extractor": "envelope", "detector": "deviation", "embedding_pooling": "mean"},
    "a last window moved": {**FRAMES, "frontend": {"name": "mel-stack", "frame_hop": 7}},
    "silence before": {"extractor": "aisfx", "detector": "knn", "embedding_pooling": "mean", "pca": None},
    "two branches": {
        "branches": [
            {"name": "frames", **FRAMES},
            {"name": "bands", "extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"},
        ]
    },
}


def machine(seconds: float, seed: int = 0, rate: int = RATE) -> Float32:
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    signal = 0.1 * np.sin(2 * np.pi * 97 * time) * (1 + 0.2 * np.sin(2 * np.pi * 0.3 * time))
    return (signal + rng.normal(0, 0.02, len(time))).astype(np.float32)[:, np.newaxis]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("healthy")
    for seed in range(8):
        soundfile.write(folder / f"{seed}.wav", machine(6.0, seed), RATE, subtype="FLOAT")
    return folder


@pytest.fixture(scope="module")
def fitted(healthy: Path) -> Callable[[str], asd.Model]:
    """Return what gives the model of a pipeline in `PIPELINES`, fitted once."""
    return functools.cache(lambda name: asd.fit(healthy, **PIPELINES[name]))


def pushed(stream: LiveStream, samples: Float32, sizes: Iterator[int], rate: int = RATE) -> list[LiveClip]:
    clips: list[LiveClip] = []
    while len(samples):
        size = next(sizes)
        clips += stream.push(samples[:size], rate)
        samples = samples[size:]
    return clips


def blocks_of(seed: int) -> Iterator[int]:
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.choice([1, 160, 1024, 4410, 16000, 50000]))


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_clip_of_a_stream_is_judged_as_a_recording(
    pipeline: str, fitted: Callable[[str], asd.Model], tmp_path: Path
) -> None:
    model = fitted(pipeline)
    samples = machine(11.2, 99)  # a resampler holds the last moments back
    path = tmp_path / "long.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    live = LiveScorer(model, hop=1.0)
    one, other = live.stream("one"), live.stream("other")
    clips = pushed(one, samples, blocks_of(1))
    together = [*clips, *pushed(other, samples, blocks_of(2))]
    verdicts = list(live.judge(together))
    assert [clip.offset for clip in clips] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    expected = list(model.score([Clip(path, float(start), 6.0) for start in range(6)], cache=False))
    for verdict, file in zip(verdicts, expected * 2, strict=True):
        assert isinstance(verdict, asd.Verdict)
        assert isinstance(file, asd.Verdict)
        assert verdict.score == pytest.approx(file.score, rel=5e-3)
        assert verdict.p_value == pytest.approx(file.p_value, abs=0.13)
        assert verdict.window_start == pytest.approx(file.window_start)
    levels = [clip.level for clip in clips]
    of_files = [10 * np.log10(np.mean(samples[start * RATE : (start + 6) * RATE] ** 2)) for start in range(6)]
    assert levels == pytest.approx(of_files, abs=0.01)


def test_each_window_is_embedded_once(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = asd.fit(healthy, extractor="band-levels", detector="deviation", embedding_pooling="mean")
    extractor = model.pipeline.extractor
    seen: list[int] = []
    embed = extractor.embed
    monkeypatch.setattr(extractor, "embed", lambda values: seen.append(len(values)) or embed(values))
    live = LiveScorer(model, hop=1.0)
    stream = live.stream("pump")
    verdicts = [v for second in range(30) for v in live.judge(stream.push(machine(1.0, second), RATE))]
    assert len(verdicts) >= 24
    assert sum(seen) <= 30  # 24 clips of 6 windows would be 144


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_what_is_prepared_is_not_computed_again(
    pipeline: str, fitted: Callable[[str], asd.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fitted(pipeline)
    seen: list[int] = []
    for embedder in model.pipeline.embedders:
        embed = embedder.extractor.embed
        monkeypatch.setattr(
            embedder.extractor, "embed", lambda values, own=embed: seen.append(len(values)) or own(values)
        )

    def judged(*, prepare: bool) -> tuple[list[Any], list[int]]:
        live = LiveScorer(model, hop=1.0)
        stream = live.stream("pump", delay=0.3)
        found, late = [], []
        for at in range(0, 8 * RATE, 3200):
            seen.clear()
            verdicts = list(live.judge(stream.push(machine(8.0, 99)[at : at + 3200], RATE)))
            late += [sum(seen)] if verdicts else []
            found += verdicts
            if prepare:
                live.prepare([stream])
        return found, late

    plain, at_once = judged(prepare=False)
    verdicts, late = judged(prepare=True)
    assert [each.score for each in verdicts] == pytest.approx([each.score for each in plain], rel=1e-6)
    assert [each.clip.start for each in verdicts] == pytest.approx([0.3, 1.3])
    assert [each.window_start.tolist() for each in verdicts] == [each.window_start.tolist() for each in plain]
    assert sum(late) < sum(at_once)
    assert late[0] < at_once[0]


def test_clips_that_count_share_no_sound(fitted: Callable[[str], asd.Model]) -> None:
    live = LiveScorer(fitted("frames"), hop=2.5)
    clips = live.stream("pump").push(machine(30.0), RATE)
    apart = [clip.offset for clip in clips if clip.apart]
    assert apart == [0.0, 7.5, 15.0, 22.5]
    assert [clip.offset for clip in clips] == [2.5 * i for i in range(10)]


def test_memory_is_bounded(fitted: Callable[[str], asd.Model]) -> None:
    live = LiveScorer(fitted("frames"), hop=1.0)
    stream = live.stream("pump")
    held = []
    for second in range(60):
        list(live.judge(stream.push(machine(1.0, second, 44100), 44100)))
        samples = sum(part.nbytes for ring in stream._rings.values() for part in ring._parts)
        held.append((samples, sum(map(len, stream._slots)), len(stream._levels)))
    assert max(held[30:]) <= tuple(1.01 * each for each in max(held[10:30]))
    assert held[-1][0] <= 7.5 * RATE * 4


def test_a_recording_that_ends_early_is_judged_as_it_is(fitted: Callable[[str], asd.Model]) -> None:
    live = LiveScorer(fitted("frames"))
    stream = live.stream("short.wav")
    assert stream.push(machine(5.0), RATE) == []
    (clip,) = stream.finish()
    (verdict,) = live.judge([clip])
    assert isinstance(verdict, asd.Verdict)
    assert clip.seconds == 5.0
    assert stream.heard == 0.0
    stream.push(machine(4.0), RATE)
    assert stream.finish() == []  # too short
    stream.push(machine(7.0), RATE)
    assert stream.finish() == []  # was judged


def test_another_rate_or_channel_count_starts_again(fitted: Callable[[str], asd.Model]) -> None:
    live = LiveScorer(fitted("frames"))
    stream = live.stream("pump")
    stream.push(machine(5.0), RATE)
    assert stream.push(machine(5.0, rate=48000), 48000) == []
    assert stream.heard == 5.0
    assert stream.push(np.repeat(machine(5.0, rate=48000), 2, axis=1), 48000) == []


def test_what_is_no_sound_is_refused(healthy: Path) -> None:
    live = LiveScorer(asd.fit(healthy, **FRAMES, channel=1))
    stream = live.stream("pump")
    with pytest.raises(AudioError, match=r"pump: has 0 channel.*channel 1"):
        stream.push(np.zeros((5, 0), np.float32), RATE)
    garbage = np.repeat(machine(1.0), 2, axis=1)
    garbage[7] = np.nan
    with pytest.raises(AudioError, match="pump: holds the value nan, which is no sound"):
        stream.push(garbage, RATE)
    with pytest.raises(AudioError, match=r"pump: a block is float32\[n, channels\].* got float32\[5\]; of one channel"):
        stream.push(np.zeros(5, np.float32), RATE)
    with pytest.raises(AudioError, match=r"got int16\[5, 1\]"):
        stream.push(np.zeros((5, 1), np.int16), RATE)  # type: ignore[arg-type]
    with pytest.raises(AudioError, match="pump: a sample rate of 0 Hz; expected 100 to 10,000,000 Hz"):
        stream.push(machine(1.0), 0)
    assert stream.heard == 0.0


def test_a_clip_that_cannot_be_judged_leaves_the_others(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = asd.fit(healthy, extractor="band-levels", detector="deviation", embedding_pooling="mean")
    extractor = model.pipeline.extractor
    embed = extractor.embed

    def fragile(values: Any) -> Any:
        return embed(values) if np.abs(values).max() < 1 else np.zeros(3)

    monkeypatch.setattr(extractor, "embed", fragile)
    live = LiveScorer(model, hop=6.0)
    loud, usual = live.stream("loud"), live.stream("usual")
    clips = loud.push(machine(6.2) * 10, RATE) + usual.push(machine(6.2), RATE)
    failure, verdict = live.judge(clips)
    assert isinstance(failure, Failure)
    assert "loud" in str(failure.error)
    assert isinstance(verdict, asd.Verdict)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hop": 0.0}, "a hop of 0 s: expected 0.05 s to 6 s, the length of a clip"),
        ({"hop": 7.0}, "a hop of 7 s: expected 0.05 s to 6 s"),
        ({"hop": float("nan")}, "a hop of nan s"),
        ({"seconds": -1.0}, "clips of -1 s cannot be judged; give seconds above 0"),
        ({"seconds": float("inf")}, "clips of inf s cannot be judged; give seconds above 0"),
    ],
)
def test_bad_lengths(options: dict[str, Any], message: str, fitted: Callable[[str], asd.Model]) -> None:
    model = fitted("frames")
    with pytest.raises(ConfigError, match=message):
        LiveScorer(model, **options)
