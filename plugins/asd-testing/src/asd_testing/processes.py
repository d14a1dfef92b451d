"""Other processes for the checks: a clean one for each component, and one that holds all components at once."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from asd.experiment import end_process, start_python, write_model_file
from asd.plugin import cache_folder, registry
from asd_testing.compare import as_json
from asd_testing.errors import CheckFailedError, SkippedError
from asd_testing.kit import USERS
from asd_testing.under_test import ComponentUnderTest
from asd_testing.use import Array

_TIMEOUT = 300.0
_START = "from asd_testing.step_runner import main; main()"


@dataclass(frozen=True)
class Answer:
    """What the steps found in another process.

    Parameters
    ----------
    facts : dict
        What they observed, and the errors of those that failed.
    outputs : dict of array
        What the component computed.
    """

    facts: dict[str, Any]
    outputs: dict[str, Array]

    def output(self, name: str, step: str) -> Array:
        """Return what a step computed; raises as `require`."""
        self.require(step)
        return self.outputs[name]

    def require(self, step: str) -> None:
        """Raise CheckFailedError if a step failed, SkippedError if it lacked weights."""
        if step in self.facts["errors"]:
            kind, text = self.facts["errors"][step]
            if kind == "weights":
                raise SkippedError(f"its weights are not here: {text}")
            raise CheckFailedError(f"in another process: {kind}: {text}")


class CleanProcess:
    """A process with an empty home folder that constructs, restores, uses and measures one component, and ends.

    It starts at once. Before it restores a detector, it waits for `send_state`.
    """

    def __init__(self, tested: ComponentUnderTest) -> None:
        self._tested = tested
        restore = ["restore"] if tested.kind == "detector" else []
        steps = ["construct", *restore, "use", "memory", "end"] if tested.kind in USERS else ["construct"]
        self._folder = _write_request(tested, "clean", steps, [])
        sandbox = self._folder.parent / "sandbox"
        self._empty = (sandbox / "home", sandbox / "work")
        for place in self._empty:
            place.mkdir(parents=True)
        with (self._folder / "log").open("wb") as log:
            self._process = start_python(
                _START,
                self._folder,
                tempfile.gettempdir(),
                environment={**_environment(self._empty[0]), **_threads(tested)},
                cwd=self._empty[1],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def send_state(self) -> None:
        """Write the model file of the detector that was fitted here, and let the process read it.

        The shared process imports the other components meanwhile.
        """
        stdin = self._process.stdin
        if stdin is None or stdin.closed:
            return
        with contextlib.suppress(BrokenPipeError), stdin:  # `collect` reports a process that has died
            if self._tested.kind == "detector":
                # The check state-round-trips reports a state that cannot be saved.
                with contextlib.suppress(Exception):
                    state = self._tested.ready.get_state()
                    write_model_file(self._folder / "model.asd", {"made by": "asd.testing"}, state)
        if self._tested.registered is not None and self._tested.kind in USERS:
            _shared_process().start_imports(_others(self._tested))

    def collect(self) -> Answer:
        """Wait for the answer.

        Raises
        ------
        CheckFailedError
            If the process dies or does not end in time.
        """
        self.send_state()
        try:
            code = self._process.wait(_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise CheckFailedError(f"did not end within {_TIMEOUT:.0f} s in another process") from None
        if code:
            raise CheckFailedError(f"another process {_ending(code)} {_last_line(self._folder / 'log')}")
        answer = _read_answer(self._folder)
        strays = [str(file) for place in self._empty for file in place.rglob("*") if file.is_file()]
        answer.facts["writes"] = sorted({*answer.facts["writes"], *strays})
        return answer

    def close(self) -> None:
        """End the process."""
        end_process(self._process)


def start_clean_process(tested: ComponentUnderTest) -> CleanProcess:
    """Start the clean process of a component, once."""
    return tested.once("starting another process", lambda: CleanProcess(tested))


def clean_process_answer(tested: ComponentUnderTest) -> Answer:
    """Return what the component's clean process found; raises as `CleanProcess.collect`."""
    return tested.once("another process", lambda: start_clean_process(tested).collect())


def shared_process_answer(tested: ComponentUnderTest) -> Answer:
    """Use a component in a process that has imported every other installed component."""
    return _shared_process().ask(_write_request(tested, "shared", ["others", "use", "end"], _others(tested)))


