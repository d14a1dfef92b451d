"""The promise of the alarm: measured with trained detectors, and withdrawn where it cannot hold."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

import asd
from asd.detection.calibration import Calibration
from asd.detection.config import Config
from asd.detection.cutting import clips_to_judge, segment_from
from asd.detection.duplicates import find_duplicates
from asd.detection.metrics import binomial_interval
from asd.detection.pipeline import ClipFeatures
from asd.detection.pooling import pool_scores
from asd.detection.training import learn
from asd.errors import CalibrationError, ConfigError, DataError
from asd.plugin import Runtime
from asd.records import Clip

QUICK: dict[str, Any] = {
    "frontend": "mel-stack",
    "extractor": "identity",
    "pca": 0.9,
    "detector": {"name": "gmm", "n_components": 2},
}
LEVEL = 0.1
Sound = npt.NDArray[np.float64]


def drawn(count: int, rng: np.random.Generator, *, recordings: int | None = None) -> list[ClipFeatures]:
    """Return embeddings of clips of a machine in two states: each recording has an offset, each window noise."""
    recording = np.arange(count) * (recordings or count) // count
    state = rng.integers(2, size=count)[recording]
    offset = (rng.normal(size=(count, 12)) * np.linspace(0.5, 2, 12))[recording]
    values = 3.0 * state[:, None, None] + offset[:, None] + rng.normal(size=(count, 6, 12))
    start = np.arange(6.0)
    return [
        ClipFeatures(Clip(Path(f"/{at}.wav"), 10.0 * i, 10.0), each.astype(np.float32), start, 10.0, 16000, False)
        for i, (at, each) in enumerate(zip(recording, values, strict=True))
    ]


def false_alarms(config: Any, train: list[ClipFeatures], test: list[ClipFeatures]) -> tuple[float, float]:
    """Return the fraction of clips that alarm and the fraction promised, by detectors that are trained here."""
    members, calibration = learn(config, train, Runtime())
    promised = int(LEVEL * (len(train) + 1)) / (len(train) + 1)
    windows = [np.split(member.score(np.concatenate([each.values for each in test])), len(test)) for member in members]
    pooled = [np.array([pool_scores(own, config) for own in clip]) for clip in zip(*windows, strict=True)]
    return float(np.mean([calibration.p_value(scores) <= promised + 1e-12 for scores in pooled])), promised


def resampled(config: Any, count: int, resamples: int, **options: int) -> tuple[float, float, float]:
    rng = np.random.default_rng(count)
    results = [false_alarms(config, drawn(count, rng, **options), drawn(20, rng)) for _ in range(resamples)]
    observed, promised = np.array(results).T
    half = 1.96 * observed.std(ddof=1) / np.sqrt(resamples)
    return float(observed.mean() - half), float(observed.mean() + half), float(promised.mean())


@pytest.mark.parametrize("detector", ["mahalanobis", "knn"])
@pytest.mark.parametrize(("count", "resamples"), [(20, 60), (50, 60), (200, 15)])
def test_healthy_clips_alarm_as_often_as_promised(detector: str, count: int, resamples: int) -> None:
    """Detectors are trained and folds dealt in every resample; tests/benchmarks/bench_promise.py has 1,000 of them."""
    config = Config.from_mapping({**QUICK, "detector": detector}).resolved()
    low, high, promised = resampled(config, count, resamples)
    assert low <= promised
    assert high >= promised / 4  # nor does it hold because nothing ever alarms


def test_parts_of_one_recording_break_it_and_the_promise_is_withdrawn() -> None:
    config = Config.from_mapping({**QUICK, "detector": "mahalanobis"}).resolved()
    low, _, promised = resampled(config, 20, 20, recordings=1)
    assert low > 3 * promised
    _, calibration = learn(config, drawn(20, np.random.default_rng(0), recordings=1), Runtime())
    decision = calibration.decide()
    assert decision.promise == "guess"
    assert decision.reason == (
        "the 20 held-out clips are parts of 1 recording; make 10 recordings or more, on several days"
    )


@pytest.mark.parametrize(
    ("clips", "recordings", "level", "promise"),
    [
        (12, 12, 1 / 13, "calibrated"),  # each a recording
        (12, None, 1 / 13, "calibrated"),  # an old model file does not say
        (90, 9, 0.1, "guess"),
        (90, 9, 0.5, "guess"),
        (100, 10, 1 / 101, "calibrated"),
    ],
)
def test_what_the_recordings_support(clips: int, recordings: int | None, level: float, promise: str) -> None:
    calibration = Calibration(np.arange(clips, dtype=np.float64), np.zeros(clips, np.int64), 10.0, recordings)
    decision = calibration.decide(level * 360)
    assert (decision.promise, decision.reason is None) == (promise, promise == "calibrated")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([os.environ["ASD_COMMAND"], *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def machine(seed: int, seconds: float = 3.0, rate: int = 16000) -> Sound:
    """Return a hum whose loudness and noise wander, as no other seed's do."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    wander = np.interp(time, np.arange(0, seconds + 1, 0.25), rng.uniform(0.3, 1, int(seconds * 4) + 4))
    return np.asarray(wander * (0.1 * np.sin(2 * np.pi * 100 * time + seed) + rng.normal(0, 0.03, len(time))))


