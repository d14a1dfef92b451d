"""Sessions: batches, outputs, devices, and what ONNX Runtime refuses."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.helper import make_node as node

from asd.errors import AsdError, ConfigError, WeightError
from asd.plugin import Float32, Runtime
from asd_onnx import device
from asd_onnx.session import Session

Write = Callable[..., Path]


@pytest.fixture
def windows() -> Float32:
    return np.random.default_rng(0).standard_normal((37, 3, 50)).astype(np.float32)


@pytest.fixture
def two(tmp_path: Path, saved: Write) -> Path:
    """A network with two outputs, one of which fails whenever it is computed."""
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Reshape", ["x", "bad"], ["b"]),
    ]
    bad = numpy_helper.from_array(np.array([7, 11, 13]), "bad")
    shapes = {"a": ["n", 3, "t"], "b": [7, 11, 13]}
    return saved(tmp_path / "two.onnx", nodes, outputs=shapes, initialisers=[bad])


@pytest.mark.parametrize("batch_size", [None, 1, 5, 100])
def test_the_size_of_a_batch_does_not_matter(
    tmp_path: Path, mean: Write, windows: Float32, batch_size: int | None
) -> None:
    session = Session(mean(tmp_path / "a.onnx"), Runtime(batch_size=batch_size))
    (means,) = session.run(windows)
    assert means.dtype == np.float32
    np.testing.assert_allclose(means, windows.mean(axis=2), atol=1e-6)


def test_what_the_graph_declares(tmp_path: Path, mean: Write) -> None:
    path = mean(tmp_path / "a.onnx", metadata={"asd.kind": "patch"})
    for session in (Session(path), Session(path.read_bytes())):
        assert (session.input_name, session.input_shape) == ("x", ("n", 3, "t"))
        assert (session.output_names, session.output_shapes) == (("y",), (("n", 3),))
        assert session.metadata == {"asd.kind": "patch"}
        assert session.computes_with() == Runtime("cpu", "fp32", engine="onnx")


def test_no_windows_give_no_rows(tmp_path: Path, mean: Write) -> None:
    (means,) = Session(mean(tmp_path / "a.onnx")).run(np.empty((0, 3, 5), np.float32))
    assert means.shape == (0, 3)


def test_any_order_of_memory_and_any_precision(tmp_path: Path, mean: Write, windows: Float32) -> None:
    session = Session(mean(tmp_path / "a.onnx"))
    turned = np.ascontiguousarray(windows.transpose(2, 1, 0)).transpose(2, 1, 0)
    for values in (turned, windows.astype(np.float64), windows[::-1][::-1]):
        np.testing.assert_allclose(session.run(values)[0], windows.mean(axis=2), atol=1e-6)


def test_a_graph_that_takes_a_fixed_number_of_windows(tmp_path: Path, mean: Write, windows: Float32) -> None:
    path = mean(tmp_path / "a.onnx", inputs={"x": [4, 3, "t"]}, outputs={"y": [4, 3]})
    session = Session(path, Runtime(batch_size=2))
    np.testing.assert_allclose(session.run(windows)[0], windows.mean(axis=2), atol=1e-6)
    assert session.run(windows[:0])[0].shape == (0, 3)


@pytest.mark.parametrize(("kind", "dtype"), [(TensorProto.FLOAT16, np.float16), (TensorProto.DOUBLE, np.float64)])
def test_networks_of_other_precisions(tmp_path: Path, mean: Write, windows: Float32, kind: int, dtype: Any) -> None:
    (means,) = Session(mean(tmp_path / "a.onnx", kind=kind)).run(windows)
    assert means.dtype == np.float32
    np.testing.assert_allclose(means, windows.astype(dtype).mean(axis=2), atol=2e-3)


def test_only_what_the_chosen_outputs_need_is_computed(two: Path, windows: Float32) -> None:
    (values,) = Session(two, outputs=["a"]).run(windows)
    np.testing.assert_array_equal(values, np.maximum(windows, 0))
    with pytest.raises(AsdError, match="ONNX Runtime failed"):
        Session(two).run(windows)


def test_outputs_come_in_the_order_that_is_asked_for(tmp_path: Path, saved: Write, windows: Float32) -> None:
    shapes = {"a": ["n", 3, "t"], "b": ["n", 3, "t"]}
    path = saved(tmp_path / "a.onnx", [node("Relu", ["x"], ["a"]), node("Neg", ["a"], ["b"])], outputs=shapes)
    session = Session(path, outputs=["b", "a"])
    assert session.output_names == ("b", "a")
    negative, positive = session.run(windows)
    np.testing.assert_array_equal(negative, -positive)


def test_pruning_keeps_what_a_branch_takes_from_around_it(tmp_path: Path, saved: Write, windows: Float32) -> None:
    value = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    body = helper.make_graph([node("Mul", ["a", "a"], ["z"])], "body", [], [value])
    other = helper.make_graph([node("Identity", ["a"], ["z"])], "other", [], [value])
    nodes = [node("Relu", ["x"], ["a"]), node("If", ["c"], ["y"], then_branch=body, else_branch=other)]
    nodes.append(node("Neg", ["x"], ["unused"]))
    condition = numpy_helper.from_array(np.array(True), "c")
    shapes = {"y": ["n", 3, "t"], "unused": ["n", 3, "t"]}
    path = saved(tmp_path / "a.onnx", nodes, outputs=shapes, initialisers=[condition])
    (squares,) = Session(path, outputs=["y"]).run(windows)
    np.testing.assert_allclose(squares, np.maximum(windows, 0) ** 2, rtol=1e-6)


def test_pruning_finds_initialisers_beside_the_file(tmp_path: Path, external: Write, windows: Float32) -> None:
    weight = np.array([1, 2, 3], np.float32)
    (tmp_path / "w.bin").write_bytes(weight.tobytes())
    path = external(tmp_path / "a.onnx", "w.bin")
    for outputs in ([], ["y"]):
        (sums,) = Session(path, outputs=outputs).run(windows)
        np.testing.assert_allclose(sums, windows + weight[:, np.newaxis], rtol=1e-6)


def test_an_unknown_output(two: Path) -> None:
    with pytest.raises(ConfigError, match=r"^the network: no output 'c'; there are a, b$"):
        Session(two, outputs=["c"])


def test_windows_of_another_shape(tmp_path: Path, mean: Write) -> None:
    session = Session(mean(tmp_path / "a.onnx"), name="a")
    for shape in ((2, 4, 5), (2, 3), (2, 1, 3, 5)):
        with pytest.raises(ConfigError) as caught:
            session.run(np.zeros(shape, np.float32))
        got = str(shape[1:])
        assert str(caught.value) == (
            f"a: its input 'x' takes windows of shape (3, any), got {got}; choose the front end or the layout that fits"
        )


def test_a_second_input(tmp_path: Path, saved: Write) -> None:
    path = saved(tmp_path / "a.onnx", [node("Add", ["x", "z"], ["y"])], inputs={"x": ["n", 3], "z": ["n", 3]})
    with pytest.raises(ConfigError, match=r"expected one input .*, found x \(tensor\(float\)\), z \(tensor\(float\)\)"):
        Session(path)


def test_an_output_without_a_row_for_each_window(tmp_path: Path, saved: Write) -> None:
    path = saved(tmp_path / "a.onnx", [node("ReduceMean", ["x"], ["y"], keepdims=0)], outputs={"y": []})
    with pytest.raises(ConfigError, match=r"its output 'y' is .*, expected one row for each window; choose another"):
        Session(path).run(np.zeros((2, 3, 4), np.float32))


def test_a_newer_opset(tmp_path: Path, saved: Write) -> None:
    path = saved(tmp_path / "a.onnx", [node("Relu", ["x"], ["y"])], opset=99)
    version = importlib.metadata.version("onnxruntime")
    with pytest.raises(WeightError) as caught:
        Session(path, name="a")
    text = str(caught.value)
    assert text.startswith(f"a: needs opset 99 of ai.onnx, this onnxruntime {version} has ")
    assert text.endswith(": pip install --upgrade onnxruntime, or export the network with that opset")


def test_a_newer_format(tmp_path: Path, saved: Write) -> None:
    path = saved(tmp_path / "a.onnx", [node("Relu", ["x"], ["y"])], version=99)
    with pytest.raises(WeightError, match=r"is in ONNX's format 99, this onnxruntime \S+ reads up to \d+: pip install"):
        Session(path)


def test_an_operator_that_does_not_exist(tmp_path: Path, saved: Write) -> None:
    path = saved(tmp_path / "a.onnx", [node("Foo", ["x"], ["y"])])
    with pytest.raises(WeightError, match=r"ONNX Runtime does not take it: .*Foo.*; export the network again$"):
        Session(path)


def test_bfloat16(tmp_path: Path, mean: Write) -> None:
    with pytest.raises(ConfigError, match="ONNX Runtime computes in fp32 only; leave --precision out, or give fp32"):
        Session(mean(tmp_path / "a.onnx"), Runtime(precision="bf16"))


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cpu:1", "", "Cuda"])
def test_a_device_that_is_not_there(tmp_path: Path, mean: Write, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^device '{name}' is not available: this onnxruntime computes on .*cpu"):
        Session(mean(tmp_path / "a.onnx"), Runtime(device=name))


def test_several_threads_share_a_session(tmp_path: Path, mean: Write, windows: Float32) -> None:
    session = Session(mean(tmp_path / "a.onnx"), Runtime(batch_size=2))
    results: list[Float32] = []
    threads = [threading.Thread(target=lambda: results.append(session.run(windows)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for each in results:
        np.testing.assert_array_equal(each, results[0])


def test_memory_that_runs_out_halves_the_batch(
    tmp_path: Path, mean: Write, windows: Float32, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(mean(tmp_path / "a.onnx"), Runtime(batch_size=20), name="a")
    whole = session._session

    def run(outputs: None, feed: dict[str, Float32]) -> Any:
        if len(feed["x"]) > 6:  # a machine that small cannot be had here
            raise RuntimeError("Failed to allocate memory for requested buffer of size 99")
        return whole.run(outputs, feed)

    monkeypatch.setattr(session, "_session", SimpleNamespace(run=run))
    np.testing.assert_allclose(session.run(windows)[0], windows.mean(axis=2), atol=1e-6)
    assert "a: cpu ran out of memory with" in caplog.text
    monkeypatch.setattr(session, "_session", SimpleNamespace(run=lambda *_: run(None, {"x": np.zeros(9)})))
    with pytest.raises(AsdError, match="a: cpu has too little memory for a single window"):
        session.run(windows)


@pytest.fixture
def forgetful() -> Iterator[None]:
    device.load_onnxruntime.cache_clear()
    yield
    device.load_onnxruntime.cache_clear()


class Options:
    """Stands for ONNX Runtime's options of a session."""

    def add_session_config_entry(self, key: str, value: str) -> None:
        setattr(self, key, value)


