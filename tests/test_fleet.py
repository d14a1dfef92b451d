"""Models of many machines: one command fits them, another judges each clip by its machine's model."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile

import asd
from asd.detection.fleet_index import INDEX, Index, Machine, file_name, read_index
from asd.detection.fleet_store import opened
from asd.errors import AsdError, ConfigError, DataError, ModelFileError
from asd.experiment import using_engine

ASD = Path(os.environ["ASD_COMMAND"])
INSTALLED = Path(sys.executable).with_name("asd")
PIPELINE: dict[str, Any] = {"extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"}
OPTIONS = [item for name, value in PIPELINE.items() for item in (f"--{name.replace('_', '-')}", value)]
RATE = 8000
MACHINES = {"fan 1": 150, "Fan 1": 250, "pump/2": 350}
"""Their frequencies; the second name differs in capitals alone, the third is no file name."""


def run(*arguments: str | Path, code: int = 0, **how: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([ASD, *arguments], capture_output=True, text=True, check=False, **how)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def error(*arguments: str | Path, **how: Any) -> str:
    """Return the one line of an error with exit code 2."""
    done = run(*arguments, code=2, **how)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("asd: error: ")]
    return line.removeprefix("asd: error: ")


def hum(path: Path, frequency: float, seed: int, *, whine: float = 0.0, gain: float = 1.0) -> Path:
    moment = np.arange(RATE) / RATE
    sound = 0.1 * np.sin(2 * np.pi * frequency * moment) + np.random.default_rng(seed).normal(0, 0.02, RATE)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, gain * (sound + whine * np.sin(2 * np.pi * 2500 * moment)), RATE)
    return path


def plant(folder: Path, machines: dict[str, float], clips: int = 6) -> Path:
    for number, (name, frequency) in enumerate(machines.items()):
        for clip in range(clips):
            hum(folder / name / f"{clip}.wav", frequency, 100 * number + clip)
    return folder


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a manifest of three machines that can be learned, and of two that cannot."""
    folder = tmp_path_factory.mktemp("recordings")
    rows = [("path", "label", "split", "Machine")]
    for number, (name, frequency) in enumerate(MACHINES.items()):
        for clip in range(9):
            faulty = clip > 6
            path = hum(folder / f"{number}-{clip}.wav", frequency, 10 * number + clip, whine=0.3 * faulty)
            rows.append((path.name, "faulty" if faulty else "normal", "train" if clip < 6 else "test", name))
    for clip in range(6):
        path = hum(folder / f"silent-{clip}.wav", 100, clip, gain=0)
        rows.append((path.name, "normal", "train", "silent"))
    rows += [("0-0.wav", "normal", "train", "few"), ("0-1.wav", "normal", "train", "")]
    with (folder / "all.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "all.csv"


@pytest.fixture(scope="module")
def fitted(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fitted") / "models"
    run("fit", manifest, "--by", "machine", "-o", folder, *OPTIONS)
    return folder


def same_arrays(one: asd.Model, other: asd.Model) -> bool:
    """Return whether two models hold the same, bit for bit."""
    first, second = one.content()[1], other.content()[1]
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.asd")}


def test_each_machine_gets_the_model_that_a_fit_of_its_own_gives(manifest: Path, fitted: Path) -> None:
    models = asd.Models.load(fitted)
    assert set(models) == set(MACHINES)
    assert models.by == "machine"
    for number, name in enumerate(MACHINES):
        alone = asd.fit([manifest.parent / f"{number}-{clip}.wav" for clip in range(6)], **PIPELINE)
        assert np.array_equal(models[name].calibration.scores, alone.calibration.scores)
        assert models[name].training == alone.training
        assert models[name].full_config() == alone.full_config()
        for (_, one), (_, other) in zip(
            *(sorted(each.content()[1].items()) for each in (models[name], alone)), strict=True
        ):
            assert np.array_equal(one, other)


def test_a_machine_that_cannot_be_learned_is_a_row(manifest: Path, tmp_path: Path) -> None:
    done = run("fit", manifest, "--by", "machine", "-o", tmp_path / "m", "--json", *OPTIONS)
    said = json.loads(done.stdout)
    assert said["summary"] == {"fitted": 3, "unchanged": 0, "failed": 2, "of_no_machine": 1}
    assert {name: machine["state"] for name, machine in said["machines"].items()} == {
        **dict.fromkeys(MACHINES, "fitted"), "silent": "failed", "few": "failed"
    }  # fmt: skip
    assert "0 of 6 clips can be used" in said["machines"]["silent"]["error"]
    assert "digital silence" in said["machines"]["silent"]["error"]
    assert said["machines"]["few"]["error"].startswith("1 clips: at least 5 clips of the healthy machine are needed")
    assert said["machines"]["fan 1"]["model"]["clips"] == 6
    assert said["machines"]["fan 1"]["model"]["promise"] == "calibrated"
    assert "1 recordings are of no machine, left out: the column 'machine' of" in done.stderr
    index = json.loads((tmp_path / "m" / INDEX).read_text())
    assert index["format"] == 1
    assert index["machines"]["silent"]["model"] is None


def test_the_table_tells_what_came_of_each(manifest: Path, tmp_path: Path) -> None:
    said = run("fit", manifest, "--by", "machine", "-o", tmp_path / "m", *OPTIONS).stdout
    assert "5 machines: 3 fitted; 2 failed (the same command tries them again)." in said
    assert "digital silence" in " ".join(said.split())
    again = run("fit", manifest, "--by", "machine", "-o", tmp_path / "m", *OPTIONS)
    assert "5 machines: 3 unchanged, not fitted again; 2 failed" in again.stdout.replace("0 fitted; ", "")
    assert "fitting 2 machines: silent, few (3 more have not changed)" in again.stderr


def test_when_no_machine_can_be_learned_it_is_an_error(manifest: Path, tmp_path: Path) -> None:
    with manifest.open() as file:
        rows = [row for row in csv.reader(file) if row[3] in ("Machine", "silent", "few")]
    other = manifest.with_name("bad.csv")
    other.write_text("\n".join(",".join(row) for row in rows))
    text = error("fit", other, "--by", "machine", "-o", tmp_path / "m", *OPTIONS)
    assert text.startswith("none of the 2 machines could be fitted: silent: 0 of 6 clips can be used")


def test_strict_ends_at_the_first_machine_and_keeps_what_is_done(manifest: Path, tmp_path: Path) -> None:
    text = error("fit", manifest, "--by", "machine", "-o", tmp_path / "m", "--strict", *OPTIONS)
    assert text.startswith("silent: ")
    assert set(asd.Models.load(tmp_path / "m")) == set(MACHINES)


def test_clips_are_judged_by_the_model_of_their_machine(manifest: Path, fitted: Path) -> None:
    done = run("score", fitted, manifest, "--json", code=1)
    said = json.loads(done.stdout)
    models = asd.Models.load(fitted)
    for number, name in enumerate(MACHINES):
        own = {Path(row["clip"]).name: row for row in said["clips"] if row.get("machine") == name}
        assert len(own) == 9
        for verdict in models[name].score([manifest.parent / f"{number}-{clip}.wav" for clip in range(9)]):
            row = own[verdict.clip.path.name]
            assert (row["score"], row["p_value"]) == (verdict.score, verdict.p_value)
        assert [row["anomalous"] for row in own.values()] == [False] * 7 + [True] * 2
        assert said["decisions"][name]["promise"] == "calibrated"
    assert said["summary"] == {"clips": 35, "anomalous": 6, "normal": 21, "left_out": 8}


def test_a_clip_without_a_model_is_a_failed_row_with_the_reason(manifest: Path, fitted: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("score", fitted, manifest, "--csv", code=1).stdout)))
    errors = {row["machine"]: row["error"] for row in rows if row["error"]}
    assert "no model of the machine 'silent': its fit failed: 0 of 6 clips can be used" in errors["silent"]
    assert errors[""].endswith("is empty there")
    other = manifest.with_name("unknown.csv")
    other.write_text("path,machine\n0-0.wav,fan 1\n0-1.wav,fan 7\n")
    done = run("score", fitted, other)
    assert "no model of a machine 'fan 7'" in " ".join(done.stdout.split())
    assert "2 clips of 2 machines: 0 anomalous, 1 normal, 1 left out." in done.stdout
    text = error("score", fitted, other, "--strict")
    assert "no model of a machine 'fan 7'" in text
    other.write_text("path,machine\n0-1.wav,fan 7\n")
    assert error("score", fitted, other).startswith("none of the 1 clips could be judged: ")


