"""Which engine computes an embedded network: ONNX Runtime, or PyTorch by the component of another plugin.

Everything here is cheap: PyTorch is never imported, ONNX Runtime only where PyTorch could stand in for it or a device
is named. In float32 both engines agree to 1e-4 of the largest value, so a model may be fitted with one and score with
the other; bfloat16 differs, and is what a model that was fitted in it asks for.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import logging
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from asd.errors import ConfigError, PluginError
from asd.plugin import Extractor, Runtime, create, registry
from asd_onnx.device import load_onnxruntime, places, present_devices

_log = logging.getLogger("asd")

_UNITS = {"amx_bf16": "AMX-BF16", "avx512_bf16": "AVX512-BF16"}
"""Flags of a processor by what computes in bfloat16, the fastest first."""

_TORCH_DEVICES = ("cuda", "mps")


@dataclass(frozen=True)
class Counterpart:
    """The same network in PyTorch, in another plugin.

    Parameters
    ----------
    component : str
        ``distribution:name`` of the extractor; it has the same parameters.
    pays_from : mapping of str to int
        By what computes (``"AMX-BF16"``, ``"AVX512-BF16"`` or ``"CUDA"``) the number of clips of 10 s from which
        PyTorch is done earlier than ONNX Runtime on the processor, its start-up of 2 s (with CUDA 5 s) included. What
        is not named never pays.
    """

    component: str
    pays_from: Mapping[str, int] = field(default_factory=dict)


# Windows a second on two cores, network alone; a clip of 10 s has 19. ONNX Runtime: squeezenet1_0 182 to 290, MusiCNN
# 500, EfficientAT mn04 7000. PyTorch in bfloat16: squeezenet1_0 259 with AMX (where ONNX Runtime reaches 182), with
# AVX512-BF16 as fast as ONNX Runtime; MusiCNN 880 with AVX512-BF16, and AMX is at least as fast; mn04 is slower in
# bfloat16 than in float32. With CUDA the start-up alone counts: it was not measured.
_MUSICNN = {"AMX-BF16": 120, "AVX512-BF16": 120, "CUDA": 130}
COUNTERPARTS = {
    "efficientat-mn04": Counterpart("asd-audioset:efficientat-mn04-torch", {"CUDA": 2000}),
    "musicnn-mtt": Counterpart("asd-essentia:musicnn-mtt-torch", _MUSICNN),
    "musicnn-msd": Counterpart("asd-essentia:musicnn-msd-torch", _MUSICNN),
    "squeezenet1_0": Counterpart("asd-imagenet:squeezenet1_0-torch", {"AMX-BF16": 70, "CUDA": 80}),
}
"""Of the embedded networks that another plugin has in PyTorch, by name."""


def choose(network: str, runtime: Runtime, clips: int, counterpart: Counterpart | None) -> Runtime:
    """Return `runtime` with the engine, and its precision, that is best for a network here; the log says why.

    The same machine and the same arguments give the same choice. It is ONNX Runtime in float32, unless it cannot
    compute what is asked for, or PyTorch is installed and faster by the counterpart's `pays_from`.

    Parameters
    ----------
    network : str
        Its name, for messages.
    runtime : Runtime
        What the user asks for, with the engine ``auto``.
    clips : int
        How many clips are to be embedded; 0: unknown.
    counterpart : Counterpart or None
        The network in PyTorch; None: there is none.

    Raises
    ------
    ConfigError
        If neither engine has the precision or the device that is asked for.
    PluginError
        If neither engine is installed.
    """
    lacking = problem_of(counterpart)
    chosen, reason = _chosen(network, runtime, clips, counterpart, lacking)
    # Of ONNX Runtime the session says where it computes.
    level = logging.INFO if chosen.engine == "torch" else logging.DEBUG
    _log.log(level, "%s: engine %s (%s)", network, chosen.engine, reason)
    return chosen


def counterpart_extractor(counterpart: Counterpart, parameters: Mapping[str, Any], runtime: Runtime) -> Extractor:
    """Return the extractor that computes the network in PyTorch.

    Parameters
    ----------
    counterpart : Counterpart
        Where it is.
    parameters : mapping of str to Any
        Of the component.
    runtime : Runtime
        How it computes.

    Raises
    ------
    PluginError
        If the plugin or PyTorch is not installed; the text gives the pip command.
    """
    require(counterpart)
    extractor = create("extractor", counterpart.component, parameters)
    extractor.runtime = runtime
    return extractor


def require(counterpart: Counterpart | None) -> None:
    """Refuse engine torch where the plugin or PyTorch is not installed.

    Raises
    ------
    PluginError
        If it is not; the text gives the pip command.
    """
    if lacking := problem_of(counterpart):
        raise PluginError(f"engine torch: {lacking}; or use --engine onnx")


def problem_of(counterpart: Counterpart | None) -> str | None:
    """Return what keeps a network from being computed in PyTorch, or None."""
    if counterpart is None:
        return "there is no PyTorch version of this network"
    try:
        return registry().find("extractor", counterpart.component).problem
    except PluginError as error:
        return str(error)


def onnxruntime_problem(*, thorough: bool) -> str | None:
    """Return what keeps ONNX Runtime from running here, or None.

    Parameters
    ----------
    thorough : bool
        Whether to import it; otherwise only look for it and at the processor.
    """
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:  # a folder that an uninstallation left has no origin
        return "onnxruntime is not installed: pip install onnxruntime"
    flags = _processor_flags()
    if flags and platform.machine().lower() in ("x86_64", "amd64") and "avx" not in flags:
        return "onnxruntime needs a processor with AVX, which this one lacks"
    if thorough:
        try:
            load_onnxruntime()
        except PluginError as error:
            return str(error)
    return None


def _chosen(
    network: str, runtime: Runtime, clips: int, counterpart: Counterpart | None, lacking: str | None
) -> tuple[Runtime, str]:
    unusable = onnxruntime_problem(thorough=lacking is None)
    if runtime.precision == "bf16":
        if lacking:
            raise ConfigError(
                f"{network}: ONNX Runtime computes in fp32 only, and for bf16 with PyTorch: {lacking}; or use "
                "--precision fp32"
            )
        return replace(runtime, engine="torch"), "ONNX Runtime has no bfloat16"
    if unusable:
        if lacking:
            raise PluginError(f"{network}: {unusable}; nor can PyTorch stand in: {lacking}")
        return _with_torch(runtime, counterpart), unusable
    kind = runtime.device.partition(":")[0]
    if kind not in ("auto", "cpu"):
        return _on_device(kind, runtime, lacking)
    unit, least = _worthwhile(runtime, counterpart)
    if lacking is None and least and clips >= least and runtime.precision == "auto":
        return _with_torch(runtime, counterpart), f"with {unit} faster for {clips} clips"
    few = f"; PyTorch with {unit} pays from {least} clips" if least and lacking is None else ""
    return replace(runtime, engine="onnx", precision="fp32"), f"float32{few}"


def _on_device(kind: str, runtime: Runtime, lacking: str | None) -> tuple[Runtime, str]:
    """Return the runtime for a device that the user names."""
    if kind not in present_devices() and kind in _TORCH_DEVICES and lacking is None:
        return replace(runtime, engine="torch"), f"this onnxruntime has no provider for {kind}"
    places(runtime)  # says what there is, if it is not this one
    return replace(runtime, engine="onnx", precision="fp32"), f"it has a provider for {kind}"


def _with_torch(runtime: Runtime, counterpart: Counterpart | None) -> Runtime:
    """Return the runtime for PyTorch, with the precision that ``auto`` means, in bfloat16 only where that pays.

    A graphics card computes in float32 too, as another machine, or fewer clips, would with ONNX Runtime.
    """
    if runtime.precision != "auto":
        return replace(runtime, engine="torch")
    unit, _ = _worthwhile(runtime, counterpart)
    return replace(runtime, engine="torch", precision="fp32" if unit in ("", "CUDA") else "bf16")


def _worthwhile(runtime: Runtime, counterpart: Counterpart | None) -> tuple[str, int]:
    """Return what would make PyTorch faster here, and from how many clips; an empty text: nothing."""
    pays_from = counterpart.pays_from if counterpart else {}
    units = [unit for flag, unit in _UNITS.items() if flag in _processor_flags()][:1]
    if runtime.device == "auto" and _has_card():
        units.insert(0, "CUDA")
    return next(((unit, pays_from[unit]) for unit in units if unit in pays_from), ("", 0))


def _has_card() -> bool:
    """Return whether there is a graphics card that PyTorch can compute on and this ONNX Runtime cannot."""
    if not Path("/dev/nvidia0").exists():
        return False
    try:
        if "+cpu" in importlib.metadata.version("torch"):  # a build without CUDA
            return False
        return "cuda" not in present_devices()
    except importlib.metadata.PackageNotFoundError:
        return False
    except PluginError:  # no ONNX Runtime
        return True


@functools.cache
def _processor_flags() -> frozenset[str]:
    """Return the abilities of the processor by Linux's names; empty where they are not known."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return frozenset()
    found = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()
