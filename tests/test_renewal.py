"""``asd recalibrate``, ``asd update`` and ``asd diff``: a model goes on after its machine has changed."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd.detection import modelfile
from asd.detection.groups import group_labels
from asd.detection.history import continued, event
from asd.detection.manifest import HISTORY_LIMIT, checked
from asd.detection.model import Model
from asd.detection.monitor import Monitor
from asd.errors import AsdError, ModelFileError, MonitorError
from asd.records import Clip

pytestmark = pytest.mark.usefixtures("embedding_cache")

ASD = Path(os.environ["ASD_COMMAND"])
RATE = 8000
QUICK: dict[str, Any] = {"frontend": "mel-stack", "extractor": "identity", "pca": 0.9, "detector": "mahalanobis"}
BRANCHES: dict[str, Any] = {
    "branches": [
        {"name": "spectrum", **QUICK},
        {"name": "statistics", "frontend": "mel-patch", "extractor": "mel-statistics", "detector": "knn", "gate": 1.0},
    ]
}
OPTIONS = [item for name, value in QUICK.items() for item in (f"--{name}", str(value))]


def hum(path: Path, seed: int, *, gain: float = 1.0, room: float = 0.0, seconds: float = 1.0, rate: int = RATE) -> Path:
    """Write a motor's hum in noise; `room` adds a tone that another place has."""
    rng, time = np.random.default_rng(seed), np.arange(round(seconds * rate)) / rate
    sound = sum(0.05 / k * np.sin(2 * np.pi * 50 * k * time + rng.uniform(0, 6)) for k in range(1, 6))
    sound += rng.normal(0, 0.01, len(time)) + room * rng.uniform(0.8, 1.2) * np.sin(2 * np.pi * 900 * time)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, gain * sound, rate, subtype="FLOAT")
    return path


