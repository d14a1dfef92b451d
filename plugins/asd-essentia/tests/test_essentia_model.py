"""Any model of Essentia's: real and hand-made graphs, and what is wrong with a graph said clearly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asd.errors import AsdError, ConfigError, WeightError
from asd.plugin import create, locate
from asd_essentia.graph import nodes
from asd_essentia.model import EssentiaModel
from asd_essentia.plugin import GRAPHS

MUSICNN = locate(GRAPHS["mtt"])
MUSICNN_METADATA = {
    "name": "MusiCNN",
    "schema": {
        "inputs": [{"name": "model/Placeholder", "type": "float", "shape": [187, 96]}],
        "outputs": [
            {"name": "model/Sigmoid", "shape": [1, 50], "output_purpose": "predictions"},
            {"name": "model/dense/BiasAdd", "shape": [1, 200], "output_purpose": "embeddings"},
        ],
    },
    "inference": {"sample_rate": 16000, "algorithm": "TensorflowPredictMusiCNN"},
}


@pytest.fixture
def with_metadata(tmp_path: Path) -> Path:
    """Return MusiCNN's graph with metadata beside it, as on Essentia's site."""
    graph = tmp_path / "mtt-musicnn-1.pb"
    graph.symlink_to(MUSICNN)
    graph.with_suffix(".json").write_text(json.dumps(MUSICNN_METADATA))
    return graph


@pytest.mark.parity
@pytest.mark.slow
def test_the_metadata_say_how_to_run_a_graph(essentia: None, with_metadata: Path, golden: Any) -> None:
    extractor = create("extractor", "essentia", {"graph": str(with_metadata)})
    assert extractor.consumes.sample_rate == 16000
    assert extractor.dimension == 200
    sound = (golden["sound"] / 32768).astype(np.float32)
    result = extractor.embed(sound[np.newaxis, :48128])
    np.testing.assert_allclose(result, golden["mtt_3_penultimate"], atol=1e-4)
    assert list(extractor.weight_hashes().values()) == [GRAPHS["mtt"].sha256]


@pytest.mark.parity
@pytest.mark.slow
def test_a_long_window_is_the_mean_of_its_patches(essentia: None, golden: Any) -> None:
    sound = (golden["sound"] / 32768).astype(np.float32)
    parameters = {"graph": str(MUSICNN), "algorithm": "TensorflowPredictMusiCNN", "output": "model/Sigmoid"}
    extractor = create("extractor", "essentia", parameters)
    long = np.concatenate([sound, sound])[np.newaxis, :80000]
    patches = [extractor.embed(long[:, start : start + 48128]) for start in (0, 93 * 256)]
    np.testing.assert_allclose(extractor.embed(long), np.mean(patches, axis=0), atol=1e-5)


@pytest.mark.parity
@pytest.mark.slow
def test_vggish_patches_are_the_windows(essentia: None, graphs: Any, tmp_path: Path) -> None:
    from asd_essentia.engine import _essentia

    graph = tmp_path / "v.pb"
    graph.write_bytes(graphs.averaging("model/Placeholder", (-1, 96, 64), "model/vggish/embeddings"))
    extractor = create("extractor", "essentia-vggish", {"graph": str(graph)})
    windows = np.random.default_rng(0).normal(size=(5, 15600)).astype(np.float32) * 0.1
    mel = _essentia().TensorflowInputVGGish()
    expected = [np.mean([mel(w[j * 160 : j * 160 + 400]) for j in range(96)], axis=0) for w in windows]
    np.testing.assert_allclose(extractor.embed(windows), expected, atol=1e-4)


@pytest.mark.parity
@pytest.mark.slow
def test_effnet_batches_are_filled(essentia: None, log_mel: Any, graphs: Any, tmp_path: Path) -> None:
    graph = tmp_path / "e.pb"
    graph.write_bytes(graphs.averaging("serving_default_melspectrogram", (64, 128, 96), "PartitionedCall"))
    extractor = create("extractor", "essentia-discogs-effnet", {"graph": str(graph), "output": "PartitionedCall:0"})
    windows = np.random.default_rng(0).normal(size=(3, 33024)).astype(np.float32) * 0.1
    expected = [log_mel(window).mean(axis=0) for window in windows]
    np.testing.assert_allclose(extractor.embed(windows), expected, atol=1e-4)


@pytest.mark.slow
def test_other_algorithms_take_whole_windows(essentia: None, graphs: Any, tmp_path: Path) -> None:
    graph = tmp_path / "c.pb"
    graph.write_bytes(graphs.averaging("frames", (-1, 1024, 2), "model/classifier/Sigmoid"))
    parameters = {"graph": str(graph), "algorithm": "TensorflowPredictCREPE", "output": "frames"}
    extractor = create("extractor", "essentia", parameters)
    with pytest.raises(AsdError, match=r"^Essentia's TensorflowPredictCREPE failed: |windows of at least"):
        extractor.embed(np.zeros((2, 16000), np.float32))


def test_the_nodes_of_a_graph_are_read_without_tensorflow() -> None:
    found = nodes(MUSICNN)
    assert found["model/dense/BiasAdd"] == "BiasAdd"
    assert list(found)[-1] == "model/Sigmoid"


def test_a_missing_node_is_answered_with_those_that_fit() -> None:
    extractor = EssentiaModel(graph=str(MUSICNN), algorithm="TensorflowPredictMusiCNN", output="model/dense/Biasadd")
    with pytest.raises(AsdError) as raised:
        extractor.embed(np.zeros((1, 48128), np.float32))
    text = str(raised.value)
    assert text.startswith("mtt-musicnn-1.pb has no node 'model/dense/Biasadd'; did you mean model/dense/BiasAdd")
    assert text.endswith("model/dense_1/MatMul, model/dense_1/BiasAdd, model/Sigmoid and 33 before them")
    assert "dropout" not in text
    assert "/read" not in text


def test_without_an_output_the_nodes_are_listed() -> None:
    extractor = EssentiaModel(graph=str(MUSICNN), algorithm="TensorflowPredictMusiCNN")
    with pytest.raises(AsdError, match=r"has no node 'output \(give --extractor.output\)'; .*model/Sigmoid"):
        extractor.embed(np.zeros((1, 48128), np.float32))


def test_a_missing_input_is_answered_likewise() -> None:
    extractor = EssentiaModel(
        graph=str(MUSICNN), algorithm="TensorflowPredictMusiCNN", output="model/Sigmoid", input="melspectrogram"
    )
    with pytest.raises(AsdError, match=r"^mtt-musicnn-1.pb has no node 'melspectrogram'; "):
        extractor.embed(np.zeros((1, 48128), np.float32))


@pytest.mark.parametrize(
    "content", [b"", b"not a graph", b"\x89HDF\r\n\x1a\n" * 9, None], ids=["empty", "text", "HDF5", "cut"]
)
def test_a_damaged_graph_is_told(tmp_path: Path, content: bytes | None) -> None:
    graph = tmp_path / "damaged.pb"
    graph.write_bytes(MUSICNN.read_bytes()[:100_000] if content is None else content)
    extractor = EssentiaModel(graph=str(graph), algorithm="TensorflowPredictMusiCNN", output="model/Sigmoid")
    with pytest.raises(AsdError) as raised:
        extractor.embed(np.zeros((1, 48128), np.float32))
    assert str(raised.value) == (
        f"{graph}: damaged, cut off, or not a TensorflowGraph (.pb); copy it again from its publisher"
    ).replace("TensorflowGraph", "TensorFlow graph")


def test_short_windows_are_told_how_long_they_must_be(essentia: None) -> None:
    extractor = EssentiaModel(graph=str(MUSICNN), algorithm="TensorflowPredictMusiCNN", output="model/Sigmoid")
    with pytest.raises(AsdError) as raised:
        extractor.embed(np.zeros((1, 16000), np.float32))
    assert str(raised.value) == (
        "TensorflowPredictMusiCNN takes windows of at least 3.008 s, got 1 s; "
        "lengthen them by --frontend.window SECONDS"
    )


def test_a_graph_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightError, match=r"none\.pb: no such weight file; give a file or a URL"):
        EssentiaModel(graph=str(tmp_path / "none.pb"), output="a", algorithm="b").embed(np.zeros((1, 9), np.float32))


def test_a_graph_with_another_hash_is_refused() -> None:
    with pytest.raises(WeightError, match=rf"its sha256 is {GRAPHS['mtt'].sha256}, expected {'0' * 64}; correct"):
        EssentiaModel(graph=str(MUSICNN), sha256="0" * 64).weight_hashes()


def test_a_download_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    fetched = EssentiaModel(graph=MUSICNN.as_uri(), sha256=GRAPHS["mtt"].sha256)
    assert fetched.weight_hashes() == {"mtt-musicnn-1.pb": GRAPHS["mtt"].sha256}
    assert (tmp_path / "cache" / "weights" / GRAPHS["mtt"].sha256 / "mtt-musicnn-1.pb").is_file()
    with pytest.raises(WeightError, match="gave another file"):
        EssentiaModel(graph=locate(GRAPHS["msd"]).as_uri(), sha256="0" * 64).weight_hashes()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "essentia needs --extractor.graph: a .pb file from https://essentia.upf.edu/models"),
        ({"model": "vgg"}, "unknown model 'vgg'; known: vggish, discogs-effnet, or give a graph"),
        ({"graph": "a.pb", "sha256": "abc"}, "sha256 is 'abc', expected 64 hexadecimal digits in lower case"),
        (
            {"graph": "https://example.org/a.pb"},
            "https://example.org/a.pb needs sha256, the file's SHA-256, to be trusted; or fetch it yourself and give "
            "its path",
        ),
        (
            {"model": "discogs-effnet"},
            "https://essentia.upf.edu/models/feature-extractors/discogs-effnet/discogs-effnet-bs64-1.pb (18.4 MB, "
            "CC-BY-NC-SA-4.0) needs --extractor.sha256, the file's SHA-256, to be trusted; or fetch it yourself and "
            "give --extractor.graph FILE",
        ),
    ],
)
def test_what_cannot_name_a_graph_is_refused_at_once(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        EssentiaModel(**parameters)  # type: ignore[arg-type]
    assert str(raised.value) == message


def test_an_algorithm_must_be_known_somehow() -> None:
    with pytest.raises(ConfigError, match=r"which algorithm of Essentia runs it\? Give --extractor\.algorithm"):
        EssentiaModel(graph=str(MUSICNN), output="model/Sigmoid").embed(np.zeros((1, 48128), np.float32))


@pytest.mark.parametrize("content", ["{", "[1, 2]"])
def test_broken_metadata_are_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(AsdError, match=r"a\.json: not the metadata \(\.json\) of a model"):
        _ = EssentiaModel(graph=str(MUSICNN), metadata=str(tmp_path / "a.json")).consumes


def test_a_graph_that_essentia_refuses(essentia: None, graphs: Any, tmp_path: Path) -> None:
    graph = tmp_path / "odd.pb"
    names = ("model/Placeholder", "model/Sigmoid")
    graph.write_bytes(b"".join(graphs.node(name, "NoSuchOperation") for name in names))
    extractor = EssentiaModel(graph=str(graph), algorithm="TensorflowPredictMusiCNN", output="model/Sigmoid")
    with pytest.raises(AsdError, match=r"^Essentia's TensorflowPredictMusiCNN cannot be set up: "):
        extractor.embed(np.zeros((1, 48128), np.float32))


def test_the_example_is_small_and_as_its_script_writes_it(graphs: Any, tmp_path: Path) -> None:
    graph = Path(EssentiaModel.example_parameters(tmp_path)["graph"])
    assert graph.read_bytes() == graphs.example_graph()
    assert graph.with_suffix(".json").read_text() == graphs.example_metadata()
    assert graph.stat().st_size < 2000
    assert not list(tmp_path.iterdir())
