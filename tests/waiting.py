"""Waiting in tests: for the thing itself, with one patience, which a busy machine does not use up.

A test never sleeps to bring about an order and never bounds what a busy machine may take: it waits here until what must
come first has come.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

PATIENCE = 240.0
"""How long a test waits for what must come to pass, in seconds: all that it costs is paid by a test that fails."""

Found = TypeVar("Found")


def until(
    holds: Callable[[], Found],
    awaited: str | Callable[[], object] = "",
    *,
    by: subprocess.Popen[Any] | None = None,
    pause: Callable[[], object] = lambda: time.sleep(0.02),
) -> Found:
    """Wait until something holds, and return what it gave.

    Parameters
    ----------
    holds : callable
        Is asked again and again until what it returns is true.
    awaited : str or callable
        What is said, or shown, if it does not come to pass: what was awaited, or what was found instead.
    by : subprocess.Popen, optional
        The process that brings it about: if it ends first, the test fails at once. What it said is told.
    pause : callable
        Is called between two questions.
    """
    end = time.monotonic() + PATIENCE
    while not (found := holds()):
        ended = by is not None and by.poll() is not None
        if ended and (found := holds()):
            break
        if ended or time.monotonic() > end:
            what = awaited if isinstance(awaited, str) else awaited()
            when = f"the process ended with {by.returncode} first" if by and ended else f"waited {PATIENCE:.0f} s"
            raise AssertionError(f"it did not come to pass, {when}: {what or holds}{'' if by is None else said(by)}")
        pause()
    return found


def said(process: subprocess.Popen[Any]) -> str:
    """End a process, and return what it wrote to its pipes."""
    process.kill()
    texts: tuple[Any, ...] = ()
    with contextlib.suppress(subprocess.TimeoutExpired):  # a process that it started has the pipes too
        texts = process.communicate(timeout=5)
    return "".join(f"\n{each if isinstance(each, str) else each.decode(errors='replace')}" for each in texts if each)