def write(folder: Path, sounds: dict[str, Sound]) -> list[Clip]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, sound in sounds.items():
        soundfile.write(folder / name, sound, 16000)
    return [Clip(folder / name) for name in sounds]


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence[Clip]], list[ClipFeatures]]:
    pipeline = asd.Config.from_mapping(QUICK)

    def embed(clips: Sequence[Clip]) -> list[ClipFeatures]:
        from asd.detection.pipeline import Pipeline

        return list(Pipeline(pipeline).embed_all(clips))  # type: ignore[arg-type]

    return embed


def test_different_recordings_are_no_duplicates(tmp_path: Path, features: Any) -> None:
    clips = write(tmp_path, {f"{i}.wav": machine(i) for i in range(12)})
    assert find_duplicates(features(clips)) == []


@pytest.mark.parametrize(("windows", "dimension"), [(10, 1), (20, 2), (4, 64)])
def test_few_numbers_that_agree_by_chance_make_no_duplicates(tmp_path: Path, windows: int, dimension: int) -> None:
    rng = np.random.default_rng(0)
    clips = [
        ClipFeatures(Clip(tmp_path / f"{i}.wav"), values, np.arange(windows, dtype=np.float64), 10.0, 16000, False)
        for i, values in enumerate(rng.normal(size=(60, windows, dimension)).astype(np.float32))
    ]
    assert find_duplicates(clips) == []


@pytest.mark.parametrize(
    ("name", "change", "found_by"),
    [
        ("copy.wav", lambda sound: sound, "content"),
        ("copy.flac", lambda sound: sound, "embedding"),
        ("copy.ogg", lambda sound: sound, "embedding"),
        ("copy.mp3", lambda sound: sound, "embedding"),
        ("quieter.wav", lambda sound: 0.4 * sound, "embedding"),
        ("shorter.wav", lambda sound: sound[:40000], "embedding"),
    ],
)
def test_copies_are_found(
    tmp_path: Path, features: Any, caplog: pytest.LogCaptureFixture, name: str, change: Any, found_by: str
) -> None:
    clips = write(tmp_path, {f"{i}.wav": machine(i) for i in range(8)} | {name: change(machine(3))})
    (found,) = find_duplicates(features(clips))
    assert {found.clip.path.name, found.original.path.name} == {"3.wav", name}
    assert found.found_by == found_by
    assert "1 of 9 clips repeat others and do not count in the calibration" in caplog.text


def test_a_backup_of_everything_is_found(tmp_path: Path, features: Any) -> None:
    originals = {f"{i}.wav": machine(i) for i in range(8)}
    clips = write(tmp_path / "a", originals) + write(tmp_path / "b", {f"{n[0]}.ogg": s for n, s in originals.items()})
    found = find_duplicates(features(clips))
    assert len(found) == 8
    assert all(each.clip.path.stem == each.original.path.stem for each in found)


