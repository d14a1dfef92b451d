"""Choose where to compute and how precisely."""

from __future__ import annotations

import functools
import logging
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch

from asd.errors import ConfigError
from asd.plugin import Runtime

_log = logging.getLogger("asd")
_DTYPES: dict[Literal["fp32", "bf16"], torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Plan:
    """Where a network runs, in which number format, and why.

    Parameters
    ----------
    device : torch.device
        Where weights and windows go.
    dtype : torch.dtype
        ``torch.float32`` or ``torch.bfloat16``.
    reason : str
        Why these were chosen, for people.
    """

    device: torch.device
    dtype: torch.dtype
    reason: str


def plan(runtime: Runtime, *, auto: Literal["fp32", "bf16"] | None = None) -> Plan:
    """Resolve the device and the precision that `runtime` asks for; the log says once what was chosen.

    Parameters
    ----------
    runtime : Runtime
        Device ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; precision ``auto``, ``fp32`` or ``bf16``.
    auto : {"fp32", "bf16"} or None
        What ``auto`` means for a network that is known to need it; None: what the hardware computes best.

    Raises
    ------
    ConfigError
        If the device is not on this machine, or the precision is unknown.
    """
    return _plan(runtime.device, runtime.precision, auto)


@contextmanager
def full_precision(plan: Plan, *, deterministic: bool = False) -> Iterator[None]:
    """Let a graphics card compute convolutions in float32 itself inside the block.

    By default cuDNN rounds to TF32 (10 bits), which moves scores by 4e-5. In training it may also add gradients in
    another order each time: `deterministic` forbids that, at the price of speed.
    """
    if plan.device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=deterministic, allow_tf32=False):
        yield


def resolved(runtime: Runtime, chosen: Plan) -> Runtime:
    """Return `runtime` with the device, the precision and the engine of a plan that was made for it."""
    precision = next(name for name, dtype in _DTYPES.items() if dtype == chosen.dtype)
    return replace(runtime, device=str(chosen.device), precision=precision, engine="torch")


@functools.cache
def _plan(device_name: str, precision: str, auto: str | None) -> Plan:
    device = _device(device_name)
    if precision == "auto" and auto:
        dtype, reason = next(t for name, t in _DTYPES.items() if name == auto), "best for this network"
    elif precision == "auto":
        fast, reason = _bfloat16_support(device)
        dtype = torch.bfloat16 if fast else torch.float32
    elif precision in _DTYPES:
        dtype, reason = _DTYPES[precision], "as asked"
    else:
        raise ConfigError(f"precision {precision!r} is unknown; choose auto, fp32 or bf16")
    _log.info("computing on %s in %s (%s)", device, str(dtype).removeprefix("torch."), reason)
    return Plan(device, dtype, reason)


def _device(name: str) -> torch.device:
    present = _present_devices()
    if name == "auto":
        return torch.device(present[-1].partition(":")[0])
    if name in present or (name == "cuda" and "cuda:0" in present):
        return torch.device(name)
    raise ConfigError(f"device {name!r} is not available; this machine has {', '.join(present)}: choose one, or auto")


def _present_devices() -> list[str]:
    """Return the devices by name, the fastest kind last."""
    present = ["cpu"]
    if torch.backends.mps.is_available():
        present.append("mps")
    if torch.cuda.is_available():
        present += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return present


def _bfloat16_support(device: torch.device) -> tuple[bool, str]:
    """Return whether `device` computes bfloat16 in hardware, and the evidence."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return major >= 8, f"compute capability {major}.{minor}"
    if device.type == "cpu":
        unit = _processor_bfloat16_unit()
        return unit is not None, f"the processor has {unit}" if unit else "the processor has no bfloat16 unit"
    return False, f"float32 is the safe choice on {device.type}"


def _processor_bfloat16_unit() -> str | None:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch's own
        return None
    # get_capabilities is younger than torch 2.6; what stands in for it there is private but all there is.
    if hasattr(torch.cpu, "get_capabilities"):
        has = torch.cpu.get_capabilities()
        units = {"amx_bf16": "AMX-BF16", "avx512_bf16": "AVX512-BF16", "bf16": "Arm BF16"}
        return next((unit for key, unit in units.items() if has.get(key)), None)
    if platform.machine().lower() in ("aarch64", "arm64"):
        return "Arm BF16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else None
    return "AVX512-BF16" if torch.cpu._is_avx512_bf16_supported() else None
