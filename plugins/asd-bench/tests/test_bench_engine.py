"""``asd bench`` on a work engine: the results, order and warnings of a run without one; kills, Ctrl-C, own classes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import soundfile

import asd
from asd.command import cli
from asd.errors import ConfigError
from asd.experiment import Config, EmbeddingCache, using_engine
from asd.plugin import Float32, registry
from asd_bench import pieces
from asd_bench import recipe as recipes
from asd_bench.compute import TrialRunner
from asd_bench.runner import Run, read_data
from asd_bench.store import Store
from asd_bench.trial import TrialResult
from waiting import PATIENCE, until

RECIPE = """
dataset = "folder"
metric = "auc"
seeds = [0, 1]

[[grid]]
extractors = [{ name = "identity", frontend = "mel-stack" }, "band-levels"]
detectors = ["knn", "kde"]
"""
DIFFICULT = """
import os, signal, time
import numpy as np
import asd
from asd_registry import ComponentSpec, hookimpl

class Deadly(asd.Detector):
    def fit(self, features):
        self.ready_ = np.zeros(1)
        return self

    def score(self, features):
        os.kill(os.getpid(), signal.SIGKILL)

class Slow(Deadly):
    def score(self, features):
        time.sleep(3600)

@hookimpl
def asd_components():
    return [
        ComponentSpec(kind="detector", name=name, target=target, summary="For tests", licence="MIT")
        for name, target in (("deadly", "difficult:Deadly"), ("slow", "difficult:Slow"))
    ]
"""
DIFFICULT_RECIPE = """
dataset = "folder"
metric = "auc"

[[grid]]
extractors = [{ name = "identity", frontend = "mel-stack" }]
detectors = ["knn", "slow", "kde"]
"""
TIMES = ("fit_seconds", "transform_seconds", "score_seconds", "seconds_per_second", "peak_memory")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ASD_OFFLINE", "1")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two machines; an anomaly is a tone in the noise; one clip is damaged."""
    rng = np.random.default_rng(0)
    moment = np.arange(8000) / 16000
    for machine in ("fan", "pump"):
        for split, label, count in (("train", "normal", 7), ("test", "normal", 4), ("test", "abnormal", 4)):
            for i in range(count):
                path = tmp_path / "data" / machine / split / label / f"{i}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                tone = 0.01 * np.sin(2 * np.pi * 3000 * moment) * (label == "abnormal")
                soundfile.write(path, rng.normal(0, 0.1, 8000) + tone, 16000)
    (tmp_path / "data" / "fan" / "train" / "normal" / "3.wav").write_bytes(b"RIFF")
    return tmp_path / "data"


def run_of(text: str, data: Path, folder: Path) -> Run:
    recipe = recipes.read(recipes.RecipeFile("grid", "grid.toml", text))
    recordings, channel = read_data(recipe, data)
    return Run(recordings, Store(folder), TrialRunner(recipe, EmbeddingCache(), channel))


def told(results: list[TrialResult]) -> list[tuple[Any, ...]]:
    """Return all of results but times and memory."""
    return [
        (
            result.trial.label,
            result.trial.section.name,
            result.trial.seed,
            {name: value for name, value in result.record.items() if name not in TIMES},
            result.draws.tobytes(),
        )
        for result in results
    ]


