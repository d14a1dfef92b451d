"""A published table beside ours, on a small tree with MIMII's names: what is there is compared, the rest is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.command import cli

RECIPE = """
dataset = { name = "mimii", snr = -6 }
split = "balanced"
seeds = [0, 1]
published = "muller2020-image"

[[grid]]
detectors = [{ name = "small-dcae", epochs = 1, train_batch = 4 }]

[[grid]]
extractors = ["resnet18"]
detectors = [{ name = "gmm", n_components = 2 }]
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label, count in (("normal", 8), ("abnormal", 3)):
        folder = tmp_path / "data" / "-6_dB" / "fan" / "id_00" / label
        folder.mkdir(parents=True)
        for i in range(count):
            soundfile.write(folder / f"{i:08}.wav", rng.normal(0, 0.1, (24000, 8)), 16000)
    return tmp_path / "data"


@pytest.mark.slow
def test_what_is_here_is_compared_and_the_rest_is_said(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ASD_OFFLINE", "1")
    recipe = tmp_path / "own.toml"
    recipe.write_text(RECIPE)
    arguments = ["bench", str(recipe), "--data", str(data), "-o", str(tmp_path / "out")]
    cli.main([*arguments, "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)["published"]
    assert len(found) == 22 * 16
    ours = [each for each in found if each["ours"] is not None]
    assert [(each["system"], each["unit"], each["pipeline"]) for each in ours] == [
        ("Small-DCAE", "fan/id_00/-6dB", "mel-patch → small-dcae (epochs 1, train_batch 4)")
    ]
    one = ours[0]
    assert one["difference"] == pytest.approx(one["ours"] - one["published"])
    assert one["covered"] == (one["low"] <= one["published"] <= one["high"])
    missing = {each["system"]: each["missing"] for each in found if each["unit"].startswith("fan/id_00/")}
    assert "resnet18-f37072fd.pth: no good copy is here" in missing["resnet18 + GMM"]
    assert missing["alexnet + KDE"] == "not in the recipe"
    assert {each["missing"] for each in found if each["unit"].startswith("valve")} == {"its clips are not in the data"}
    cli.main(arguments, standalone_mode=False)
    printed = capsys.readouterr().out
    assert "Published numbers: 352, with ours beside them: 1" in printed
    assert "Missing beside 330: its clips are not in the data" in printed
    assert "Our interval covers" in printed