def test_overlapping_parts_of_one_recording_are_found(tmp_path: Path, features: Any) -> None:
    (clip,) = write(tmp_path, {"long.wav": machine(0, 12.0)})
    others = write(tmp_path, {f"{i}.wav": machine(i) for i in range(1, 5)})
    parts = [Clip(clip.path, start, 3.0) for start in (0.0, 3.0, 5.0, 8.0)]
    (found,) = find_duplicates(features(parts + others))
    assert (found.clip.start, found.original.start, found.found_by) == (5.0, 3.0, "overlap")


def test_a_backup_folder_does_not_calibrate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sounds = {f"{i}.wav": machine(i) for i in range(8)}
    write(tmp_path / "all" / "recordings", sounds)
    write(tmp_path / "all" / "backup", sounds)
    model = asd.fit(tmp_path / "all", **QUICK)
    alone = asd.fit(tmp_path / "all" / "recordings", **QUICK)
    assert len(model.duplicates) == len(alone.calibration.scores) == len(model.calibration.scores) == 8
    assert model.calibration.recordings == 8
    assert model.decision.promise == "calibrated"
    new = write(tmp_path / "new", {f"{i}.wav": machine(100 + i) for i in range(10)})
    assert sum(v.anomalous for v in model.score(new)) <= 4  # type: ignore[union-attr]
    with pytest.raises(
        CalibrationError, match=r"^4 of 8 clips differ from all others: at least 5 clips .*several days"
    ):
        asd.fit([tmp_path / "all" / way / f"{i}.wav" for way in ("recordings", "backup") for i in range(4)], **QUICK)


def test_duplicates_and_guesses_stand_in_the_output_and_in_the_model(tmp_path: Path) -> None:
    write(tmp_path / "d", {"a.wav": machine(0, 20.0), "b.wav": machine(1, 20.0), "c.wav": machine(0, 20.0)})
    options = ["--frontend", "mel-stack", "--extractor", "identity", "--detector", "mahalanobis", "--segment", "2"]
    arguments = ["fit", str(tmp_path / "d"), "-o", str(tmp_path / "m.asd"), *options, "--json"]
    done = command(*arguments)
    result = json.loads(done.stdout)
    assert result["held_out"] == 20
    assert len(result["duplicates"]) == 10
    assert {each["found_by"] for each in result["duplicates"]} == {"content"}
    assert result["decision"]["promise"] == "guess"
    assert "20 held-out clips are parts of 2 recordings" in result["decision"]["reason"]
    loaded = asd.load(tmp_path / "m.asd")
    assert loaded.calibration.recordings == 2
    assert vars(loaded.decision) == result["decision"]


def test_a_long_recording_is_cut_as_the_model_was_calibrated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = asd.fit([clip.path for clip in write(tmp_path / "d", {f"{i}.wav": machine(i) for i in range(6)})], **QUICK)
    (long,) = write(tmp_path, {"long.wav": machine(9, 10.0)})
    (longer,) = write(tmp_path, {"longer.wav": machine(9, 5.75)})
    with caplog.at_level(logging.INFO, "asd"):
        verdicts = list(asd.score(model, [long.path, longer.path]))
    assert [(v.clip.start, v.clip.duration) for v in verdicts] == [(0, 3), (3, 3), (6, 4), (0, None)]
    assert "1 of 2 recordings are longer than 6 s: cut into clips of 3 s" in caplog.text
    assert clips_to_judge(model, [long.path], segment=None) == [long]
    assert len(clips_to_judge(model, [long.path], segment=1.0)) == 10


@pytest.mark.parametrize(
    ("seconds", "told"), [(2.25, "(record clips of that length)"), (2.5, None), (3.5, None), (4.0, "or score with")]
)
def test_a_clip_of_another_length_is_noted(tmp_path: Path, model: asd.Model, seconds: float, told: str | None) -> None:
    """Within 0.8 to 1.25 times the length of the calibration the promise was measured to hold."""
    (verdict,) = model.score(write(tmp_path, {"a.wav": machine(500, seconds)}))
    assert isinstance(verdict, asd.Verdict)
    notes = [note for note in verdict.notes if "calibrated on clips of 3 s" in note]
    assert len(notes) == (told is not None)
    assert told is None or told in notes[0]


