"""Threads that work ahead of the network."""

from __future__ import annotations

import subprocess
import sys

from waiting import PATIENCE


def test_a_program_that_dies_with_a_half_read_generator_ends() -> None:
    """The traceback of an error holds the generator until the end of the program, and threads must not wait for it."""
    program = (
        "from asd.detection.prefetch import prefetch\n"
        "lanes = prefetch([lambda: iter(range(100))] * 3, 2)\n"
        "print(next(next(lanes)))\n"
        "raise RuntimeError('a mistake of the user')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "0\n")
    assert ended.stderr.endswith("RuntimeError: a mistake of the user\n")
