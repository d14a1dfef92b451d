"""The rule that chooses between ONNX Runtime and PyTorch."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asd.errors import ConfigError, PluginError
from asd.plugin import Runtime
from asd_onnx import engine
from asd_onnx.engine import COUNTERPARTS, Counterpart, choose, counterpart_extractor, onnxruntime_problem

SAMPLES = Path(__file__).resolve().parents[3] / "examples" / "data" / "train"

HERE = Counterpart("asd-frontends:identity", pays_from={"AMX-BF16": 70, "AVX512-BF16": 90, "CUDA": 60})
"""Stands for a network in PyTorch that is installed, without its weight."""
ABSENT = Counterpart("asd-nowhere:network", pays_from=HERE.pays_from)
ONNX = {"engine": "onnx", "precision": "fp32"}
TORCH = {"engine": "torch", "precision": "bf16"}

Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Make a function that pretends another machine."""

    def pretend(*flags: str, card: bool = False, devices: tuple[str, ...] = ("cpu",), problem: str = "") -> None:
        monkeypatch.setattr(engine, "_processor_flags", lambda: frozenset({"avx", *flags}))
        monkeypatch.setattr(engine, "_has_card", lambda: card and "cuda" not in devices)
        monkeypatch.setattr(engine, "present_devices", lambda: list(devices))
        monkeypatch.setattr("asd_onnx.device.present_devices", lambda: list(devices))
        if problem:
            monkeypatch.setattr(engine, "onnxruntime_problem", lambda *, thorough: problem)

    return pretend


@pytest.mark.parametrize(
    ("flags", "clips", "expected"),
    [
        ((), 10**6, ONNX),
        (("amx_bf16", "avx512_bf16"), 0, ONNX),
        (("amx_bf16", "avx512_bf16"), 69, ONNX),
        (("amx_bf16", "avx512_bf16"), 70, TORCH),
        (("avx512_bf16",), 89, ONNX),
        (("avx512_bf16",), 90, TORCH),
    ],
)
def test_the_processor_and_the_number_of_clips_decide(
    machine: Machine, flags: tuple[str, ...], clips: int, expected: dict[str, Any]
) -> None:
    machine(*flags)
    for device in ("auto", "cpu"):
        assert choose("net", Runtime(device=device), clips, HERE) == Runtime(device=device, **expected)
    assert choose("net", Runtime(), clips, HERE) == choose("net", Runtime(), clips, HERE)


@pytest.mark.parametrize("counterpart", [ABSENT, None, Counterpart(HERE.component)])
def test_onnx_where_pytorch_is_absent_or_never_pays(machine: Machine, counterpart: Counterpart | None) -> None:
    machine("amx_bf16", card=True)
    assert choose("net", Runtime(), 10**6, counterpart) == Runtime(**ONNX)


def test_a_precision_that_is_asked_for(machine: Machine) -> None:
    machine("amx_bf16")
    assert choose("net", Runtime(precision="fp32"), 10**6, HERE) == Runtime(**ONNX)
    assert choose("net", Runtime(precision="bf16"), 0, HERE) == Runtime(**TORCH)
    with pytest.raises(ConfigError) as caught:
        choose("net", Runtime(precision="bf16"), 0, ABSENT)
    assert str(caught.value) == (
        "net: ONNX Runtime computes in fp32 only, and for bf16 with PyTorch: extractor 'asd-nowhere:network' is not "
        "installed: install 'asd-nowhere' if you know and trust it; or use --precision fp32"
    )


def test_a_graphics_card_that_only_pytorch_can_use(machine: Machine) -> None:
    machine(card=True)
    assert choose("net", Runtime(), 59, HERE) == Runtime(**ONNX)
    assert choose("net", Runtime(), 60, HERE) == Runtime(engine="torch", precision="fp32")
    assert choose("net", Runtime(device="cpu"), 10**6, HERE) == Runtime(device="cpu", **ONNX)
    machine(card=True, devices=("cpu", "cuda"))
    assert choose("net", Runtime(), 10**6, HERE) == Runtime(**ONNX)


def test_a_device_that_is_asked_for(machine: Machine) -> None:
    machine()
    assert choose("net", Runtime(device="cuda:1"), 0, HERE) == Runtime(device="cuda:1", engine="torch")
    assert choose("net", Runtime(device="mps"), 0, HERE) == Runtime(device="mps", engine="torch")
    for name, counterpart in (("cuda", ABSENT), ("openvino", HERE)):
        with pytest.raises(ConfigError, match=f"device '{name}' is not available: this onnxruntime computes on cpu"):
            choose("net", Runtime(device=name), 0, counterpart)
    machine(devices=("cpu", "cuda"))
    assert choose("net", Runtime(device="cuda"), 0, HERE) == Runtime(device="cuda", **ONNX)


