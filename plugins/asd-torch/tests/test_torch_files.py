"""Weight files are read without running code; what does not fit is named."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

import asd_torch
from asd.errors import AsdError

TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}


class Malicious:
    """Runs a command when it is unpickled without care."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._trace),)


def _save_legacy(tensors: Any, path: Path) -> None:
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


def _save_wrapped(tensors: Any, path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": tensors}, path)


@pytest.mark.parametrize("save", [safetensors.torch.save_file, torch.save, _save_legacy, _save_wrapped])
def test_every_format_gives_its_tensors(tmp_path: Path, save: Callable[[Any, Path], None]) -> None:
    save(TENSORS, tmp_path / "weights")
    tensors = asd_torch.read_tensors(tmp_path / "weights")
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("save", [safetensors.torch.save_file, torch.save, _save_legacy])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_a_cut_off_file_is_refused(tmp_path: Path, save: Callable[[Any, Path], None], share: float) -> None:
    path = tmp_path / "weights.pth"
    save({"weight": torch.zeros(100, 100)}, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(AsdError, match=r"weights\.pth: (damaged or cut-off|not a weight file, damaged)") as caught:
        asd_torch.read_tensors(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"x" * 5000, b"\x80\x02}q\x00.", b"PK\x03\x04junk"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(AsdError, match=r"expected a \.safetensors file or a torch file \(\.pth, \.pt\)") as caught:
        asd_torch.read_tensors(tmp_path / "weights.pth")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AsdError, match=r"absent\.pth: cannot read this weight file \(No such file or directory\)"):
        asd_torch.read_tensors(tmp_path / "absent.pth")


@pytest.mark.parametrize("save", [torch.save, _save_legacy])
def test_code_in_a_file_does_not_run(tmp_path: Path, save: Callable[[Any, Path], None]) -> None:
    save({"weight": Malicious(tmp_path / "trace")}, tmp_path / "weights.pth")
    with pytest.raises(AsdError, match="not a weight file, damaged, or with more than tensors inside"):
        asd_torch.read_tensors(tmp_path / "weights.pth")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("content", [TENSORS["weight"], {}, {"weight": 3}, [TENSORS["weight"]]])
def test_anything_but_named_tensors_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(AsdError, match="holds no named tensors"):
        asd_torch.read_tensors(tmp_path / "weights.pth")


def test_half_precision_becomes_float32_and_meta_becomes_real() -> None:
    module = nn.Linear(3, 2, device="meta")
    asd_torch.load_into(module, {name: tensor.half() for name, tensor in TENSORS.items()}, "a linear layer")
    assert module.weight.dtype == torch.float32
    assert torch.equal(module.weight, TENSORS["weight"])


def test_batch_norm_without_a_counter_is_loaded() -> None:
    module = nn.BatchNorm1d(2)
    state = {name: t for name, t in copy.deepcopy(module.state_dict()).items() if "num_batches" not in name}
    asd_torch.load_into(module, {**state, "bias": torch.tensor([1.0, 2.0])}, "a batch norm")
    assert torch.equal(module.bias, torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({"weight": TENSORS["weight"]}, "it lacks 'bias'"),
        ({**TENSORS, "weight": torch.zeros(2, 4)}, "'weight' has shape (2, 4), expected (2, 3)"),
        ({**TENSORS, "scale": torch.zeros(1)}, "it has an extra 'scale'"),
    ],
)
def test_what_does_not_fit_is_named(tensors: dict[str, torch.Tensor], problem: str) -> None:
    with pytest.raises(AsdError) as caught:
        asd_torch.load_into(nn.Linear(3, 2), tensors, "linear", "other.pth")
    assert str(caught.value) == (f"other.pth does not fit linear: {problem}; use the weights of this architecture")
