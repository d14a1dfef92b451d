"""Which device and number format are chosen, and what is said about it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch

import asd_torch
from asd.errors import ConfigError
from asd.plugin import Runtime
from asd_torch import device

NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")
WITHOUT_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")


@pytest.fixture(autouse=True)
def _forget_plans() -> Iterator[None]:
    device._plan.cache_clear()
    yield
    device._plan.cache_clear()


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_an_asked_precision_is_taken(precision: str, dtype: torch.dtype) -> None:
    plan = asd_torch.plan(Runtime(device="cpu", precision=precision))  # type: ignore[arg-type]
    assert (plan.device.type, plan.dtype, plan.reason) == ("cpu", dtype, "as asked")


def test_auto_takes_bfloat16_where_the_kernel_reports_it() -> None:
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123  # no path of ours
            flags = set(file.read().split())
    except OSError:
        pytest.skip("no /proc/cpuinfo to compare with")
    plan = asd_torch.plan(Runtime(device="cpu"))
    assert (plan.dtype == torch.bfloat16) == bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


@pytest.mark.parametrize(
    ("capabilities", "unit"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, "AMX-BF16"),
        ({"amx_bf16": False, "avx512_bf16": True}, "AVX512-BF16"),
        ({"bf16": True}, "Arm BF16"),
        ({"avx512_f": True}, None),
    ],
)
def test_other_processors(monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], unit: str | None) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)  # stands in for hardware
    plan = asd_torch.plan(Runtime(device="cpu"))
    assert plan.dtype == (torch.bfloat16 if unit else torch.float32)
    assert plan.reason == f"the processor has {unit or 'no bfloat16 unit'}"


def test_the_choice_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "asd"):
        for batch_size in (1, 2, None):
            asd_torch.plan(Runtime(device="cpu", precision="fp32", batch_size=batch_size))
    assert caplog.messages == ["computing on cpu in float32 (as asked)"]


@WITHOUT_CUDA
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_an_absent_gpu_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        asd_torch.plan(Runtime(device=name))
    assert str(caught.value).startswith(f"device {name!r} is not available; this machine has cpu")
    assert str(caught.value).endswith("choose one, or auto")


def test_nonsense_is_refused() -> None:
    with pytest.raises(ConfigError, match="device 'tpu' is not available; this machine has cpu"):
        asd_torch.plan(Runtime(device="tpu"))
    with pytest.raises(ConfigError, match="precision 'fp8' is unknown; choose auto, fp32 or bf16"):
        asd_torch.plan(Runtime(device="cpu", precision="fp8"))  # type: ignore[arg-type]


@NEEDS_CUDA
def test_auto_takes_the_gpu() -> None:
    plan = asd_torch.plan(Runtime())
    major, _ = torch.cuda.get_device_capability(0)
    assert plan.device.type == "cuda"
    assert plan.dtype == (torch.bfloat16 if major >= 8 else torch.float32)


def test_a_network_can_say_what_auto_means_for_it() -> None:
    assert asd_torch.plan(Runtime(device="cpu"), auto="fp32").dtype == torch.float32
    assert asd_torch.plan(Runtime(device="cpu"), auto="bf16").dtype == torch.bfloat16
    assert asd_torch.plan(Runtime(device="cpu", precision="bf16"), auto="fp32").dtype == torch.bfloat16