def test_pytorch_stands_in_for_an_onnxruntime_that_does_not_run(machine: Machine) -> None:
    machine(problem="onnxruntime is not installed: pip install onnxruntime")
    assert choose("net", Runtime(), 0, HERE) == Runtime(engine="torch", precision="fp32")
    with pytest.raises(PluginError) as caught:
        choose("net", Runtime(), 0, ABSENT)
    assert str(caught.value) == (
        "net: onnxruntime is not installed: pip install onnxruntime; nor can PyTorch stand in: extractor "
        "'asd-nowhere:network' is not installed: install 'asd-nowhere' if you know and trust it"
    )
    machine("amx_bf16", problem="broken")
    assert choose("net", Runtime(), 0, HERE) == Runtime(**TORCH)


def test_the_log_says_which_and_why(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine("amx_bf16")
    with caplog.at_level(logging.DEBUG, "asd"):
        choose("net", Runtime(), 3, HERE)
        choose("net", Runtime(), 300, HERE)
        choose("net", Runtime(precision="bf16"), 0, HERE)
    assert caplog.messages == [
        "net: engine onnx (float32; PyTorch with AMX-BF16 pays from 70 clips)",
        "net: engine torch (with AMX-BF16 faster for 300 clips)",
        "net: engine torch (ONNX Runtime has no bfloat16)",
    ]


def test_what_keeps_onnxruntime_from_running(monkeypatch: pytest.MonkeyPatch) -> None:
    assert onnxruntime_problem(thorough=True) is None
    monkeypatch.setattr(engine, "_processor_flags", lambda: frozenset({"sse2"}))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert onnxruntime_problem(thorough=True) == "onnxruntime needs a processor with AVX, which this one lacks"
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert onnxruntime_problem(thorough=False) is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert onnxruntime_problem(thorough=False) == "onnxruntime is not installed: pip install onnxruntime"


def test_a_broken_onnxruntime_shows_where_pytorch_could_stand_in(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine()

    def broken() -> None:
        raise PluginError("onnxruntime does not load (libfoo): pip install --force-reinstall onnxruntime")

    monkeypatch.setattr(engine, "load_onnxruntime", broken)
    assert choose("net", Runtime(), 0, HERE).engine == "torch"
    assert choose("net", Runtime(), 0, ABSENT).engine == "onnx"  # its use says what is wrong


def test_the_counterpart_is_made_by_its_name() -> None:
    runtime = Runtime(device="cpu", engine="torch")
    made = counterpart_extractor(HERE, {}, runtime)
    assert type(made).__name__ == "Identity"
    assert made.runtime == runtime
    with pytest.raises(PluginError, match=r"^engine torch: .* is not installed: .*; or use --engine onnx$"):
        counterpart_extractor(ABSENT, {}, runtime)


@pytest.mark.parametrize(
    ("node", "version", "devices", "expected"),
    [(False, "2.9", ["cpu"], False), (True, None, ["cpu"], False), (True, "2.9+cpu", ["cpu"], False),
     (True, "2.9", ["cpu", "cuda"], False), (True, "2.9", ["cpu"], True), (True, "2.9", None, True)],
)  # fmt: skip
def test_a_card_counts_if_pytorch_alone_can_use_it(
    monkeypatch: pytest.MonkeyPatch, node: bool, version: str | None, devices: list[str] | None, expected: bool
) -> None:
    def version_of(name: str) -> str:
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    def present() -> list[str]:
        if devices is None:
            raise PluginError("no onnxruntime")
        return devices

    monkeypatch.setattr("pathlib.Path.exists", lambda path: node)
    monkeypatch.setattr(importlib.metadata, "version", version_of)
    monkeypatch.setattr(engine, "present_devices", present)
    assert engine._has_card() is expected


def test_choosing_imports_no_pytorch() -> None:
    program = (
        "import sys; from asd.plugin import Runtime; from asd_onnx.engine import COUNTERPARTS, choose; "
        "choose('net', Runtime(), 300, COUNTERPARTS['squeezenet1_0']); print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert said.stdout == "False\n"


def test_few_clips_never_pay() -> None:
    for counterpart in COUNTERPARTS.values():
        assert counterpart.pays_from
        assert min(counterpart.pays_from.values()) >= 50


def test_a_missing_torch_plugin_is_said_once_before_any_recording_is_read(tmp_path: Path) -> None:
    """Not once for each recording, as if the recordings were bad."""
    environment = {**os.environ, "ASD_PLUGINS": "asd-onnx,asd-frontends,asd-sklearn"}
    command = [os.environ["ASD_COMMAND"], "fit", str(SAMPLES), "-o", str(tmp_path / "m.asd")]
    options = ["--extractor", "squeezenet1_0", "--engine", "torch"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1, lines
    assert lines[0].startswith(
        "asd: error: engine torch: extractor 'asd-imagenet:squeezenet1_0-torch' is not installed"
    )
    assert lines[0].endswith("or use --engine onnx")
