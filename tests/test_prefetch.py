"""Threads that work ahead of the network."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from asd.detection.prefetch import one_ahead
from asd.errors import AudioError
from waiting import PATIENCE, until


def test_what_comes_next_is_done_while_a_result_is_used_and_no_more() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number

    with one_ahead([lambda n=n: make(n) for n in range(4)]) as take:  # type: ignore[misc]
        for number in range(4):
            assert take() == number
            expected = list(range(min(number + 2, 4)))
            until(lambda expected=expected: made == expected, lambda: made)  # type: ignore[misc]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("asd-ahead")]


def test_an_error_of_what_is_done_ahead_is_raised_at_its_place() -> None:
    def fail() -> int:
        raise AudioError("cut off")

    with one_ahead([lambda: 1, fail, lambda: 3]) as take:
        assert take() == 1
        with pytest.raises(AudioError, match="cut off"):
            take()
        assert take() == 3


def test_nothing_is_begun_after_the_block_is_left() -> None:
    begun: list[int] = []
    with one_ahead([lambda n=n: begun.append(n) for n in range(9)]) as take:  # type: ignore[misc]
        take()
    assert len(begun) <= 2
    with pytest.raises(RuntimeError):
        take()


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
