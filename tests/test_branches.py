"""Pipelines of several branches: configuration, one decoding, verdicts, model files, and branches that fail."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd.contract import installed
from asd.detection import embedder as embedder_module
from asd.detection.conditions import count_notes
from asd.detection.config import Branch, Choice, Config
from asd.detection.embeddings import EmbeddingCache
from asd.detection.features import PADDED, merge_notes
from asd.detection.manifest import checked
from asd.detection.model import Model
from asd.detection.modelfile import read
from asd.detection.pipeline import ClipFeatures, Failure, Pipeline
from asd.detection.pooling import pool_embeddings, pooled_as_if
from asd.errors import AudioError, CalibrationError, ConfigError, DataError, ModelFileError, WeightError
from asd.records import Clip
from asd.sound import reading
from asd.sound.finding import find_clips

FRAMES: dict[str, Any] = {
    **{"name": "frames", "frontend": "mel-stack", "extractor": "identity"},
    **{"detector": "mahalanobis", "pca": 0.9},
}
BANDS: dict[str, Any] = {
    **{"name": "bands", "extractor": "mel-statistics", "embedding_pooling": "mean-std"},
    **{"detector": {"name": "knn", "n_density_neighbors": 3}, "gate": 2.0},
}
TWO: dict[str, Any] = {"branches": [FRAMES, BANDS]}


def hum(path: Path, *, seed: int, whine: float = 0.0, gain: float = 1.0, seconds: float = 3.0) -> Path:
    """Write a motor's hum in noise; a faulty one whines in the middle."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * 16000)) / 16000
    signal = 0.1 * np.sin(2 * np.pi * 50 * time + seed) + rng.normal(0, 0.01, len(time))
    signal += whine * np.sin(2 * np.pi * 3000 * time) * (np.abs(time - seconds / 2) < 0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, gain * signal, 16000)
    return path


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    for i in range(12):
        hum(folder / "train" / f"{i:02d}.wav", seed=i)
        hum(folder / "normal" / f"{i:02d}.wav", seed=100 + i)
    for i in range(4):
        hum(folder / "faulty" / f"{i}.wav", seed=200 + i, whine=0.05)
    return folder


@pytest.fixture(scope="module")
def model(sounds: Path) -> Model:
    return asd.fit(sounds / "train", **TWO)


