"""Other processes for the checks: a fresh one for each component, and a companion that holds all other components."""

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
from typing import Any, NoReturn

import numpy as np

from asd.experiment import write_model_file
from asd.plugin import cache_folder, registry
from asd_testing.kit import CheckFailedError, SkippedError
from asd_testing.subject import Subject
from asd_testing.use import Array

_PATIENCE = 300.0
_START = "import sys, json; sys.path[:] = json.loads(sys.argv.pop(1)); from asd_testing.fresh import main; main()"


@dataclass(frozen=True)
class Answer:
    """What another process found.

    Parameters
    ----------
    facts : dict
        What it observed.
    outputs : dict of array
        What the component computed there.
    """

    facts: dict[str, Any]
    outputs: dict[str, Array]

    def output(self, name: str, step: str) -> Array:
        """Return what a step computed; raise what kept it from that."""
        self.require(step)
        return self.outputs[name]

    def require(self, step: str) -> None:
        """Raise if a step failed."""
        if step in self.facts["errors"]:
            kind, text = self.facts["errors"][step]
            if kind == "weights":
                raise SkippedError(f"its weights are not here: {text}")
            raise CheckFailedError(f"in another process: {kind}: {text}")


class Fresh:
    """A process that constructs, restores, uses and measures a component in an empty home folder; then it ends.

    It starts at once; what a fitted detector learned here, which it reads back from a model file, it gets by `learn`.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        restored = ["restore"] if subject.kind == "detector" else []
        self._folder = _written(subject, "fresh", ["construct", *restored, "use", "memory", "end"], [])
        sandbox = self._folder.parent / "sandbox"
        self._empty = (sandbox / "home", sandbox / "work")
        for place in self._empty:
            place.mkdir(parents=True)
        command = [sys.executable, "-c", _START, json.dumps(_path()), str(self._folder), tempfile.gettempdir()]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._empty[1],
                env=_environment(self._empty[0]),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def learn(self) -> None:
        """Let it go on with what the component learned here, and the companion import all others meanwhile."""
        waits = self._process.stdin
        if waits is None or waits.closed:
            return
        with contextlib.suppress(BrokenPipeError), waits:  # that it has died is told by `collect`
            if self._subject.kind == "detector":
                # A state that cannot be had is told by the check that is about it.
                with contextlib.suppress(Exception):
                    state = self._subject.ready.get_state()
                    write_model_file(self._folder / "model.asd", {"made by": "asd.testing"}, state)
        if self._subject.registered is not None:
            _companion().warm_up(_others(self._subject))

    def collect(self) -> Answer:
        """Wait for the answer.

        Raises
        ------
        CheckFailedError
            If the process dies or does not end.
        """
        self.learn()
        try:
            code = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise CheckFailedError(f"did not end within {_PATIENCE:.0f} s in another process") from None
        if code:
            raise CheckFailedError(f"another process {_death(code)} {_last_word(self._folder)}")
        answer = _read(self._folder)
        strays = [str(file) for place in self._empty for file in place.rglob("*") if file.is_file()]
        answer.facts["writes"] = sorted({*answer.facts["writes"], *strays})
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()


def begin(subject: Subject) -> Fresh:
    """Start the component's fresh process, once."""
    return subject.once("starting another process", lambda: Fresh(subject))


def fresh(subject: Subject) -> Answer:
    """Return what the fresh process finds."""
    return subject.once("another process", lambda: begin(subject).collect())


def ask_companion(subject: Subject) -> Answer:
    """Use a component in a process that has imported every other installed component."""
    return _companion().ask(_written(subject, "companion", ["others", "use", "end"], _others(subject)))


def _others(subject: Subject) -> list[str]:
    """Return the modules of all other components."""
    targets = {
        component.spec.target.partition(":")[0]
        for component in registry().components
        if not component.problem and component != subject.registered
    }
    return sorted(targets - {subject.description["module"]})