class Library(SimpleNamespace):
    """Stands for an ONNX Runtime with other providers, which cannot be installed here."""

    __version__ = "1.99"
    SessionOptions = Options

    def __init__(self, present: list[str], working: str) -> None:
        super().__init__(get_available_providers=lambda: present)
        self.working = working
        self.asked: list[Any] = []

    def InferenceSession(self, content: object, options: object, providers: list[Any]) -> Any:  # noqa: N802
        self.asked.append(providers)
        taken = [name for name, _ in providers if name in (self.working, "CPUExecutionProvider")]
        value = SimpleNamespace(name="x", type="tensor(float)", shape=["n", 3])
        return SimpleNamespace(
            get_providers=lambda: taken,
            get_inputs=lambda: [value],
            get_outputs=lambda: [value],
            get_modelmeta=lambda: SimpleNamespace(custom_metadata_map={}),
        )


PROVIDERS = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CoreMLExecutionProvider", "CPUExecutionProvider"]


def session_with(monkeypatch: pytest.MonkeyPatch, library: Library, name: str) -> Session:
    for module in ("asd_onnx.device", "asd_onnx.session"):
        monkeypatch.setattr(f"{module}.load_onnxruntime", lambda: library)
    return Session(b"", Runtime(device=name))


@pytest.mark.parametrize(
    ("asked", "working", "taken"),
    [
        ("auto", "CUDAExecutionProvider", "cuda:0"),
        ("auto", "", "cpu"),
        ("cpu", "CUDAExecutionProvider", "cpu"),
        ("cuda", "CUDAExecutionProvider", "cuda:0"),
        ("cuda:1", "CUDAExecutionProvider", "cuda:1"),
        ("tensorrt", "TensorrtExecutionProvider", "tensorrt:0"),
        ("coreml", "CoreMLExecutionProvider", "coreml"),
    ],
)
def test_the_device_that_is_taken(monkeypatch: pytest.MonkeyPatch, asked: str, working: str, taken: str) -> None:
    library = Library(PROVIDERS, working)
    session = session_with(monkeypatch, library, asked)
    assert session.device == session.computes_with().device == taken
    name, options = library.asked[-1][0]
    assert name in (working, "CPUExecutionProvider")
    assert options.get("device_id", 0) == (1 if asked == "cuda:1" else 0)


