"""``asd.explain``: when, where in the spectrum and by how much a clip is unusual, on faults whose place is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd.detection import modelfile, scan
from asd.detection.occlusion import Occluder, Patch, shared_out
from asd.detection.reference import MOST_CLIPS, Reference
from asd.detection.spectra import HOP, band_edges, kept_spectra, levels_of, read_spectra
from asd.errors import AudioError, ModelFileError
from asd.experiment import ANOMALY_KINDS, AnomalyKind, EmbeddingCache, Machine, spoil
from asd.records import Audio, Clip

RATE = 16000
SECONDS = 8.0
CLIPS = 20
START, DURATION = 3.0, 2.5
BANDS: dict[AnomalyKind, tuple[float, float]] = {
    "harmonics": (60.0, 3100.0),
    "bearing-knocks": (2000.0, 4000.0),
    "whine": (2600.0, 7000.0),
    "valve-clicks": (300.0, 8000.0),
    "belt-squeal": (1300.0, 7000.0),
    "drop-outs": (20.0, 8000.0),
}
"""Where each kind of fault may be named."""
LEVELS: dict[str, Any] = {"extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"}
GOLDEN = Path(__file__).resolve().parent / "golden" / "default.asd"

machine = Machine(seed=11)


def recording(seed: int, seconds: float = SECONDS) -> Audio:
    """Return healthy sound, quiet enough for faults on top of it."""
    audio = machine.record(seconds, seed=seed).audio
    return Audio(audio.samples * np.float32(0.1), RATE)


def written(path: Path, audio: Audio) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.samples[0], RATE, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("healthy")
    for seed in range(CLIPS):
        written(folder / f"clip-{seed:02d}.wav", recording(seed))
    return folder


@pytest.fixture(scope="module")
def model(healthy: Path) -> asd.Model:
    return asd.fit(healthy, **LEVELS)


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    sound = spoil(recording(100), "whine", level=-5.0, seed=3, start=START, duration=DURATION)
    return written(tmp_path / "faulty.wav", sound.audio)


def is_there(finding: asd.Finding, start: float, end: float, low: float, high: float) -> bool:
    """Return whether a place is the one: intersection over union of time, and its band within the other."""
    both = min(finding.end, end) - max(finding.start, start)
    return (
        both / (max(finding.end, end) - min(finding.start, start)) >= 0.5
        and low <= finding.high
        and (np.sqrt(finding.low * finding.high) <= high)
    )


@pytest.mark.parametrize("level", [0.0, -10.0])
@pytest.mark.parametrize("kind", ANOMALY_KINDS)
def test_the_first_place_is_that_of_the_fault(
    kind: AnomalyKind, level: float, model: asd.Model, tmp_path: Path
) -> None:
    sound = spoil(recording(101), kind, level=level, seed=4, start=START, duration=DURATION)
    found = asd.explain(model, written(tmp_path / "clip.wav", sound.audio))
    assert found.findings, found.sentences()
    assert is_there(found.findings[0], START, START + DURATION, *BANDS[kind]), found.sentences()
    assert found.findings[0].direction == ("quieter" if kind == "drop-outs" else "louder")


def test_it_is_said_in_words_and_as_data(model: asd.Model, faulty: Path) -> None:
    found = asd.explain(model, faulty)
    first, second, *_ = found.sentences()
    assert first == f"{faulty}: anomalous, p-value 0.048."
    assert second.startswith("1. ")
    assert second.endswith("of the unusual score).")
    assert f"dB louder at 2.8–3.5 kHz from 2.7 s to 5.5 s than any of {CLIPS} healthy clips (" in second
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["findings"][0]["text"] in second.replace("1. ", "").lower().replace("db", "dB").replace("khz", "kHz")
    assert data["healthy_clips"] == CLIPS
    assert len(data["spectrum"]["healthy"]) == 3
    assert len(data["spectrum"]["clip"]) == len(data["spectrum"]["edges"]) - 1
    assert data["sentences"] == found.sentences()


@pytest.mark.parametrize("seed", range(200, 206))
def test_of_a_healthy_clip_nothing_stands_out(seed: int, model: asd.Model, tmp_path: Path) -> None:
    found = asd.explain(model, written(tmp_path / "clip.wav", recording(seed)))
    assert not found.stands_out, found.sentences()
    expected = f"Nothing stands out: each level is one that some of {CLIPS} healthy clips have."
    assert expected in found.sentences() or found.verdict.anomalous


def test_a_fault_from_beginning_to_end_is_found(model: asd.Model, tmp_path: Path) -> None:
    sound = spoil(recording(102), "belt-squeal", level=-5.0, seed=1)
    (first, *_) = asd.explain(model, written(tmp_path / "clip.wav", sound.audio)).findings
    assert first.start < 0.2
    assert first.end > SECONDS - 0.2
    assert first.contribution is not None
    assert first.contribution > 0.5  # there is no other part of the clip: noise of the healthy levels stands for it


def test_a_louder_clip_is_louder_everywhere(model: asd.Model, tmp_path: Path) -> None:
    audio = recording(103)
    louder = Audio(audio.samples * np.float32(4.0), RATE)
    (first, *_) = asd.explain(model, written(tmp_path / "clip.wav", louder)).findings
    assert (first.start, first.end) == pytest.approx((0.0, SECONDS), abs=0.1)
    assert first.difference == pytest.approx(12.0, abs=1.0)


def test_branches_say_what_the_place_adds_to_them(healthy: Path, faulty: Path) -> None:
    branches = [
        {
            "name": "timbre",
            "extractor": "efficientat-mn04",
            "detector": "knn",
            "embedding_pooling": "mean",
            "pca": None,
        },
        {"name": "spectrum", **LEVELS},
    ]
    found = asd.explain(asd.fit(healthy, branches=branches), faulty)
    first = found.findings[0]
    assert first.contribution is not None
    assert first.contribution > 0.5
    assert first.branches["timbre"] > 0.5  # a network explains nothing: it was asked again without the place
    assert first.branches["spectrum"] > 0.5
    assert any(line.startswith("Branch spectrum: ") for line in found.sentences())


def test_the_most_similar_healthy_clip_is_found_again(model: asd.Model, healthy: Path, faulty: Path) -> None:
    unknown = asd.explain(model, faulty)
    assert unknown.nearest is not None
    assert unknown.nearest.path is None
    found = asd.explain(model, faulty, healthy=healthy)
    assert found.nearest is not None
    assert found.nearest.path == healthy / found.nearest.name
    assert found.nearest.name == unknown.nearest.name
    assert found.findings[0].contribution == pytest.approx(unknown.findings[0].contribution, abs=0.2)


def test_what_no_level_shows_is_found_by_trying(healthy: Path, tmp_path: Path) -> None:
    """A hiss becomes a tone of the same level: a network that hears the difference is asked part by part."""
    rng = np.random.default_rng(0)

    def hiss(seconds: float) -> Any:
        spectrum = np.fft.rfft(rng.normal(size=round(seconds * RATE)))
        frequency = np.fft.rfftfreq(round(seconds * RATE), 1 / RATE)
        spectrum[(frequency < 900) | (frequency > 1000)] = 0
        band = np.fft.irfft(spectrum)
        return 0.05 * band / band.std() + rng.normal(0, 0.001, len(band))

    for number in range(12):
        written(tmp_path / "train" / f"{number}.wav", Audio(hiss(6.0)[np.newaxis].astype(np.float32), RATE))
    samples = hiss(6.0)
    part = slice(2 * RATE, 4 * RATE)
    samples[part] = 0.05 * np.sqrt(2) * np.sin(2 * np.pi * 950 * np.arange(2 * RATE) / RATE)
    samples[part] += rng.normal(0, 0.001, 2 * RATE)
    clip = written(tmp_path / "clip.wav", Audio(samples[np.newaxis].astype(np.float32), RATE))
    options: dict[str, Any] = {"extractor": "tonality", "detector": "deviation", "embedding_pooling": "mean"}
    found = asd.explain(asd.fit(tmp_path / "train", **options), clip)
    assert found.verdict.anomalous
    assert any(is_there(each, 2.0, 4.0, 600.0, 1400.0) for each in found.findings), found.sentences()


def test_a_long_recording_is_explained_where_it_is_most_unusual(model: asd.Model, tmp_path: Path) -> None:
    audio = recording(104, seconds=4 * SECONDS)
    sound = spoil(audio, "whine", level=-5.0, seed=3, start=20.0, duration=2.0)
    found = asd.explain(model, written(tmp_path / "long.wav", sound.audio))
    assert found.verdict.clip.start == 2 * SECONDS
    assert found.findings[0].start == pytest.approx(20.0, abs=0.2)
    assert found.findings[0].end == pytest.approx(22.0, abs=0.2)


def test_a_lower_sample_rate_is_compared_as_far_as_it_goes(model: asd.Model, tmp_path: Path) -> None:
    sound = spoil(recording(105), "harmonics", level=0.0, seed=3, start=START, duration=DURATION)
    path = tmp_path / "clip.wav"
    soundfile.write(path, sound.audio.samples[0][::2], RATE // 2, subtype="FLOAT")
    found = asd.explain(model, path)
    assert found.edges[-1] <= RATE / 4
    assert is_there(found.findings[0], START, START + DURATION, *BANDS["harmonics"])


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(RATE), "digital silence: nothing to explain; is the microphone connected?"),
        (np.full(800, 0.1), "lasts 0.05 s; an explanation takes 0.256 s or more: record longer clips"),
    ],
)
def test_what_cannot_be_explained_is_refused(samples: Any, message: str, model: asd.Model, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, samples, RATE)
    with pytest.raises(AudioError) as error:
        asd.explain(model, path)
    assert str(error.value) == f"{path}: {message}"


def test_an_unreadable_clip_is_refused(model: asd.Model, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_text("no sound")
    with pytest.raises(AudioError, match=r"clip\.wav"):
        asd.explain(model, path)


def test_a_saved_model_explains_the_same(model: asd.Model, faulty: Path, tmp_path: Path) -> None:
    model.save(tmp_path / "m.asd")
    saved, found = asd.explain(tmp_path / "m.asd", faulty), asd.explain(model, faulty)
    assert saved.findings == found.findings
    assert saved.sentences() == found.sentences()


def test_levels_of_many_calibrations_stay_as_small(model: asd.Model) -> None:
    own = model.reference
    assert own is not None
    many = own
    for _ in range(25):
        many = many.united(own)
    assert len(own.united(own)) == 2 * CLIPS
    assert len(many) == len(Reference.restored(many.arrays())) == MOST_CLIPS


def test_an_old_model_explains_less_and_says_so(healthy: Path, tmp_path: Path) -> None:
    model = asd.load(GOLDEN)
    sound = spoil(recording(100), "drop-outs", seed=3, start=START, duration=DURATION)
    faulty = written(tmp_path / "faulty.wav", sound.audio)
    found = asd.explain(model, faulty)
    assert found.healthy_clips == 0
    assert found.nearest is None
    assert any("keeps no healthy levels: only its score is explained" in line for line in found.sentences())
    compared = asd.explain(model, Clip(faulty), healthy=healthy)
    assert compared.healthy_clips == CLIPS
    assert any(is_there(each, START, START + DURATION, *BANDS["drop-outs"]) for each in compared.findings)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("edges", lambda array: array[::-1].copy()),
        ("usual", lambda array: array * np.nan),
        ("content", lambda array: array[:-1]),
        ("mean", lambda array: array.astype(np.float32)),
        ("strengths", lambda array: array[:, :1]),
    ],
)
def test_damaged_levels_are_refused(name: str, change: Any, model: asd.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m.asd")
    manifest, arrays = modelfile.read(tmp_path / "m.asd")
    arrays[f"reference.{name}"] = change(arrays[f"reference.{name}"])
    del manifest["format"]
    modelfile.write(tmp_path / "m.asd", manifest, arrays)
    with pytest.raises(ModelFileError, match=r"does not hold a model \(reference\."):
        asd.load(tmp_path / "m.asd")


def test_renewal_keeps_the_levels_of_the_clips_that_count(
    model: asd.Model, faulty: Path, healthy: Path, tmp_path: Path
) -> None:
    for seed in range(300, 310):
        written(tmp_path / "new" / f"{seed}.wav", recording(seed))
    assert asd.explain(asd.recalibrate(model, tmp_path / "new"), faulty).healthy_clips == 10
    both = asd.explain(asd.recalibrate(model, tmp_path / "new", keep=True), faulty)
    assert both.healthy_clips == CLIPS + 10
    assert is_there(both.findings[0], START, START + DURATION, *BANDS["whine"])
    more = asd.update(model, tmp_path / "new", old_data=healthy)
    assert asd.explain(more, faulty).healthy_clips == CLIPS + 10


def test_levels_are_kept_with_the_embeddings(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "cache.sqlite", 10**8)
    clip = Clip(written(tmp_path / "clip.wav", recording(1)))
    first = kept_spectra(clip, "ab", channel="mix", longest=60.0, cache=cache)
    clip.path.unlink()
    again = kept_spectra(clip, "ab", channel="mix", longest=60.0, cache=cache)
    assert first is not None
    assert again is not None
    np.testing.assert_array_equal(first.levels, again.levels)
    np.testing.assert_array_equal(first.edges, again.edges)
    assert kept_spectra(clip, "cd", channel="mix", longest=60.0, cache=cache) is None


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_blocks_leave_no_seam_and_bands_are_the_same_at_all_rates(rate: int, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 9 * rate).astype(np.float32)
    path = tmp_path / "clip.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    found = read_spectra(Clip(path))
    np.testing.assert_allclose(found.levels, levels_of(samples, rate), atol=1e-3)
    np.testing.assert_array_equal(found.edges, band_edges(100_000)[: len(found.edges)])
    # White noise of 0.01 over rate / 2 Hz: each band has its share.
    expected = 10 * np.log10(0.01 * np.diff(found.edges) / (rate / 2))
    np.testing.assert_allclose(10 * np.log10((10 ** (found.levels / 10)).mean(axis=0)), expected, atol=0.6)


def test_what_is_not_replaced_stays(faulty: Path) -> None:
    samples, rate = soundfile.read(faulty, dtype="float32")
    occluder = Occluder(samples, rate, band_edges(rate / 2))
    unchanged = occluder.without([Patch(5, 5, 0, 1)])
    np.testing.assert_allclose(unchanged, samples, atol=1e-5)


def test_places_that_are_enough_by_themselves_share_the_score() -> None:
    """Of a score that is a maximum nothing is lost before both places are replaced."""

    def scored(sets: Sequence[Sequence[int]]) -> Any:
        return np.array([[1.0 if {0, 1} <= set(each) else 0.0] for each in sets])

    np.testing.assert_allclose(shared_out(scored, 3), [[0.5], [0.5], [0.0]])
    assert shared_out(lambda sets: np.array([[0.8]]), 1) == [[0.8]]
    assert not len(shared_out(scored, 0))


def test_the_largest_interval_bridges_gaps() -> None:
    assert scan.largest_interval(np.array([-1.0, 3.0, -1.0, 3.0, -5.0, 2.0])) == (1, 4)


@pytest.mark.parametrize("direction", scan.DIRECTIONS)
def test_a_rectangle_is_found_where_it_is(direction: scan.Direction) -> None:
    rng = np.random.default_rng(1)
    clips = [rng.normal(-60, 1, (300, 20)).astype(np.float32) for _ in range(5)]
    usual = scan.usual_of([scan.sampled(clip) for clip in clips])
    odd = rng.normal(-60, 1, (300, 20)).astype(np.float32)
    odd[100:180, 5:8] += 15 if direction == "louder" else -15
    for which in scan.MAPS:
        (region,) = scan.regions(odd, which, usual, least=100.0)
        assert (region.direction, region.low, region.high) == (direction, 5, 8)
        assert region.start == pytest.approx(100 * HOP, abs=0.1)
        assert region.end == pytest.approx(180 * HOP, abs=0.1)
        assert not scan.regions(clips[0], which, usual, least=100.0)


@pytest.mark.parametrize("shape", [(5, 4), (70, 1), (150, 6)])
def test_the_strongest_rectangle_is_that_of_trying_all(shape: tuple[int, int]) -> None:
    cells = np.random.default_rng(2).normal(-0.3, 1, shape)
    found = {
        (low, high): scan.largest_interval(cells[:, low:high].sum(axis=1))
        for low in range(shape[1])
        for high in range(low + 1, shape[1] + 1)
    }
    strength = {(low, high): cells[slice(*found[low, high]), low:high].sum() for low, high in found}
    best = max(strength, key=lambda bands: strength[bands])
    region = scan._largest(cells, "louder")
    assert (region.low, region.high, region.first, region.last) == (*best, *found[best])
    assert region.strength == pytest.approx(strength[best])
    assert scan._largest(-np.abs(cells), "louder").strength == 0.0


def test_too_few_clips_teach_nothing_usual(tmp_path: Path) -> None:
    clips: Sequence[Clip] = [Clip(written(tmp_path / f"{seed}.wav", recording(seed))) for seed in range(2)]
    assert Reference.learned(clips, {clip.path: f"{i:064x}" for i, clip in enumerate(clips)}) is None
