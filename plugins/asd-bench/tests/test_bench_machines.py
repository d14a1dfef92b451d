"""``asd bench machines``: what it makes of folders, what it compares, its tables, and what it refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from asd.command import cli
from asd.errors import AsdError, DataError
from asd.experiment import ANOMALY_KINDS
from asd.experiment import Machine as Generated
from asd_bench.machines.collection import Machine, read_machines
from asd_bench.machines.faults import generated
from asd_bench.machines.judge import Scores
from asd_bench.machines.plan import Comparison, plan
from asd_bench.machines.recipe import read
from asd_bench.machines.table import Row, branches_of, rows_of, summarise
from asd_bench.recipe import find

RATE = 16000
LEVEL = """
[[branch]]
name = "level"
extractor = "sound-level"
embedding_pooling = "mean"
detector = "deviation"

[[branch]]
name = "tones"
extractor = "tonality"
embedding_pooling = "mean"
detector = "deviation"
gate = 3.0
"""
RECIPE = """
summary = "Small"
protocol = "machines"
pipelines = ["{pipeline}"]
draws = 2

[faults]
recordings = 1
levels = [10]
kinds = ["whine", "drop-outs"]
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ASD_CACHE_SIZE", "1GB")
    monkeypatch.setenv("ASD_OFFLINE", "1")


def record(path: Path, *, seed: int = 0, gain: float = 1.0, machine: int = 1, seconds: float = 1.5) -> Path:
    """Write a recording of a machine."""
    sound = Generated(seed=machine).record(seconds, seed=seed).audio
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound.samples[0] * gain, RATE)
    return path


def files(folder: Path, *names: str) -> Path:
    """Write files whose content does not count."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def paths(*names: str) -> tuple[Path, ...]:
    return tuple(Path(name) for name in names)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli, ["bench", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    pipeline = tmp_path / "level.toml"
    pipeline.write_text(LEVEL)
    path = tmp_path / "small.toml"
    path.write_text(RECIPE.format(pipeline=pipeline))
    return path


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder of two machines: a fan with twelve healthy recordings, a pump with six; faults are 12 dB louder."""
    folder = tmp_path / "shop"
    for name, healthy, number in (("fan", 12, 1), ("pump", 6, 2)):
        for seed in range(healthy):
            record(folder / name / "normal" / f"{seed}.wav", seed=seed, machine=number, gain=0.2)
        for seed in (50, 51):
            record(folder / name / "abnormal" / f"{seed}.wav", seed=seed, machine=number, gain=0.8)
    return folder


def test_a_louder_machine_is_found_and_every_file_says_so(shop: Path, recipe: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    first = run(recipe, "--data", shop, "-o", output, "--json")
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)
    (summary,) = found["pipelines"]
    assert summary["label"] == "level"
    assert set(summary["columns"]) == {"shop/fan", "shop/pump", "generated faults"}
    assert summary["columns"]["shop/fan"] == summary["columns"]["shop/pump"] == 1.0
    assert set(summary["kinds"]) == {"whine", "drop-outs"}
    assert summary["kinds"]["whine"] == 1.0
    assert summary["worst"] == min(*summary["columns"].values(), *summary["kinds"].values())
    assert summary["sound_per_second"] > 1
    with (output / "machines.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["branch"] for row in rows} == {"", "level", "tones"}
    (fan,) = [row for row in rows if row["machine"] == "shop/fan" and row["protocol"] == "real" and not row["branch"]]
    # Two draws of eight of twelve: four others each, against two faulty ones.
    assert (float(fan["auc"]), fan["normal"], fan["anomalous"], float(fan["weight"])) == (1.0, "8", "4", 8.0)
    assert json.loads((output / "machines.json").read_text()) == found
    # One recording of the fan and one of the pump: a whine at one level, and drop-outs.
    assert len(list((output / "generated").glob("*.flac"))) == 4


def test_a_second_run_takes_embeddings_from_the_cache_and_prints_the_same(
    shop: Path, recipe: Path, tmp_path: Path
) -> None:
    first, second = (run(recipe, "--data", shop, "-o", tmp_path / "out") for _ in range(2))
    assert first.stdout == second.stdout
    assert "come from the cache" in second.stderr
    assert "generating faults" not in second.stderr
    assert "level, by branch" in first.stdout
    titles = [line.split()[0] for line in first.stdout.splitlines() if line.strip()]
    assert {"mean", "worst", "shop/fan", "shop/pump", "whine", "drop-outs", "fused"} & set(titles)


def test_faults_have_the_level_that_they_are_called_by(tmp_path: Path) -> None:
    source = record(tmp_path / "a.wav")
    whine, drop_outs = generated([source], ["whine", "drop-outs"], [-15.0], tmp_path / "faults")
    healthy, faulty = (soundfile.read(path)[0] for path in (source, whine.path))
    ratio = np.mean((faulty - healthy) ** 2) / np.mean(healthy**2)
    assert 10 * np.log10(ratio) == pytest.approx(-15, abs=0.05)
    assert (whine.level, drop_outs.level) == (-15.0, None)
    written = whine.path.stat().st_mtime_ns
    generated([source], ["whine"], [-15.0], tmp_path / "faults")
    assert whine.path.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("normal/0.wav", "abnormal/1.wav"), {"data": (1, 1)}),
        (("fan/id_00/normal/0.wav", "pump/id_00/normal/1.wav"), {"data/fan/id_00": (1, 0), "data/pump/id_00": (1, 0)}),
        (("press/0.wav", "press/1.wav", "mill/2.wav"), {"data/press": (2, 0), "data/mill": (1, 0)}),
        (("0.wav", "1.flac", "notes.txt"), {"data": (2, 0)}),
    ],
)
def test_folders_become_machines(tmp_path: Path, names: Sequence[str], expected: dict[str, tuple[int, int]]) -> None:
    machines = read_machines([files(tmp_path / "data", *names)])
    assert {each.name: (len(each.normal), len(each.anomalous)) for each in machines} == expected