def test_python_gives_verdicts_that_name_their_machine(manifest: Path, fitted: Path) -> None:
    verdicts = list(asd.score(fitted, manifest))
    assert {verdict.machine for verdict in verdicts} == {*MACHINES, "silent", "few", None}
    assert {verdict.machine for verdict in verdicts if verdict.anomalous} == set(MACHINES)
    frame = asd.to_frame(verdicts)
    assert next(iter(frame.columns)) == "machine"
    models = asd.fit(manifest, by="machine", **PIPELINE)
    assert repr(models) == "<Models of 3 machines: Fan 1, fan 1, pump/2 (by 'machine'); 2 could not be fitted>"
    assert set(models.errors) == {"silent", "few"}
    assert [each.to_dict() for each in models.score(manifest) if each.ok] == [v.to_dict() for v in verdicts if v.ok]
    with pytest.raises(KeyError):
        models["silent"]


def test_models_in_memory_can_be_saved_and_fitted_on(manifest: Path, tmp_path: Path) -> None:
    models = asd.fit(manifest, by="machine", **PIPELINE)
    models.save(tmp_path / "m")
    before = times(tmp_path / "m")
    again = asd.fit(manifest, by="machine", folder=tmp_path / "m", **PIPELINE)
    assert times(tmp_path / "m") == before
    assert again.machines["fan 1"].model == models.machines["fan 1"].model
    again.save(tmp_path / "copy")
    assert set(asd.Models.load(tmp_path / "copy")) == set(MACHINES)


