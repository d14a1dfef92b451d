"""Checks of sources."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from asd.errors import SourceError
from asd.plugin import Block
from asd_testing.compare import require
from asd_testing.errors import CheckFailedError, SkippedError
from asd_testing.kit import check
from asd_testing.under_test import ComponentUnderTest
from asd_testing.use import Array

T = TypeVar("T")

_BLOCKS = 5
"""Blocks of the example that are looked at."""
_LONGEST = 1.0
"""Seconds of sound in a block: the listener can stop a source between two blocks only."""
_PATIENCE = 20.0
"""Seconds in which the example has to deliver, and an unreachable source has to give up."""
_ENDING = 20.0
"""Seconds in which threads and processes may end after the iterator was closed."""


@check("source")
def blocks_are_well_formed(tested: ComponentUnderTest) -> None:
    """A source delivers blocks of float32 samples, of shape (n, channels), with a rate and a time."""
    for block in _blocks(tested):
        require(isinstance(block, Block), f"delivers {type(block).__name__}, expected asd.plugin.Block")
        samples = block.samples
        require(isinstance(samples, np.ndarray), f"samples are {type(samples).__name__}, expected a NumPy array")
        require(samples.dtype == np.float32, f"samples have type {samples.dtype}, expected float32, full scale ±1")
        has_channels = samples.ndim == 2 and samples.shape[1] > 0
        require(has_channels, f"samples have shape {samples.shape}, expected (n, channels)")
        rate, began = block.sample_rate, block.time
        require(isinstance(rate, int) and rate > 0, f"sample_rate is {rate!r}, expected a whole number of Hz above 0")
        is_time = isinstance(began, int | float) and math.isfinite(began)
        require(is_time, f"time is {began!r}, expected seconds since 1970")
        require(isinstance(block.name, str | None), f"name is {block.name!r}, expected text or None")
    require(any(len(block.samples) for block in _blocks(tested)), "every block of its example is empty")


@check("source")
def blocks_are_short(tested: ComponentUnderTest) -> None:
    """A block holds a second of sound at most."""
    for block in _blocks(tested):
        seconds = len(block.samples) / block.sample_rate
        require(seconds <= _LONGEST, f"a block holds {seconds:.3g} s of sound, at most {_LONGEST:g} s is allowed")


@check("source")
def blocks_are_in_the_order_of_time(tested: ComponentUnderTest) -> None:
    """No sound was recorded before what came before it."""
    times = [block.time for block in _blocks(tested) if len(block.samples)]  # empty ones only say that it goes on
    for before, after in pairwise(times):
        require(after >= before, f"a block of time {after:.3f} comes after one of time {before:.3f}")


@check("source")
def blocks_stay_unmodified(tested: ComponentUnderTest) -> None:
    """The samples of a block stay as they were when the next one comes."""
    _blocks(tested)  # an error of it belongs to another check
    kept = _in_time(lambda: _copied(tested.make().blocks()), "delivers blocks")
    same = all(np.array_equal(block.samples, copy, equal_nan=True) for block, copy in kept)
    require(same, "a block changes when the next one comes: do not use its buffer again")


@check("source")
def source_closes(tested: ComponentUnderTest) -> None:
    """Closing the iterator releases files, threads and processes, and the source can be started again."""
    _blocks(tested)  # an error of it belongs to another check
    _first(tested.make())  # what a library opens once and keeps is no leak
    before = _held()
    source = tested.make()
    first, again = _first(source), _first(source)
    require(again is not None or first is None, "delivers nothing when it is started again")
    until = time.monotonic() + _ENDING
    while (left := _held() - before) and time.monotonic() < until:
        time.sleep(0.05)
    require(
        not left, f"still holds {', '.join(sorted(left)[:3])} after its iterator was closed: release it in a finally"
    )


@check("source")
def source_unreachable_is_told(tested: ComponentUnderTest) -> None:
    """Sound that cannot be reached raises a SourceError."""
    parameters = unreachable(tested)
    try:
        found = _in_time(lambda: next(iter(tested.cls(**parameters).blocks()), None), "gives up")  # type: ignore[attr-defined]  # it is a source
    except SourceError as error:
        require(bool(str(error).strip()), "its SourceError says nothing: name what was tried, and how to correct it")
        return
    except CheckFailedError:
        raise
    except Exception as error:
        raise CheckFailedError(
            f"raises {type(error).__name__} for what cannot be reached, expected SourceError"
        ) from error
    what = "ends without a word" if found is None else "delivers sound"
    raise CheckFailedError(f"{what} where nothing can be reached: raise asd.errors.SourceError")


def unreachable(tested: ComponentUnderTest) -> dict[str, Any]:
    """Return parameters of a source or a sink that lead nowhere, as its class offers them."""
    offered = getattr(tested.cls, "unreachable_parameters", None)
    if offered is None:
        raise SkippedError("offers nothing unreachable: give it a class method unreachable_parameters(folder)")
    return {**tested.parameters, **offered(tested.folder)}


def _blocks(tested: ComponentUnderTest) -> list[Block]:
    """Return the first blocks of the example, read once for all checks."""
    return tested.once("listening to its example", lambda: _delivered(tested))


def _delivered(tested: ComponentUnderTest) -> list[Block]:
    source = tested.make()
    try:
        blocks = _in_time(lambda: _taken(source.blocks(), _BLOCKS), f"delivers {_BLOCKS} blocks")
    except SourceError as error:
        raise SkippedError(
            f"its example cannot be reached: {error}; offer parameters by the class method example_parameters"
        ) from error
    if not blocks and "example_parameters" not in vars(tested.cls):
        raise SkippedError("delivers nothing by itself: offer an example by the class method example_parameters")
    require(bool(blocks), "its example delivers nothing")
    return blocks


def _first(source: Any) -> Block | None:
    blocks = _in_time(lambda: _taken(source.blocks(), 1), "delivers a block")
    return blocks[0] if blocks else None


def _taken(blocks: Iterator[Block], count: int) -> list[Block]:
    try:
        return list(islice(blocks, count))
    finally:
        close = getattr(blocks, "close", None)
        if close is None:
            raise CheckFailedError("its blocks cannot be closed: make blocks() a generator")
        close()


def _copied(blocks: Iterator[Block]) -> list[tuple[Block, Array]]:
    """Return the first blocks, each with a copy of its samples made when it came."""
    copies = ((block, np.copy(block.samples)) for block in blocks)
    return list(islice(copies, _BLOCKS))


def _in_time(work: Callable[[], T], what: str) -> T:
    """Return what `work` does in a thread of its own, as the listener has it; raises what it raises."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    if thread.is_alive():
        raise CheckFailedError(f"not within {_PATIENCE:g} s: {what}; yield an empty block where nothing comes")
    if errors:
        raise errors[0]
    return results[0]


def _held() -> set[str]:
    """Return the threads, files and processes that this process holds, where ``/proc`` lists them."""
    held = {f"the thread {thread.name}" for thread in threading.enumerate()}
    for file in Path("/proc/self/fd").glob("*"):
        try:
            held.add(f"the file {file.readlink()} ({file.name})")
        except OSError:  # that of the listing itself
            continue
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            held |= {f"the process {number}" for number in task.read_text().split()}
    return held
