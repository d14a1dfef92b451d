"""What runs in a process of the engine ``local`` (see `asd.detection.local_engine`)."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from contextlib import suppress
from typing import IO, Any

from asd.contract.worker_process import end_with_parent

_kept: dict[int, bytes | list[Any]] = {}
"""What was scattered, by number: as bytes until its first use, then in a list of one."""


def kept(number: int) -> Any:
    """Return what was scattered under a number."""
    found = _kept[number]
    if isinstance(found, bytes):
        found = _kept[number] = [pickle.loads(found)]  # noqa: S301  # of the process that started this one
    return found[0]


def main() -> None:
    """Answer until the parent process closes the pipe or dies."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What a piece reads or prints must not mix with requests and answers.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    with suppress(BrokenPipeError, EOFError):
        answers.write(b"\n")
        answers.flush()
        _serve(requests, answers)
    os._exit(0)


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    while True:
        forgotten, new, message = pickle.load(requests)  # noqa: S301  # of the process that started this one
        for number in forgotten:
            _kept.pop(number, None)
        _kept.update(new)
        try:
            function, args = pickle.loads(message)  # noqa: S301
            content = pickle.dumps((True, function(*args)), pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            content = _failed(error)
        pickle.dump(content, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _failed(error: Exception) -> bytes:
    try:
        content = pickle.dumps((False, error), pickle.HIGHEST_PROTOCOL)
        pickle.loads(content)  # noqa: S301
    except Exception:
        content = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
    return content
