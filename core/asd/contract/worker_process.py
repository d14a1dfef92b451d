"""What runs in a worker process (see `asd.contract.isolation`).

The first line on standard input names the component, each further line a batch in shared memory; all are JSON. The
answer is a line of JSON, followed by the bytes of the arrays that it describes.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
import traceback
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from asd.contract.interfaces import Extractor, Runtime
from asd.contract.parameters import convert_all
from asd.records import Audio

Array = npt.NDArray[Any]


def main() -> None:
    """Answer until the parent process closes the pipe or dies."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What a component reads or prints must not mix with requests and answers.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()
    with suppress(BrokenPipeError):
        _serve(requests, answers)
    os._exit(0)  # libraries that clash with others are no better at an orderly exit


def _watch_parent(parent: int) -> None:
    """End with the parent, also in the middle of a batch."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    server = _Server(json.loads(next(requests, b"{}")))
    for line in requests:
        for part in server.answer(json.loads(line)):
            answers.write(part)
        answers.flush()


class _Server:
    """The component, made at the first request, and the shared memory that it reads."""

    def __init__(self, which: dict[str, Any]) -> None:
        self._which = which
        self._component: Any = None
        self._segment: SharedMemory | None = None

    def answer(self, request: dict[str, Any]) -> list[Any]:
        """Return the parts of the answer: a line of JSON, then the bytes of each array."""
        try:
            self._prepare(request["segment"])
            assert self._segment is not None
            shape, strides = request["shape"], request["strides"]
            array: Array = np.ndarray(shape, request["dtype"], buffer=self._segment.buf, strides=strides)
            duration, arrays = _computed(self._component, array, request)
            arrays = [np.ascontiguousarray(result) for result in arrays]
            described = [{"shape": result.shape, "dtype": result.dtype.str} for result in arrays]
            answer: dict[str, Any] = {"duration": duration, "arrays": described}
        except Exception as error:
            answer, arrays = {"error": _described(error)}, []
        return [json.dumps(answer).encode() + b"\n", *(result.tobytes() for result in arrays)]

    def _prepare(self, segment: str) -> None:
        if self._component is None:
            cls = getattr(importlib.import_module(self._which["module"]), self._which["class"])
            self._component = cls(**convert_all(cls, self._which["class"], self._which["parameters"]))
        if self._segment is None or self._segment.name != segment:
            self._segment = _attached(segment)


def _computed(component: Any, array: Array, request: dict[str, Any]) -> tuple[float, list[Array]]:
    component.runtime = Runtime(**request["runtime"])
    if isinstance(component, Extractor):
        return 0.0, [component.embed(array)]
    windows = component(Audio(array, request["audio"]["sample_rate"], request["audio"]["source"]))
    return windows.duration, [np.asarray(windows.values), windows.start]


def _attached(name: str) -> SharedMemory:
    if sys.version_info >= (3, 13):
        return SharedMemory(name, track=False)
    # Before Python 3.13 whoever attaches counts as owner, and would free the memory at its end.
    register = resource_tracker.register
    resource_tracker.register = lambda name, rtype: None
    try:
        return SharedMemory(name)
    finally:
        resource_tracker.register = register


def _described(error: Exception) -> dict[str, str]:
    cls = type(error)
    return {
        "module": cls.__module__,
        "error": cls.__name__,
        "text": str(error),
        "trace": traceback.format_exc(),
    }
