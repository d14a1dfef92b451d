"""What only other processes can show: state, determinism, isolation, memory, the network, files, neighbours."""

from __future__ import annotations

from asd_testing.compare import require, require_close
from asd_testing.kit import USERS, SkippedError, check
from asd_testing.process import ask_companion, fresh
from asd_testing.subject import Subject


@check(*USERS)
def constructor_touches_nothing(subject: Subject) -> None:
    """The constructor opens no file, starts no process and reaches no network."""
    answer = fresh(subject)
    answer.require("construct")
    touches = answer.facts["touches"]
    require(not touches, f"its constructor {'; '.join(touches[:3])}: do that at first use")


@check("detector")
def state_round_trips(subject: Subject) -> None:
    """What a model file keeps gives the same scores in a fresh process."""
    subject.ready.get_state()  # what it raises is to be told here
    restored = fresh(subject).output("restored", "restore")
    require_close(restored, subject.results, "restored from a model file", 1e-6)


@check(*USERS)
def same_in_another_process(subject: Subject) -> None:
    """Made and fitted in another process, it gives the same results."""
    require_close(fresh(subject).output("results", "use"), subject.results, "in another process", 1e-5)


@check(*USERS)
def no_network(subject: Subject) -> None:
    """Nothing reaches for the network while ASD_OFFLINE is set."""
    attempts = fresh(subject).facts["network"]
    require(not attempts, f"reaches for the network: {'; '.join(attempts[:3])}; ask asd.plugin.is_offline() before")


@check(*USERS)
def no_stray_files(subject: Subject) -> None:
    """Nothing is written outside asd's cache folder and the folder for temporary files."""
    writes = fresh(subject).facts["writes"]
    require(not writes, f"writes {', '.join(writes[:3])}; keep to asd.plugin.cache_folder()")


@check(*USERS)
def memory_stays(subject: Subject) -> None:
    """Memory does not grow from batch to batch."""
    answer = fresh(subject)
    answer.output("results", "use")
    answer.require("memory")
    batch, traced, resident = (answer.facts[name] for name in ("batch", "traced", "resident"))
    require(not traced, f"keeps {traced:.0f} bytes of every batch ({batch} bytes): let them go")
    require(not resident, f"the process grows by {resident:.0f} bytes with every batch ({batch} bytes)")


@check(*USERS)
def works_beside_others(subject: Subject) -> None:
    """It gives the same results in a process that has imported every other installed component."""
    if subject.registered is None:
        raise SkippedError("not registered: no plugin offers it")
    answer = subject.once("companion", lambda: ask_companion(subject))
    require_close(answer.output("results", "use"), subject.results, "beside all other components", 1e-5)
