"""Extractor ``onnx``: an ONNX file of the user's in a pipeline."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper
from onnx.helper import make_node as node

import asd
from asd.errors import ConfigError, DataError, ModelFileError, WeightError
from asd.plugin import Extractor, Float32, Representation, Runtime, create, digest_of

Write = Callable[..., Path]


def made(path: Path, **parameters: Any) -> Extractor:
    return create("extractor", "onnx", {"model": str(path), **parameters})


@pytest.fixture
def patches() -> Float32:
    return np.random.default_rng(0).standard_normal((11, 3, 8)).astype(np.float32)


def test_the_representation_comes_from_the_metadata(tmp_path: Path, mean: Write) -> None:
    path = mean(tmp_path / "a.onnx", metadata={"asd.kind": "patch", "asd.sample_rate": "16000"})
    assert made(path).consumes == Representation("patch", (3, None), 16000)
    assert made(path, kind="own-mel", sample_rate=8000).consumes == Representation("own-mel", (3, None), 8000)
    assert made(path, layout="tf").consumes == Representation("patch", (None, 3), 16000)
    assert made(path).dimension == 3


def test_without_metadata_any_windows_are_tried(tmp_path: Path, mean: Write, patches: Float32) -> None:
    extractor = made(mean(tmp_path / "a.onnx"))
    assert extractor.consumes.kind == "any"
    np.testing.assert_allclose(extractor.embed(patches), patches.mean(axis=2), atol=1e-6)
    assert extractor.computes_with() == Runtime("cpu", "fp32", engine="onnx")


def test_metadata_that_are_no_rate(tmp_path: Path, mean: Write) -> None:
    path = mean(tmp_path / "a.onnx", metadata={"asd.sample_rate": "16 kHz"})
    with pytest.raises(WeightError, match=r"its metadata say asd.sample_rate = '16 kHz', expected a rate in Hz"):
        _ = made(path).consumes


@pytest.mark.parametrize(
    ("sizes", "layout", "turn"),
    [
        (["n", 1, 3, "t"], None, lambda x: x[:, np.newaxis]),
        (["n", 1, 3, "t"], "1ft", lambda x: x[:, np.newaxis]),
        (["n", "t", 3], "tf", lambda x: x.transpose(0, 2, 1)),
        (["n", "t", 3, 1], "tf1", lambda x: x.transpose(0, 2, 1)[..., np.newaxis]),
        (["n", 3, "t"], "ft", lambda x: x),
    ],
)
def test_layouts(
    tmp_path: Path, saved: Write, patches: Float32, sizes: list[Any], layout: str | None, turn: Callable[..., Float32]
) -> None:
    path = saved(tmp_path / "a.onnx", [node("Flatten", ["x"], ["y"])], inputs={"x": sizes}, outputs={"y": ["n", "d"]})
    extractor = made(path, layout=layout, kind="patch")
    assert extractor.consumes.shape == (3, None)
    np.testing.assert_array_equal(extractor.embed(patches), turn(patches).reshape(11, -1))


@pytest.mark.parametrize(
    ("shape", "layout", "turned"),
    [((5,), "t", (5,)), ((5,), "1t", (1, 5)), ((3, 4, 5), "hwc", (4, 5, 3)), ((3, 4, 5), "chw", (3, 4, 5))],
)
def test_layouts_of_waveforms_and_images(
    tmp_path: Path, saved: Write, shape: tuple[int, ...], layout: str, turned: tuple[int, ...]
) -> None:
    path = saved(
        tmp_path / "a.onnx", [node("Identity", ["x"], ["y"])], inputs={"x": ["n", *turned]}, outputs={"y": None}
    )
    windows = np.arange(2 * np.prod(shape), dtype=np.float32).reshape(2, *shape)
    order = ["chw".index(letter) + 1 for letter in layout] if len(shape) == 3 else [1]
    np.testing.assert_array_equal(made(path, layout=layout).embed(windows), windows.transpose(0, *order).reshape(2, -1))


@pytest.mark.parametrize("layout", ["", "x", "fft", "1", "f", "nchw", "ht"])
def test_a_layout_that_is_none(tmp_path: Path, mean: Write, layout: str) -> None:
    with pytest.raises(ConfigError, match=f"^layout is '{layout}', expected the axes of a window"):
        made(mean(tmp_path / "a.onnx"), layout=layout)


def test_a_layout_for_another_number_of_axes(tmp_path: Path, mean: Write, patches: Float32) -> None:
    extractor = made(mean(tmp_path / "a.onnx"), layout="chw", kind="image")
    with pytest.raises(ConfigError, match="layout 'chw' names 3 axes, but the network's input has 2 after the first"):
        _ = extractor.consumes
    extractor = made(mean(tmp_path / "a.onnx"), layout="t")
    with pytest.raises(ConfigError, match=r"layout 't' is for windows with 1 axes, the front end gives 2: \(3, 8\)"):
        extractor.embed(patches)


def test_an_output_is_chosen_by_its_name(tmp_path: Path, saved: Write, patches: Float32) -> None:
    shapes = {"a": ["n", 3, "t"], "b": ["n", 3, "t"]}
    path = saved(tmp_path / "a.onnx", [node("Relu", ["x"], ["a"]), node("Neg", ["x"], ["b"])], outputs=shapes)
    extractor = made(path, output="b")
    np.testing.assert_array_equal(extractor.embed(patches), -patches.reshape(11, -1))
    assert extractor.dimension is None
    with pytest.raises(ConfigError) as caught:
        _ = made(path).dimension
    assert str(caught.value) == (
        f"{path}: has 2 outputs; choose one by --extractor.output: a (any, 3, any), b (any, 3, any)"
    )
    with pytest.raises(ConfigError, match=r"has no output 'c'; there are a .*, b .* \(--extractor.output\)"):
        _ = made(path, output="c").dimension


def test_an_input_is_chosen_by_its_name(tmp_path: Path, saved: Write, patches: Float32) -> None:
    inputs = {"x": ["n", 3, "t"], "z": ["n", 2]}
    nodes = [node("Relu", ["x"], ["y"]), node("Relu", ["z"], ["other"])]
    shapes = {"y": ["n", 3, "t"], "other": ["n", 2]}
    path = saved(tmp_path / "a.onnx", nodes, inputs=inputs, outputs=shapes)
    with pytest.raises(ConfigError, match=r"has 2 inputs; choose one by --extractor.input: x \(any, 3, any\), z"):
        _ = made(path, output="y", kind="patch").consumes
    extractor = made(path, output="y", input="x", kind="patch")
    np.testing.assert_array_equal(extractor.embed(patches), np.maximum(patches, 0).reshape(11, -1))
    with pytest.raises(ConfigError, match="the output 'y' is computed from the input 'x', not from 'z'"):
        made(path, output="y", input="z").embed(np.zeros((1, 2), np.float32))


def test_an_input_without_an_axis_for_the_windows(tmp_path: Path, saved: Write) -> None:
    path = saved(tmp_path / "a.onnx", [node("Relu", ["x"], ["y"])], inputs={"x": ["samples"]}, outputs={"y": ["n"]})
    with pytest.raises(
        ConfigError, match=r"its input 'x' has the shape \(any,\), expected a first axis for the windows"
    ):
        _ = made(path, kind="waveform").consumes


def test_a_huge_fixed_number_of_windows(tmp_path: Path, mean: Write) -> None:
    path = mean(tmp_path / "a.onnx", inputs={"x": [10**9, 3, 1]}, outputs={"y": [10**9, 3]})
    with pytest.raises(ConfigError, match="takes 1,000,000,000 windows at a time, expected at most 4,096"):
        made(path).embed(np.zeros((1, 3, 1), np.float32))


def test_values_that_are_not_finite(tmp_path: Path, mean: Write, patches: Float32) -> None:
    with pytest.raises(DataError, match="hold NaN or infinite values"):
        made(mean(tmp_path / "a.onnx")).embed(patches * np.nan)


@pytest.mark.parametrize("name", ["a", "default", ""])
def test_a_model_that_is_no_path(name: str) -> None:
    with pytest.raises(ConfigError, match="a file or a URL"):
        create("extractor", "onnx", {"model": name})


def test_a_url_needs_its_hash() -> None:
    with pytest.raises(ConfigError, match="needs model_sha256"):
        create("extractor", "onnx", {"model": "https://example.org/a.onnx"})


def test_the_model_is_required() -> None:
    with pytest.raises(ConfigError, match=r"extractor 'onnx' needs --extractor.model"):
        create("extractor", "onnx", {})


def test_another_file_than_its_hash_says(tmp_path: Path, mean: Write) -> None:
    path = mean(tmp_path / "a.onnx")
    assert made(path, model_sha256=digest_of(path)[:12]).weight_hashes() == {"a.onnx": digest_of(path)}
    with pytest.raises(WeightError, match="another file than expected"):
        made(path, model_sha256="0" * 64).weight_hashes()


def test_files_beside_it_are_pinned_too(tmp_path: Path, external: Write) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 12)
    path = external(tmp_path / "a.onnx", "w.bin")
    assert made(path).weight_hashes() == {"a.onnx": digest_of(path), "w.bin": digest_of(tmp_path / "w.bin")}


def test_the_engine_torch_is_refused(tmp_path: Path, mean: Write, recordings: list[Path]) -> None:
    config = {"frontend": "mel-patch", "extractor": {"name": "onnx", "model": str(mean(tmp_path / "a.onnx"))}}
    with pytest.raises(ConfigError) as caught:
        asd.fit(recordings, **config, runtime=Runtime(engine="torch"))
    assert "extractor 'onnx' computes with onnx, asked for torch; leave engine= of asd.Runtime out" in str(caught.value)


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    """Twelve clips of noise at 8 kHz."""
    import soundfile

    generator = np.random.default_rng(0)
    paths = [tmp_path / f"{index}.wav" for index in range(12)]
    for path in paths:
        soundfile.write(path, generator.normal(scale=0.1, size=16000), 8000)
    return paths


def network(path: Path, saved: Write) -> Path:
    """A network of spectrograms (64 bands, any frames) with two outputs."""
    axes = numpy_helper.from_array(np.array([2]), "axes")
    nodes = [
        node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        node("ReduceMax", ["x", "axes"], ["top"], keepdims=0),
    ]
    return saved(
        path, nodes, inputs={"x": ["n", 64, "t"]}, outputs={"mean": ["n", 64], "top": ["n", 64]}, initialisers=[axes],
        metadata={"asd.kind": "patch"},
    )  # fmt: skip


def test_a_model_file_pins_the_network(tmp_path: Path, saved: Write, recordings: list[Path]) -> None:
    path = network(tmp_path / "net.onnx", saved)
    frontend = {"name": "mel-patch", "n_mels": 64}
    config = {"frontend": frontend, "extractor": {"name": "onnx", "model": str(path), "output": "mean"}}
    model = asd.fit(recordings, **config)
    assert model.fitted_with["engine"] == "onnx"
    assert model.fitted_with["precision"] == "fp32"
    model.save(tmp_path / "model.asd")
    scores = [verdict.score for verdict in asd.score(asd.load(tmp_path / "model.asd"), recordings)]
    assert scores == pytest.approx([verdict.score for verdict in asd.score(model, recordings)])

    shutil.move(path, tmp_path / "elsewhere.onnx")
    with pytest.raises((WeightError, ModelFileError), match=r"net\.onnx: no such weight file"):
        list(asd.score(asd.load(tmp_path / "model.asd"), recordings))

    saved(path, [node("Neg", ["x"], ["mean"])], inputs={"x": ["n", 64, "t"]}, outputs={"mean": ["n", 64, "t"]})
    with pytest.raises(ModelFileError, match=r"was fitted with weights net\.onnx \(sha256"):
        list(asd.score(asd.load(tmp_path / "model.asd"), recordings, cache=False))


def test_a_model_file_of_others_opens_no_file(
    tmp_path: Path, saved: Write, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = network(tmp_path / "net.onnx", saved)
    frontend = {"name": "mel-patch", "n_mels": 64}
    config = {"frontend": frontend, "extractor": {"name": "onnx", "model": str(path), "output": "mean"}}
    asd.fit(recordings, **config).save(tmp_path / "model.asd")
    monkeypatch.setenv("ASD_SETTINGS", str(tmp_path / "another user"))
    with pytest.raises(ModelFileError, match=r"its extractor asd-onnx:onnx asks for model = .*add trust=True"):
        asd.load(tmp_path / "model.asd")
