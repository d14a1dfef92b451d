"""Watch what importing a plugin does beside importing."""

from __future__ import annotations

import io
import sys
import threading
import time
from typing import Self

SLOW = 1.0
"""Seconds that an import may take: every command waits for it."""


class Watch(io.TextIOBase):
    """Notes how long the block takes, what it prints and which threads it leaves behind.

    What is printed goes to standard error: it must not spoil what a command writes for other programs to read.

    Attributes
    ----------
    remarks : list of str
        What users should know, after the block.
    """

    def __init__(self) -> None:
        self.remarks: list[str] = []
        self._printed = ""

    def __enter__(self) -> Self:
        self._threads = set(threading.enumerate())
        self._stdout, sys.stdout = sys.stdout, self
        self._began = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        seconds = time.perf_counter() - self._began
        sys.stdout = self._stdout
        if seconds > SLOW:
            self.remarks.append(f"takes {seconds:.1f} s to import, and every command waits for it")
        if printed := self._printed.strip():
            self.remarks.append(f"prints on import: {printed.splitlines()[0]!r}")
        if left := [thread.name for thread in threading.enumerate() if thread not in self._threads]:
            self.remarks.append(f"leaves a thread behind on import: {', '.join(left)}")

    def write(self, text: str) -> int:
        """Note what is printed and pass it on."""
        self._printed += text
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Pass on what was printed."""
        sys.stderr.flush()
