"""``asd bench compare``: paired differences of two runs, and files that are none."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from asd.command import cli
from asd.errors import DataError
from asd_bench import export
from asd_bench.paired import differences, read_run

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests"))

from invented import invented  # lies beside all distributions


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs of three pipelines on five machines; in the second all are better."""
    folder = tmp_path_factory.mktemp("runs")
    for name, shift in (("before", 0.0), ("after", 0.8)):
        results = invented(folder / "sounds", pipelines=3, machines=5, clips=60, shift=shift)
        (folder / name).mkdir()
        export.write(results, folder / name)
    return folder / "before", folder / "after"


def changed(run: Path, tmp_path: Path, change: Any) -> Path:
    content = json.loads((run / "results.json").read_text())
    change(content)
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(content))
    return path


def test_a_run_differs_in_nothing_from_itself(runs: tuple[Path, Path]) -> None:
    before = read_run(runs[0])
    for each in differences(before, before):
        assert (each.difference, each.clips, each.machines, each.better, each.worse) == (0, (0, 0), (0, 0), 0, 0)
        stored = json.loads((runs[0] / "results.json").read_text())["ranking"]
        own = next(row for row in stored if row["pipeline"] == each.first)
        assert each.first_score == pytest.approx(own["score"], abs=1e-6)


def test_a_better_run_is_told_over_clips_and_over_machines(runs: tuple[Path, Path]) -> None:
    found = differences(read_run(runs[0]), read_run(runs[1]))
    assert len(found) == 3
    for each in found:
        assert each.first == each.second
        assert each.difference == pytest.approx(each.second_score - each.first_score)
        assert each.clips[0] < each.difference < each.clips[1]
        assert each.machines is not None
        assert each.better + each.worse == 5
    weakest = found[-1]
    assert weakest.clips[0] > 0
    assert weakest.machines is not None
    assert weakest.machines[0] > 0
    back = differences(read_run(runs[1]), read_run(runs[0]))
    assert back[0].difference == pytest.approx(-next(e for e in found if e.first == back[0].first).difference)


def test_only_clips_that_both_runs_have_are_compared(runs: tuple[Path, Path], tmp_path: Path) -> None:
    def fewer(content: dict[str, Any]) -> None:
        clips = content["clips"]
        clips["tests"], clips["scores"] = clips["tests"][:2], [s for s in clips["scores"] if s["test"] < 2]
        for test in clips["tests"]:
            test["names"][0] = "another.wav"

    found = differences(read_run(runs[0]), read_run(changed(runs[0], tmp_path, fewer)))
    assert found[0].difference == 0
    assert found[0].machines is None  # two machine sections are no sample


def test_runs_with_other_pipelines_are_compared_by_their_best(runs: tuple[Path, Path], tmp_path: Path) -> None:
    def renamed(content: dict[str, Any]) -> None:
        for row in (*content["ranking"], *content["clips"]["scores"]):
            row["pipeline"] = f"new {row['pipeline']}"

    (only,) = differences(read_run(runs[0]), read_run(changed(runs[1], tmp_path, renamed)))
    assert only.second.startswith("new ")
    assert only.second != only.first


def test_the_command_prints_a_table_and_json(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["bench", "compare", *map(str, runs)], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "over machines" in printed
    assert "One that includes 0 shows no difference." in printed
    cli.main(["bench", "compare", *map(str, runs), "--json"], standalone_mode=False)
    assert [row["better"] + row["worse"] for row in json.loads(capsys.readouterr().out)] == [5, 5, 5]


def no_pipeline(content: dict[str, Any]) -> None:
    for row in content["ranking"]:
        row["failed_cells"] = 1


def other_units(content: dict[str, Any]) -> None:
    for test in content["clips"]["tests"]:
        test["unit"] = f"other {test['unit']}"


def without_anomalous(content: dict[str, Any]) -> None:
    for test in content["clips"]["tests"]:
        test["anomalous"] = [0] * len(test["anomalous"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            other_units,
            r"share no machine section .* \(the first has machine 00, .*; the second has|share no machine section",
        ),
        (without_anomalous, "share no machine section with the same normal and anomalous test clips and seed"),
        (lambda content: content.update(metric="dcase2020"), "has metric auc, .* dcase2020: they cannot be compared"),
        (no_pipeline, "no pipeline has a result on every machine section"),
        (lambda content: content.update(format=2), r"changed\.json: results in format 2, expected 1"),
        (
            lambda content: content.pop("format"),
            "results in format before 1, expected 1: run the same 'asd bench' again",
        ),
        (lambda content: content.pop("ranking"), r"not the results of a benchmark; expected the results folder"),
        (
            lambda content: content["clips"]["tests"].clear(),
            r"damaged \(IndexError: .*\); run the same 'asd bench' again",
        ),
        (lambda content: content["clips"]["scores"][0].update(scores=[1.0]), r"damaged \(ValueError: "),
        (lambda content: content["clips"]["scores"][0].update(scores=["x"]), r"damaged \(ValueError: "),
        (lambda content: content["ranking"].append("text"), r"damaged \(TypeError: "),
    ],
)
def test_runs_that_cannot_be_compared(change: Any, message: str, runs: tuple[Path, Path], tmp_path: Path) -> None:
    path = changed(runs[0], tmp_path, change)
    with pytest.raises(DataError, match=message):
        differences(read_run(runs[0]), read_run(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cannot read it \(No such file or directory\); expected the results folder of 'asd bench', or the"),
        (b"{", r"damaged, or no JSON file \(.*\); expected"),
        (b"\xff\xfe", r"damaged, or no JSON file \(.*\); expected"),
        (b"[1, 2]", "not the results of a benchmark; expected"),
        (b'{"machines": 3}', "not the results of a benchmark; expected"),
    ],
)
def test_files_that_are_no_runs(content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_run(tmp_path)
