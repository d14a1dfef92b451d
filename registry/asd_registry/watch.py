"""Watch what importing a plugin does beside importing."""

from __future__ import annotations

import io
import math
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Self

from asd_registry.errors import AsdError
from asd_registry.process import ProcessState
from asd_registry.text import shown

SLOW = 1.0
"""Seconds that an import may take: every command waits for it."""

LIMIT = 30.0
"""Seconds after which an import or a hook is stopped; the environment variable ``ASD_PLUGIN_SECONDS`` sets others."""


class PluginTimeoutError(BaseException):
    """An import or a hook is not done in time. No `Exception`: a plugin that catches all of those is stopped too."""


class Watch(io.TextIOBase):
    """Notes how long the block takes, what it prints, which threads it leaves behind and what it changes.

    What is printed goes to standard error: it must not spoil what a command writes for other programs to read. What
    all plugins share is put back (`asd_registry.process`). A block that takes too long is stopped by a signal, which
    Python allows in the main thread on POSIX; elsewhere, while the program uses SIGALRM itself, and inside compiled
    code nothing stops it.

    Attributes
    ----------
    remarks : list of str
        What users should know, after the block.
    """

    def __init__(self) -> None:
        self.remarks: list[str] = []
        self._printed = ""
        self._limit = _limit()

    def __enter__(self) -> Self:
        self._threads = set(threading.enumerate())
        self._state = ProcessState.now()
        self._stdout, sys.stdout = sys.stdout, self
        self._began = time.perf_counter()
        self._timed = _start_timer(self._limit)
        return self

    def __exit__(self, *error: object) -> None:
        if self._timed:
            _stop_timer()
        seconds = time.perf_counter() - self._began
        sys.stdout = self._stdout
        if seconds > SLOW:
            self.remarks.append(f"takes {seconds:.1f} s to import, and every command waits for it")
        if printed := self._printed.strip():
            self.remarks.append(f"prints on import: {shown(printed.splitlines()[0])}")
        if left := [thread.name for thread in threading.enumerate() if thread not in self._threads]:
            self.remarks.append(f"leaves a thread behind on import: {', '.join(left)}")
        self.remarks += self._state.restore()

    def write(self, text: str) -> int:
        """Note what is printed and pass it on."""
        self._printed += text[: 1000 - len(self._printed)]
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Pass on what was printed."""
        sys.stderr.flush()


def _start_timer(limit: float) -> bool:
    """Set the alarm if that can be done without taking it from somebody else; return whether it is set."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL or signal.getitimer(signal.ITIMER_REAL)[0]:
        return False

    def stop(_: int, __: FrameType | None) -> None:
        raise PluginTimeoutError(f"not done after {limit:g} s, and stopped (ASD_PLUGIN_SECONDS sets another limit)")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit, 1.0)  # again each second: the first one may have been caught
    return True


def _stop_timer() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _limit() -> float:
    given = os.environ.get("ASD_PLUGIN_SECONDS", "")
    try:
        seconds = float(given or LIMIT)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < 1e6:
        raise AsdError(f"ASD_PLUGIN_SECONDS takes seconds above 0, got {shown(given)}")
    return seconds
