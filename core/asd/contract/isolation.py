"""Components that must not share the process run in one of their own: a worker process.

A component asks for it by ``isolation = "process"``; the pipeline then wraps it, and nothing else changes. The worker
starts at the first batch. Windows and results travel through its standard input and output (see
`asd.contract.messages`). It ends when the wrapper is closed or collected, and when this process dies, however it dies.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from asd.contract.interfaces import Component, Extractor, Frontend
from asd.contract.messages import Array, MessageError, as_array, receive, send
from asd.contract.processes import end_process, start_python
from asd.errors import AsdError, PluginError
from asd.records import Audio, Float32, Windows

AnyComponent = TypeVar("AnyComponent", Extractor, Frontend)
Shape = tuple[int | None, ...]

_BATCH_BYTES = 32 * 2**20
"""Windows that an extractor gets at once; bounds the worker's memory."""

# Ctrl-C goes to the whole process group: this process ends the worker.
_START = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from asd.contract.worker_process import main; main()"
)

_log = logging.getLogger("asd")


def isolated(component: AnyComponent, name: str) -> AnyComponent:
    """Return `component`, wrapped if it asks for a process of its own.

    Parameters
    ----------
    component : Extractor or Frontend
        Of an importable module. Wrapped, it computes nothing: another one of the same class and parameters, in the
        worker process, does.
    name : str
        What the user calls it, for messages.
    """
    if component.isolation is None:
        return component
    wrapper: Any = _IsolatedExtractor if isinstance(component, Extractor) else _IsolatedFrontend
    wrapped: AnyComponent = wrapper(component, name)
    return wrapped


class _Isolated:
    """A component that computes in a worker process, which starts at the first call, and once again if it dies.

    The component in this process answers for its parameters and its other attributes.
    """

    def __init__(self, component: Component, name: str) -> None:
        self._component = component
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._component, attribute)

    @property
    def process_id(self) -> int | None:
        """The running process, None if there is none."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """End the process; the next call starts another. Happens by itself when the component is collected."""
        process, self._process = self._process, None
        if process is not None:
            _end(process, self._owner)

    def _call(self, array: Array, expected: Sequence[Shape], **fields: Any) -> tuple[dict[str, Any], list[Array]]:
        """Return what the component computes from `array`: plain data, and arrays of the `expected` shapes.

        Raises
        ------
        AsdError
            What the component raised, as the same class with the same text; or that the worker died twice.
        PluginError
            If the answer is no valid message, or its arrays have other shapes.
        RuntimeError
            If the component failed otherwise; with the worker's traceback.
        """
        cls, parameters = type(self._component), self._component.get_params()
        request = {"module": cls.__module__, "class": cls.__qualname__, "parameters": parameters}
        with self._lock:
            answer, arrays = self._answer({**request, "runtime": asdict(self.runtime), **fields}, array)
        if "error" in answer:
            raise _raised(self._name, answer)
        shapes = [array.shape for array in arrays]
        if len(shapes) != len(expected) or not all(map(_fits, shapes, expected)):
            raise self._refusal(f"arrays of shape {str(shapes)[1:-1]}; expected {str(list(expected))[1:-1]}")
        return answer, arrays

    def _answer(self, request: dict[str, Any], array: Array) -> tuple[dict[str, Any], list[Array]]:
        try:
            return self._exchange(request, array)
        except _WorkerDiedError as death:
            _log.warning("%s: its worker process ended (%s); starting another", self._name, death)
        try:
            return self._exchange(request, array)
        except _WorkerDiedError as death:
            raise AsdError(
                f"{self._name}: its worker process ended again on the same sound ({death}); if memory ran out, close "
                "other programs or use a smaller --batch-size, else choose another component or reinstall its packages"
            ) from None

    def _exchange(self, request: dict[str, Any], array: Array) -> tuple[dict[str, Any], list[Array]]:
        process: Any = self._running()
        try:
            send(process.stdin, request, [array])
            return receive(process.stdout)
        except (BrokenPipeError, EOFError):
            code = end_process(process, patience=5.0)
            self._process = None
            raise _WorkerDiedError(signal.Signals(-code).name if code < 0 else f"exit code {code}") from None
        except MessageError as error:
            self.close()
            raise self._refusal(str(error)) from None
        except BaseException:  # an answer that nobody waited for would be taken for the next one
            self.close()
            raise

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._owner != os.getpid():  # a forked copy of this process starts its own
            self._owner = os.getpid()
            self._process = start_python(_START, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            weakref.finalize(self, _end, self._process, self._owner)
        return self._process

    def _refusal(self, text: str) -> PluginError:
        return PluginError(f"{self._name}: its worker process returned {text}")


@Extractor.register
class _IsolatedExtractor(_Isolated):
    def embed(self, values: Any) -> Float32:
        windows = as_array(values)
        count = max(1, _BATCH_BYTES // max(1, windows[:1].nbytes))
        dimension, batches = self.dimension, []
        for start in range(0, max(1, len(windows)), count):
            batch = windows[start : start + count]
            _, (embeddings,) = self._call(batch, [(len(batch), dimension)])
            batches.append(embeddings)
            dimension = embeddings.shape[1]
        return np.concatenate(batches)


@Frontend.register
class _IsolatedFrontend(_Isolated):
    def __call__(self, audio: Audio) -> Windows:
        expected = [(None, *self.produces.shape), (None,)]
        given = {"sample_rate": audio.sample_rate, "source": audio.source}
        answer, (values, start) = self._call(audio.samples, expected, **given)
        duration = answer.get("duration")
        if len(values) != len(start) or not isinstance(duration, float) or not 0 < duration < math.inf:
            raise self._refusal(
                f"{len(values)} windows, {len(start)} starts and the duration {duration}; expected a start for each "
                "window and a positive duration"
            )
        return Windows(values, start, duration)


class _WorkerDiedError(Exception):
    """The worker ended before it answered; the text says by what."""


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """End a worker, which keeps nothing that is worth saving; a forked copy of its owner leaves it alone."""
    if os.getpid() == owner:
        end_process(process)


def _fits(shape: Shape, expected: Shape) -> bool:
    return len(shape) == len(expected) and all(e in (None, s) for s, e in zip(shape, expected, strict=True))


def _raised(name: str, answer: dict[str, Any]) -> Exception:
    """Return the error that the component raised in the worker, with the worker's traceback as a note."""
    module, error, text, trace = (str(answer.get(key)) for key in ("module", "error", "text", "trace"))
    cls = vars(sys.modules[module]).get(error) if module in sys.modules else None
    raised: Exception
    if isinstance(cls, type) and issubclass(cls, AsdError):
        raised = cls(text)
    else:
        raised = RuntimeError(f"{name}: {error} in its worker process: {text}")
    raised.add_note(trace)
    return raised
