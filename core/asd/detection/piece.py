"""A piece of work as a worker does it: read-only state, a function on some items, and what comes of it."""

from __future__ import annotations

import hashlib
import logging
import pickle
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from asd.detection.terms import Terms, refused
from asd.progress import rendered_by, without_bar
from asd_registry import WeightFile

T = TypeVar("T")

_KEPT = 4
"""Values that a process keeps of `Shared`."""


_log = logging.getLogger("asd")
_made: OrderedDict[str, Any] = OrderedDict()
_one_at_a_time = threading.RLock()
"""Held by a piece: components are not made for several threads."""


class Shared(Generic[T]):
    """Read-only state of pieces: what is sent of it, once, and what each process makes of that, once.

    Parameters
    ----------
    make : callable
        A function of an importable module; makes the value of the parts, such as a pipeline of its configuration.
    *parts : Any
        Plain data that can be pickled.
    here : T, optional
        The value that this process has already.
    components : sequence of (str, str)
        Kind and name of each component that it uses: workers must have the same versions.

    Attributes
    ----------
    value : T
        The value, of this process.
    """

    def __init__(
        self,
        make: Callable[..., T],
        *parts: Any,
        here: T | None = None,
        components: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.components = tuple(components)
        self._make = make
        self._parts = parts
        self._here = here
        self._digest: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of what is sent."""
        if self._digest is None:
            self._digest = hashlib.sha256(pickle.dumps((self._make, self._parts))).hexdigest()
        return self._digest

    @property
    def value(self) -> T:
        """The value, made at its first use in a process, which keeps the last few."""
        if self._here is not None:
            return self._here
        with _one_at_a_time:
            if self.digest in _made:
                _made.move_to_end(self.digest)
            else:
                _made[self.digest] = self._make(*self._parts)
                while len(_made) > _KEPT:
                    _, former = _made.popitem(last=False)
                    if hasattr(former, "close"):
                        former.close()
            kept: T = _made[self.digest]
            return kept

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_here": None, "_digest": self.digest}


Line = tuple[int, str, tuple[Any, ...]]
"""What was logged: level, text, and the whole numbers in it that are added up over pieces."""


@dataclass
class Outcome:
    """What a worker made of a piece: results until an error, if there was one; the seconds; what it logged."""

    results: list[Any]
    seconds: float = 0.0
    error: BaseException | None = None
    logged: tuple[Line, ...] = ()
    lacking: tuple[WeightFile, ...] = ()


def run_piece(function: Callable[..., Any], state: Any, items: list[Any], of_clips: bool, terms: Terms) -> Outcome:
    """Do a piece of work in a worker; called by engines with what `over_clips` and `each` submit."""
    with _one_at_a_time, _logged() as logged, rendered_by(without_bar):
        results: list[Any] = []
        error = None
        began = time.perf_counter()
        try:
            if lacking := refused(terms):
                return Outcome([], lacking=lacking)
            if isinstance(state, Shared):
                _ = state.value  # what is made once does not count as the piece's time
            began = time.perf_counter()
            if of_clips:
                results.extend(function(state, items))
            else:
                results.append(function(state, *items))
        except Exception as raised:
            error = _sendable(raised)
        return Outcome(results, time.perf_counter() - began, error, tuple(logged))


def _sendable(error: Exception) -> Exception:
    """Return an error that survives the way, with the worker's traceback as a note."""
    trace = "".join(traceback.format_exception(error))
    try:
        sent: Exception = pickle.loads(pickle.dumps(error))  # noqa: S301  # what was just written here
        if type(sent) is not type(error) or str(sent) != str(error):
            raise TypeError
    except Exception:
        sent = RuntimeError(f"{type(error).__name__}: {error}")
    sent.add_note(f"in a worker process:\n{trace}")
    return sent


class _Collecting(logging.Handler):
    """Keeps warnings and counts, for the process that asked for the work."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.kept: list[Line] = []

    def emit(self, record: logging.LogRecord) -> None:
        counts = record.args if isinstance(record.args, tuple) else ()
        if record.levelno >= logging.WARNING:
            self.kept.append((record.levelno, record.getMessage(), ()))
        elif counts and all(type(each) is int for each in counts):
            self.kept.append((record.levelno, record.msg, counts))


@contextmanager
def _logged() -> Iterator[list[Line]]:
    """Collect what the block logs, in place of whatever shows it in this process."""
    handler, level, propagates = _Collecting(), _log.level, _log.propagate
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    _log.propagate = False
    try:
        yield handler.kept
    finally:
        _log.removeHandler(handler)
        _log.setLevel(level)
        _log.propagate = propagates