def _others(tested: ComponentUnderTest) -> list[str]:
    """Return the modules of all other components."""
    targets = {
        component.spec.target.partition(":")[0]
        for component in registry().components
        if not component.problem and component != tested.registered
    }
    return sorted(targets - {tested.description["module"]})


class _SharedProcess:
    """A process that stays for all checks, so that it imports all components once; starts again after it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._path: list[str] = []
        self._pending: list[Path] = []  # requests without an answer
        atexit.register(self.end)

    def start_imports(self, others: list[str]) -> None:
        """If the process does not run yet, start it and let it import `others`; does not wait."""
        if self._process is not None and self._path == sys.path:
            return
        folder = Path(tempfile.mkdtemp(prefix="asd-shared-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        (folder / "request.json").write_text(json.dumps({"component": {}, "steps": ["others"], "others": others}))
        np.savez(folder / "inputs.npz")
        self._send(folder)

    def ask(self, folder: Path) -> Answer:
        """Return the answer to a request, after those to earlier requests."""
        self._send(folder)
        while self._pending:
            if not self._has_answered():
                raise self._death(self._pending[0])
            self._pending.pop(0)
        return _read_answer(folder)

    def _death(self, folder: Path) -> Exception:
        code = self.end(patience=5.0)
        step = (folder / "progress").read_text() if (folder / "progress").exists() else ""
        if step.startswith("importing"):
            return SkippedError(f"the process that holds all components {_ending(code)} while {step}")
        return CheckFailedError(
            f"beside all other installed components its process {_ending(code)}; if it clashes with other libraries, "
            'set isolation = "process"'
        )

    def _send(self, folder: Path) -> None:
        process = self._running()
        assert process.stdin is not None
        self._pending.append(folder)
        with contextlib.suppress(BrokenPipeError):  # `ask` reports a process that has died
            process.stdin.write(f"{folder}\n")
            process.stdin.flush()

    def _has_answered(self) -> bool:
        """Wait; return False if the process died, or was killed because it took too long."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        limit = threading.Timer(_TIMEOUT, process.kill)
        limit.start()
        try:
            return process.stdout.readline() == "done\n"
        finally:
            limit.cancel()

    def _running(self) -> subprocess.Popen[str]:
        if self._path != sys.path:
            self.end()
        if self._process is None:
            self._path = list(sys.path)
            pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
            self._process = start_python(_START, stdin=pipe, stdout=pipe, stderr=nothing, text=True)
        return self._process

    def end(self, patience: float = 0.0) -> int:
        """End the process, after `patience` seconds if it does not end by itself, and return its exit code."""
        process, self._process = self._process, None
        self._pending = []
        return 0 if process is None else end_process(process, patience)


@cache
def _shared_process() -> _SharedProcess:
    return _SharedProcess()


def _write_request(tested: ComponentUnderTest, name: str, steps: list[str], others: list[str]) -> Path:
    folder = tested.folder / name
    folder.mkdir()
    request = {"component": tested.description, "steps": steps, "others": others}
    try:
        text = as_json(tested, request)
    except TypeError as error:
        raise SkippedError(f"its parameters cannot be sent to another process: {error}") from error
    (folder / "request.json").write_text(text)
    inputs = {"values": tested.values} if tested.kind in USERS else {}
    inputs |= {} if tested.training is None else {"training": tested.training}
    np.savez(folder / "inputs.npz", **inputs)  # type: ignore[arg-type]  # numpy takes the last one for an option
    return folder


def _read_answer(folder: Path) -> Answer:
    with np.load(folder / "outputs.npz") as outputs:
        return Answer(json.loads((folder / "answer.json").read_text()), dict(outputs))


def _environment(home: Path) -> dict[str, str]:
    """Return the environment with an empty home folder; asd's own cache stays where it is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    changed = {"HOME": str(home), "USERPROFILE": str(home), "ASD_CACHE": str(cache_folder())}
    return {**kept, **changed, "ASD_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _threads(tested: ComponentUnderTest) -> dict[str, str]:
    """Return what lets a component compute on one thread that says that this changes nothing."""
    is_alike = tested.registered is not None and tested.registered.spec.any_threads
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1") if is_alike else {}


def _ending(code: int) -> str:
    return f"died ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return f"({lines[-1]})" if lines else ""