def test_names_of_dcase_give_groups_and_a_test_of_its_own(tmp_path: Path) -> None:
    train = [
        f"train/section_00_source_train_normal_{5 * c + n:04d}_car_{car}_spd_28V_mic_1.wav"
        for c, car in enumerate(("A1", "B1", "C1"))
        for n in range(5)
    ]
    tests = [
        "test/section_00_source_test_normal_0000_car_A1_spd_28V_mic_1.wav",
        "test/section_00_source_test_anomaly_0000_car_A1_spd_28V_mic_1.wav",
    ]
    (machine,) = read_machines([files(tmp_path / "ToyCar", *train, *tests)])
    assert (len(machine.normal), len(machine.test_normal), len(machine.test_anomalous)) == (15, 1, 1)
    assert machine.anomalous == ()
    assert {name: len(own) for name, own in machine.groups.items()} == {"car A1": 5, "car B1": 5, "car C1": 5}
    protocols = [each.protocol for each in plan([machine], draws=3, recordings=2, seed=0)]
    assert protocols == ["generated", "group", "group", "group", "test"]


def test_a_manifest_names_machines_and_groups(tmp_path: Path) -> None:
    files(tmp_path, *(f"{n}.wav" for n in range(16)))
    lines = [f"{n}.wav,normal,press,speed {n % 3}" for n in range(15)] + ["15.wav,anomalous,press,"]
    manifest = tmp_path / "press.csv"
    manifest.write_text("\n".join(["path,label,machine,state", *lines]))
    (machine,) = read_machines([manifest])
    assert (machine.name, len(machine.normal), len(machine.anomalous)) == ("press", 15, 1)
    assert {name: len(own) for name, own in machine.groups.items()} == {f"state speed {n}": 5 for n in range(3)}


def test_what_is_learned_is_never_compared() -> None:
    large = Machine("a", "a", paths(*"abcdefghijkl"), paths("X", "Y"), groups={"car 1": paths(*"abcde")})
    few = Machine("b", "b/1", paths(*"mnop"), paths("Z"))
    other = Machine("b", "b/2", paths(*"qrstuv"))
    comparisons = plan([large, few, other], draws=3, recordings=2, seed=0)
    for each in comparisons:
        assert not set(each.train) & {*each.normal, *each.anomalous}, each
        assert len(each.train) >= 5
    draws = [each for each in comparisons if each.machine is large and each.protocol == "real"]
    assert [len(each.train) for each in draws] == [8, 8, 8]
    assert len({each.train for each in draws}) == 3
    left_out = [each for each in comparisons if each.machine is few and each.protocol == "real"]
    assert [each.normal for each in left_out] == [(path,) for path in few.normal]
    assert set(left_out[0].train) == {*few.normal[1:], *other.normal}
    (group,) = [each for each in comparisons if each.protocol == "group"]
    assert group.anomalous == paths(*"abcde")
    spoiled = [path for each in comparisons if each.protocol == "generated" for path in each.anomalous]
    assert len(spoiled) == 6


def test_too_few_recordings_are_one_clear_line() -> None:
    with pytest.raises(DataError) as caught:
        plan([Machine("pump", "pump", paths("a", "b", "c"))], draws=1, recordings=1, seed=0)
    assert str(caught.value) == (
        "pump: 3 healthy recordings, expected at least 6 (or other machines of its type beside it); record more of them"
    )


def scores(
    machine: Machine, protocol: Any, normal: Sequence[float], anomalous: Sequence[float], kind: str = "", part: str = ""
) -> Scores:
    column = np.array([normal]).T, np.array([anomalous]).T
    level = -15.0 if kind else None
    comparison = Comparison(machine, protocol, part, (), (), ())
    return Scores(comparison, kind, level, *(np.repeat(values, 3, axis=1) for values in column))


class Pipeline:
    """What `rows_of` reads of a judged pipeline."""

    def __init__(self, label: str, found: list[Scores], branches: tuple[str, ...] = ("x", "y")) -> None:
        self.label, self.scores, self.branches = label, found, branches


