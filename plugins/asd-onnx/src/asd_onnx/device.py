"""Choose where ONNX Runtime computes; it is imported here, when a network is first needed."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import os
import re
from dataclasses import dataclass
from typing import Any

from asd.errors import ConfigError, PluginError
from asd.plugin import Runtime

_log = logging.getLogger("asd")

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
"""Devices by the provider of ONNX Runtime that computes on them."""

_FASTER = ("cuda",)
"""What ``auto`` takes before the processor. The others compute in half precision or compile for minutes: who wants
them names them."""

_OPTIONS: dict[str, dict[str, Any]] = {
    # TF32 rounds to 10 bits; the exhaustive search for algorithms takes seconds for each new size of batch, and what it
    # finds, and with it the last bits, differs from run to run.
    "cuda": {"use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"},
}


@dataclass(frozen=True)
class Place:
    """Where a network runs.

    Parameters
    ----------
    device : str
        ``"cpu"``, ``"cuda:0"``, ``"tensorrt:0"``, ``"coreml"`` or ``"openvino"``.
    providers : tuple of (str, dict)
        Providers of ONNX Runtime in order of preference, with their options.
    """

    device: str
    providers: tuple[tuple[str, dict[str, Any]], ...]

    @property
    def is_processor(self) -> bool:
        """Whether the processor computes."""
        return self.device == "cpu"


@functools.cache
def load_onnxruntime() -> Any:
    """Import ONNX Runtime, without its telemetry.

    Raises
    ------
    PluginError
        If it is not installed, or does not run on this machine.
    """
    # From 1.32 on it identifies the machine in a file of the user's and reports to its maker, from the import on.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime  # type: ignore[import-untyped]  # it ships no types
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise PluginError(f"onnxruntime is broken ({error}): pip install --force-reinstall onnxruntime") from error
        raise PluginError("onnxruntime is not installed: pip install onnxruntime") from None
    except Exception as error:  # a library of it that does not load, or is built for another NumPy
        reason = " ".join(str(error).split())
        raise PluginError(f"onnxruntime does not load ({reason}): pip install --force-reinstall onnxruntime") from error
    if not hasattr(onnxruntime, "InferenceSession"):  # what pip leaves if one of two distributions is removed
        raise PluginError("onnxruntime is there in part only: pip install --force-reinstall onnxruntime")
    if len(both := _distributions()) > 1:
        _log.warning(
            "%s are both installed, and their files overwrite each other: pip uninstall %s, then reinstall the one "
            "that you want",
            " and ".join(both), " ".join(both),
        )  # fmt: skip
    return onnxruntime


def places(runtime: Runtime) -> list[Place]:
    """Return where a network may run, the first choice first: more than one only for ``auto``.

    Parameters
    ----------
    runtime : Runtime
        Device ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``tensorrt``, ``tensorrt:N``, ``coreml`` or ``openvino``.

    Raises
    ------
    ConfigError
        If the installed ONNX Runtime has no provider for the device.
    PluginError
        If ONNX Runtime is not there.
    """
    present = present_devices()
    if runtime.device == "auto":
        return [_place(device, 0) for device in (*_FASTER, "cpu") if device in present]
    named = re.fullmatch(r"([a-z]+)(?::(\d+))?", runtime.device)
    kind, index = (named[1], named[2]) if named else ("", None)
    if kind not in present or (index and kind not in ("cuda", "tensorrt")):
        raise ConfigError(
            f"device {runtime.device!r} is not available: this onnxruntime computes on {', '.join(present)}; choose "
            "one, or auto"
        )
    return [_place(kind, int(index or 0))]


def present_devices() -> list[str]:
    """Return the devices that the installed ONNX Runtime has providers for; the hardware itself may be absent."""
    available = load_onnxruntime().get_available_providers()
    return [device for device, provider in _PROVIDERS.items() if provider in available]


def processors() -> int:
    """Return how many cores may compute: those that the system gives this process, OMP_NUM_THREADS at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(limit)) if limit.isdigit() and int(limit) else cores


def _place(kind: str, index: int) -> Place:
    numbered = kind in ("cuda", "tensorrt")
    own = {"device_id": index} if numbered else {}
    chain = [(_PROVIDERS[kind], {**own, **_OPTIONS.get(kind, {})})]
    if kind == "tensorrt":  # it leaves to CUDA what it cannot do
        chain.append((_PROVIDERS["cuda"], {**own, **_OPTIONS["cuda"]}))
    if kind != "cpu":
        chain.append((_PROVIDERS["cpu"], {}))
    return Place(f"{kind}:{index}" if numbered else kind, tuple(chain))


def _distributions() -> list[str]:
    """Return the installed distributions that hold a package ``onnxruntime``."""
    found = []
    for name in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"):
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.append(name)
    return found
