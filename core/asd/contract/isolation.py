"""Components that must not share the process run in one of their own: a worker.

A component asks for it by ``isolation = "process"``; the pipeline then wraps it, and nothing else changes. The worker
starts at the first batch. It gets its windows through shared memory and gives its results back through a pipe (see
`asd.contract.worker_process`); it ends when the wrapper is closed or collected, and when this process dies, however it
dies.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import weakref
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from asd.contract.interfaces import Component, Extractor, Frontend, Runtime
from asd.errors import AsdError
from asd.records import Audio, Float32, Representation, Windows

if TYPE_CHECKING:
    from multiprocessing.shared_memory import SharedMemory

Array = npt.NDArray[Any]
AnyComponent = TypeVar("AnyComponent", Extractor, Frontend)

_ATTEMPTS = 2
_BATCH_BYTES = 32 * 2**20
"""Windows that an extractor gets at once; a container often grants all its processes 64 MB of shared memory."""

# Ctrl-C goes to the whole process group: this process ends the worker.
_START = (
    "import signal, sys, json; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.path[:] = json.loads(sys.argv[1]); "
    "from asd.contract.worker_process import main; main()"
)

_log = logging.getLogger("asd")


def isolated(component: AnyComponent, name: str) -> AnyComponent:
    """Return `component`, wrapped if it asks for a process of its own.

    Parameters
    ----------
    component : Extractor or Frontend
        Of an importable module. Wrapped, it computes nothing: its like in the worker, made of the same parameters,
        does.
    name : str
        What the user calls it, for messages.
    """
    if component.isolation is None:
        return component
    wrapper: Any = _Extractor if isinstance(component, Extractor) else _Frontend
    wrapped: AnyComponent = wrapper(component, name)
    return wrapped


class _Extractor(Extractor):
    """An extractor that embeds in a worker."""

    def __init__(self, extractor: Extractor, name: str) -> None:
        self._local = extractor
        self._worker = Worker(extractor, name)
        self.close = self._worker.close

    @property
    def consumes(self) -> Representation:
        return self._local.consumes

    @property
    def dimension(self) -> int | None:
        return self._local.dimension

    def embed(self, values: Any) -> Float32:
        windows = values if isinstance(values, np.ndarray) else np.from_dlpack(values)
        count = max(1, _BATCH_BYTES // max(1, windows[:1].nbytes))
        batches = [windows[start : start + count] for start in range(0, max(1, len(windows)), count)]
        return np.concatenate([self._worker.call(batch, self.runtime)[0][0] for batch in batches])

    def weight_hashes(self) -> dict[str, str]:
        return self._local.weight_hashes()

    def get_params(self) -> dict[str, Any]:
        return self._local.get_params()


class _Frontend(Frontend):
    """A front end that cuts windows in a worker."""

    def __init__(self, frontend: Frontend, name: str) -> None:
        self._local = frontend
        self._worker = Worker(frontend, name)
        self.close = self._worker.close
        self.sample_rate = frontend.sample_rate
        self.pad_start, self.pad_end = frontend.pad_start, frontend.pad_end

    @property
    def produces(self) -> Representation:
        return self._local.produces

    @property
    def window_length(self) -> int | None:
        return self._local.window_length

    @property
    def window_hop(self) -> int:
        return self._local.window_hop

    def __call__(self, audio: Audio) -> Windows:
        described = {"sample_rate": audio.sample_rate, "source": audio.source}
        (values, start), duration = self._worker.call(audio.samples, self.runtime, described)
        return Windows(values, start, duration)

    def get_params(self) -> dict[str, Any]:
        return self._local.get_params()


class Worker:
    """A component in a process of its own, which starts at the first call, and once again if it dies.

    Parameters
    ----------
    component : Component
        What to make in the worker, by its class and its parameters.
    name : str
        For messages.

    Attributes
    ----------
    close : callable
        Ends the process and frees the shared memory; happens by itself when the worker is collected.
    """

    def __init__(self, component: Component, name: str) -> None:
        self._component = component
        self._name = name
        self._held = _Held()
        self._lock = threading.Lock()
        self.close = weakref.finalize(self, self._held.release)

    @property
    def process_id(self) -> int | None:
        """The running process, None if there is none."""
        return self._held.process.pid if self._held.process else None

    def call(self, array: Array, runtime: Runtime, audio: dict[str, Any] | None = None) -> tuple[list[Array], float]:
        """Return the arrays that the component makes of `array`, and the length in seconds of a front end's windows.

        Raises
        ------
        AsdError
            What the component raised, as the same class with the same text; or that the worker died twice.
        RuntimeError
            If the component failed otherwise; with the worker's traceback.
        """
        request = {"runtime": asdict(runtime), "audio": audio}
        with self._lock:
            answer, arrays = self._persistently(array, request)
        if "error" in answer:
            raise _raised(self._name, **answer["error"])
        return arrays, answer["duration"]

    def _persistently(self, array: Array, request: dict[str, Any]) -> tuple[dict[str, Any], list[Array]]:
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._exchange(array, request)
            except _WorkerDiedError as death:
                _log.warning("%s: its worker process ended (%s); starting another", self._name, death)
        try:
            return self._exchange(array, request)
        except _WorkerDiedError as death:
            raise AsdError(
                f"{self._name}: its worker process ended again on the same sound ({death}); if memory ran out, close "
                "other programs or use a smaller --batch-size, else choose another component or reinstall its packages"
            ) from None

    def _exchange(self, array: Array, request: dict[str, Any]) -> tuple[dict[str, Any], list[Array]]:
        try:
            process = self._running()
            _send(process, {**request, **self._share(array)})
            return _receive(process)
        except (BrokenPipeError, EOFError):
            raise _WorkerDiedError(self._held.end_process(patience=5.0)) from None
        except BaseException:  # an answer that nobody waited for would be taken for the next one
            self._held.end_process()
            raise

    def _running(self) -> subprocess.Popen[bytes]:
        if self._held.process is None:
            command = [sys.executable, "-c", _START, json.dumps([str(folder) for folder in sys.path])]
            self._held.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            cls, parameters = type(self._component), self._component.get_params()
            _send(self._held.process, {"module": cls.__module__, "class": cls.__qualname__, "parameters": parameters})
        return self._held.process

    def _share(self, array: Array) -> dict[str, Any]:
        """Copy `array` into shared memory and return what the worker needs to find it."""
        from multiprocessing.shared_memory import SharedMemory

        held, (memory, strides) = self._held, _in_one_piece(array)
        if held.segment is None or held.segment.size < memory.nbytes:
            held.free_segment()
            held.segment = SharedMemory(create=True, size=max(memory.nbytes, 1))
        np.ndarray(memory.shape, memory.dtype, buffer=held.segment.buf)[...] = memory
        return {"segment": held.segment.name, "shape": array.shape, "strides": strides, "dtype": array.dtype.str}


class _WorkerDiedError(Exception):
    """The worker ended before it answered; the text says by what."""


@dataclass
class _Held:
    """What must be given back: the process and the shared memory."""

    owner: int = field(default_factory=os.getpid)
    process: subprocess.Popen[bytes] | None = None
    segment: SharedMemory | None = None

    def release(self) -> None:
        """Give everything back; a forked copy of this process owns nothing."""
        if os.getpid() == self.owner:
            self.end_process()
            self.free_segment()

    def end_process(self, patience: float = 0.0) -> str:
        """End the worker, which keeps nothing that is worth saving, and return what ended it.

        Parameters
        ----------
        patience : float
            Seconds for it to end by itself; more than 0 if it is about to.
        """
        process, self.process = self.process, None
        if process is None:
            return "not running"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        process.kill()
        with contextlib.suppress(BrokenPipeError), process:  # closes the pipes and waits
            pass
        code = process.returncode
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def free_segment(self) -> None:
        """Free the shared memory."""
        segment, self.segment = self.segment, None
        if segment is not None:
            segment.close()
            segment.unlink()


def _in_one_piece(array: Array) -> tuple[Array, tuple[int, ...] | None]:
    """Return what is to be copied, and the strides over the copy: windows that overlap go on sharing their samples."""
    if not (len(array) > 1 and array[0].flags.c_contiguous and 0 < array.strides[0] < array[0].nbytes):
        return array, None
    length = ((len(array) - 1) * array.strides[0] + array[0].nbytes) // array.itemsize
    return np.lib.stride_tricks.as_strided(array, (length,), (array.itemsize,), writeable=False), array.strides


def _send(process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()


def _receive(process: subprocess.Popen[bytes]) -> tuple[dict[str, Any], list[Array]]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    answer: dict[str, Any] = json.loads(line)
    arrays = [np.empty(described["shape"], described["dtype"]) for described in answer.get("arrays", ())]
    for array in arrays:
        if array.size and process.stdout.readinto(array.data.cast("B")) < array.nbytes:  # type: ignore[attr-defined]
            raise EOFError
    return answer, arrays


def _raised(name: str, module: str, error: str, text: str, trace: str) -> Exception:
    """Return the error that the component raised in the worker, with the worker's traceback as a note."""
    cls = getattr(sys.modules.get(module), error, None)
    raised: Exception
    if isinstance(cls, type) and issubclass(cls, AsdError):
        raised = cls(text)
    else:
        raised = RuntimeError(f"{name}: {error} in its worker process: {text}")
    raised.add_note(trace)
    return raised
