"""Decode recordings of strangers in processes of their own: what makes a decoder crash or hang ends that process alone.

A path that `Decoders.path` returns stands where a file's path does. Whoever reads it gets the samples, the notes and
the errors that the file itself would give.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from asd.contract.messages import MessageError, receive, send
from asd.contract.processes import end_process, start_python
from asd.errors import AudioError
from asd.records import Float32
from asd.sound.decoding import Sound, SoundPath, open_sound
from asd.sound.layout import Layout

# Ctrl-C goes to the whole process group: this process ends the others.
_START = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from asd.detection.apart_process import main; main()"
)
_NOTHING = np.zeros((0, 0), np.float32)


class Decoders:
    """Processes that decode recordings; they start when they are needed, and another one where one has ended.

    Parameters
    ----------
    processes : int
        How many recordings are decoded at the same time; others wait.
    seconds : float
        How long a process may take for 8 s of sound before it is ended.
    """

    def __init__(self, processes: int = 2, *, seconds: float = 20.0) -> None:
        self._seconds = seconds
        self._free = threading.Semaphore(processes)
        self._idle: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._closed = False

    def path(self, file: Path) -> Path:
        """Return a path of a file that these processes decode, whoever reads it."""
        path = ApartPath(file)
        path.decoders = self
        return path

    def close(self) -> None:
        """End the processes; what is being decoded is still decoded."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for process in idle:
            end_process(process)

    @contextlib.contextmanager
    def talk(self, path: Path) -> Iterator[_Talk]:
        """Have a process for yourself."""
        with self._free:
            with self._lock:
                process = self._idle.pop() if self._idle else None
            if process is None or process.poll() is not None:  # somebody else has ended it: memory ran out
                process = start_python(_START, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            talk = _Talk(process, path, self._seconds)
            try:
                yield talk
            finally:
                with self._lock:
                    is_kept = not (talk.is_over or self._closed)
                    if is_kept:
                        self._idle.append(process)
                if not is_kept:
                    end_process(process)


class _Talk:
    """Questions to a process, one after the other, about a file."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path, seconds: float) -> None:
        self._process, self._path, self._seconds = process, path, seconds
        self.is_over = False

    def ask(self, **question: Any) -> tuple[dict[str, Any], Float32]:
        """Return the answer, and the samples that it brings.

        Raises
        ------
        AudioError
            What decoding the file raised; or that the process has ended, took too long, or answers nonsense.
        """
        from multiprocessing.connection import wait

        process: Any = self._process
        self.is_over = True  # unless an answer comes
        try:
            send(process.stdin, {**question, "path": str(self._path)})
            if not wait([process.stdout], self._seconds):
                raise self._failed(f"takes longer than {self._seconds:g} s")
            answer, arrays = receive(process.stdout)
        except (BrokenPipeError, EOFError):
            code = end_process(process, patience=5.0)
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise self._failed(f"its decoder ended ({name})") from None
        except MessageError as error:
            raise self._failed(f"its decoder answers {error}") from None
        self.is_over = False
        if "refused" in answer:
            raise AudioError(str(answer["refused"]))
        if "error" in answer:
            raise self._failed(f"{answer['error']}: {answer.get('text')}")
        return answer, arrays[0] if arrays else _NOTHING

    def _failed(self, reason: str) -> AudioError:
        return AudioError(f"{self._path}: cannot be decoded: {reason}; convert it to WAV")


class ApartSound:
    """A recording that another process decodes; see `asd.sound.decoding.Sound`.

    Parameters
    ----------
    path : Path
        The file.
    decoders : Decoders
        Who decodes it.

    Raises
    ------
    AudioError
        As `asd.sound.decoding.open_sound`.
    """

    def __init__(self, path: Path, decoders: Decoders) -> None:
        self._path, self._decoders = path, decoders
        with decoders.talk(path) as talk:
            facts, _ = talk.ask()
        self.rate: int = facts["rate"]
        self.channels: int = facts["channels"]
        self.frames: int | None = facts["frames"]
        self.is_float: bool = facts["is_float"]
        self.is_mpeg: bool = facts["is_mpeg"]
        parts = (None,) * facts["parts"]  # only their number is of use here
        self.layout = Layout(parts, facts["stated"], tuple(facts["notes"]))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open here."""

    def blocks(self, first: int, count: int | None) -> Iterator[Float32]:
        """Yield blocks of shape (n, channels); see `asd.sound.decoding.Sound.blocks`."""
        with self._decoders.talk(self._path) as talk:
            question: dict[str, Any] = {"first": first, "count": count}
            while len(block := talk.ask(**question)[1]):
                yield block
                question = {"next": True}


class ApartPath(SoundPath):
    """The path of a file that other processes decode."""

    decoders: Decoders | None = None

    def opened(self) -> Sound:
        """Return the recording; errors as for `asd.sound.decoding.open_sound`."""
        return open_sound(self) if self.decoders is None else ApartSound(self, self.decoders)
