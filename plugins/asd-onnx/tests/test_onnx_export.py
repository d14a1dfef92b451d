"""A fitted pipeline as one ONNX graph gives what the model gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
from click.testing import CliRunner

import asd
from asd.errors import AsdError
from asd.experiment import Config, Model, Verdict, find_clips, write_recordings
from asd_onnx.export.check import TOLERANCE, largest_difference
from asd_onnx.export.command import export as command
from asd_onnx.export.graph import Graph
from asd_onnx.export.pipeline import export

STATISTICS = {"frontend": "mel-patch", "extractor": "mel-statistics", "folds": 2}
PIPELINES: dict[str, dict[str, Any]] = {
    "gmm": {**STATISTICS, "detector": {"name": "gmm", "n_components": 3}},
    "bayesian-gmm": {**STATISTICS, "detector": {"name": "bayesian-gmm", "n_components": 3}},
    "mahalanobis": {**STATISTICS, "detector": "mahalanobis", "embedding_pooling": "mean-std", "pca": None},
    "pca-residual": {**STATISTICS, "detector": "pca-residual", "pooling": "top", "top_fraction": 0.3},
    "kde": {**STATISTICS, "detector": {"name": "kde", "bandwidth": "scott"}, "pooling": "max"},
    "ocsvm": {**STATISTICS, "detector": {"name": "ocsvm", "nu": 0.1}, "tail": "drop", "standardise": False},
    "knn": {**STATISTICS, "detector": "knn"},
    "knn difference": {
        **STATISTICS,
        "detector": {"name": "knn", "local_density": "difference", "metric": "cosine"},
        "embedding_pooling": "max",
    },
    "knn nearest": {**STATISTICS, "detector": {"name": "knn", "local_density": "nearest", "n_neighbors": 2}},
    "knn banks": {
        **STATISTICS,
        "detector": {"name": "knn", "local_density": "off", "groups": "kmeans", "n_groups": 2},
        "embedding_pooling": "mean",
    },
    "deviation": {**STATISTICS, "detector": "deviation", "embedding_pooling": "mean"},
    "band-levels": {"extractor": "band-levels", "detector": "mahalanobis", "folds": 2},
    "deviation of band levels": {"detector": "deviation", "embedding_pooling": "mean", "folds": 2},
    "stacked frames": {"frontend": {"name": "mel-stack", "frame_hop": 8}, "extractor": "identity", "folds": 2},
    "levels relative to a patch": {**STATISTICS, "frontend": {"name": "mel-patch", "reference": "patch"}},
    "pictures": {"frontend": {"name": "mel-image", "size": 32, "frames": 32}, "extractor": "identity", "folds": 2},
    "efficientat-mel": {"frontend": "efficientat-mel", "extractor": "identity", "folds": 2},
    "yamnet-mel": {"frontend": "yamnet-mel", "extractor": "identity", "folds": 2},
    "musicnn-mel": {"frontend": "musicnn-mel", "extractor": "identity", "folds": 2},
    "aisfx-mel": {"frontend": "aisfx-mel", "extractor": "identity", "folds": 2},
    "efficientat-mn04": {"extractor": "efficientat-mn04", "folds": 2},
    "an early layer, frequency kept": {
        "extractor": {"name": "efficientat-mn04", "layer": 4, "pool": "time"},
        "embedding_pooling": "mean",
        "pca": None,
        "folds": 2,
    },
    "the default": {"folds": 2},
    "pulsation alone": {"extractor": "envelope", "detector": "deviation", "folds": 2},
    "musicnn-mtt": {"extractor": "musicnn-mtt", "folds": 2},
    "yamnet": {"extractor": "yamnet", "folds": 2},
    "aisfx": {"extractor": "aisfx", "folds": 2},
    "squeezenet1_0": {"extractor": "squeezenet1_0", "folds": 2},
    "branches at two rates": {
        "branches": [
            {"name": "timbre", "frontend": "mel-patch", "extractor": "mel-statistics", "detector": "knn"},
            {
                "name": "bands",
                "frontend": {"name": "mel-stack", "sample_rate": 8000, "frame_hop": 8},
                "extractor": "identity",
                "detector": "mahalanobis",
                "embedding_pooling": "mean",
                "gate": 1.0,
            },
        ],
        "folds": 2,
    },
    "the larger of two branches": {
        "fusion": "max",
        "branches": [
            {"name": "a", "frontend": "mel-patch", "extractor": "mel-statistics", "detector": "knn"},
            {"name": "b", "frontend": "mel-patch", "extractor": "mel-statistics", "detector": "mahalanobis"},
        ],
        "folds": 2,
    },
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("machine")
    write_recordings(folder, healthy=12, faulty=1, seconds=4.0)
    return folder / "train"


def fitted(recordings: Path, pipeline: str) -> Model:
    return Model.fit(find_clips([recordings]), Config.from_mapping(PIPELINES[pipeline]))


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_graph_gives_the_model_s_scores(recordings: Path, pipeline: str) -> None:
    model = fitted(recordings, pipeline)
    exported = export(model)
    assert largest_difference(model, exported) <= TOLERANCE
    onnx.checker.check_model(onnx.load_model_from_string(exported.content), full_check=True)
    assert set(exported.windows) == set(model.config.names)
    graph = onnx.load_model_from_string(exported.content).graph
    used = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= used


@pytest.mark.parametrize("pipeline", ["mahalanobis", "branches at two rates"])
def test_a_recalibrated_model_compares_the_mean_over_its_members(
    recordings: Path, pipeline: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    for number in range(12):  # as unlike the training as the sounds of the check, so that their p-values say something
        noise = rng.standard_normal(64000) * 10 ** rng.uniform(-3, 0)
        soundfile.write(tmp_path / f"{number}.wav", noise.astype(np.float32), 16000, subtype="FLOAT")
    model = asd.recalibrate(fitted(recordings, pipeline), tmp_path)
    assert largest_difference(model, export(model)) <= TOLERANCE


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {**STATISTICS, "detector": "isolation-forest"},
            "detector 'isolation-forest' cannot be part of an ONNX graph: it has no method to_onnx; fit with another "
            "detector, or use the model file with asd itself",
        ),
        (
            {**STATISTICS, "frontend": {"name": "mel-patch", "scaling": "pcen"}},
            "asd-frontends:mel-patch cannot be part of an ONNX graph: scaling is 'pcen' and reference 'fixed'; fit "
            "with --frontend.scaling log and --frontend.reference fixed or patch",
        ),
    ],
)
def test_what_cannot_be_exported_says_so(recordings: Path, options: dict[str, Any], text: str) -> None:
    with pytest.raises(AsdError) as raised:
        export(Model.fit(find_clips([recordings]), Config.from_mapping(options)))
    assert str(raised.value) == text


def test_a_graph_that_gives_other_scores_is_not_written(recordings: Path) -> None:
    model = fitted(recordings, "knn")
    exported = export(model)
    for member in model.members:
        member.detector.radii_ *= 1.01  # type: ignore[attr-defined]
    with pytest.raises(AsdError, match=r"the graph (gives a p-value|does not give what the model gives)"):
        largest_difference(model, exported)


def test_the_command_and_its_script(recordings: Path, tmp_path: Path) -> None:
    """The script needs neither asd nor a plugin, and says what ``asd score`` says, at the exit code, too."""
    model = fitted(recordings, "branches at two rates")
    model.save(tmp_path / "machine.asd")
    folder = tmp_path / "edge"
    result = CliRunner().invoke(command, [str(tmp_path / "machine.asd"), "--onnx", str(folder)])
    assert (result.exit_code, result.exception) == (0, None)
    assert result.output.splitlines()[1] == (
        f"Next: python {folder / 'judge.py'} RECORDINGS (needs onnxruntime and soundfile alone)"
    )
    strange = tmp_path / "strange.wav"
    rng = np.random.default_rng(0)
    soundfile.write(strange, rng.standard_normal(64000).astype(np.float32) * 0.3, 16000)
    paths = [str(next(recordings.rglob("*.wav"))), str(strange)]
    without_asd = (
        "import sys; sys.modules['asd'] = None; import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", without_asd, str(folder / "judge.py"), *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    expected = []
    for verdict in asd.score(str(tmp_path / "machine.asd"), paths):
        assert isinstance(verdict, Verdict)
        word = "ANOMALOUS" if verdict.anomalous else "normal"
        expected.append(f"{verdict.clip.path}: {word}, score {verdict.score:.4g}, p-value {verdict.p_value:.3f}")
    assert ran.stdout.splitlines() == expected
    assert ran.returncode == 1
    lines = (folder / "judge.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 25


def test_nothing_is_overwritten_unasked(recordings: Path, tmp_path: Path) -> None:
    fitted(recordings, "knn").save(tmp_path / "machine.asd")
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "judge.py").write_text("mine")
    given = [str(tmp_path / "machine.asd"), "--onnx", str(tmp_path / "edge")]
    refused = CliRunner().invoke(command, given)
    assert str(refused.exception) == (
        f"{tmp_path / 'edge' / 'judge.py'} exists; give another folder, or --force to overwrite it"
    )
    assert (tmp_path / "edge" / "judge.py").read_text() == "mine"
    written = CliRunner().invoke(command, [*given, "--force", "--json"])
    said = json.loads(written.output)
    assert said["bytes"] == (tmp_path / "edge" / "model.onnx").stat().st_size
    assert said["largest_difference"] <= TOLERANCE
    assert [path.name for path in (tmp_path / "edge").iterdir() if path.name.startswith(".")] == []


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "edge").write_text("")
    result = CliRunner().invoke(command, ["machine.asd", "--onnx", str(tmp_path / "edge")])
    assert str(result.exception) == f"{tmp_path / 'edge'}: not a folder; name one for --onnx"


def model_with(kind: str, opset: int = 17, domain: str = "") -> bytes:
    node = onnx.helper.make_node(kind, ["x"], ["y"], domain=domain)
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 4]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:])
    sets = [onnx.helper.make_opsetid("", opset), *([onnx.helper.make_opsetid(domain, 1)] if domain else [])]
    content: bytes = onnx.helper.make_model(graph, opset_imports=sets).SerializeToString()
    return content


@pytest.mark.parametrize(
    ("content", "output", "text"),
    [
        (model_with("Relu", opset=21), "y", "it needs opset 21 or operators of other domains; expected opset up to 17"),
        (model_with("Own", domain="org.example"), "y", "it needs opset 17 or operators of other domains"),
        (model_with("Relu"), "z", "expected one input and an output 'z'"),
    ],
)
def test_networks_that_do_not_fit_in(content: bytes, output: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Graph().network(content, output, "windows")