def test_a_device_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as caught:
        session_with(monkeypatch, Library(PROVIDERS, ""), "cuda")
    assert str(caught.value).startswith(
        "device 'cuda': onnxruntime has CUDAExecutionProvider, but it does not start on this machine"
    )


def test_a_device_without_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as caught:
        session_with(monkeypatch, Library(PROVIDERS, ""), "openvino")
    assert str(caught.value) == (
        "device 'openvino' is not available: this onnxruntime computes on cpu, cuda, tensorrt, coreml; choose one, or "
        "auto"
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "onnxruntime is not installed: pip install onnxruntime"),
        ("raise ImportError('libfoo.so: cannot open')", "onnxruntime does not load (libfoo.so: cannot open): pip"),
        ("import no_such_module", "onnxruntime is broken (No module named 'no_such_module'): pip"),
        ("", "onnxruntime is there in part only: pip install --force-reinstall onnxruntime"),
    ],
)
def test_an_onnxruntime_that_is_missing_or_broken(tmp_path: Path, content: str | None, text: str) -> None:
    if content is not None:
        (tmp_path / "onnxruntime.py").write_text(content)
    block = "sys.modules['onnxruntime'] = None" if content is None else f"sys.path.insert(0, {str(tmp_path)!r})"
    program = f"import sys; {block}; from asd_onnx.device import load_onnxruntime; load_onnxruntime()"
    said = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert f"PluginError: {text}" in said.stderr