def test_a_frame_names_machines_too(manifest: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"path": [str(manifest.parent / f"0-{clip}.wav") for clip in range(6)], "machine": ["fan"] * 6}
    )
    assert list(asd.fit(frame, by="machine", **PIPELINE)) == ["fan"]


@pytest.fixture(scope="module")
def halls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant(tmp_path_factory.mktemp("halls") / "plant", {"north": 150, "south/monday": 250})


class TestFolders:
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (["plant"], {"north", "south"}),
            (["plant/north", "plant/south"], {"north", "south"}),
            (["plant/*"], {"north", "south"}),
            (["plant/*/*.wav", "plant/*/monday"], {"north", "south"}),
            (["plant/north"], {"north"}),
            (["plant/south"], {"monday"}),
        ],
    )
    def test_the_first_folder_names_the_machine(self, halls: Path, data: list[str], expected: set[str]) -> None:
        with contextlib.chdir(halls.parent):
            assert set(asd.fit(data, by="folder", **PIPELINE)) == expected

    def test_a_column_without_a_manifest_means_folders_and_that_is_said(self, halls: Path, tmp_path: Path) -> None:
        done = run("fit", halls, "--by", "machine", "-o", tmp_path / "m", *OPTIONS)
        assert (
            "no manifest with a column 'machine' was named: machines are told by folders (--by folder)" in done.stderr
        )
        scored = run("score", tmp_path / "m", halls / "south" / "monday", "--json")
        assert {row["machine"] for row in json.loads(scored.stdout)["clips"]} == {"south"}

    def test_recordings_beside_the_folders_are_of_no_machine(self, halls: Path, tmp_path: Path) -> None:
        shutil.copytree(halls, tmp_path / "plant")
        hum(tmp_path / "plant" / "stray.wav", 100, 0)
        done = run("fit", tmp_path / "plant", "--by", "folder", "-o", tmp_path / "m", *OPTIONS)
        assert "1 recordings are of no machine, left out: it lies in" in done.stderr
        assert set(asd.Models.load(tmp_path / "m")) == {"north", "south"}

    @pytest.mark.parametrize("data", ["today/north", "today", "today/north/0.wav", "today/*/0.wav"])
    def test_what_is_scored_is_told_by_a_folder_of_that_name(self, halls: Path, data: str, tmp_path: Path) -> None:
        asd.fit(halls, by="folder", folder=tmp_path / "m", **PIPELINE)
        shutil.copytree(halls / "north", tmp_path / "today" / "north")
        with contextlib.chdir(tmp_path):
            verdicts = list(asd.score("m", data))
        assert {verdict.machine for verdict in verdicts} == {"north"}
        assert all(verdict.ok for verdict in verdicts)

    def test_unknown_folders_are_failures(self, halls: Path, tmp_path: Path) -> None:
        models = asd.fit(halls, by="folder", **PIPELINE)
        hum(tmp_path / "day" / "west" / "0.wav", 100, 0)
        (failure,) = models.score(tmp_path / "day")
        assert not failure.ok
        assert "no model of a machine 'west': there are 2 machines: north, south" in str(failure.error)

    def test_arrays_lie_in_no_folder(self) -> None:
        with pytest.raises(DataError, match="arrays lie in no folder that names a machine"):
            asd.fit([np.zeros(8000)] * 6, rate=8000, by="folder", **PIPELINE)


