"""The recommendation: within the limits, with its uncertainty, as a file that asd fit takes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from asd.command import cli
from asd.errors import DataError

SAMPLES = Path(__file__).resolve().parents[3] / "examples" / "data"

RECIPE = """
dataset = "folder"

[[grid]]
extractors = [{ name = "identity", frontend = { name = "mel-stack", n_mels = 32, frame_hop = 4 } }]
detectors = ["knn", { name = "mahalanobis", shrinkage = 0.5 }]
pca = "none"
"""


def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    recipe = tmp_path / "own.toml"
    recipe.write_text(RECIPE)
    target = tmp_path / "best.toml"
    arguments = ["bench", str(recipe), "--data", str(SAMPLES), "-o", str(tmp_path / "out"), "--recommend", str(target)]
    cli.main([*arguments, "--json", *options], standalone_mode=False)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))


def test_asd_fit_takes_the_recommendation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = bench(tmp_path, capsys)
    best, other = found["ranking"]
    advice = found["recommended"]
    assert advice["pipeline"] == best["pipeline"]
    assert (advice["low"], advice["high"]) == (best["low"], best["high"])
    assert advice["alike"] == ([other["pipeline"]] if other["behind_low"] <= 0 else [])
    text = (tmp_path / "best.toml").read_text()
    assert "# The best of 2 on these very clips: expect somewhat less on others.\n" in text
    config = tomllib.loads(text)
    assert config["frontend"] == {"name": "mel-stack", "n_mels": 32, "frame_hop": 4}
    assert config["pca"] == "none"
    fit = ["fit", str(SAMPLES / "train"), "--config", str(tmp_path / "best.toml"), "-o", str(tmp_path / "m.asd")]
    cli.main([*fit, "--json"], standalone_mode=False)
    fitted = json.loads(capsys.readouterr().out)
    assert fitted["pipeline"] == ["mel-stack", "identity", config["detector"]["name"]]
    assert fitted["config"]["pca"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-time", "1e-9"), r"no pipeline keeps the limits: mel-stack .* takes .* s per second of sound"),
        (("--max-memory", "1"), r"no pipeline keeps the limits: mel-stack .* needs \d+ MB"),
    ],
)
def test_limits_that_nothing_keeps_are_reported_with_the_measurements(
    options: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match=message):
        bench(tmp_path, capsys, *options)


def test_permissive_licences_are_distinguished_from_others() -> None:
    from asd_bench.recommend import _RESTRICTED

    kept = ["Apache-2.0; weights ISC", "BSD-2-Clause", "Apache-2.0; scikit-learn BSD-3-Clause", "MIT", "none"]
    refused = ["AGPL-3.0-or-later (essentia-tensorflow)", "CC BY-NC-SA 4.0", "unknown", "by file", "weights by model"]
    assert [text for text in kept + refused if _RESTRICTED.search(text)] == refused