@pytest.mark.parametrize("engine", ["local:2", "dask:local:2"])
def test_results_order_and_warnings_are_those_of_a_run_without_an_engine(
    engine: str, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if engine.startswith("dask") and not registry().of_kind("engine"):
        pytest.skip("asd-dask is not installed")
    alone = run_of(RECIPE, data, tmp_path / "alone").results()
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "left out" in warned[0]
    caplog.clear()
    seen: list[tuple[int, int]] = []
    with using_engine(engine):
        run = run_of(RECIPE, data, tmp_path / "together")
        together = run.results(lambda result, done, total: seen.append((done, total)))
    assert told(together) == told(alone)
    assert seen == [(done, len(alone)) for done in range(1, len(alone) + 1)]
    assert {record.getMessage() for record in caplog.records if record.levelname == "WARNING"} == set(warned)
    again = run_of(RECIPE, data, tmp_path / "together").results()
    assert not any(result.computed for result in again)
    assert told(again) == told(alone)


def test_no_slot_idles_while_trials_wait(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_slots", lambda: 4)
    trials = [trial for trial in run_of(RECIPE, data, tmp_path / "out").trials if trial.candidate]
    waiting = pieces._Pieces(trials)  # two embedding keys on two machines: as many groups as slots
    first = [next(waiting) for _ in range(4)]
    assert [len(piece.trials) for piece in first] == [4] * 4
    assert next(waiting, None) is None
    record: dict[str, Any] = {"score": 0.5}
    for piece in first[:2]:
        assert len(list(waiting.take(pieces._Outcome(piece.number, [(record, np.zeros(0))] * 4)))) == 4
    list(waiting.take(pieces._Outcome(first[2].number, [(record, np.zeros(0))])))
    rest = list(waiting)  # one group still runs, three slots are idle
    assert [piece.trials for piece in rest] == [(trial,) for trial in first[2].trials[1:]]
    few = pieces._Pieces(trials[:4])
    assert [piece.trials for piece in few] == [(trial,) for trial in trials[:4]]
    six = pieces._Pieces([*trials, *trials[:8]])  # the last two of six groups have four slots
    assert [len(piece.trials) for piece in six] == [4, 4, 4, 4, 2, 2, 2, 2]


def test_workers_that_cannot_make_a_component_are_told_before_anything_is_computed(data: Path, tmp_path: Path) -> None:
    class OwnDetector(asd.Detector):
        def fit(self, features: Float32) -> Self:
            return self

        def score(self, features: Float32) -> Float32:
            return features[:, 0]

    run = run_of(RECIPE, data, tmp_path / "own")
    own = Config.from_mapping({"frontend": "mel-stack", "extractor": "identity", "detector": OwnDetector})
    run.runner.recipe = replace(run.runner.recipe, pipelines=(own,))
    run = Run([each for section in run.sections for each in (*section.train, *section.test)], run._store, run.runner)
    with using_engine("local:2"), pytest.raises(ConfigError, match=r"OwnDetector' is given in Python, and other proc"):
        run.results()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an installed plugin: a detector that kills its process, and one that takes long."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "asd_difficult-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: asd-difficult\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[asd.plugins]\ndifficult = difficult\n")
    (folder / "difficult.py").write_text(DIFFICULT)
    return folder


def started(site: Path, recipe: str, data: Path, folder: Path) -> subprocess.Popen[str]:
    """Start ``asd bench`` with two workers, where the difficult plugin is installed."""
    (file := folder.with_suffix(".toml")).write_text(recipe)
    words = ["bench", str(file), "--data", str(data), "-o", str(folder), "--no-audio", "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "asd", *words, "--engine", "local", "--scheduler", "local:2"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_trial_that_kills_its_process_twice_is_a_failed_row_and_the_others_are_computed(
    site: Path, data: Path, tmp_path: Path
) -> None:
    with started(site, DIFFICULT_RECIPE.replace('"slow"', '"deadly"'), data, tmp_path / "killed") as process:
        printed, errors = process.communicate()
    assert process.returncode == 0, errors
    rows = json.loads(printed)["rows"]
    assert [row["detector"] for row in rows] == ["knn", "deadly", "kde"] * 2
    for row in rows:
        if row["detector"] == "deadly":
            assert "its process died twice (process" in row["failed"]
            assert "SIGKILL" in row["failed"]
    alone = run_of(DIFFICULT_RECIPE.replace('"slow", ', ""), data, tmp_path / "alone").results()
    scores = [result.record["score"] for result in alone if result.trial.candidate]
    assert [row["score"] for row in rows if row["detector"] != "deadly"] == scores


def test_ctrl_c_keeps_what_is_finished(site: Path, data: Path, tmp_path: Path) -> None:
    with started(site, DIFFICULT_RECIPE, data, tmp_path / "out") as process:
        kept = until(lambda: rows_kept(tmp_path / "out"), "a row", by=process)
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=PATIENCE)  # the slow detector would take an hour
    assert process.returncode == 2
    assert "interrupted; what is finished is kept in" in errors
    assert "Traceback" not in errors
    assert rows_kept(tmp_path / "out") >= kept
    assert not printed


def rows_kept(folder: Path) -> int:
    """Return how many results a folder holds."""
    try:
        with closing(sqlite3.connect(f"file:{folder / 'results.sqlite'}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM results").fetchone()[0])
    except sqlite3.Error:
        return 0


def test_machines_are_judged_by_workers_as_they_are_here(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "few.toml"
    recipe.write_text(
        'protocol = "machines"\npipelines = ["{}"]\ndraws = 1\n[faults]\nrecordings = 1\nlevels = [-15]\n'
        'kinds = ["whine"]\n'.format(tmp_path / "bands.toml")
    )
    (tmp_path / "bands.toml").write_text(
        'extractor = "band-levels"\ndetector = "deviation"\nembedding_pooling = "mean"\n'
    )
    command = ["bench", str(recipe), "--data", str(data), "--json"]
    printed = []
    for folder, options in (("alone", ()), ("together", ("--scheduler", "local:2", "--engine", "local"))):
        cli.main([*command, "-o", str(tmp_path / folder), *options], standalone_mode=False)
        printed.append(json.loads(capsys.readouterr().out))
        assert (tmp_path / folder / "machines.csv").is_file()
    for each in printed:
        for summary in each["pipelines"]:
            summary.pop("sound_per_second")
    assert printed[0] == printed[1]
