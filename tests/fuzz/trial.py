"""Runs cases of files that were damaged or forged: one at a time, with limits, under a guard."""

from __future__ import annotations

import collections
import faulthandler
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asd
from asd.contract.installed import registry
from asd.errors import AsdError

SECONDS = 5
"""Computing time of a case at most, by the processor's clock: others may use the machine."""
WAITING = 60
"""Seconds after which a case that waits for something is given up, and the run with it."""
MEMORY = 10**9


class TooSlowError(BaseException):
    """A case took longer than it may."""


class Guard:
    """Refuses what no model file may bring about, and remembers it: an audit hook cannot be taken off again."""

    def __init__(self, *readable: Path, cache: str) -> None:
        code = [sys.prefix, sys.base_prefix, *filter(None, sys.path), Path(asd.__file__).parents[2]]
        self._readable = tuple(os.path.realpath(path) for path in (*code, *readable, cache, "/proc/self", "/sys"))
        weights = [weight for component in registry().components for weight in component.spec.weights]
        # Essentia's site names no digests: its files are in no spec.
        self._published = {"essentia.upf.edu", *(urlsplit(weight.url or "").hostname for weight in weights)}
        self._cache = os.path.realpath(cache)
        self.seen: list[str] = []
        self.active = False
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Look at an event of the interpreter."""
        if not self.active:
            return
        if event == "open" and isinstance(arguments[0], str | bytes):
            writes = any(letter in (arguments[1] or "") for letter in "wax+") or arguments[2] & (
                os.O_WRONLY | os.O_RDWR
            )
            self._judge(event, arguments[0], (self._cache,) if writes else self._readable)
        elif event in ("os.remove", "os.rename", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.truncate"):
            self._judge(event, arguments[0], (self._cache,))
        elif event == "socket.getaddrinfo" and arguments[0] in self._published:
            raise ConnectionError("published weights, which a model may need, but not here")
        elif event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
            self._refuse(f"{event} {arguments[1:] if event == 'socket.connect' else arguments[:2]}")
        elif event in ("subprocess.Popen", "os.posix_spawn", "os.exec", "os.system", "os.fork"):
            self._refuse(f"{event} {arguments[0]}")

    def _judge(self, event: str, path: Any, allowed: tuple[str, ...]) -> None:
        real = os.path.realpath(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else ""
        if not any(real == root or real.startswith(root + os.sep) for root in (*allowed, "/dev/null")):
            self._refuse(f"{event} {real}")

    def _refuse(self, what: str) -> None:
        self.seen.append(what)
        raise PermissionError(f"not from a model file: {what}")


class Trial:
    """Runs cases under the guard and counts what came of them."""

    def __init__(self, guard: Guard) -> None:
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.problems: list[str] = []
        self._guard = guard
        signal.signal(signal.SIGPROF, self._too_slow)

    def run(self, name: str, action: Callable[[], object], *, may_succeed: bool, shown: bool = False) -> None:
        """Run one case; `shown`: with the traceback."""
        before, began = peak_memory(), time.process_time()
        self._guard.seen.clear()
        faulthandler.dump_traceback_later(WAITING, exit=True)  # a loop in compiled code hears no signal
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        error: BaseException | None = None
        try:
            self._guard.active = True
            action()
        except (Exception, TooSlowError) as caught:
            error = caught
        finally:
            self._guard.active = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.cancel_dump_traceback_later()
        if shown and error is not None:
            traceback.print_exception(error)
        self.outcomes["accepted" if error is None else type(error).__name__] += 1
        wrong = [*self._wrong(error, may_succeed), *self._guard.seen]
        if (grown := peak_memory() - before) > MEMORY:
            wrong.append(f"took {grown / 1e9:.1f} GB")
        if (taken := time.process_time() - began) > SECONDS:
            wrong.append(f"took {taken:.1f} s")
        self.problems += [f"{name}: {what}" for what in wrong]

    def _wrong(self, error: BaseException | None, may_succeed: bool) -> Iterator[str]:
        if error is None:
            if not may_succeed:
                yield "was accepted"
            return
        text = str(error)
        if not isinstance(error, AsdError):
            yield f"{type(error).__name__}: {text[:200]}"
        elif not text.isprintable() or not 0 < len(text) < 1500:
            yield f"not one readable line: {text[:200]!r}"
        while error is not None:
            if isinstance(error, MemoryError):
                yield "out of memory"
            error = error.__cause__

    @staticmethod
    def _too_slow(*_: object) -> None:
        raise TooSlowError(f"more than {SECONDS} s")


def peak_memory() -> int:
    """Return the most bytes that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def limit_memory() -> None:
    """Let an enormous array fail at once, instead of the machine."""
    if not (statistics := Path("/proc/self/statm")).exists():
        return
    held = int(statistics.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + 4 * MEMORY, resource.RLIM_INFINITY))