class TestAgain:
    @pytest.fixture
    def there(self, tmp_path: Path) -> Path:
        plant(tmp_path / "plant", {"a": 150, "b": 250})
        self.fit(tmp_path)
        return tmp_path

    @staticmethod
    def fit(place: Path, **options: Any) -> asd.Models:
        return asd.fit(place / "plant", by="folder", folder=place / "m", **{**PIPELINE, **options})

    def changed(self, there: Path, **options: Any) -> set[str]:
        before = times(there / "m")
        self.fit(there, **options)
        after = times(there / "m")
        return {name for name in after if after[name] != before.get(name)}

    def test_nothing_changed_nothing_done(self, there: Path) -> None:
        assert self.changed(there) == set()

    def test_force_fits_all(self, there: Path) -> None:
        assert self.changed(there, force=True) == {"a.asd", "b.asd"}

    def test_another_configuration_fits_all(self, there: Path) -> None:
        assert self.changed(there, folds=3) == {"a.asd", "b.asd"}

    def test_a_recording_more(self, there: Path) -> None:
        hum(there / "plant" / "a" / "more.wav", 150, 99)
        assert self.changed(there) == {"a.asd"}

    def test_a_recording_of_other_content(self, there: Path) -> None:
        hum(there / "plant" / "b" / "0.wav", 250, 99)
        assert self.changed(there) == {"b.asd"}

    def test_a_model_file_that_is_gone(self, there: Path) -> None:
        (there / "m" / "a.asd").unlink()
        assert self.changed(there) == {"a.asd"}

    def test_a_new_machine_is_added_and_the_others_stay(self, there: Path) -> None:
        plant(there / "plant", {"c": 350})
        shutil.rmtree(there / "plant" / "a")
        assert self.changed(there) == {"c.asd"}
        assert set(asd.Models.load(there / "m")) == {"a", "b", "c"}

    def test_recordings_that_were_copied_or_moved_are_the_same(self, there: Path) -> None:
        shutil.copytree(there / "plant", there / "copy")
        shutil.rmtree(there / "plant")
        (there / "copy").rename(there / "plant")
        (there / "plant" / "a" / "0.wav").rename(there / "plant" / "a" / "zero.wav")
        assert self.changed(there) == set()

    def test_a_fit_that_fails_leaves_the_former_model_and_is_tried_again(self, there: Path) -> None:
        for path in sorted((there / "plant" / "a").iterdir())[2:]:
            path.unlink()
        assert self.changed(there) == set()
        models = asd.Models.load(there / "m")
        assert models.machines["a"].state == "failed"
        assert list(models.errors) == ["a"]
        assert all(verdict.ok for verdict in models.score(there / "plant"))
        plant(there / "plant", {"a": 150})
        assert self.changed(there) == {"a.asd"}
        assert asd.Models.load(there / "m").errors == {}

    def test_an_unreadable_machine_does_not_stop_the_others(self, there: Path) -> None:
        shutil.rmtree(there / "m")
        for path in (there / "plant" / "a").iterdir():
            path.write_bytes(b"no sound")
        assert set(self.fit(there)) == {"b"}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("fan-1_b", "fan-1_b.asd"),
        ("Fan", "Fan.asd"),
        ("fan 1", "fan_1-e9ee0af1.asd"),
        ("Lüfter", "Lufter-68e51bee.asd"),
        ("..", "machine-"),
        ("../../etc/passwd", "etc_passwd-"),
        ("風扇", "machine-"),
        ("con", "con-"),
        ("COM1", "COM1-"),
        ("a.asd", "a_asd-"),
        ("-x", "x-"),
        ("x" * 300, "x" * 60 + "-"),
        ("a\\b:c", "a_b_c-"),
    ],
)
def test_names_become_safe_file_names(name: str, file: str) -> None:
    found = file_name(name)
    assert found.startswith(file)
    assert found.endswith(".asd")
    msgspec.convert({"file": found}, Machine)  # the index takes it


