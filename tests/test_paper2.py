"""Every row of the second paper's table (arXiv:2012.06282) runs as ``asd fit`` and ``asd score`` on real recordings.

MusiCNN has its real weights, and the autoencoder is trained (for two epochs instead of 50). VGGish, OpenL3, ResNet34
and DenseNet121 get seeded random weights: the real ones are downloads. So this shows that the rows run, not how good
they are.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner

from asd.cli.main import cli

pytestmark = pytest.mark.usefixtures("embedding_cache")

EXTRACTORS = {
    "vggish-audioset": 128,
    "openl3-env": 512,
    "musicnn-mtt": 753,
    "openl3-music": 512,
    "resnet34": 512,
    "densenet121": 1024,
}
AUTOENCODER = ["--detector", "dense-ae", "--detector.epochs", "2"]


@pytest.fixture(scope="module")
def clips(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The first three seconds of five recordings of a healthy machine: that a row runs, ten would show no better."""
    folder = tmp_path_factory.mktemp("begun")
    for path in sorted((shared / "data" / "toycar" / "train").glob("*.flac"))[:5]:
        samples, rate = soundfile.read(path, dtype="int16", frames=3 * soundfile.info(path).samplerate)
        soundfile.write(folder / path.name, samples, rate)
    return [str(path) for path in sorted(folder.iterdir())]


@pytest.mark.slow
@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_row_runs(extractor: str, clips: list[str], tmp_path: Path) -> None:
    options = ["--extractor", extractor, "--detector", "gmm", "--detector.n_components", "20", "--pca", "0.98"]
    if extractor != "musicnn-mtt":
        options += ["--extractor.weights", "random"]
    assert fit_and_score(options, clips, tmp_path)[1:] == [extractor, "gmm"]


@pytest.mark.slow
def test_the_baseline_runs(clips: list[str], tmp_path: Path) -> None:
    assert fit_and_score(AUTOENCODER, clips, tmp_path)[:2] == ["mel-stack", "identity"]


def fit_and_score(options: list[str], clips: list[str], folder: Path) -> list[str]:
    """Return the names of the pipeline that was fitted, after scoring with it."""
    model, runner = str(folder / "m.asd"), CliRunner()
    fitted = runner.invoke(
        cli, ["fit", *clips, "-o", model, "--json", "--folds", "1", *options], catch_exceptions=False
    )
    assert fitted.exit_code == 0, fitted.output
    scored = runner.invoke(cli, ["score", model, *clips[:2], "--json"], catch_exceptions=False, standalone_mode=False)
    rows = json.loads(scored.stdout)["clips"]
    assert all(0 < row["p_value"] <= 1 for row in rows)
    assert rows[0]["score"] != rows[1]["score"]
    pipeline: list[str] = json.loads(fitted.stdout)["pipeline"]
    return pipeline