class _Companion:
    """A process that stays, so that importing all components is paid for once; it starts anew when it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._path: list[str] = []
        self._asked: list[Path] = []  # what it has not answered yet
        atexit.register(self.end)

    def warm_up(self, others: list[str]) -> None:
        """Let a process that is not there yet import `others` while the caller goes on."""
        if self._process is not None and self._path == _path():
            return
        folder = Path(tempfile.mkdtemp(prefix="asd-companion-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        (folder / "request.json").write_text(json.dumps({"component": {}, "steps": ["others"], "others": others}))
        np.savez(folder / "inputs.npz")
        self._send(folder)

    def ask(self, folder: Path) -> Answer:
        """Return the answer to a request, after what it was asked before."""
        self._send(folder)
        while self._asked:
            if not self._answers():
                self._tell_death(self._asked[0])
            self._asked.pop(0)
        return _read(folder)

    def _tell_death(self, folder: Path) -> NoReturn:
        code = self.end(patience=5.0)
        doing = (folder / "progress").read_text() if (folder / "progress").exists() else ""
        if doing.startswith("importing"):
            raise SkippedError(f"the process that holds all components {_death(code)} while {doing}")
        raise CheckFailedError(
            f"beside all other installed components its process {_death(code)}; if it clashes with other libraries, "
            'set isolation = "process"'
        )

    def _send(self, folder: Path) -> None:
        process = self._running()
        assert process.stdin is not None
        self._asked.append(folder)
        with contextlib.suppress(BrokenPipeError):  # that it has died is told when its answer is due
            process.stdin.write(f"{folder}\n")
            process.stdin.flush()

    def _answers(self) -> bool:
        """Return whether the process answers, instead of dying or being ended for taking too long."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        limit = threading.Timer(_PATIENCE, process.kill)
        limit.start()
        try:
            return process.stdout.readline() == "done\n"
        finally:
            limit.cancel()

    def _running(self) -> subprocess.Popen[str]:
        if self._path != _path():
            self.end()
        if self._process is None:
            self._path = _path()
            command = [sys.executable, "-c", _START, json.dumps(self._path)]
            pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing, text=True)
        return self._process

    def end(self, patience: float = 0.0) -> int:
        """End the process, which gets so many seconds to do it by itself, and return its exit code."""
        process, self._process = self._process, None
        self._asked = []
        if process is None:
            return 0
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        process.kill()
        with contextlib.suppress(BrokenPipeError), process:  # closes the pipes and waits
            pass
        return process.returncode


@cache
def _companion() -> _Companion:
    return _Companion()


def _written(subject: Subject, purpose: str, steps: list[str], others: list[str]) -> Path:
    folder = subject.folder / purpose
    folder.mkdir()
    request = {"component": subject.description, "steps": steps, "others": others}
    try:
        text = json.dumps(request)
    except TypeError as error:
        raise SkippedError(f"its parameters cannot be told to another process: {error}") from error
    (folder / "request.json").write_text(text)
    inputs = {"values": subject.values} | ({} if subject.training is None else {"training": subject.training})
    np.savez(folder / "inputs.npz", **inputs)  # type: ignore[arg-type]  # numpy takes the last one for an option
    return folder


def _read(folder: Path) -> Answer:
    with np.load(folder / "outputs.npz") as outputs:
        return Answer(json.loads((folder / "answer.json").read_text()), dict(outputs))


def _path() -> list[str]:
    return [str(Path(entry).resolve()) for entry in sys.path]


def _environment(home: Path) -> dict[str, str]:
    """Return the environment with an empty home folder; asd's own cache stays where it is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    changed = {"HOME": str(home), "USERPROFILE": str(home), "ASD_CACHE": str(cache_folder())}
    return {**kept, **changed, "ASD_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _death(code: int) -> str:
    return f"died ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"


def _last_word(folder: Path) -> str:
    lines = (folder / "log").read_text(errors="replace").strip().splitlines()
    return f"({lines[-1]})" if lines else ""