def command(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    words = [os.environ["ASD_COMMAND"], *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


# --- configuration


def test_toml_tables_branch_objects_and_round_trip(tmp_path: Path) -> None:
    toml = 'pca = 0.9\n[[branch]]\nextractor = "mel-statistics"\n[[branch]]\nname = "b"\npca = "none"\ngate = 3\n'
    (tmp_path / "p.toml").write_text(toml + 'extractor = "identity"\nfrontend = {name = "mel-stack", n_mels = 32}\n')
    from asd.detection.config import read_toml

    config = Config.from_mapping(read_toml(tmp_path / "p.toml"))
    assert [(b.name, b.pca, b.gate) for b in config.branches] == [("mel-statistics", 0.9, None), ("b", None, 3.0)]
    stack = Choice("mel-stack", {"n_mels": 32})
    same = Branch(name="b", pca=None, gate=3, extractor=Choice("identity"), frontend=stack)
    first = {"extractor": "mel-statistics", "pca": 0.9}
    assert Config.from_mapping({"pca": 0.9, "branches": [first, same]}) == config
    resolved = config.resolved()
    assert Config.from_mapping(json.loads(json.dumps(resolved.as_mapping()))).resolved() == resolved
    assert [part.frontend.name for part in resolved.parts] == ["mel-patch", "mel-stack"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"branches": [FRAMES, {**BANDS, "name": "frames"}]}, r"2 branches are called 'frames'; give each a name of"),
        ({"branches": [{"extractor": "identity"}] * 2}, r"2 branches are called 'identity'; give each a name"),
        ({"branches": [{**FRAMES, "gat": 3}]}, r"branch 'frames' has no parameter 'gat'; did you mean gate\?"),
        ({"branches": [{**FRAMES, "gate": -1}]}, r"branch 'frames': gate takes a number from 0, or none, got -1"),
        ({"branches": [{**FRAMES, "pca": 7}]}, r"branch 'frames': pca takes a fraction above 0"),
        ({"branches": [{"pca": 0.5}]}, r"a branch's name takes up to 40 letters, .* \(without a name it is called as"),
        ({"branches": [{**FRAMES, "name": "a\nb"}]}, r"a branch's name takes up to 40 letters, .* got 'a\\nb'"),
        ({"branches": "x"}, r"branches takes a list of tables, \[\[branch\]\] in TOML, got 'x'"),
        ({"branches": ["x"]}, r"branch 1 takes a table such as \[\[branch\]\] in TOML, or a Branch, got 'x'"),
        ({"branches": [FRAMES], "branch": []}, r"branch and branches are the same: give one of them"),
        (
            {**TWO, "frontend": "mel-patch"},
            r"frontend 'mel-patch' is given beside 2 branches \(frames, bands\); give it in the branch that it is for",
        ),
        ({**TWO, "quality": "best"}, r"quality 'best' names a whole pipeline, but branches is given, too; leave one"),
        ({"quality": "fast", "detector": "knn"}, r"quality 'fast' names a whole pipeline, but detector is given, too"),
        ({**TWO, "fusion": "sum"}, r"parameter 'fusion' takes gated or mean or max, got 'sum'"),
        ({"group": " "}, r"group takes folder, or the name of a manifest's column, or none, got ' '"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Config.from_mapping(options)


def test_a_ready_made_pipeline_yields_to_what_the_user_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    best = {"fusion": "max", "branch": [{**FRAMES, "pca": 0.5}, BANDS]}
    tables = [{**FRAMES, "pca": 0.5}, BANDS]
    monkeypatch.setattr("asd.detection.config.QUALITIES", {"best": {"fusion": "max", "branches": tables}})
    resolved = Config(quality="best", folds=3).resolved()
    assert (resolved.names, resolved.fusion, resolved.folds) == (("frames", "bands"), "max", 3)
    assert [part.pca for part in resolved.parts] == [0.5, 0.98]
    assert [part.pca for part in Config(quality="best", pca=0.8).resolved().parts] == [0.8, 0.8]
    assert "quality" not in resolved.as_mapping()
    assert best["branch"][0]["pca"] == 0.5  # the table is not changed


# --- pooling of embeddings


def test_embeddings_are_pooled_as_named() -> None:
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    expected = {
        "none": values,
        "mean": values.mean(axis=0)[np.newaxis],
        "max": values.max(axis=0)[np.newaxis],
        "mean-std": np.concatenate([values.mean(axis=0), values.std(axis=0)])[np.newaxis],
    }
    for how, wanted in expected.items():
        config = Config(embedding_pooling=how)  # type: ignore[arg-type]
        pooled = pool_embeddings(values, config)
        assert pooled.dtype == np.float32
        np.testing.assert_allclose(pooled, wanted, rtol=1e-6)
        assert pooled_as_if(values, config).shape == (5, pooled.shape[1])


@pytest.mark.parametrize("how", ["mean", "mean-std", "max"])
def test_a_pooled_branch_still_tells_where_a_clip_is_unusual(sounds: Path, how: str) -> None:
    options = {**FRAMES, "embedding_pooling": how}
    options.pop("name")
    model = asd.fit(sounds / "train", **options)
    for member in model.members:
        assert member.detector.get_state()["dimension_"] <= 9  # it learned from clips, not from their windows
    verdicts = [verdict for verdict in asd.score(model, sounds / "faulty") if isinstance(verdict, asd.Verdict)]
    assert all(verdict.p_value == pytest.approx(1 / 13) for verdict in verdicts)
    assert all(1.0 <= verdict.peak <= 1.9 for verdict in verdicts)  # it whines from 1.2 to 1.8 s


# --- one decoding


def test_a_clip_is_decoded_once_and_resampled_once_for_each_rate(sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import soxr

    opened: list[Path] = []
    resampled: list[int] = []
    real, stream = reading.open_sound, soxr.ResampleStream
    monkeypatch.setattr(reading, "open_sound", lambda path: opened.append(path) or real(path))
    monkeypatch.setattr(soxr, "ResampleStream", lambda *a, **k: resampled.append(a[1]) or stream(*a, **k))
    rates = [16000, 8000, 8000, 11025]
    tables = [
        {**FRAMES, "name": f"b{i}", "frontend": {"name": "mel-stack", "sample_rate": rate, "frames": 2 + i}}
        for i, rate in enumerate(rates)
    ]
    clip = Clip(sounds / "train" / "00.wav")
    (together,) = Pipeline(Config.from_mapping({"branches": tables})).embed_branches([clip], workers=0)
    assert (len(opened), sorted(resampled)) == (1, [8000, 11025])
    for table, features in zip(tables, together, strict=True):
        alone = Pipeline(Config.from_mapping({key: table[key] for key in ("frontend", "extractor")})).embed(clip)
        assert isinstance(features, ClipFeatures)
        np.testing.assert_array_equal(features.values, alone.values)
        np.testing.assert_array_equal(features.start, alone.start)
        assert (features.seconds, features.level, features.notes) == (alone.seconds, alone.level, alone.notes)


def test_long_recordings_take_turns(sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No branch runs ahead of the others by more than a block: what it has taken alone is held in memory."""
    monkeypatch.setattr(embedder_module, "_BLOCK_SECONDS", 1.0)
    pipeline = Pipeline(Config.from_mapping(TWO))
    clip = Clip(hum(tmp_path / "a.wav", seed=0, seconds=20))
    _found, *blocks = pipeline._source(clip, lambda: pipeline._find(clip, None, [None] * 2), 1.0)
    order = [index for index, _, _ in blocks]
    assert order[:16] == [0, 1] * 8
    assert len(order) >= 38


def test_threads_change_nothing_and_the_cache_is_shared_with_single_branches(sounds: Path, tmp_path: Path) -> None:
    clips = sorted(map(Clip, (sounds / "train").iterdir()), key=str)[:4]
    cache = EmbeddingCache(tmp_path / "cache.sqlite", 10**8)
    single = Pipeline(Config.from_mapping({key: FRAMES[key] for key in ("frontend", "extractor")}), cache=cache)
    alone = list(single.embed_all(clips, cache=cache))
    pipeline = Pipeline(Config.from_mapping(TWO), cache=cache)
    ways = ((2, cache), (0, None))
    runs = [list(pipeline.embed_branches(clips, workers=workers, cache=kept)) for workers, kept in ways]
    for cached, computed, own in zip(*runs, alone, strict=True):
        for one, other in zip(cached, computed, strict=True):
            np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(cached[0].values, own.values)
    assert sorted(usage.clips for usage in cache.usage()) == [4, 4]


def test_branches_with_the_same_extractor_share_its_embeddings(sounds: Path) -> None:
    pipeline = Pipeline(Config.from_mapping({"branches": [FRAMES, {**FRAMES, "name": "other", "detector": "knn"}]}))
    ((first, second),) = pipeline.embed_branches([Clip(sounds / "train" / "00.wav")])
    assert first is second
    assert len(pipeline.embedders) == 1


# --- verdicts


def test_a_verdict_says_in_which_branch_a_clip_is_unusual(model: Model, sounds: Path) -> None:
    faulty = [v for v in asd.score(model, sounds / "faulty") if isinstance(v, asd.Verdict)]
    for verdict in faulty:
        assert verdict.anomalous
        assert set(verdict.unusual) <= {"frames", "bands"}
        assert verdict.unusual
        assert [branch.name for branch in verdict.branches] == ["frames", "bands"]
        assert all(branch.p_value >= 1 / 13 for branch in verdict.branches)
        assert max(branch.z for branch in verdict.branches) > 3
        assert 1.0 <= verdict.peak <= 1.9
    normal = [v for v in asd.score(model, sounds / "normal") if isinstance(v, asd.Verdict)]
    assert sum(v.anomalous for v in normal) <= 4
    assert all(v.unusual == () for v in normal if not v.anomalous)


def test_the_model_file_gives_the_same_verdicts(model: Model, sounds: Path, tmp_path: Path) -> None:
    model.save(tmp_path / "m.asd")
    loaded = asd.load(tmp_path / "m.asd")
    for one, other in zip(asd.score(model, sounds / "faulty"), asd.score(loaded, sounds / "faulty"), strict=True):
        assert one == other
    assert loaded.config.names == ("frames", "bands")
    assert loaded.full_config() == model.full_config()
    loaded.save(tmp_path / "again.asd")
    first, second = (read(tmp_path / name) for name in ("m.asd", "again.asd"))
    assert first[0]["config"] == second[0]["config"]
    assert all((first[1][name] == array).all() for name, array in second[1].items())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda m, a: m["config"].update(branches=m["config"].pop("branch")), r"config must not have branches"),
        (lambda m, a: m["config"].update(quality="best"), r"config must not have quality"),
        (lambda m, a: m["config"]["branch"].pop(), r"calibration\.scores must be .* float64, 1 for each clip"),
        (lambda m, a: a.update({"0.2.detector.x": a["calibration.member"]}), r"2 branches, .* the arrays 0\.2"),
        (lambda m, a: a.update({"0.1.other.x": a["calibration.member"]}), r"member 0\.1 must have arrays of transform"),
        (lambda m, a: m["config"].update(branch=3), r"config\.branch must be up to 50 tables"),
    ],
)
def test_a_model_file_that_does_not_hold_what_it_should_is_refused(
    model: Model, tmp_path: Path, change: Any, text: str
) -> None:
    model.save(tmp_path / "m.asd")
    manifest, arrays = read(tmp_path / "m.asd")
    change(manifest, arrays)
    with pytest.raises(ModelFileError, match=text):
        checked("m.asd", manifest, arrays)


def test_the_commands_show_the_branches(sounds: Path, tmp_path: Path) -> None:
    import tomli_w

    (tmp_path / "p.toml").write_text(tomli_w.dumps({"branch": [FRAMES, BANDS]}))
    fitted = command("fit", sounds / "train", "-o", tmp_path / "m.asd", "--config", tmp_path / "p.toml").stdout
    assert (
        "Pipeline: 2 branches, their scores fused by gated sum:\n"
        "  frames: mel-stack → identity → PCA 0.9 → mahalanobis\n"
        "  bands: mel-patch → mel-statistics → mean and deviation over the clip → knn (n_density_neighbors 3) "
        "(counts above 2 deviations)\n"
    ) in fitted
    assert "It hears nothing above 8 kHz." in fitted
    shown = command("score", tmp_path / "m.asd", sounds / "faulty", code=1).stdout
    assert "unusual in" in shown
    assert shown.count("frames") >= 4
    rows = json.loads(command("score", tmp_path / "m.asd", sounds / "faulty", "--json", code=1).stdout)["clips"]
    assert [branch["name"] for branch in rows[0]["branches"]] == ["frames", "bands"]
    assert rows[0]["branches"][0].keys() == {"name", "score", "z", "p_value", "reasons"}
    lines = command("score", tmp_path / "m.asd", sounds / "faulty", "--csv", code=1).stdout.splitlines()
    assert lines[0].endswith(",error,unusual_in")
    wrong = ("fit", sounds / "train", "-o", tmp_path / "n.asd", "--config", tmp_path / "p.toml", "--detector", "knn")
    refused = command(*wrong, code=2)
    assert "detector 'knn' is given beside 2 branches (frames, bands); give it in the branch" in refused.stderr


# --- branches that fail


@pytest.fixture(scope="module")
def short_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clip of 1 s, which is shorter than a window of mel-patch and longer than one of mel-stack."""
    folder = tmp_path_factory.mktemp("short")
    hum(folder / "short.wav", seed=300, seconds=1.0)
    hum(folder / "whole.wav", seed=301)
    return folder


def test_what_one_branch_cannot_judge_is_judged_by_the_others(sounds: Path, short_clips: Path) -> None:
    model = asd.fit(sounds / "train", **TWO, short="refuse")
    short, whole = asd.score(model, short_clips)
    assert isinstance(short, asd.Verdict)
    assert isinstance(whole, asd.Verdict)
    assert [branch.name for branch in short.branches] == ["frames"]
    assert short.notes[0].startswith("not judged by branch 'bands': 1 s is shorter than a window of ")
    assert len(whole.branches) == 2
    # By the calibration of the branch that is left
    assert short.p_value == short.branches[0].p_value


def test_it_is_left_out_where_the_policy_says_so(sounds: Path, short_clips: Path) -> None:
    model = asd.fit(sounds / "train", **TWO, short="refuse", on_branch_error="refuse")
    short, whole = asd.score(model, short_clips)
    assert isinstance(short, Failure)
    assert isinstance(whole, asd.Verdict)
    assert str(short.error).endswith("(branch 'bands'; fit with on_branch_error='others' lets the others judge it)")


def test_a_clip_that_one_branch_cannot_use_is_not_learned_from(
    sounds: Path, short_clips: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = [sounds / "train", short_clips / "short.wav"]
    model = asd.fit(data, **TWO, short="refuse")
    assert model.clips == 12
    assert [failure.clip.path.name for failure in model.failures] == ["short.wav"]
    assert "(branch 'bands'; the others can use it)" in caplog.text
    with pytest.raises(AudioError, match=r"\(branch 'bands'; the others can use it\)"):
        asd.fit(data, **TWO, short="refuse", strict=True)


@pytest.mark.parametrize("content", [b"no sound", None])
def test_a_bad_recording_fails_once_for_all_branches(model: Model, tmp_path: Path, content: bytes | None) -> None:
    if content is None:  # cut off in the middle, which reading alone shows
        hum(tmp_path / "bad.wav", seed=0, seconds=40)
        content = (tmp_path / "bad.wav").read_bytes()[:900_000]
    (tmp_path / "bad.wav").write_bytes(content)
    (result,) = asd.score(model, tmp_path / "bad.wav")
    assert isinstance(result, Failure)
    assert "(branch" not in str(result.error)


def test_missing_weights_are_said_before_any_recording_is_read(
    sounds: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ASD_OFFLINE", "1")
    monkeypatch.setenv("ASD_CACHE", str(tmp_path))
    monkeypatch.setattr(reading, "open_sound", lambda path: pytest.fail(f"{path} was read"))
    with pytest.raises(WeightError, match=r"^branch 'music': .*openl3"):
        asd.fit(sounds / "train", branches=[FRAMES, {"name": "music", "extractor": "openl3-music"}])


@pytest.fixture
def constant() -> Iterator[None]:
    """A registry that has the detector of tests/broken/constant_detector.py, too."""
    installed._registry.cache_clear()
    asd.use_plugin_file(Path(__file__).parent / "broken" / "constant_detector.py")
    yield
    installed._registry.cache_clear()


@pytest.mark.usefixtures("constant")
def test_branches_that_tell_nothing_apart_are_refused(sounds: Path) -> None:
    dull = {**FRAMES, "detector": "constant"}
    with pytest.raises(CalibrationError, match=r"all branches \(frames, b\) score all 12 held-out clips alike"):
        asd.fit(sounds / "train", branches=[dull, {**dull, "name": "b"}])
    model = asd.fit(sounds / "train", branches=[FRAMES, {**dull, "name": "b"}])  # one is left to tell
    verdicts = [v for v in asd.score(model, sounds / "faulty") if isinstance(v, asd.Verdict)]
    assert all(v.anomalous and v.unusual == ("frames",) for v in verdicts)
    assert all(v.branches[1].z == 0 and v.branches[1].p_value == 1 for v in verdicts)


def test_too_few_held_out_clips_to_compare_branches(sounds: Path) -> None:
    with pytest.raises(CalibrationError, match=r"^3 held-out clips: the scores of 2 branches are compared by 4 or"):
        asd.fit(sounds / "train", **TWO, folds=1)


# --- groups


@pytest.mark.parametrize("group", ["folder", "Speed"])
def test_groups_reach_the_detector(sounds: Path, tmp_path: Path, group: str, caplog: pytest.LogCaptureFixture) -> None:
    lines = ["path,speed"]
    for i in range(12):
        speed = "slow" if i < 6 else "fast"
        path = hum(tmp_path / speed / f"{i}.wav", seed=i, gain=0.1 if i < 6 else 1.0)
        lines.append(f"{path},{speed if i != 11 else ''}")
    (tmp_path / "clips.csv").write_text("\n".join(lines))
    data = tmp_path if group == "folder" else tmp_path / "clips.csv"
    caplog.set_level(logging.INFO, "asd")
    options = {"frontend": "mel-stack", "extractor": "identity", "embedding_pooling": "mean"}
    model = asd.fit([tmp_path / "slow", tmp_path / "fast"] if group == "folder" else data, group=group, **options)
    assert model.members[0].detector.get_params()["groups"] == "labels"
    banks = {len(np.unique(member.detector.get_state()["banks_"])) for member in model.members}
    assert banks <= ({2} if group == "folder" else {2, 3})
    assert "2 groups of clips: " in caplog.text
    assert ("1 of 12 clips have no 'Speed': they are a group of their own" in caplog.text) == (group == "Speed")


def test_groups_that_nobody_knows_are_refused(sounds: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no clip has a group: group 'speed' is a column of a CSV manifest; name the"):
        asd.fit(sounds / "train", extractor="mel-statistics", group="speed")
    (tmp_path / "clips.csv").write_text(f"path,state\n{sounds / 'train' / '00.wav'},a\n")
    with pytest.raises(DataError, match=r"clips\.csv: has no column 'speed' to group by; it has path, state"):
        asd.fit(tmp_path / "clips.csv", extractor="mel-statistics", group="speed")


def test_a_note_of_several_branches_counts_a_clip_once(tmp_path: Path) -> None:
    clips = [Clip(tmp_path / f"{i}.wav") for i in range(3)]
    notes = [["2 s is too short for 5 s", "2 s is too short for 2.4 s"], [], ["hum"]]
    features = [
        ClipFeatures(clip, np.zeros((1, 2), np.float32), np.zeros(1), 2.0, 16000, False, notes=own)
        for clip, own in zip(clips, notes, strict=True)
    ]
    found = [(each.note, each.count) for each in count_notes(features)]
    assert found == [("2 s is too short for 5 s", 1), ("hum", 1)]


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ([["a"], [f"short of 5 s: {PADDED}", "b"]], ["a", "b"]),
        ([[f"short of 1 s: {PADDED}", "a"], [f"short of 5 s: {PADDED}"]], [f"short of 1 s: {PADDED}", "a"]),
        ([[f"short of 1 s: {PADDED}"]], [f"short of 1 s: {PADDED}"]),
    ],
)
def test_a_clip_is_short_where_it_is_for_every_branch(notes: list[list[str]], expected: list[str]) -> None:
    clip = Clip(Path("a.wav"))
    branches = [
        ClipFeatures(clip, np.zeros((1, 2), np.float32), np.zeros(1), 2.0, 16000, False, notes=own) for own in notes
    ]
    assert merge_notes(branches).notes == expected


def test_reasons_name_no_frequencies_that_the_recording_lacks(sounds: Path, tmp_path: Path) -> None:
    config = Config.from_mapping({"extractor": "band-levels", "detector": "deviation"})
    model = Model.fit(find_clips([sounds / "train"]), config)
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "hiss.wav", 0.5 * rng.standard_normal(32000), 16000)
    (verdict,) = model.score([Clip(tmp_path / "hiss.wav")])
    assert isinstance(verdict, asd.Verdict)
    texts = [text for text, _ in verdict.branches[0].reasons]
    assert texts
    highest = [float(number) for text in texts for number in re.findall(r"([\d.]+) ?kHz", text)]
    assert highest
    assert max(highest) <= 8
