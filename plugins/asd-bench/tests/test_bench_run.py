"""``asd bench`` as a user runs it: rows, files, a second run, what fails, two runs at once, kills."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asd.command import cli
from asd.errors import AsdError
from asd.experiment import EmbeddingCache
from asd_bench import candidates
from asd_bench import recipe as recipes
from asd_bench.compute import TrialRunner
from asd_bench.runner import Run, read_data
from asd_bench.store import Store
from waiting import PATIENCE, until

RECIPE = """
summary = "A quick grid"
dataset = "folder"
metric = "auc"
seeds = [0, 1]

[[grid]]
extractors = [{ name = "identity", frontend = "mel-stack" }]
detectors = ["knn", { name = "gmm", n_components = 2 }]
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ASD_OFFLINE", "1")
    monkeypatch.setenv("ASD_CACHE_SIZE", "1GB")
    return tmp_path / "cache"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def light_recipe(recipe: Path) -> Path:
    """A recipe that needs NumPy alone: it starts fast."""
    recipe.write_text(RECIPE.replace('{ name = "gmm", n_components = 2 }', '"kde"'))
    return recipe


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two machines; an anomaly is a tone in the noise."""
    rng = np.random.default_rng(0)
    time_axis = np.arange(8000) / 16000
    for machine in ("fan", "pump"):
        for split, label, count in (("train", "normal", 8), ("test", "normal", 5), ("test", "abnormal", 5)):
            for i in range(count):
                path = tmp_path / "data" / machine / split / label / f"{i}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                tone = 0.01 * np.sin(2 * np.pi * 3000 * time_axis) * (label == "abnormal")
                soundfile.write(path, rng.normal(0, 0.1, 8000) + tone, 16000)
    return tmp_path / "data"


def run(recipe: Path, data: Path, out: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    cli.main(["bench", str(recipe), "--data", str(data), "-o", str(out), "--json", *options], standalone_mode=False)
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


TIMES = ("fit_seconds", "score_seconds", "seconds_per_second", "sound_per_second", "peak_memory")


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def test_a_run_gives_a_row_for_each_pipeline_machine_and_seed(
    recipe: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(recipe, data, tmp_path / "out", capsys)
    assert len(found["rows"]) == 2 * 2 * 2
    assert {(row["detector"], row["unit"], row["seed"]) for row in found["rows"]} == {
        (detector, unit, seed) for detector in ("knn", "gmm") for unit in ("fan", "pump") for seed in (0, 1)
    }
    for row in found["rows"]:
        assert 0 <= row["low"] <= row["score"] <= row["high"] <= 1
        assert row["score"] == row["auc"]
        assert row["dimension"] == 320
        assert row["fit_seconds"] > 0
        assert row["seconds_per_second"] > 0
        assert row["peak_memory"] > 10**7
        assert 0 <= row["loudness_auc"] <= 1
        assert (row["train_clips"], row["test_clips"]) == (8, 10)
    assert [line["pipeline"] for line in found["ranking"]] == sorted(
        (line["pipeline"] for line in found["ranking"]),
        key=lambda label: -next(line["score"] for line in found["ranking"] if line["pipeline"] == label),
    )
    assert found["ranking"][0]["behind_best"] == 0
    assert found["ranking"][1]["behind_low"] <= found["ranking"][1]["behind_best"] <= found["ranking"][1]["behind_high"]
    with (tmp_path / "out" / "rows.csv").open(newline="") as file:
        assert [float(row["score"]) for row in csv.DictReader(file)] == [row["score"] for row in found["rows"]]
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    clips = written.pop("clips")
    assert written == found
    assert len(clips["tests"]) == 2
    assert len(clips["scores"]) == (2 + 1) * 2 * 2  # loudness alone, too
    for trial in clips["scores"]:
        assert len(trial["scores"]) == len(clips["tests"][trial["test"]]["names"]) == 10


def test_a_run_prints_and_writes_what_a_paper_takes(
    light_recipe: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", str(light_recipe), "--data", str(data), "-o", str(tmp_path / "out")]
    cli.main([*command, "--latex", "--no-audio", "--figures", str(tmp_path / "figures")], standalone_mode=False)
    printed = capsys.readouterr()
    assert printed.out == (tmp_path / "out" / "ranking.tex").read_text()
    assert r"\begin{tabular}" in printed.out
    assert str(tmp_path / "figures" / "ranking.pdf") in printed.err
    report = (tmp_path / "out" / "report.html").read_text()
    assert "<audio" not in report
    assert f"<dd>{data}</dd>" in report
    cli.main([*command, "--markdown", "--no-audio"], standalone_mode=False)
    assert capsys.readouterr().out == (tmp_path / "out" / "ranking.md").read_text()
    for asked, message in (
        (["--json", "--latex"], "choose one of --json, --markdown and --latex"),
        (["--tracking", "mlflo"], "unknown tracker 'mlflo'; known: mlflow, wandb"),
    ):
        with pytest.raises(AsdError, match=message):
            cli.main([*command, *asked], standalone_mode=False)


def test_a_second_run_computes_nothing_and_gives_the_same(
    recipe: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(recipe, data, tmp_path / "out", capsys)
    shutil.rmtree(tmp_path / "cache")
    script = (
        "import sys; sys.argv = ['asd', *sys.argv[1:]]\nfrom asd.command import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'sklearn', 'scipy', 'soundfile', 'matplotlib'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", script, "bench", str(recipe), "--data", str(data), "-o", str(tmp_path / "out")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == first
    assert not (tmp_path / "cache").exists()


def test_results_in_another_format_are_not_taken(
    light_recipe: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def computed() -> set[bool]:
        file = recipes.find(str(light_recipe))
        recordings, channel = read_data(recipes.read(file), data)
        with closing(Store(tmp_path / "out")) as store:
            results = Run(recordings, store, TrialRunner(recipes.read(file), EmbeddingCache(), channel)).results()
        return {result.computed for result in results}

    run(light_recipe, data, tmp_path / "out", capsys)
    assert computed() == {False}
    monkeypatch.setattr(candidates, "_FORMAT", candidates._FORMAT + 1)
    assert computed() == {True}
    assert computed() == {False}


def test_the_same_seed_gives_the_same_table_elsewhere(
    recipe: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(recipe, data, tmp_path / "one", capsys)
    shutil.rmtree(tmp_path / "cache")
    second = run(recipe, data, tmp_path / "two", capsys)
    assert timeless(second["rows"]) == timeless(first["rows"])


def test_a_class_without_clips_is_a_failed_trial(
    recipe: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(data / "pump" / "test" / "abnormal")
    found = run(recipe, data, tmp_path / "out", capsys)
    reasons = {(row["unit"], row["failed"]) for row in found["rows"]}
    assert reasons == {("fan", ""), ("pump", "auc is undefined: the test has no anomalous clip that it needs")}
    assert all(line["failed_cells"] == 2 for line in found["ranking"])


def test_what_is_missing_or_fails_is_a_row_and_the_others_go_on(
    recipe: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe.write_text(
        RECIPE + '[[grid]]\nextractors = ["resnet34"]\ndetectors = ["knn"]\n'
        '[[grid]]\nextractors = [{ name = "identity", frontend = "mel-stack" }]\n'
        'detectors = [{ name = "gmm", n_components = 100000 }]\n'
    )
    found = run(recipe, data, tmp_path / "out", capsys)
    failed = {line["pipeline"]: line["failed"] for line in found["ranking"] if line["failed"]}
    assert set(failed) == {"resnet34 → knn", "mel-stack → gmm (n_components 100000)"}
    assert "resnet34-b627a593.pth: no good copy is here, and the network is forbidden" in failed["resnet34 → knn"]
    assert "100000" in failed["mel-stack → gmm (n_components 100000)"]
    assert len([row for row in found["rows"] if not row["failed"]]) == 8
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: no Parquet file is written")
    assert parquet.read_table(tmp_path / "out" / "rows.parquet").to_pylist() == found["rows"]


def test_a_clip_that_cannot_be_read_is_left_out_and_counted(
    recipe: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "fan" / "train" / "normal" / "0.wav").write_bytes(b"")
    found = run(recipe, data, tmp_path / "out", capsys)
    assert {(row["unit"], row["left_out"]) for row in found["rows"]} == {("fan", 1), ("pump", 0)}


def test_a_results_folder_that_takes_nothing_is_named(recipe: Path, data: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file")
    with pytest.raises(AsdError, match=r"blocked: results cannot be kept here .*; name a folder that you may write to"):
        cli.main(["bench", str(recipe), "--data", str(data), "-o", str(blocked)], standalone_mode=False)


def test_data_without_a_split_asks_for_one(recipe: Path, data: Path, tmp_path: Path) -> None:
    for label in ("normal", "abnormal"):
        (data / "fan" / "test" / label).rename(tmp_path / label)
    shutil.rmtree(data)
    for label in ("normal", "abnormal"):
        shutil.move(tmp_path / label, data / label)
    with pytest.raises(AsdError, match='no split into train and test; set split = "balanced" in the recipe'):
        cli.main(["bench", str(recipe), "--data", str(data), "-o", str(tmp_path / "out")], standalone_mode=False)


def command(recipe: Path, data: Path, out: Path, *, signalled: bool = False) -> list[str]:
    """Return the command; a signal reaches it only in a process of its own."""
    start = "import sys; sys.argv[0] = 'asd'; from asd.command import main; main()"
    asd = [sys.executable, "-c", start] if signalled else [os.environ["ASD_COMMAND"]]
    return [*asd, "bench", str(recipe), "--data", str(data), "-o", str(out), "--json"]


@pytest.mark.slow
def test_toycar_end_to_end(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real clips by the official protocol, whose level gives no shortcut."""
    recipe = tmp_path / "toycar.toml"
    recipe.write_text(
        'dataset = "dcase2023"\nmetric = "dcase2022"\n[[grid]]\n'
        'extractors = [{ name = "identity", frontend = { name = "mel-stack", frame_hop = 16 } }]\n'
        'detectors = ["mahalanobis"]\n'
    )
    for split, step in (("train", 4), ("test", 1)):
        folder = tmp_path / "ToyCar" / split
        folder.mkdir(parents=True)
        for clip in sorted((shared / "data" / "toycar" / split).iterdir())[::step]:
            (folder / clip.name).symlink_to(clip)
    found = run(recipe, tmp_path / "ToyCar", tmp_path / "out", capsys)
    assert found["loudness"] == pytest.approx(
        {"auc": 0.528, "auc_source": 0.466, "auc_target": 0.590, "pauc": 0.499}, abs=0.001
    )
    (row,) = found["rows"]
    assert (row["unit"], row["train_clips"], row["test_clips"]) == ("ToyCar/00", 52, 100)
    parts = [row[name] for name in ("auc_source", "auc_target", "pauc")]
    assert row["score"] == pytest.approx(3 / sum(1 / part for part in parts))
    assert 0.45 < row["score"] < 0.75