def test_file_names_never_collide() -> None:
    names = ["fan", "Fan", "FAN", "fan ", "fan-", "fän", "fan-" + file_name("fan ")[4:-4], "con", "Con", "CON", "", "_"]
    taken: set[str] = set()
    for name in names:
        file = file_name(name, taken)
        assert file.casefold() not in taken
        taken.add(file.casefold())


def test_machines_that_differ_in_capitals_have_files_that_do_not(fitted: Path) -> None:
    files = [machine.file.casefold() for machine in read_index(fitted).machines.values()]
    assert len(set(files)) == len(files) == 5


class TestBadFolders:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (b"", "is no index of models"),
            (b"{}", "is no index of models"),
            (
                b'{"format": 2, "machines": 7}',
                "written in format 2, this asd reads 1: pip install --upgrade",
            ),
            (b'{"format": 1, "by": "x", "machines": {"a": {"file": "../../a.asd"}}}', "is no index of models"),
            (
                b'{"format": 1, "by": "x", "machines": {"a": {"file": "a.asd"}, "b": {"file": "A.asd"}}}',
                "have one file",
            ),
            (b'{"format": 1, "by": "x", "machines": {"": {"file": "a.asd"}}}', "is no index of models"),
        ],
    )
    def test_an_index_is_checked(self, tmp_path: Path, text: bytes, expected: str) -> None:
        (tmp_path / INDEX).write_bytes(text)
        assert expected in error("score", tmp_path, tmp_path)

    def test_a_folder_without_an_index(self, tmp_path: Path, manifest: Path) -> None:
        assert f"{tmp_path}: this folder has no index of models" in error("score", tmp_path, manifest)
        assert "this folder has no index" in error("evaluate", tmp_path, "--normal", "a", "--anomalous", "b")
        with pytest.raises(ModelFileError, match="not a regular file"):
            asd.load(tmp_path)

    def test_a_folder_of_something_else_is_not_written_to(self, tmp_path: Path, manifest: Path) -> None:
        (tmp_path / "letter.txt").write_text("dear")
        text = error("fit", manifest, "--by", "machine", "-o", tmp_path, "--force", *OPTIONS)
        assert "holds something else than models of an earlier 'asd fit --by'" in text
        assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]

    def test_a_file_and_a_missing_parent(self, tmp_path: Path, manifest: Path) -> None:
        (tmp_path / "m.asd").write_bytes(b"")
        assert "is a file; models of several machines" in error(
            "fit", manifest, "--by", "machine", "-o", tmp_path / "m.asd"
        )
        assert "no such folder to make m in" in error("fit", manifest, "--by", "machine", "-o", tmp_path / "no" / "m")

    def test_another_column_needs_another_folder(self, manifest: Path, fitted: Path) -> None:
        text = error("fit", manifest, "--by", "label", "-o", fitted, *OPTIONS)
        assert "its machines were told by 'machine', now by 'label'; choose a new folder" in text

    def test_one_process_at_a_time(self, manifest: Path, tmp_path: Path) -> None:
        with opened(tmp_path / "m", "machine"):
            text = error("fit", manifest, "--by", "machine", "-o", tmp_path / "m", *OPTIONS)
        mend = "wait for it, or choose another folder"
        assert text == f"{tmp_path / 'm'}: another process is fitting models into this folder; {mend}"

    def test_a_mistake_leaves_no_folder(self, manifest: Path, tmp_path: Path) -> None:
        text = error("fit", manifest, "--by", "hall", "-o", tmp_path / "m", *OPTIONS)
        assert "has no column 'hall' that names machines; it has path, label, split, machine" in text
        assert "unknown" in error("fit", manifest, "--by", "machine", "-o", tmp_path / "m", "--detector", "nothing")
        error("fit", manifest, "--by", "machine", "-o", tmp_path / "m", "--segment", "0.001", *OPTIONS)
        assert not (tmp_path / "m").exists()

    def test_a_damaged_model_fails_its_clips_alone(self, manifest: Path, fitted: Path, tmp_path: Path) -> None:
        shutil.copytree(fitted, tmp_path / "m")
        (tmp_path / "m" / read_index(fitted).machines["pump/2"].file).write_bytes(b"broken")
        results = [each for each in asd.score(tmp_path / "m", manifest) if each.machine in MACHINES]
        assert {each.machine for each in results if not each.ok} == {"pump/2"}
        assert sum(each.ok for each in results) == 18

    def test_options_that_are_for_one_model(self, manifest: Path, fitted: Path, tmp_path: Path) -> None:
        assert "--monitor watches one machine" in error("score", fitted, manifest, "--monitor", tmp_path / "s")
        one = fitted / read_index(fitted).machines["fan 1"].file
        assert "--by tells the machines of a folder" in error("score", one, manifest, "--by", "machine")
        with pytest.raises(ConfigError, match="this is the model of one"):
            list(asd.score(one, manifest, by="machine"))
        with pytest.raises(ConfigError, match="folder and force are for models of many machines"):
            asd.fit(manifest, folder=tmp_path)  # type: ignore[call-overload]

    def test_a_manifest_beside_folders(self, manifest: Path) -> None:
        with pytest.raises(DataError, match="is no manifest and has no column 'machine'"):
            asd.fit([manifest, manifest.parent], by="machine", **PIPELINE)

    def test_names_without_end(self, manifest: Path) -> None:
        long = manifest.with_name("long.csv")
        long.write_text(f"path,machine\n0-0.wav,{'x' * 400}\n")
        with pytest.raises(DataError, match="a machine's name has 400 characters"):
            asd.fit(long, by="machine", **PIPELINE)


