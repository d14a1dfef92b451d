"""Models of many machines: one command fits them, another judges each clip by its machine's model."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import asd
from asd.detection.fleet_index import INDEX, Machine, file_name, read_index
from asd.detection.fleet_store import opened
from asd.errors import AsdError, ConfigError, DataError, ModelFileError
from asd.experiment import using_engine
from fleet_sound import OPTIONS, PIPELINE, error, hum, plant, run, same_arrays, times

MACHINES = {"fan 1": 150, "Fan 1": 250, "pump/2": 350}
"""Their frequencies; the second name differs in capitals alone, the third is no file name."""


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


def test_each_machine_gets_the_model_that_a_fit_of_its_own_gives(manifest: Path, fitted: Path) -> None:
    models = asd.Models.load(fitted)
    assert set(models) == set(MACHINES)
    assert models.by == "machine"
    for number, name in enumerate(MACHINES):
        alone = asd.fit([manifest.parent / f"{number}-{clip}.wav" for clip in range(6)], **PIPELINE)
        assert np.array_equal(models[name].calibration.scores, alone.calibration.scores)
        assert models[name].training == alone.training
        assert models[name].full_config() == alone.full_config()
        assert same_arrays(models[name], alone)


def test_a_machine_that_cannot_be_learned_is_a_row(manifest: Path, tmp_path: Path) -> None:
    done = run("fit", manifest, "--by", "machine", "-o", tmp_path / "m", "--json", *OPTIONS)
    said = json.loads(done.stdout)
    assert said["summary"] == {"fitted": 3, "unchanged": 0, "failed": 2, "of_no_machine": 1}
    assert {name: machine["state"] for name, machine in said["machines"].items()} == {
        **dict.fromkeys(MACHINES, "fitted"), "silent": "failed", "few": "failed"
    }  # fmt: skip
    assert "0 of 6 clips can be used" in said["machines"]["silent"]["error"]
    assert "digital silence" in said["machines"]["silent"]["error"]
    assert said["machines"]["few"]["error"].startswith("1 clip: at least 5 clips of the healthy machine are needed")
    assert said["machines"]["fan 1"]["model"]["clips"] == 6
    assert said["machines"]["fan 1"]["model"]["promise"] == "calibrated"
    assert "left out 1 recording of no machine: the column 'machine' of" in done.stderr
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
    assert text.startswith("no machine could be fitted: silent: 0 of 6 clips can be used")


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
    assert error("score", fitted, other).startswith("no clip could be judged: ")


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
        assert "left out 1 recording of no machine: it lies in" in done.stderr
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

    def test_folders_elsewhere_and_models_elsewhere(self, halls: Path, tmp_path: Path) -> None:
        fsspec = pytest.importorskip("fsspec")
        memory = fsspec.filesystem("memory")
        memory.put(str(halls), "/fleet/plant", recursive=True)
        models = asd.fit("memory://fleet/plant", by="folder", folder=tmp_path / "m", **PIPELINE)
        assert set(models) == {"north", "south"}
        before = {name: machine.model for name, machine in models.machines.items()}
        again = asd.fit("memory://fleet/plant", by="folder", folder=tmp_path / "m", **PIPELINE)
        assert {name: machine.model.contents for name, machine in again.machines.items() if machine.model} == {
            name: model.contents for name, model in before.items() if model
        }
        memory.put(str(tmp_path / "m"), "/fleet/models", recursive=True)
        verdicts = list(asd.score("memory://fleet/models", "memory://fleet/plant/*/*.wav"))
        assert {(verdict.machine, verdict.ok) for verdict in verdicts} == {("north", True)}
        elsewhere = asd.fit(halls, by="folder", folder="memory://fleet/other", **PIPELINE)
        assert all(same_arrays(elsewhere[name], models[name]) for name in models)

    def test_arrays_lie_in_no_folder(self) -> None:
        with pytest.raises(DataError, match="arrays lie in no folder that names a machine"):
            asd.fit([np.zeros(8000)] * 6, rate=8000, by="folder", **PIPELINE)


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
        with pytest.raises(ModelFileError, match="a folder; name a model file"):
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
    assert "1 false alarm an hour cannot be promised from 6 held-out clips" in text


def test_another_rate_is_for_one_call(manifest: Path, fitted: Path) -> None:
    with asd.Models.load(fitted) as models:
        held = models["fan 1"]
        list(models.score(manifest, false_alarms_per_hour=1200))
        assert models.decisions["fan 1"].false_alarms_per_hour == 1200
        assert models["fan 1"] is held
        assert held.decision.false_alarms_per_hour == pytest.approx(3600 / 7)


def test_workers_of_an_engine_fit_and_score_the_same(manifest: Path, fitted: Path, tmp_path: Path) -> None:
    with using_engine("local:2"):
        models = asd.fit(manifest, by="machine", folder=tmp_path / "m", **PIPELINE)
        verdicts = list(models.score(manifest))
    here = asd.Models.load(fitted)
    for name in here:
        assert same_arrays(models[name], here[name])
    assert [each.to_dict() for each in verdicts] == [each.to_dict() for each in here.score(manifest)]
    assert models.decisions == here.decisions
    assert models.errors == here.errors


def test_a_folder_of_several_pipelines_is_judged_on_the_terms_of_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions are compared for every component, each pipeline computes as here, and any may need a graphics card."""
    from asd.detection import models as judging

    other = {**PIPELINE, "extractor": "mel-statistics"}
    for name, frequency, options in (("a", 150, PIPELINE), ("b", 250, other)):
        asd.fit(plant(tmp_path / name, {name: frequency}), by="folder", folder=tmp_path / "m", **options)
    here = [each.to_dict() for each in asd.Models.load(tmp_path / "m").score([tmp_path / "a", tmp_path / "b"])]
    asked: dict[str, Any] = {}

    def each(*args: Any, needs: Any, **how: Any) -> Any:
        asked.update(needs=needs, components=args[1].components, decided=args[1]._parts[3])
        return work_each(*args, needs=needs, **how)

    def needs_of(pipeline: Any) -> Any:
        return {"GPU": 1} if pipeline.config.extractor.name.endswith("mel-statistics") else None

    work_each = judging.each
    monkeypatch.setattr(judging, "each", each)
    monkeypatch.setattr(judging, "needs_of", needs_of)
    with using_engine("local:1"):
        there = asd.Models.load(tmp_path / "m").score([tmp_path / "a", tmp_path / "b"])
        assert [verdict.to_dict() for verdict in there] == here
    assert asked["needs"] == {"GPU": 1}
    extractors = {name.rpartition(":")[2] for kind, name in asked["components"] if kind == "extractor"}
    assert extractors == {"band-levels", "mel-statistics"}
    assert len(asked["decided"]) == 2


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


def test_errors_of_asd_are_what_python_gets(manifest: Path, fitted: Path) -> None:
    with pytest.raises(AsdError):
        asd.fit(manifest, by=" ", **PIPELINE)