def rows(label: str, *found: Scores) -> list[Row]:
    return rows_of(Pipeline(label, list(found)))  # type: ignore[arg-type]  # all that it reads


def test_clips_that_are_left_out_are_pooled_and_draws_are_averaged() -> None:
    fan = Machine("fans", "fans/0", ())
    pump = Machine("fans", "fans/1", ())
    found = rows(
        "p",
        scores(fan, "real", [0, 0], [1, 1]),
        scores(fan, "real", [0, 2], [1, 1]),
        scores(pump, "real", [0], [1]),
        scores(pump, "real", [2], [1]),
        scores(fan, "generated", [0, 1], [2, 0.5], "whine"),
        scores(pump, "generated", [0], [1], "whine", "first"),
        scores(pump, "generated", [3], [1], "whine", "second"),
        scores(pump, "group", [0], [1]),
        scores(pump, "test", [1], [0]),
    )
    (summary,) = summarise(found, {"p": 80.0})
    # The fan: (1 + 0.5) / 2 by 4 pairs a draw; the pump: 1 of 2 pairs.
    assert summary.columns["fans"] == pytest.approx((0.75 * 4 + 0.5 * 2) / 6)
    # The fan: 3 of 4 pairs. The pump: healthy 0 and 3 against 1 and 1, over both clips, 2 of 4 pairs.
    assert summary.columns["generated faults"] == summary.kinds["whine"] == pytest.approx((0.75 + 0.5) / 2)
    assert summary.columns["fans, groups"] == 1.0
    assert summary.tests == {"fans": 0.0}
    assert summary.worst == 0.625
    assert summary.mean == pytest.approx((2 / 3 + 1 + 0.625) / 3)
    assert [each.label for each in branches_of(found, "p")] == ["fused", "x", "y"]


def test_ranks_are_means_over_the_columns_and_equal_values_share_one() -> None:
    fan, pump = Machine("fan", "fan", ()), Machine("pump", "pump", ())
    good = rows("good", scores(fan, "real", [0], [1]), scores(pump, "real", [0], [1]))
    bad = rows("bad", scores(fan, "real", [0], [1]), scores(pump, "real", [1], [0]))
    best, worst = summarise([*bad, *good], {})
    assert (best.label, best.rank, worst.label, worst.rank) == ("good", 1.25, "bad", 1.75)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (('kinds = ["whine"', 'kinds = ["wine"'), "unknown kind of fault 'wine'; known: harmonics, bearing-knocks, "),
        (("draws = 2", "draws = 0"), "draws takes a whole number of at least 1, got 0"),
        (("levels = [10]", "levels = 10"), "levels takes a list of numbers, got 10"),
        (("draws = 2", "drawn = 2"), "a recipe of machines takes no 'drawn'; it takes summary, protocol, pipelines, "),
        (('pipelines = ["', 'pipelines = ["quick", "'), "unknown pipeline 'quick'; expected fast, default, best, or a"),
    ],
)
def test_mistakes_in_a_recipe_name_their_line(recipe: Path, change: tuple[str, str], text: str) -> None:
    recipe.write_text(recipe.read_text().replace(*change))
    with pytest.raises(AsdError) as caught:
        run(recipe, "--data", recipe.parent)
    assert text in str(caught.value)


def test_what_cannot_be_done_is_said(recipe: Path, tmp_path: Path) -> None:
    for arguments, text in (
        ((recipe,), "name the folder of the data: asd bench"),
        ((recipe, "--data", tmp_path / "none"), f"{tmp_path / 'none'}: no such folder; name folders of healthy"),
        ((recipe, "--data", files(tmp_path / "empty", "a.txt")), "empty: found no recordings (.aif, .aifc"),
        ((recipe, "--data", tmp_path, "--submission", tmp_path), "recipe 'small' takes no --submission; it compares"),
        ((recipe, "--data", tmp_path, "--latex"), "recipe 'small' takes no --latex; it compares"),
        (("quick", "--data", tmp_path, "--pipeline", "fast"), "recipe 'quick' takes no --pipeline; 'asd bench machin"),
        (("quick", "--data", tmp_path, "--data", tmp_path), "recipe 'quick' takes no --data 2 times; 'asd bench mach"),
        ((recipe, "--data", tmp_path, "--pipeline", "none.toml"), "none.toml: cannot read this configuration (No such"),
    ):
        with pytest.raises(AsdError) as caught:
            run(*arguments)
        assert text in str(caught.value)


def test_the_shipped_recipe_is_listed_and_printed() -> None:
    assert "machines" in {each["name"] for each in json.loads(run("--list", "--json").stdout)}
    assert 'protocol = "machines"' in run("machines", "--print").stdout
    shipped = read(find("machines"))
    assert tuple(shipped.pipelines) == ("fast", "default", "best")
    assert (shipped.draws, shipped.recordings, shipped.levels) == (10, 6, (-15.0, -20.0, -25.0, -30.0, -35.0))
    assert shipped.kinds == ANOMALY_KINDS