@pytest.mark.usefixtures("forgetful")
def test_two_distributions_side_by_side_are_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    present = importlib.metadata.distribution

    def distribution(name: str) -> Any:
        return present("onnxruntime" if name == "onnxruntime-gpu" else name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    with caplog.at_level(logging.WARNING):
        device.load_onnxruntime()
        device.load_onnxruntime()
    (message,) = caplog.messages
    assert message.startswith(
        "onnxruntime and onnxruntime-gpu are both installed, and their files overwrite each other"
    )


def test_onnxruntime_writes_and_reports_nothing(tmp_path: Path) -> None:
    program = "from asd_onnx.device import load_onnxruntime; load_onnxruntime()"
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": ""}
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env=environment | home)
    assert said.stderr == said.stdout == b""
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(("limit", "expected"), [("1", 1), ("", None), ("x", None), ("0", None)])
def test_threads_follow_the_usual_variable(monkeypatch: pytest.MonkeyPatch, limit: str, expected: int | None) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert device.processors() == (expected or cores)


def test_closing_ends_the_threads(tmp_path: Path, mean: Write, windows: Float32) -> None:
    before = set(threading.enumerate())
    session = Session(mean(tmp_path / "a.onnx"))
    session.run(windows)
    session.close()
    assert set(threading.enumerate()) <= before