def write(folder: Path, count: int, first: int, **how: Any) -> Path:
    for i in range(count):
        hum(folder / f"{i:02d}.wav", first + i, **how)
    return folder


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with recordings before and after a machine was moved, and a model of the former."""
    folder = tmp_path_factory.mktemp("sounds")
    write(folder / "before", 20, 0)
    write(folder / "again", 12, 100)
    write(folder / "moved", 15, 200, room=0.03)
    write(folder / "later", 40, 300, room=0.03)
    asd.fit(folder / "before", **QUICK).save(folder / "m.asd")
    return folder


@pytest.fixture
def model(sounds: Path) -> Model:
    return asd.load(sounds / "m.asd")


def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([ASD, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def error(*arguments: str | Path) -> str:
    """Return the one line of an error with exit code 2."""
    lines = [line for line in run(*arguments, code=2).stderr.splitlines() if line.startswith("asd: error: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("asd: error: ")


def scores(model: Model, data: Path) -> list[float]:
    return [verdict.score for verdict in asd.score(model, data) if isinstance(verdict, asd.Verdict)]


def assert_same_scores(one: Model, other: Model, data: Path) -> None:
    np.testing.assert_allclose(scores(one, data), scores(other, data), rtol=1e-5)  # matrix products may round otherwise


def p_values(model: Model, data: Path) -> list[float]:
    return [verdict.p_value for verdict in asd.score(model, data) if isinstance(verdict, asd.Verdict)]


def alarms(model: Model, data: Path) -> int:
    return sum(verdict.anomalous for verdict in asd.score(model, data) if isinstance(verdict, asd.Verdict))


# recalibrate


def test_a_machine_that_has_moved_alarms_no_more(sounds: Path, model: Model, tmp_path: Path) -> None:
    new = asd.recalibrate(model, sounds / "moved")
    assert alarms(model, sounds / "later") == 40
    assert alarms(new, sounds / "later") <= 10  # 1 in 16 is promised
    np.testing.assert_allclose(
        scores(new, sounds / "later"), scores(model, sounds / "later"), rtol=1e-5
    )  # the detectors are the same
    new.save(tmp_path / "new.asd")
    loaded = asd.load(tmp_path / "new.asd")
    assert p_values(loaded, sounds / "later") == p_values(new, sounds / "later")
    assert [entry["action"] for entry in loaded.history] == ["fitted", "recalibrated"]
    assert (loaded.clips, len(loaded.training), len(loaded.recalibration)) == (20, 20, 15)


@pytest.mark.parametrize("options", [{**QUICK, "folds": 12}, BRANCHES, {**BRANCHES, "folds": 11, "fusion": "max"}])
def test_the_calibration_is_the_score_that_a_new_clip_gets(sounds: Path, options: dict[str, Any]) -> None:
    new = asd.recalibrate(asd.fit(sounds / "before", **options), sounds / "moved")
    verdicts = [verdict for verdict in asd.score(new, sounds / "moved") if isinstance(verdict, asd.Verdict)]
    assert (new.calibration.member == len(new.branches[0].members)).all()
    for b in range(len(new.branches)):
        own = sorted(new.calibration.of_branch(b).scores)
        np.testing.assert_allclose(sorted(verdict.branches[b].score for verdict in verdicts), own, rtol=1e-5)
        ranks = [round(16 * verdict.branches[b].p_value) for verdict in verdicts]
        assert sum(ranks) == pytest.approx(sum(range(2, 17)), abs=15)  # each about as unusual as itself


def test_keep_adds_to_the_calibration(sounds: Path, model: Model, tmp_path: Path) -> None:
    both = asd.recalibrate(model, sounds / "again", keep=True)
    assert len(both.calibration.scores) == 32
    assert both.calibration.recordings == 32
    assert both.history[-1]["action"] == "calibration extended"
    assert both.decision.level < model.decision.level
    both.save(tmp_path / "m.asd")
    more = asd.recalibrate(asd.load(tmp_path / "m.asd"), sounds / "moved", keep=True)
    assert (len(more.calibration.scores), len(more.recalibration)) == (47, 27)
    levels, before = more.conditions.levels, model.conditions.levels
    assert levels is not None
    assert before is not None
    assert levels[0] <= before[0] < before[1] <= levels[1]
    with pytest.raises(AsdError, match=r"^the model knows all 12 clips already \(00\.wav, 01\.wav, 02\.wav, …\): a "):
        asd.recalibrate(more, sounds / "again", keep=True)
    assert len(asd.recalibrate(more, sounds / "again").calibration.scores) == 12  # replaced: they may be given again


def test_branches_are_calibrated_each(sounds: Path, tmp_path: Path) -> None:
    model = asd.fit(sounds / "before", **BRANCHES)
    new = asd.recalibrate(model, sounds / "moved")
    assert alarms(model, sounds / "later") == 40
    assert alarms(new, sounds / "later") <= 12
    z = [[branch.z for branch in verdict.branches] for verdict in asd.score(new, sounds / "moved")]  # type: ignore[union-attr]
    np.testing.assert_allclose(np.mean(z, axis=0), 0, atol=1e-4)
    new.save(tmp_path / "m.asd")
    np.testing.assert_allclose(
        scores(asd.load(tmp_path / "m.asd"), sounds / "later"), scores(new, sounds / "later"), rtol=1e-5
    )


def test_clips_that_the_model_learned_from_and_copies_do_not_count(
    sounds: Path, model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(sounds / "moved", tmp_path / "new")
    shutil.copy(sounds / "before" / "03.wav", tmp_path / "new" / "heard.wav")
    shutil.copy(sounds / "moved" / "00.wav", tmp_path / "new" / "copy.wav")
    hum(tmp_path / "new" / "damaged.wav", 999).write_bytes(b"RIFF")
    with caplog.at_level(logging.WARNING, "asd"):
        new = asd.recalibrate(model, tmp_path / "new")
    assert len(new.calibration.scores) == 15
    assert new.calibration.recordings == 15
    assert (len(new.duplicates), len(new.failures)) == (1, 1)
    assert "1 of 18 clips are of recordings that the model knows already (heard.wav): left out" in caplog.text
    assert "1 of 16 clips repeat others and do not count in the calibration" in caplog.text


def test_conditions_are_those_of_the_new_clips(
    sounds: Path, model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "quiet", 12, 500, gain=0.1, rate=4000)
    with caplog.at_level(logging.WARNING, "asd"):
        new = asd.recalibrate(model, tmp_path / "quiet")
    assert "12 of 12 clips: recorded at 4000 Hz, the model learned from 8000 Hz" in caplog.text
    assert new.conditions.rates == (4000, 4000)
    verdict = next(iter(asd.score(new, hum(tmp_path / "x.wav", 600, gain=0.1, rate=4000))))
    assert isinstance(verdict, asd.Verdict)
    assert verdict.notes == ()


def test_the_rate_is_that_of_the_configuration_or_another_one(sounds: Path, tmp_path: Path) -> None:
    model = asd.fit(sounds / "before", **QUICK, false_alarms_per_hour=300.0)
    assert asd.recalibrate(model, sounds / "moved").decision.false_alarms_per_hour == 300
    other = asd.recalibrate(model, sounds / "moved", false_alarms_per_hour=900)
    assert other.decision.level == pytest.approx(4 / 16)
    assert (other.config.false_alarms_per_hour, model.config.false_alarms_per_hour) == (900, 300)
    with pytest.raises(AsdError, match=r"10 false alarms an hour cannot be promised from 15 held-out clips of 1 s"):
        asd.recalibrate(model, sounds / "moved", false_alarms_per_hour=10)


def test_a_monitor_of_the_old_model_does_not_go_on(sounds: Path, model: Model, tmp_path: Path) -> None:
    verdict = next(iter(asd.score(model, sounds / "again")))
    assert isinstance(verdict, asd.Verdict)
    with Monitor.open(tmp_path / "state", model) as monitor:
        monitor.update(verdict, 1e9)
    new = asd.recalibrate(model, sounds / "moved")
    with pytest.raises(MonitorError, match="belongs to another model"), Monitor.open(tmp_path / "state", new):
        pass


# update


@pytest.mark.parametrize("options", [QUICK, BRANCHES, {**QUICK, "detector": {"name": "gmm", "n_components": 2}}])
def test_an_update_is_a_fit_on_old_and_new(sounds: Path, options: dict[str, Any], tmp_path: Path) -> None:
    asd.fit(sounds / "before", **options).save(tmp_path / "m.asd")
    both = asd.fit([sounds / "before", sounds / "again"], **options)
    new = asd.update(tmp_path / "m.asd", sounds / "again")
    assert_same_scores(new, both, sounds / "moved")
    assert p_values(new, sounds / "moved") == p_values(both, sounds / "moved")
    assert new.training == both.training
    assert new.conditions == both.conditions
    assert [entry["action"] for entry in new.history] == ["fitted", "updated"]
    assert new.history[-1]["clips"] == 12
    comparison = asd.diff(both, new)
    assert (comparison.same, comparison.same_detectors, comparison.settings) == (True, True, {})


def test_former_recordings_may_be_gone(tmp_path: Path) -> None:
    write(tmp_path / "a" / "one", 4, 700)
    write(tmp_path / "a" / "two", 4, 710, seconds=3.2)  # of the same names, and cut into clips
    write(tmp_path / "b", 3, 720)  # few, but known clips count
    model, both = (asd.fit(data, **QUICK, segment=1) for data in ([tmp_path / "a"], [tmp_path / "a", tmp_path / "b"]))
    assert (model.clips, len(model.training)) == (16, 8)
    model.save(tmp_path / "m.asd")
    shutil.rmtree(tmp_path / "a")
    new = asd.update(tmp_path / "m.asd", tmp_path / "b")
    assert new.clips == 19
    assert_same_scores(new, both, tmp_path / "b")
    new.save(tmp_path / "m.asd")
    again = asd.update(tmp_path / "m.asd", write(tmp_path / "c", 2, 730))
    assert (again.clips, len(again.training), len(again.history)) == (21, 13, 3)


def test_what_the_cache_has_lost_is_taken_from_the_recordings(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    both = asd.fit([sounds / "before", sounds / "again"], **QUICK)
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "empty"))
    lost = (
        r"^20 of 20 recordings that the model learned from are neither in the embedding cache nor named with old_data= "
        r"\(\d\d\.wav, \d\d\.wav, \d\d\.wav, …\): name the folder that they are in with old_data=, or fit anew$"
    )
    with pytest.raises(AsdError, match=lost):
        asd.update(sounds / "m.asd", sounds / "again")
    shutil.copytree(sounds / "before", tmp_path / "archive" / "elsewhere")
    hum(tmp_path / "archive" / "other.wav", 998)
    with caplog.at_level(logging.WARNING, "asd"):
        new = asd.update(sounds / "m.asd", sounds / "again", old_data=tmp_path / "archive")
    assert "1 of the former recordings are not among those that the model learned from (other.wav)" in caplog.text
    assert_same_scores(new, both, sounds / "moved")
    monkeypatch.setenv("ASD_CACHE_SIZE", "0")
    with pytest.raises(AsdError, match=r"^1 of 20 recordings that the model learned from are neither"):
        asd.update(sounds / "m.asd", sounds / "again", old_data=sorted((sounds / "before").iterdir())[1:])


def test_copies_of_what_taught_the_model_do_not_calibrate_it(
    sounds: Path, model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(sounds / "moved", tmp_path / "new")
    for path in sorted((sounds / "before").iterdir())[:4]:
        samples, rate = soundfile.read(path)
        soundfile.write(tmp_path / "new" / f"copy-{path.stem}.ogg", 0.5 * samples, rate)
    with caplog.at_level(logging.WARNING, "asd"):
        new = asd.recalibrate(model, tmp_path / "new")
    assert "4 of 19 clips are copies of clips that the model knows already (copy-" in caplog.text
    assert len(new.calibration.scores) == 15
    for path in sorted((sounds / "before").iterdir())[4:9]:
        samples, rate = soundfile.read(path)
        soundfile.write(tmp_path / f"copy-{path.stem}.ogg", samples, rate)
    with pytest.raises(
        AsdError, match=r"^all 5 clips are copies of clips that the model knows \(.*: a calibration needs"
    ):
        asd.recalibrate(model, sorted(tmp_path.glob("*.ogg")))


@pytest.mark.parametrize("extra", [{}, {"detector": {"name": "mahalanobis"}, "states": "auto"}])
def test_groups_are_known_without_the_recordings(extra: dict[str, Any], tmp_path: Path) -> None:
    options = {**QUICK, "detector": {"name": "knn"}, "group": "folder", **extra}
    for name, first in (("slow", 800), ("fast", 810)):
        write(tmp_path / "a" / name, 5, first, room=0.01 * (name == "fast"))
        write(tmp_path / "b" / name, 3, first + 50, room=0.01 * (name == "fast"))
        (tmp_path / "both" / name).mkdir(parents=True)
        for path in sorted(tmp_path.glob(f"[ab]/{name}/*.wav")):
            number = len(list((tmp_path / "both" / name).iterdir()))
            shutil.copy(path, tmp_path / "both" / name / f"{number:02d}.wav")
    model = asd.fit(tmp_path / "a", **options)
    model.save(tmp_path / "a.asd")
    both = asd.fit(tmp_path / "both", **options)
    new = asd.update(tmp_path / "a.asd", tmp_path / "b")
    assert sorted(label for entry in new.training for label in entry["groups"]) == ["fast"] * 8 + ["slow"] * 8
    assert_same_scores(new, both, tmp_path / "b")
    assert_same_scores(asd.update(model, tmp_path / "b", old_data=tmp_path / "a"), both, tmp_path / "b")
    for entry in model.training:
        del entry["groups"]  # as in the first model files
    with pytest.raises(AsdError, match=r"^the model file does not say the groups of its clips: name all recordings"):
        asd.update(model, tmp_path / "b")
    assert_same_scores(asd.update(model, tmp_path / "b", old_data=tmp_path / "a"), asd.fit(
        [tmp_path / "a", tmp_path / "b"], **options), tmp_path / "b")  # fmt: skip


def test_folders_are_called_by_the_end_of_their_paths() -> None:
    clips = [Clip(Path(f"/x/{name}/1.wav")) for name in ("a/slow", "b/slow", "c/fast", "slow")]
    assert group_labels(clips, "folder") == ["a/slow", "b/slow", "fast", "x/slow"]
    known = [Clip(Path("(cache)/1.wav"), group="fast"), Clip(Path("/y/fast/2.wav"))]
    assert group_labels(known, "folder") == ["fast", "fast"]
    assert group_labels(clips[:2], None) == [None, None]


def test_an_update_ends_a_recalibration(sounds: Path, model: Model, caplog: pytest.LogCaptureFixture) -> None:
    moved = asd.recalibrate(model, sounds / "moved")
    with caplog.at_level(logging.WARNING, "asd"):
        new = asd.update(moved, sounds / "again")
    assert "the calibration by 15 other recordings is replaced" in caplog.text
    assert new.recalibration == []
    assert [entry["action"] for entry in new.history] == ["fitted", "recalibrated", "updated"]
    assert asd.update(moved, sounds / "moved").clips == 35  # they had calibrated, not taught


def test_clips_of_another_length_are_refused(sounds: Path, model: Model, tmp_path: Path) -> None:
    write(tmp_path / "long", 6, 400, seconds=1.6)
    text = (
        r"^the new clips last 1\.6 s, those of the model 1 s: p-values hold for clips of one length, so that they "
        r"cannot {} together; record clips of 1 s, or fit anew with segment=1$"
    )
    with pytest.raises(AsdError, match=text.format("be learned from")):
        asd.update(model, tmp_path / "long")
    with pytest.raises(AsdError, match=text.format("calibrate")):
        asd.recalibrate(model, tmp_path / "long", keep=True)
    assert asd.recalibrate(model, tmp_path / "long").calibration.clip_seconds == pytest.approx(1.6)


# diff


def test_diff_tells_what_has_changed(sounds: Path, model: Model) -> None:
    new = asd.recalibrate(model, sounds / "moved", false_alarms_per_hour=450)
    found = asd.diff(model, new, sounds / "later")
    assert not found.same
    assert found.same_detectors
    assert found.settings == {"false_alarms_per_hour": (None, 450)}
    (branch,) = found.branches
    assert branch.shift is not None
    assert branch.shift_error is not None
    assert branch.shift > 3 * branch.shift_error > 0
    assert found.alarms is not None
    assert found.alarms.old == 40
    assert len(found.alarms.only_old) == 40 - found.alarms.new
    assert asd.diff(model, model).same
    json.dumps(found.as_dict(), allow_nan=False)


def test_the_alarm_begins_where_diff_says(sounds: Path, model: Model) -> None:
    new = asd.recalibrate(model, sounds / "moved")
    begins = asd.diff(model, new).new.alarm_from
    assert begins is not None
    own = new.calibration.scores
    width = 1.4826 * np.median(np.abs(own - np.median(own)))
    limit = np.median(own) + begins * width
    for verdict in asd.score(new, sounds / "later"):
        assert isinstance(verdict, asd.Verdict)
        assert verdict.anomalous == (verdict.score > limit * (1 + 1e-12))


def test_diff_compares_what_can_be_compared(sounds: Path, model: Model) -> None:
    other = asd.fit(sounds / "again", **{**QUICK, "pca": 0.5})
    found = asd.diff(model, other)
    assert found.settings == {"pca": (0.9, 0.5)}
    assert not found.same_detectors
    assert found.branches[0].shift is None
    assert found.recordings == {"common": 0, "only_old": 20, "only_new": 12}
    several = asd.diff(model, asd.fit(sounds / "before", **BRANCHES))
    assert several.branches == []
    assert "branch" in several.settings


# commands


def test_the_commands(sounds: Path, tmp_path: Path) -> None:
    new, more = tmp_path / "new.asd", tmp_path / "more.asd"
    done = run("recalibrate", sounds / "m.asd", sounds / "moved", "-o", new)
    assert f"Recalibrated by 15 new clips of 15 recordings, written to {new}." in done.stdout
    assert "deviations higher than before." in done.stdout
    assert "judged by 15 clips held out of training." in done.stdout
    assert "A monitor of the old model does not go on with the new one: name another STATE." in done.stdout
    run("score", new, sounds / "moved" / "01.wav")
    shown = run("diff", sounds / "m.asd", new, sounds / "later", code=1).stdout
    assert "Of 40 clips, the old model finds 40 anomalous, the new one " in shown
    assert "Anomalous by the old model alone, " in shown
    assert "History (both): fitted by 20 clips of 20 recordings, 20" in shown
    assert "History (new): recalibrated by 15 clips of 15 recordings, 20" in shown
    assert "The models are alike." in run("diff", new, new).stdout
    found = json.loads(run("update", sounds / "m.asd", sounds / "again", "-o", more, "--json").stdout)
    assert (found["clips"], found["held_out"], found["change"]["same_detectors"]) == (32, 32, False)
    assert [each["action"] for each in found["history"]] == ["fitted", "updated"]
    assert json.loads(run("diff", sounds / "m.asd", more, "--json", code=1).stdout)["recordings"]["only_new"] == 12
    text = run("diff", sounds / "m.asd", more, code=1).stdout
    assert "Recordings learned from: 20 are the same, 12 are new, 0 are no longer among them." in text
    assert "'asd diff OLD NEW RECORDINGS' lets both models judge the same clips." in text


def test_where_the_new_model_goes(sounds: Path, tmp_path: Path) -> None:
    old = Path(shutil.copy(sounds / "m.asd", tmp_path / "m.asd"))
    arguments = ("recalibrate", old, sounds / "moved")
    where = "say where the new model goes: -o NEW.asd, or --in-place to replace the old one"
    assert error(*arguments) == error(*arguments, "-o", "x.asd", "--in-place") == where
    assert "exists" in error(*arguments, "-o", old)
    old.chmod(0o444)
    assert error(*arguments, "--in-place") == (
        f"{old}: is read-only, and --in-place replaces it; write another file with -o"
    )
    old.chmod(0o644)
    before = old.read_bytes()
    assert error(*arguments[:2], tmp_path, "--in-place").startswith(f"{tmp_path}: this folder holds no recordings")
    assert old.read_bytes() == before
    run(*arguments, "--in-place", "--false-alarms", "600/hour")
    assert asd.load(old).decision.false_alarms_per_hour == 600


def test_bad_input_is_one_line(sounds: Path, tmp_path: Path) -> None:
    model, out = sounds / "m.asd", ("-o", tmp_path / "x.asd")
    known = error("update", model, sounds / "before", *out)
    assert known == (
        "the model knows all 20 clips already (00.wav, 01.wav, 02.wav, …): there is nothing new to learn from; name "
        "recordings that it has not learned from"
    )
    few = write(tmp_path / "few", 3, 850)
    assert error("recalibrate", model, few, *out).startswith(
        "3 clips: at least 5 clips of the healthy machine are needed"
    )
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"path,label\n{few / '00.wav'},anomalous\n")
    assert error("recalibrate", model, manifest, *out) == f"{manifest}: no row with label 'normal' and split 'train'"
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.wav").write_bytes(b"RIFF")
    assert error("update", model, broken, *out).startswith("none of the 1 new clips can be used (the first: ")
    assert error("update", tmp_path / "no.asd", few, *out).startswith(f"{tmp_path / 'no.asd'}: no such model file")
    recording = sounds / "before" / "00.wav"
    assert error("diff", model, recording).startswith(f"{recording}: a recording, not a model file")
    assert not (tmp_path / "x.asd").exists()


# the file


def older(model: Path, path: Path) -> Path:
    """Write a model as an older version did: no history, no parts of recordings."""
    manifest, arrays = modelfile.read(model)
    manifest.pop("history")
    for entry in manifest["training"]:
        entry.pop("clips", None)
    modelfile.write(path, manifest, arrays)
    return path


def test_models_of_older_versions_go_on(sounds: Path, tmp_path: Path) -> None:
    model = asd.load(older(sounds / "m.asd", tmp_path / "m.asd"))
    (fitted,) = model.history
    assert (fitted["action"], fitted["clips"], fitted["recordings"]) == ("fitted", 20, 20)
    assert asd.update(model, sounds / "again").clips == 32
    cut = write(tmp_path / "cut", 6, 900, seconds=2)
    asd.fit(cut, **QUICK, segment=1).save(tmp_path / "cut.asd")
    unknown = asd.load(older(tmp_path / "cut.asd", tmp_path / "cut.asd"))
    text = (
        r"^the model file does not say which parts of its recordings it learned from: name all .* \(6 of 6 are missing"
    )
    with pytest.raises(AsdError, match=text):
        asd.update(unknown, sounds / "again")
    assert asd.update(unknown, sounds / "again", old_data=cut).clips == 24


@pytest.mark.parametrize("name", ["mel-stack-gmm", "mel-patch-small-dcae"])
def test_golden_models_can_be_recalibrated(name: str, tmp_path: Path) -> None:
    write(tmp_path / "new", 8, 950, seconds=2.0, rate=16000)
    model = asd.load(Path(__file__).parent / "golden" / f"{name}.asd")
    new = asd.recalibrate(model, tmp_path / "new")
    new.save(tmp_path / "m.asd")
    again = sorted(scores(asd.load(tmp_path / "m.asd"), tmp_path / "new"))
    np.testing.assert_allclose(again, sorted(new.calibration.scores), rtol=1e-5)
    assert len(new.history) == 2


def test_the_history_is_bounded() -> None:
    history = [event("fitted", 20, [])]
    for number in range(300):
        history = continued(history, event("updated", number, []))
    assert len(history) == HISTORY_LIMIT
    assert (history[0]["action"], history[1]["clips"], history[-1]["clips"]) == ("fitted", 201, 299)


def spoilt(manifest: dict[str, Any], what: Sequence[Any], value: Any) -> None:
    place: Any = manifest
    for step in what[:-1]:
        place = place[step]
    place[what[-1]] = value


@pytest.mark.parametrize(
    ("what", "value", "text"),
    [
        (("history",), [], r"length >= 1.* at history"),
        (("history",), [{"action": "fitted"}], r"missing required field when"),
        (("history", 0, "action"), "x\n", r"history\[0\]\.action"),
        (("history", 0, "sha256"), "0", r"history\[0\]\.sha256"),
        (("training", 0, "clips"), [[-1.0, None]], r">= 0"),
        (("training", 0, "clips"), [[0.0, 0.0]], r"> 0"),
        (("recalibration",), [{"name": "a"}], r"sha256"),
    ],
)
def test_a_manifest_that_was_made_up_is_refused(sounds: Path, what: Sequence[Any], value: Any, text: str) -> None:
    manifest, arrays = modelfile.read(sounds / "m.asd")
    spoilt(manifest, what, value)
    with pytest.raises(ModelFileError, match=text):
        checked("m.asd", manifest, arrays)


def test_a_member_that_is_not_there_is_refused(sounds: Path) -> None:
    manifest, arrays = modelfile.read(sounds / "m.asd")
    members = manifest["members"]
    arrays["calibration.member"][:] = members  # all members: as many clips as one likes
    manifest["clips"] = 1
    assert checked("m.asd", manifest, arrays)["members"] == members
    arrays["calibration.member"][0] = members + 1
    with pytest.raises(ModelFileError, match=rf"calibration.member must be from 0 to {members}, got {members} to"):
        checked("m.asd", manifest, arrays)
