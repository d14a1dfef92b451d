"""A network that ONNX Runtime computes, on windows of any number."""

from __future__ import annotations

import itertools
import logging
import math
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asd.errors import AsdError, ConfigError, WeightError
from asd.plugin import Float32, Runtime
from asd_onnx.device import Place, load_onnxruntime, places, processors
from asd_onnx.graph import pruned
from asd_onnx.wire import shown

_log = logging.getLogger("asd")

_VALUES_EACH = 2**18
"""Values of windows that a core takes at a time: fewer keep it idle, more do not fit its cache and cost memory."""

_VALUES_ON_DEVICE = 2**22
"""Values of windows that a graphics card takes at a time."""

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}

Shape = tuple[int | str | None, ...]


class Session:
    """A network ready to compute, with one input; its outputs are float32.

    On the processor each core takes windows of its own through the whole network, and threads end with their work: that
    is faster than several cores on one operation, which wait for one another, and leaves the cores to the threads that
    decode. Several threads may call `run` at once.

    Parameters
    ----------
    model : Path or bytes
        An ONNX file, or its content. Initialisers in other files are found beside a file only.
    runtime : Runtime
        Device (see `asd_onnx.device.places`), precision (``auto`` or ``fp32``), batch size.
    outputs : sequence of str
        The outputs to compute, in this order: the rest of the graph is cut off, so that they alone cost time. Empty:
        all of them.
    name : str
        What messages call the network.

    Attributes
    ----------
    input_name, output_names : str, tuple of str
        Names in the graph.
    input_shape, output_shapes : tuple of (int, str or None), tuple of those
        Sizes as the graph declares them, the number of windows included; a text or None where any fits. An output
        whose shape is unknown has an empty one.
    metadata : dict of str to str
        The model's ``metadata_props``.
    device : str
        What computes.

    Raises
    ------
    ConfigError
        If the device is not available, the precision is bf16, an output is unknown, or there is not one input.
    PluginError
        If ONNX Runtime is not installed or does not load.
    WeightError
        If ONNX Runtime refuses the model; the text says why.
    """

    def __init__(
        self,
        model: Path | bytes,
        runtime: Runtime | None = None,
        *,
        outputs: Sequence[str] = (),
        name: str = "the network",
    ) -> None:
        self.runtime = runtime or Runtime()
        self.name = name
        if self.runtime.precision == "bf16":
            raise ConfigError(f"{name}: ONNX Runtime computes in fp32 only; leave --precision out, or give fp32")
        self._place, self._session = _opened(model, self.runtime, outputs, name)
        self.device = self._place.device
        inputs, given = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or inputs[0].type not in _TYPES:
            found = ", ".join(f"{shown(each.name)} ({each.type})" for each in inputs) or "none"
            raise ConfigError(
                f"{name}: expected one input of floating-point numbers that has no value in the file, found {found}; "
                "export the network with the others as constants"
            )
        self.input_name, self._dtype = inputs[0].name, _TYPES[inputs[0].type]
        self.input_shape: Shape = tuple(inputs[0].shape)
        self.output_names = tuple(each.name for each in given)
        self.output_shapes: tuple[Shape, ...] = tuple(tuple(each.shape) for each in given)
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        cores = processors() if self._place.is_processor else 1
        self._cores = cores
        self._threads = ThreadPoolExecutor(cores, thread_name_prefix="asd-onnx") if cores > 1 else None

    def run(self, values: Any) -> tuple[Float32, ...]:
        """Return every output of all windows, float32[n_windows, *output shape] each.

        Parameters
        ----------
        values : array of shape (n_windows, *window shape)
            As the input's shape says; NumPy or anything with ``__dlpack__``, in any order of memory.

        Raises
        ------
        ConfigError
            If the windows do not fit the input, or an output is not one row per window.
        AsdError
            If the network fails on them, or memory runs out.
        """
        windows = values if isinstance(values, np.ndarray) else np.from_dlpack(values)
        self._check(windows.shape)
        if not len(windows):  # only the network knows the shape of a result
            empty = self._part(np.zeros((1, *windows.shape[1:]), windows.dtype))
            return tuple(each[:0] for each in empty)
        slices = self._parts(len(windows), math.prod(windows.shape[1:]))
        computed = (self._threads.map if self._threads else map)(lambda part: self._part(windows[part]), slices)
        return tuple(np.concatenate(each) for each in zip(*computed, strict=True))

    def computes_with(self) -> Runtime:
        """Return the runtime with the device, the precision and the engine that were taken."""
        return replace(self.runtime, device=self.device, precision="fp32", engine="onnx")

    def close(self) -> None:
        """End the threads; the session must not be used any more."""
        if self._threads:
            self._threads.shutdown()

    @property
    def _fixed(self) -> int | None:
        """How many windows the graph takes at a time, None: any number."""
        first = self.input_shape[0] if self.input_shape else None
        return first if isinstance(first, int) else None

    def _check(self, shape: tuple[int, ...]) -> None:
        declared = self.input_shape
        fits = not declared or (
            len(shape) == len(declared)
            and all(not isinstance(size, int) or size == got for size, got in zip(declared[1:], shape[1:], strict=True))
        )
        if not fits:
            raise ConfigError(
                f"{self.name}: its input {self.input_name!r} takes windows of shape {shape_text(declared[1:])}, got "
                f"{shape_text(shape[1:])}; choose the front end or the layout that fits"
            )

    def _parts(self, windows: int, values: int) -> list[slice]:
        """Return which windows are computed together: equal parts, as many for one core as for another."""
        most = self._fixed or self.runtime.batch_size
        if most is None:
            most = max(1, (_VALUES_EACH if self._place.is_processor else _VALUES_ON_DEVICE) // max(1, values))
        if most < 1:
            raise ConfigError(f"the batch size must be at least 1, got {most}; leave it out for what suits the network")
        count = -(-windows // most)
        if self._fixed:
            return [slice(start, start + most) for start in range(0, windows, most)]
        count = min(windows, -(-count // self._cores) * self._cores)
        bounds = [windows * index // count for index in range(count + 1)]
        return [slice(start, stop) for start, stop in itertools.pairwise(bounds)]

    def _part(self, windows: npt.NDArray[Any]) -> list[Float32]:
        count = len(windows)
        batch = np.ascontiguousarray(windows, self._dtype)
        if self._fixed and count < self._fixed:  # the last part of a graph that takes so many and no fewer
            batch = np.concatenate([batch, np.repeat(batch[-1:], self._fixed - count, axis=0)])
        try:
            results = self._session.run(None, {self.input_name: batch})
        except Exception as error:
            if not _out_of_memory(error):
                raise AsdError(f"{self.name}: ONNX Runtime failed: {reason_of(error)}") from error
            if count == 1 or self._fixed:
                raise AsdError(
                    f"{self.name}: {self.device} has too little memory for a single window; free some, or choose "
                    "shorter windows or a smaller network"
                ) from error
            _log.warning("%s: %s ran out of memory with %d windows at a time; halved", self.name, self.device, count)
            halves = self._part(windows[: count // 2]), self._part(windows[count // 2 :])
            return [np.concatenate(each) for each in zip(*halves, strict=True)]
        named = zip(self.output_names, results, strict=True)
        return [self._result(name, value, len(batch))[:count] for name, value in named]

    def _result(self, name: str, value: Any, windows: int) -> Float32:
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.shape[:1] != (windows,):
            got = f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
            raise ConfigError(
                f"{self.name}: its output {name!r} is {got}, expected one row for each window; choose another output"
            )
        return value.astype(np.float32, copy=False)


def shape_text(shape: Sequence[Any]) -> str:
    """Return a shape for people: ``(128, any)``."""
    sizes = [str(size) if isinstance(size, int) else "any" for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _refusal(name: str, error: Exception) -> str:
    """Return why ONNX Runtime does not take a model, and what to do."""
    text = " ".join(str(error).split())
    here = f"this onnxruntime {load_onnxruntime().__version__}"
    mend = "pip install --upgrade onnxruntime, or export the network"
    if opset := re.search(r"Opset (\d+) is under development.* domain (\S+) is till opset (\d+)", text):
        return f"{name}: needs opset {opset[1]} of {opset[2]}, {here} has {opset[3]}: {mend} with that opset"
    if version := re.search(r"IR version: (\d+), max supported IR version: (\d+)", text):
        return f"{name}: is in ONNX's format {version[1]}, {here} reads up to {version[2]}: {mend} with an older onnx"
    return f"{name}: ONNX Runtime does not take it: {reason_of(error)}; export the network again"


def reason_of(error: Exception) -> str:
    """Return what ONNX Runtime says, in one line, without its codes, source files and signatures."""
    text = " ".join(str(error).split())
    text = text.rpartition("[ONNXRuntimeError] : ")[2] or text
    parts = text.split(" : ", 2)
    return (parts[2] if len(parts) == 3 and parts[0].isdigit() else text)[:300]


def _opened(model: Path | bytes, runtime: Runtime, outputs: Sequence[str], name: str) -> tuple[Place, Any]:
    """Return the place that was taken, and the session there."""
    content: str | bytes = model if isinstance(model, bytes) else str(model)
    options = _options(model)
    if outputs:
        try:
            content = pruned(model if isinstance(model, bytes) else model.read_bytes(), outputs)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from error
    candidates = places(runtime)
    for place in candidates:
        try:
            session = load_onnxruntime().InferenceSession(content, options, providers=list(place.providers))
        except Exception as error:
            raise WeightError(_refusal(name, error)) from error
        if session.get_providers()[0] == place.providers[0][0]:  # else it went on with the next provider
            break
        if place is candidates[-1]:
            raise ConfigError(
                f"device {runtime.device!r}: onnxruntime has {place.providers[0][0]}, but it does not start on this "
                "machine (is there such hardware, and are its driver and libraries of the version that onnxruntime "
                "needs?); use --device cpu"
            )
    _log.info("%s: computing on %s in float32 (ONNX Runtime)", name, place.device)
    return place, session


def _options(model: Path | bytes) -> Any:
    options = load_onnxruntime().SessionOptions()
    options.log_severity_level = 4  # what is an error raises one
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if isinstance(model, Path):  # of a graph that was cut there is no file, but its initialisers' files are there
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(model.parent))
    return options


def _out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return any(sign in text for sign in ("failed to allocate", "bad allocation", "bad_alloc", "out of memory"))
