"""Checks of work engines: pieces of work done by the engine's own processes, two of them where it can start some."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from asd.errors import ConfigError, DataError
from asd.experiment import Clip, Failure, over_clips, using_engine
from asd_testing import engine_pieces as pieces
from asd_testing.compare import require
from asd_testing.errors import CheckFailedError
from asd_testing.kit import check
from asd_testing.under_test import ComponentUnderTest

_TWO = "local:2"
_CLIPS = 8
_PIECES, _PAUSE = 12, 0.5
"""Pieces of the check of cancelling, and the seconds in which the engine may give up those that wait."""
_PATIENCE = 60.0
"""Seconds in which a piece must have been done."""


@check("engine")
def pieces_are_done_elsewhere(tested: ComponentUnderTest) -> None:
    """A task ends with what its function returned, or raises what it raised, and runs in another process."""
    import os

    engine = _engine(tested)
    require(isinstance(engine.slots, int) and engine.slots >= 1, f"slots is {engine.slots!r}, expected 1 or more")
    tasks = [engine.submit(pieces.add, number, 10) for number in range(6)]
    _wait(engine, tasks)
    found = [engine.result(task) for task in tasks]
    require(found == list(range(10, 16)), f"add(0..5, 10) returned {found}")
    other = engine.submit(pieces.process, 0.0)
    _wait(engine, [other])
    require(engine.result(other) != os.getpid(), "the piece ran in this process: errors of it would end the whole run")
    failing = engine.submit(pieces.refuse, "7.wav")
    _wait(engine, [failing])
    try:
        engine.result(failing)
    except DataError as error:
        require(str(error) == "7.wav: refused", f"a DataError came back as {str(error)!r}, expected '7.wav: refused'")
    except Exception as error:
        raise CheckFailedError(f"a piece that raises DataError raises {type(error).__name__}: {error}") from error
    else:
        raise CheckFailedError("the result of a piece that raised DataError is a value, expected that error")


@check("engine")
def state_is_sent_once(tested: ComponentUnderTest) -> None:
    """What was scattered is pickled once, however many pieces use it, and each piece gets it."""
    engine, folder = _engine(tested), _folder(tested, "scattered")
    handle = engine.scatter(pieces.Counted(folder, 100))
    tasks = [engine.submit(pieces.plus, handle, number) for number in range(3 * engine.slots + 3)]
    _wait(engine, tasks)
    found = [engine.result(task) for task in tasks]
    expected = [100 + number for number in range(len(tasks))]
    require(found == expected, f"pieces with a scattered 100 returned {found}, expected {expected}")
    times = len(list(folder.iterdir()))
    require(times == 1, f"a scattered value was pickled {times} times for {len(tasks)} pieces, expected once")


@check("engine")
def every_worker_answers_once(tested: ComponentUnderTest) -> None:
    """`everywhere` returns what each worker answered, by its address."""
    answers = _engine(tested).everywhere(pieces.add, 1, 2)
    require(isinstance(answers, dict) and bool(answers), f"everywhere returned {answers!r}, expected a dict of workers")
    wrong = {address: answer for address, answer in answers.items() if not isinstance(address, str) or answer != 3}
    require(not wrong, f"everywhere(add, 1, 2) returned {wrong}, expected 3 by the address of each worker")


@check("engine")
def results_are_those_of_this_process(tested: ComponentUnderTest) -> None:
    """Clips come back in their order, bit for bit as without an engine."""
    clips = _clips(tested)
    here = list(over_clips(pieces.spectra, 3, clips))
    with using_engine(_engine(tested)):
        there = list(over_clips(pieces.spectra, 3, clips))
    names = [each[0] if isinstance(each, tuple) else str(each) for each in there]
    require(names == [clip.path.name for clip in clips], f"clips came back as {', '.join(names)}: not in their order")
    require(there == here, "numbers differ from those that this process computes: pieces must be called as they are")


@check("engine")
def a_dead_process_costs_its_own_piece(tested: ComponentUnderTest) -> None:
    """Of a process that dies the very piece is lost (WorkerLost): the clip that kills it fails, and no other."""
    clips = _clips(tested)
    with using_engine(_engine(tested)):
        found = list(over_clips(pieces.deadly, "4.wav", clips))
    failed = [each.clip.path.name for each in found if isinstance(each, Failure)]
    require(
        failed == ["4.wav"],
        f"clip 4.wav killed its process, and the failed clips are {', '.join(failed) or 'none'}: `result` must raise "
        "asd.errors.WorkerLost for the piece that ran in the process that died, and for no other",
    )
    lost = len(clips) - len(found)
    require(not lost, f"{lost} of {len(clips)} clips have no result after a process died")


@check("engine")
def cancelled_pieces_do_not_begin(tested: ComponentUnderTest) -> None:
    """Pieces that are given up begin no more, and the engine works on."""
    engine, folder = _engine(tested), _folder(tested, "begun")
    tasks = [engine.submit(pieces.mark, folder, number, _PAUSE, _PATIENCE) for number in range(_PIECES)]
    engine.wait(tasks)
    engine.cancel(tasks)
    (folder / "go").touch()
    after = engine.submit(pieces.add, 1, 1)
    _wait(engine, [after])
    require(engine.result(after) == 2, "after pieces were cancelled, the next one returns something else")
    time.sleep(2 * _PAUSE)
    begun = len(list(folder.glob("[0-9]*")))
    most = min(_PIECES - 1, 3 * engine.slots + 1)
    require(begun <= most, f"{begun} of {_PIECES} pieces began although all were cancelled when the first was done")


@check("engine")
def closing_twice_is_harmless(tested: ComponentUnderTest) -> None:
    """An engine that never started, and one that is closed already, can be closed."""
    engine = _new(tested)
    engine.close()
    engine.close()


def _engine(tested: ComponentUnderTest) -> Any:
    """Return an engine that has started, for all checks."""
    return tested.once("starting it", lambda: _started(tested))


def _started(tested: ComponentUnderTest) -> Any:
    engine = _new(tested)
    try:
        engine.start()
        engine.start()
    except BaseException:
        engine.close()
        raise
    return engine


def _new(tested: ComponentUnderTest) -> Any:
    """Return an engine of two local processes, if it knows such; else one of its example's parameters."""
    given = tested.parameters
    if given.get("scheduler") is None:
        try:
            return tested.cls(**{**given, "scheduler": _TWO})
        except ConfigError:
            pass
    return tested.make()


def _wait(engine: Any, tasks: list[Any]) -> None:
    end = time.monotonic() + _PATIENCE
    while left := [task for task in tasks if not engine.done(task)]:
        require(time.monotonic() < end, f"{len(left)} of {len(tasks)} pieces were not done after {_PATIENCE:.0f} s")
        engine.wait(left)


def _folder(tested: ComponentUnderTest, name: str) -> Path:
    folder = tested.folder / name
    folder.mkdir()
    return folder


def _clips(tested: ComponentUnderTest) -> list[Clip]:
    """Return clips; the pieces read no file."""
    return [Clip(tested.folder / f"{number}.wav") for number in range(_CLIPS)]