def test_a_segment_that_is_no_length() -> None:
    with pytest.raises(ConfigError, match=r"^--segment takes seconds, none or auto, got 'ten'$"):
        segment_from("ten")
    assert (segment_from("none"), segment_from("auto"), segment_from("2.5")) == (None, "auto", 2.5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> asd.Model:
    folder = tmp_path_factory.mktemp("healthy")
    return asd.fit([clip.path for clip in write(folder, {f"{i}.wav": machine(i) for i in range(19)})], **QUICK)


def evaluated(model: asd.Model, normal: Sequence[str | Path], anomalous: Sequence[str | Path], folder: Path) -> Any:
    model.save(folder / "m.asd")
    options = [part for path in normal for part in ("--normal", str(path))]
    options += [part for path in anomalous for part in ("--anomalous", str(path))]
    return command("evaluate", str(folder / "m.asd"), *options)


def test_evaluate_says_when_the_observed_alarms_contradict_the_promise(model: asd.Model, tmp_path: Path) -> None:
    write(tmp_path / "faulty", {"0.wav": 3 * machine(50), "1.wav": 3 * machine(51)})
    write(tmp_path / "alike", {f"{i}.wav": machine(200 + i) for i in range(6)})
    fine = evaluated(model, [tmp_path / "alike"], [tmp_path / "faulty"], tmp_path)
    assert "False alarms: 5.0% of the healthy clips promised, " in fine.stdout
    assert "beyond chance" not in fine.stderr
    write(tmp_path / "louder", {f"{i}.wav": 3 * machine(400 + i) for i in range(7)})
    broken = evaluated(model, [tmp_path / "louder"], [tmp_path / "faulty"], tmp_path)
    assert "100.0% observed (7 of 7; 95 % interval 59.0% – 100.0%)" in broken.stdout
    assert "asd: warning: more false alarms than that, beyond chance" in broken.stderr


def test_evaluate_refuses_one_content_in_both_classes(model: asd.Model, tmp_path: Path) -> None:
    from asd.detection.evaluation import evaluate

    (normal,) = write(tmp_path, {"normal.wav": machine(60, 6.0)})
    (renamed,) = write(tmp_path, {"faulty.wav": machine(60, 6.0)})
    with pytest.raises(
        DataError, match=r"normal\.wav and .*faulty\.wav: the same sound, given as normal and as anomal"
    ):
        evaluate(model, [normal], [renamed])
    before, after = Clip(normal.path, 0.0, 3.0), Clip(renamed.path, 3.0, 3.0)
    assert evaluate(model, [before], [after]).normal == 1  # a fault that began in the middle


def test_evaluate_leaves_out_the_training_rows_of_a_manifest(model: asd.Model, tmp_path: Path) -> None:
    write(tmp_path, {f"{i}.wav": machine(70 + i) for i in range(6)})
    rows = ["0.wav,normal,train", "1.wav,normal,test", "2.wav,normal,", "3.wav,abnormal,test", "4.wav,abnormal,train"]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    done = evaluated(model, [tmp_path / "clips.csv"], [tmp_path / "clips.csv"], tmp_path)
    assert "asd: 1 normal recordings are not of the split 'test': left out" in done.stderr
    assert "asd: 1 anomalous recordings are not of the split 'test': left out" in done.stderr
    assert "bootstrap over 3 clips" in done.stdout


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 10, 0.0, 0.308497), (10, 10, 0.691503, 1.0), (3, 10, 0.066740, 0.652453), (50, 1000, 0.037335, 0.065390)],
)
def test_the_exact_interval_of_a_rate(hits: int, trials: int, low: float, high: float) -> None:
    """Values of the beta quantiles, as scipy.stats.binomtest(...).proportion_ci() gives them."""
    assert binomial_interval(hits, trials) == pytest.approx((low, high), abs=2e-6)
    with pytest.raises(ValueError, match="hits must be from 0 to trials"):
        binomial_interval(trials + 1, trials)
