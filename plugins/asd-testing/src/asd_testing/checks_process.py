"""Checks that need other processes: saved state, determinism, memory, network, files, other components."""

from __future__ import annotations

import numpy as np

from asd_testing.compare import require, require_close
from asd_testing.errors import SkippedError
from asd_testing.kit import USERS, check
from asd_testing.processes import clean_process_answer, shared_process_answer
from asd_testing.under_test import ComponentUnderTest


@check(*USERS, "source", "sink")
def constructor_touches_nothing(tested: ComponentUnderTest) -> None:
    """The constructor opens no file, but what a sink's parameter names, starts no process and reaches no network."""
    # A password's file, say, that is missing is told at the start, not at the first alarm.
    answer = clean_process_answer(tested)
    answer.require("construct")
    named = set() if tested.kind in USERS else {f"opens {value}" for value in tested.parameters.values()}
    events = [event for event in answer.facts["events"] if event not in named]
    require(not events, f"its constructor {'; '.join(events[:3])}: do that at first use")


@check("detector")
def state_round_trips(tested: ComponentUnderTest) -> None:
    """A detector that is restored from a model file in a new process gives the same scores."""
    tested.ready.get_state()  # an error of it belongs to this check
    restored = clean_process_answer(tested).output("restored", "restore")
    require_close(restored, tested.results, "restored from a model file", 1e-6)


@check(*USERS)
def same_in_another_process(tested: ComponentUnderTest) -> None:
    """Made and fitted in another process, it gives the same results, bit for bit if its spec says `any_threads`."""
    there = clean_process_answer(tested).output("results", "use")
    require_close(there, tested.results, "in another process", 1e-5)
    if tested.registered is not None and tested.registered.spec.any_threads:
        differing = int((np.asarray(there) != tested.results).sum())
        require(
            not differing,
            f"its spec says any_threads, and {differing} of {there.size} numbers have other bits on one thread: leave "
            "any_threads out",
        )


@check(*USERS)
def no_network(tested: ComponentUnderTest) -> None:
    """The component does not use the network while ASD_OFFLINE is set."""
    attempts = clean_process_answer(tested).facts["network"]
    require(not attempts, f"reaches for the network: {'; '.join(attempts[:3])}; ask asd.plugin.is_offline() before")


@check(*USERS)
def no_stray_files(tested: ComponentUnderTest) -> None:
    """The component writes no file outside asd's cache folder and the folder for temporary files."""
    writes = clean_process_answer(tested).facts["writes"]
    require(not writes, f"writes {', '.join(writes[:3])}; keep to asd.plugin.cache_folder()")


@check(*USERS)
def memory_stays(tested: ComponentUnderTest) -> None:
    """Memory does not grow from batch to batch."""
    answer = clean_process_answer(tested)
    answer.output("results", "use")
    answer.require("memory")
    batch, traced, resident = (answer.facts[name] for name in ("batch", "traced", "resident"))
    require(not traced, f"keeps {traced:.0f} bytes of every batch ({batch} bytes): release them")
    require(not resident, f"the process grows by {resident:.0f} bytes with every batch ({batch} bytes)")


@check(*USERS)
def works_beside_others(tested: ComponentUnderTest) -> None:
    """It gives the same results in a process that has imported every other installed component."""
    if tested.registered is None:
        raise SkippedError("not registered: no plugin offers it")
    answer = tested.once("using it beside all others", lambda: shared_process_answer(tested))
    require_close(answer.output("results", "use"), tested.results, "beside all other components", 1e-5)