def test_evaluate_measures_each_machine_and_the_mean(manifest: Path, fitted: Path) -> None:
    done = run("evaluate", fitted, "--normal", manifest, "--anomalous", manifest, "--json")
    said = json.loads(done.stdout)
    assert {name for name, each in said["machines"].items() if not each["error"]} == set(MACHINES)
    assert said["machines"]["fan 1"]["anomalous"] == 2
    assert said["mean"]["machines"] == 3
    assert said["mean"]["auc"] == 1.0
    assert "3 machines measured" in run("evaluate", fitted, "--normal", manifest, "--anomalous", manifest).stdout
    text = error("evaluate", fitted, "--normal", manifest, "--anomalous", manifest, "--stream")
    assert "--stream watches one machine" in text


def test_another_rate_of_false_alarms(manifest: Path, fitted: Path) -> None:
    done = run("score", fitted, manifest, "--json", "--false-alarms-per-hour", "1200", code=1)
    assert json.loads(done.stdout)["decisions"]["fan 1"]["false_alarms_per_hour"] == 1200
    text = error("score", fitted, manifest, "--false-alarms-per-hour", "1")
    assert "1 false alarms per hour cannot be promised from 6 held-out clips" in text


KILLER = """
import os
from asd.plugin import CheckedDetector
from asd_registry import ComponentSpec, hookimpl


class Killer(CheckedDetector):
    \"\"\"Kills its process where the sound is loud, as a fault of a library may.\"\"\"

    def _learn(self, features):
        if features.mean() > -20:
            os.kill(os.getpid(), 9)
        self.mean = features.mean(axis=0)

    def _score(self, features):
        return ((features - self.mean) ** 2).mean(axis=1)

    def get_state(self):
        return {"mean": self.mean}

    def set_state(self, state):
        self.mean = state["mean"]


@hookimpl
def asd_components():
    yield ComponentSpec(kind="detector", name="killer", summary="kills", target=f"{__name__}:Killer", licence="MIT")
"""


