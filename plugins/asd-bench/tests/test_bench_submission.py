"""The official result files: a line for each test clip, labels or not."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.command import cli
from asd.errors import AsdError

RECIPE = """
dataset = "dcase2023"
metric = "{metric}"

[[grid]]
extractors = [{{ name = "identity", frontend = {{ name = "mel-stack", n_mels = 16, frame_hop = 8 }} }}]
detectors = ["mahalanobis"]
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    home = tmp_path / "data" / "ToyCar"
    for split, label, count, level in (
        ("train", "normal", 10, 0.1),
        ("test", "normal", 4, 0.1),
        ("test", "anomaly", 4, 0.2),
    ):
        (home / split).mkdir(parents=True, exist_ok=True)
        for domain in ("source", "target"):
            for i in range(count):
                name = f"section_00_{domain}_{split}_{label}_{i:04}_car_A1_spd_28V_mic_1.wav"
                soundfile.write(home / split / name, rng.normal(0, level, 8000), 16000)
    return tmp_path / "data"


def bench(data: Path, tmp_path: Path, metric: str = "dcase2022") -> Path:
    recipe = tmp_path / "own.toml"
    recipe.write_text(RECIPE.format(metric=metric))
    target = tmp_path / "submission"
    options = ["--data", str(data), "-o", str(tmp_path / "out"), "--submission", str(target)]
    cli.main(["bench", str(recipe), *options], standalone_mode=False)
    return target


def test_scores_and_decisions_are_written_for_each_test_clip(data: Path, tmp_path: Path) -> None:
    folder = bench(data, tmp_path)
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["anomaly_score_ToyCar_section_00_test.csv", "decision_result_ToyCar_section_00_test.csv"]
    scores, decisions = (dict(csv.reader((folder / name).read_text().splitlines())) for name in files)
    assert sorted(scores) == sorted(decisions) == sorted(p.name for p in (data / "ToyCar" / "test").iterdir())
    # The faulty clips are twice as loud, which nothing can miss.
    assert {name for name, decision in decisions.items() if decision == "1"} >= {n for n in decisions if "anomaly" in n}
    loudest = sorted(scores, key=lambda name: float(scores[name]))[-8:]
    assert all("anomaly" in name for name in loudest)


def test_a_recipe_without_an_official_metric_has_no_official_files(data: Path, tmp_path: Path) -> None:
    with pytest.raises(AsdError, match="--submission needs a recipe with an official metric"):
        bench(data, tmp_path, "auc")