@pytest.mark.slow
def test_an_interruption_says_that_the_run_goes_on(light_recipe: Path, data: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(light_recipe, data, tmp_path / "out", signalled=True),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )
    until((tmp_path / "out" / "results.sqlite").exists, "results", by=process)
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert log.splitlines()[-1] == (
        f"asd: error: interrupted; what is finished is kept in {tmp_path / 'out'}, and the same command goes on"
    )


@pytest.mark.slow
def test_two_runs_at_once_share_cache_and_results(light_recipe: Path, data: Path, tmp_path: Path) -> None:
    running = [
        subprocess.Popen(command(light_recipe, data, tmp_path / "out"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=PATIENCE) for process in running]
    assert [process.returncode for process in running] == [0, 0], answers
    first, second = (json.loads(out) for out, _ in answers)
    assert first == second


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_and_gives_the_same_bit_for_bit(
    light_recipe: Path, data: Path, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = subprocess.run(command(light_recipe, data, tmp_path / "one"), capture_output=True, check=True)
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "second-cache"))
    total, kept = len(_embeddings(own_cache)), 0
    for threshold in (0, 1, total // 2, total):
        process = subprocess.Popen(
            command(light_recipe, data, tmp_path / "two", signalled=True),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(0.4)  # it is starting
        while len(_embeddings(tmp_path / "second-cache")) < threshold and process.poll() is None:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        before, kept = kept, len(_embeddings(tmp_path / "second-cache"))
        assert kept >= max(before, threshold)  # each clip is kept at once: only the one in work is lost
    finished = subprocess.run(command(light_recipe, data, tmp_path / "two"), capture_output=True, check=True)
    expected, found = json.loads(undisturbed.stdout), json.loads(finished.stdout)
    assert timeless(found["rows"]) == timeless(expected["rows"])
    assert timeless(found["ranking"]) == timeless(expected["ranking"])
    assert _embeddings(tmp_path / "second-cache") == _embeddings(own_cache)


def _embeddings(cache: Path) -> dict[str, bytes]:
    path = cache / "embeddings-2.sqlite"
    if not path.exists():
        return {}
    connection = sqlite3.connect(path)
    try:
        return dict(connection.execute("SELECT key, embedding FROM embeddings"))
    except sqlite3.OperationalError:  # killed before it made its tables
        return {}
    finally:
        connection.close()
