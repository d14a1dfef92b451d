"""What people look at: the report, the live table, the warnings."""

from __future__ import annotations

import io
import logging
import re
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from asd.command import cli
from asd.experiment import EmbeddingCache
from asd.plugin import track
from asd_bench import recipe as recipes
from asd_bench.compute import TrialRunner
from asd_bench.live import watched
from asd_bench.report import write_report
from asd_bench.results import Results, summarise
from asd_bench.runner import Run, read_data
from asd_bench.show import print_results
from asd_bench.store import Store
from asd_bench.trial import TrialResult

SAMPLES = Path(__file__).resolve().parents[3] / "examples" / "data"

RECIPE = """
summary = "Levels & <frames>"
dataset = "folder"

[[grid]]
extractors = [{ name = "identity", frontend = { name = "mel-stack", n_mels = 16, frame_hop = 8 } }]
detectors = ["knn", "kde", { name = "knn", n_neighbors = 100000 }]
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "own.toml"
    path.write_text(RECIPE)
    found = recipes.read(recipes.find(str(path)))
    recordings, channel = read_data(found, SAMPLES)
    return Run(recordings, Store(tmp_path), TrialRunner(found, EmbeddingCache(), channel))


@pytest.fixture
def results(run: Run) -> Results:
    return summarise(run.recipe, run.results())


def test_the_report_is_one_file_with_every_plot_and_every_failure(results: Results, tmp_path: Path) -> None:
    page = write_report(results, tmp_path / "report.html").read_text()
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(plots) == 4
    for plot in plots:
        ElementTree.fromstring(plot)
    assert re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]+\"", re.sub(r"xlink:href=\"#.*?\"", "", page)) == []
    assert "Levels &amp; &lt;frames&gt;" in page
    for summary in results.ranking:
        assert summary.label in page
    assert "knn (n_neighbors 100000): " in page.partition("<h2>No result</h2>")[2]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_columns_that_matter_are_shown_and_the_rest_with_wide(
    width: int, results: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_results(results)
    printed = capsys.readouterr().out
    table = printed.split("With --wide")[0].splitlines()[1:]
    assert max(map(len, table)) <= width
    titles = next(line for line in table if line.startswith("pipeline"))
    matter = ["pipeline", "score", "95 % interval", "behind the best"]
    assert [each for each in matter if each in titles] == matter[: {40: 2, 80: 4, 120: 4}[width]]
    assert re.search(r"With --wide, and in the report: AUC, pAUC, fit s, .*, weights\.", printed)
    print_results(results, wide=True)
    assert "With --wide" not in (everything := capsys.readouterr().out)
    assert "weights" in everything


def test_a_report_that_shows_the_same_is_left_alone(
    results: Results, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_report(results, tmp_path / "report.html")
    changed = path.stat().st_mtime_ns
    monkeypatch.setitem(sys.modules, "asd_bench.plots", None)
    write_report(summarise(run.recipe, run.results()), path)
    assert path.stat().st_mtime_ns == changed


def test_a_terminal_sees_the_table_grow(run: Run) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=120, height=40)
    frames = []
    with watched(run.recipe, console) as observe:

        def noticed(result: TrialResult, done: int, total: int) -> None:
            observe(result, done, total)
            frames.append(written.getvalue())

        list(track(range(3), "listening"))
        run.results(noticed)
    assert "listening: 3 of 3" in frames[0]
    assert "mel-stack (n_mels 16, frame_hop 8) → knn" in frames[-1]
    assert "4 of 4 trials" in frames[-1]


def test_elsewhere_each_trial_is_a_line(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "asd"), watched(run.recipe, Console(file=io.StringIO())) as observe:
        run.results(observe)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith("[1/4] loudness alone, machine, seed 0: 1.000")
    assert re.fullmatch(r"\[2/4\] mel-stack \(n_mels 16, frame_hop 8\) → knn, machine, seed 0: 0\.\d{3}", lines[1])
    assert ": no result: " in lines[3]


def test_a_test_clip_that_trains_too_is_reported(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(SAMPLES, data)
    first = sorted((data / "train").glob("*.flac"))[0]
    shutil.copy(first, data / "test" / "normal" / "twin.flac")
    arguments = ["bench", str(tmp_path / "own.toml"), "--data", str(data), "-o", str(tmp_path / "out")]
    with caplog.at_level(logging.WARNING, "asd"):
        cli.main(arguments, standalone_mode=False)
    assert "machine: 1 test clips have the content of training clips" in caplog.text
    assert f"twin.flac is {first}" in caplog.text
    printed = capsys.readouterr().out
    assert "The level separates these classes: the result is a smoke test, no evidence." in printed
