"""The ONNX files are what the script in ``make`` makes of the published weights."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from asd.plugin import locate, registry

SCRIPT = Path(__file__).resolve().parent.parent / "make" / "convert.py"
NEEDED = ("onnx", "safetensors", "tflite")


@pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in NEEDED), reason=f"needs {', '.join(NEEDED)}"
)
def test_the_script_makes_the_same_bytes(shared: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, shared / "weights", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    specs = [component.spec for component in registry().of_kind("extractor")]
    embedded = {weight.name: weight for spec in specs for weight in spec.weights if weight.name.endswith(".onnx")}
    assert made.keys() == embedded.keys()
    for name, weight in embedded.items():
        assert made[name] == f"{weight.size} bytes, sha256 {weight.sha256}"
        assert hashlib.sha256(locate(weight).read_bytes()).hexdigest() == weight.sha256


def test_it_refuses_other_weights(tmp_path: Path) -> None:
    if importlib.util.find_spec("onnx") is None or importlib.util.find_spec("tflite") is None:
        pytest.skip("needs onnx and tflite")
    (tmp_path / "aisfx.safetensors").write_bytes(b"other")
    done = subprocess.run([sys.executable, SCRIPT, tmp_path, "aisfx"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "aisfx.safetensors: its sha256 is " in done.stderr
    assert "Traceback" not in done.stderr
