"""``asd bench`` on a work engine: the results, order and warnings of a run without one; kills, Ctrl-C, own classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asd.experiment import EmbeddingCache, using_engine
from asd_bench import recipe as recipes
from asd_bench.compute import TrialRunner
from asd_bench.runner import Run, read_data
from asd_bench.store import Store
from asd_bench.trial import TrialResult

RECIPE = """
dataset = "folder"
metric = "auc"
seeds = [0, 1]

[[grid]]
extractors = [{ name = "identity", frontend = "mel-stack" }, "band-levels"]
detectors = ["knn", "kde"]
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
        for split, label, count in (("train", "normal", 6), ("test", "normal", 4), ("test", "abnormal", 4)):
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


def test_results_order_and_warnings_are_those_of_a_run_without_an_engine(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alone = run_of(RECIPE, data, tmp_path / "alone").results()
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "left out" in warned[0]
    caplog.clear()
    seen: list[tuple[int, int]] = []
    with using_engine("local:2"):
        run = run_of(RECIPE, data, tmp_path / "together")
        together = run.results(lambda result, done, total: seen.append((done, total)))
    assert told(together) == told(alone)
    assert seen == [(done, len(alone)) for done in range(1, len(alone) + 1)]
    assert {record.getMessage() for record in caplog.records if record.levelname == "WARNING"} == set(warned)
    again = run_of(RECIPE, data, tmp_path / "together").results()
    assert not any(result.computed for result in again)
    assert told(again) == told(alone)