def test_a_machine_that_kills_its_workers_is_a_row(tmp_path: Path) -> None:
    plant(tmp_path / "plant", {"a": 150, "b": 250, "c": 350})
    for path in (tmp_path / "plant" / "b").iterdir():
        hum(path, 250, 1 + int(path.stem), gain=6)
    (tmp_path / "killer.py").write_text(KILLER)
    options = ("--extractor", "sound-level", "--detector", "killer", "--no-standardise", "--pca", "none")
    how = ("--plugin-file", tmp_path / "killer.py", "--engine", "local", "--scheduler", "local:2", "--json")
    done = run("fit", tmp_path / "plant", "--by", "folder", "-o", tmp_path / "m", *options, *how)
    said = json.loads(done.stdout)
    assert said["summary"] == {"fitted": 2, "unchanged": 0, "failed": 1, "of_no_machine": 0}
    assert "that was its second try" in said["machines"]["b"]["error"]


def test_workers_of_an_engine_fit_and_score_the_same(manifest: Path, fitted: Path, tmp_path: Path) -> None:
    with using_engine("local:2"):
        models = asd.fit(manifest, by="machine", folder=tmp_path / "m", **PIPELINE)
        verdicts = list(models.score(manifest))
    here = asd.Models.load(fitted)
    for name in here:
        for (_, one), (_, other) in zip(
            *(sorted(each[name].content()[1].items()) for each in (models, here)), strict=True
        ):
            assert np.array_equal(one, other)
    assert [each.to_dict() for each in verdicts] == [each.to_dict() for each in here.score(manifest)]
    assert models.decisions == here.decisions
    assert models.errors == here.errors


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a fit of machines that takes a while, and wait until the first models are there."""
    plant(tmp_path / "plant", {f"machine{number:02d}": 100 + 20 * number for number in range(40)})
    command = [INSTALLED, "fit", tmp_path / "plant", "--by", "folder", "-o", tmp_path / "m", *OPTIONS]
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "m").glob("*.asd"))) < 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(running: subprocess.Popen[str], tmp_path: Path) -> None:
    running.send_signal(signal.SIGINT)
    _, said = running.communicate()
    assert running.returncode == 2
    models = asd.Models.load(tmp_path / "m")
    assert 2 <= len(models) < 40
    assert f"asd: error: interrupted; {len(models)} of 40 machines were fitted and are in {tmp_path / 'm'}" in said
    before = times(tmp_path / "m")
    assert len(asd.fit(tmp_path / "plant", by="folder", folder=tmp_path / "m", **PIPELINE)) == 40
    after = times(tmp_path / "m")
    assert {name: after[name] for name in before} == before


@pytest.mark.slow
def test_after_a_kill_the_same_command_goes_on(running: subprocess.Popen[str], tmp_path: Path) -> None:
    running.kill()
    running.communicate()
    index = read_index(tmp_path / "m")
    assert len(index.machines) == 40  # all are named before the first is fitted
    assert len(asd.fit(tmp_path / "plant", by="folder", folder=tmp_path / "m", **PIPELINE)) == 40
    assert all(machine.state == "fitted" for machine in read_index(tmp_path / "m").machines.values())
    assert not list((tmp_path / "m").glob(".*.part"))


def test_a_full_disk_ends_the_run_and_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asd.detection import fleet_store

    plant(tmp_path / "plant", {"a": 150, "b": 250, "c": 350})
    write, written = fleet_store.modelfile.write, []

    def full(path: Path, *content: Any) -> None:
        if len(written) == 1:
            raise ModelFileError(f"{path}: the model cannot be saved here (No space left on device)")
        written.append(path)
        write(path, *content)

    monkeypatch.setattr(fleet_store.modelfile, "write", full)  # a disk cannot be filled here
    with pytest.raises(ModelFileError, match="No space left"):
        asd.fit(tmp_path / "plant", by="folder", folder=tmp_path / "m", **PIPELINE)
    assert list(asd.Models.load(tmp_path / "m")) == ["a"]


def test_an_unexpected_error_of_one_machine_is_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asd.detection import fleet

    plant(tmp_path / "plant", {"a": 150, "b": 250})
    extract = fleet.extract

    def broken(pipeline: Any, clips: Any, **how: Any) -> Any:
        if clips[0].path.parent.name == "a":
            raise ZeroDivisionError("a fault of ours")
        return extract(pipeline, clips, **how)

    monkeypatch.setattr(fleet, "extract", broken)
    models = asd.fit(tmp_path / "plant", by="folder", **PIPELINE)
    assert list(models) == ["b"]
    assert "unexpected ZeroDivisionError: a fault of ours" in models.errors["a"]


def test_remarks_stay_with_their_machine(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plant(tmp_path / "plant", {"a": 150, "b": 250}, clips=8)
    (tmp_path / "plant" / "a" / "1.wav").write_bytes(b"no sound")
    models = asd.fit(tmp_path / "plant", by="folder", **PIPELINE)
    learned = models.machines["a"].model
    assert learned is not None
    assert learned.left_out == 1
    assert "left out: " in learned.remarks[0]
    assert "1.wav" not in caplog.text


WHOLE = '''
import numpy as np
from asd.plugin import Frontend, Representation, Windows
from asd_registry import ComponentSpec, hookimpl


class Whole(Frontend):
    """The mean level of each 100 ms of a clip: as many values as fit."""

    sample_rate = 8000
    window_length = None
    window_hop = 1
    produces = Representation("vector", (None,), 8000)

    def __call__(self, audio):
        parts = audio.samples[0][: len(audio.samples[0]) // 800 * 800].reshape(1, -1, 800)
        return Windows(np.abs(parts).mean(axis=2).astype(np.float32), np.zeros(1), audio.samples.shape[1] / 8000)


@hookimpl
def asd_components():
    yield ComponentSpec(kind="frontend", name="whole", summary="all", target=f"{__name__}:Whole", licence="MIT")
'''


def test_clips_of_each_machine_may_have_their_own_length(tmp_path: Path) -> None:
    """A front end without windows gives what fits the clip: one size within a machine, not among them."""
    plant(tmp_path / "plant", {"a": 150})
    (tmp_path / "plant" / "b").mkdir()
    for path in (tmp_path / "plant" / "a").iterdir():
        sound, rate = soundfile.read(path)
        soundfile.write(tmp_path / "plant" / "b" / path.name, np.concatenate([sound, sound]), rate)
    (tmp_path / "whole.py").write_text(WHOLE)
    plugin = ("--plugin-file", tmp_path / "whole.py")
    options = ("--frontend", "whole", "--extractor", "identity", "--detector", "mahalanobis", *plugin)
    done = run("fit", tmp_path / "plant", "--by", "folder", "-o", tmp_path / "m", "--json", *options)
    assert json.loads(done.stdout)["summary"]["fitted"] == 2
    scored = run("score", tmp_path / "m", tmp_path / "plant", "--json", *plugin)
    assert json.loads(scored.stdout)["summary"]["left_out"] == 0


def test_an_index_of_thousands_is_not_written_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path / "m", "folder") as store:
        store.add([f"machine {number}" for number in range(2000)])
        store.write()
        written = (tmp_path / "m" / INDEX).stat().st_mtime_ns
        store.write(soon=True)
        assert (tmp_path / "m" / INDEX).stat().st_mtime_ns == written
        store.write()
        assert (tmp_path / "m" / INDEX).stat().st_mtime_ns > written
    index = msgspec.json.decode((tmp_path / "m" / INDEX).read_bytes(), type=Index)
    assert len(index.machines) == 2000


def test_errors_of_asd_are_what_python_gets(manifest: Path, fitted: Path) -> None:
    with pytest.raises(AsdError):
        asd.fit(manifest, by=" ", **PIPELINE)
