"""Clips of several callers and models that are judged together: each gets what it would get by itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd.experiment import Model, cut_clip, judge_together, share_networks
from asd.plugin import recording_facts

RATE = 16000
FRAMES: dict[str, Any] = {"frontend": "mel-stack", "extractor": "identity", "detector": "gmm"}
BANDS: dict[str, Any] = {"extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"}
TWO: dict[str, Any] = {"branches": [{"name": "frames", **FRAMES}, {"name": "bands", **BANDS}]}


def machine(seed: int, seconds: float = 2.0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    tone = 0.1 * np.sin(2 * np.pi * 97 * np.arange(round(seconds * RATE)) / RATE)
    return np.asarray(tone + rng.normal(0, 0.02, len(tone)), np.float32)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("recordings")
    for seed in range(10):
        soundfile.write(folder / f"{seed}.wav", machine(seed, 1 + seed % 3), RATE, subtype="FLOAT")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def models(recordings: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Model]]:
    """Return models that were loaded: two that embed alike, and one that has both as branches."""
    folder = tmp_path_factory.mktemp("models")
    for name, pipeline in {"bands": BANDS, "others": {**BANDS, "detector": "knn"}, "two": TWO}.items():
        asd.fit(recordings, cache=False, **pipeline).save(folder / f"{name}.asd")
    found = [asd.load(folder / f"{name}.asd", cache=False) for name in ("bands", "others", "two")]
    yield found
    for each in found:
        each.close()


def as_alone(model: Model, path: Path) -> list[Any]:
    return [each.to_dict() for each in asd.score(model, path, cache=False, segment=None)]


def near(value: Any) -> Any:
    """Return plain data whose numbers need be equal but for the last bits: products of larger matrices round others."""
    if isinstance(value, dict):
        return {name: near(each) for name, each in value.items()}
    if isinstance(value, list):
        return [near(each) for each in value]
    return pytest.approx(value, rel=1e-6, abs=1e-9) if isinstance(value, float) else value


def test_together_as_alone(models: list[Model], recordings: list[Path], tmp_path: Path) -> None:
    silence, text = tmp_path / "silence.wav", tmp_path / "text.wav"
    soundfile.write(silence, np.zeros(RATE), RATE)
    text.write_text("no sound")
    paths = [*recordings[:5], text, silence]
    pairs = [(model, path) for path in paths for model in models]
    expected = [each for model, path in pairs for each in as_alone(model, path)]
    share_networks(models)
    found = judge_together([(model, cut_clip(model, asd.Clip(path))) for model, path in pairs])
    assert [each.to_dict() for each in found] == near(expected)
    assert [each.ok for each in found] == [path != text for _, path in pairs]


def test_streams_and_recordings_together(models: list[Model], recordings: list[Path]) -> None:
    model = models[2]
    live = asd.LiveScorer(model, hop=0.5, seconds=1.0)
    clips = live.stream("pump").push(machine(20, 3.0)[:, np.newaxis], RATE)
    expected = [each.to_dict() for each in live.judge(live.stream("pump").push(machine(20, 3.0)[:, np.newaxis], RATE))]
    together: Any = [(model, each) for each in clips]
    together.insert(1, (models[0], cut_clip(models[0], asd.Clip(recordings[0]))))
    found = judge_together(together)
    assert found.pop(1).to_dict() == near(as_alone(models[0], recordings[0])[0])
    assert [each.to_dict() for each in found] == near(expected)


def test_what_computes_the_same_is_shared_and_nothing_else(models: list[Model]) -> None:
    share_networks(models)
    bands, others, two = models
    assert bands.pipeline.extractor is others.pipeline.extractor is two.pipeline.extractor_of(1)
    assert bands.pipeline.embedder(0).busy is two.pipeline.embedder(1).busy
    assert two.pipeline.extractor_of(0) is not bands.pipeline.extractor
    assert bands.members[0].detector is not others.members[0].detector


def test_a_network_gets_the_windows_of_all(shared: Path, recordings: list[Path]) -> None:
    recorded = sorted((shared / "data" / "fan_id_00" / "normal").glob("*.flac"))[:6]
    with asd.fit(recorded, cache=False, extractor="efficientat-mn04") as model:
        counts: list[int] = []
        extractor = model.pipeline.extractor
        embed = extractor.embed
        extractor.embed = lambda windows: counts.append(len(windows)) or embed(windows)  # type: ignore
        found = judge_together([(model, cut_clip(model, asd.Clip(path))) for path in recorded])
        del extractor.embed
        assert len(counts) < len(recorded)
        alone = [as_alone(model, path)[0]["score"] for path in recorded]
        assert [each.score for each in found] == pytest.approx(alone, rel=1e-4)


def test_what_is_known_before_the_sound_is_used(recordings: list[Path], tmp_path: Path) -> None:
    facts = recording_facts(recordings[1])
    assert (facts.sample_rate, facts.channels, facts.seconds) == (RATE, 1, 2.0)
    pytest.importorskip("av")
    import av

    endless = tmp_path / "a.webm"  # its length is known when all is decoded
    with av.open(str(endless), "w", format="webm") as file:
        stream = file.add_stream("libopus", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000 * 3), np.float32), format="flt", layout="mono")
        frame.sample_rate = 48000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    assert recording_facts(endless).seconds == pytest.approx(3.0, abs=0.1)
    assert recording_facts(endless, 1.0).seconds == math.inf
