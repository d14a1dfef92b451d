"""Every row of the first paper's table (arXiv:2006.03429) runs as ``asd fit`` and ``asd score`` on real recordings.

AlexNet and the ResNets get seeded random weights: the real ones are downloads. SqueezeNet has its real weights, and the
autoencoders are trained (for two epochs instead of 80, in batches of 8). The recordings are the beginnings of real
ones, and the mixtures have 12 components instead of 80. So this shows that the rows run, not how good they are.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner

from asd.cli.main import cli

pytestmark = pytest.mark.usefixtures("embedding_cache")

SAMPLES = Path(__file__).resolve().parents[1] / "examples" / "data" / "train"

EXTRACTORS = {
    "alexnet": 4096,
    "resnet18": 512,
    "resnet34": 512,
    "squeezenet1_0": 2048,
}
FEW = "--detector.n_components 12"  # of as many windows as the beginnings have
DETECTORS = (f"gmm {FEW}", f"bayesian-gmm {FEW}", "isolation-forest", "kde", "ocsvm")
TRANSFER = [f"--extractor {extractor} --detector {detector}" for extractor in EXTRACTORS for detector in DETECTORS]
AUTOENCODERS = [
    f"--detector {name} --detector.epochs 2 --detector.train_batch 8" for name in ("lenet-dcae", "small-dcae")
]


@pytest.fixture(params=["fan", "toycar"], scope="module")
def clips(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The first three seconds of eight recordings of a healthy machine."""
    if request.param == "fan":
        folder = SAMPLES
    else:
        shared: Path = request.getfixturevalue("shared")
        folder = shared / "data" / "toycar" / "train"
    begun = tmp_path_factory.mktemp(request.param)
    for path in sorted(folder.glob("*.flac"))[:8]:
        samples, rate = soundfile.read(path, dtype="int16", frames=3 * soundfile.info(path).samplerate)
        soundfile.write(begun / path.name, samples, rate)
    return [str(path) for path in sorted(begun.iterdir())]


@pytest.mark.slow
@pytest.mark.parametrize("row", TRANSFER + AUTOENCODERS)
def test_row_runs(row: str, clips: list[str], tmp_path: Path) -> None:
    options = [*row.split(), "--folds", "1", "--pca", "none", "--deviation-floor", "0"]
    if "--extractor" in row and "squeezenet" not in row:
        options += ["--extractor.weights", "random"]
    model = str(tmp_path / "m.asd")
    runner = CliRunner()
    fitted = runner.invoke(cli, ["fit", *clips, "-o", model, "--json", *options], catch_exceptions=False)
    assert fitted.exit_code == 0, fitted.output
    summary = json.loads(fitted.stdout)
    assert summary["clips"] == 8
    if "--extractor" in row:
        assert summary["pipeline"][0] == "mel-image"
    else:
        assert summary["pipeline"][:2] == ["mel-patch", "identity"]
    scored = runner.invoke(cli, ["score", model, *clips[:2], "--json"], catch_exceptions=False, standalone_mode=False)
    rows = json.loads(scored.stdout)["clips"]
    assert all(0 < row["p_value"] <= 1 for row in rows)
    assert rows[0]["score"] != rows[1]["score"]
