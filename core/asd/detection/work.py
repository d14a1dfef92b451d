"""Work in pieces: here, or by the processes of a work engine.

A piece is a function of an importable module, read-only state, and a few clips or other items. Without an engine the
same function runs in this process, with all clips at once. Results come in order, and few pieces wait at a time, so
that memory does not grow with their number. A piece whose process died is done again; the clip that kills its process
twice is a failure. Closing the iterator gives up the rest.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import pickle
import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from asd.contract.interfaces import WorkEngine
from asd.detection.features import Failure
from asd.errors import AudioError, EngineError, WorkerLost
from asd.records import Clip

R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")

Needs = Mapping[str, float]

_PIECE_SECONDS = 0.5
"""What a piece should take: long against the way to a worker and back, short against a run."""
_GROWTH = 4
"""Times that a piece may be larger than the one before: the first ones measure."""
_LARGEST = 1000
_QUEUED = 2
"""Pieces for each slot that run or wait at a worker, so that none idles until we hear of its last."""
_AHEAD = 8
"""Pieces for each slot that are begun and not yet delivered, at most."""
_KEPT = 4
"""Values that a process keeps of `Shared`."""

_log = logging.getLogger("asd")
_engine: ContextVar[WorkEngine | None] = ContextVar("asd_engine", default=None)
_made: OrderedDict[str, Any] = OrderedDict()
_one_at_a_time = threading.RLock()
"""Held by a piece: components are not made for several threads."""


def current_engine() -> WorkEngine | None:
    """Return the engine that runs pieces now; None: they run in this process."""
    return _engine.get()


@contextmanager
def using_engine(engine: object, scheduler: str | None = None) -> Iterator[WorkEngine | None]:
    """Let other processes do the work inside the block: embedding, scoring, learning.

    Parameters
    ----------
    engine : str, WorkEngine, object or None
        ``"local"`` (processes on this computer), ``"local:4"`` (four of them), the name of a plugin's engine, such as
        ``"dask"``, with the address of its scheduler if it has one, ``"dask:tcp://host:8786"``; an engine; or a client
        that a plugin's engine knows, such as a `distributed.Client`. None: this process does the work.
    scheduler : str, optional
        The address, apart from the name.

    Yields
    ------
    WorkEngine or None
        The engine. It is closed at the end of the block, unless it was given as an object.

    Raises
    ------
    PluginError, ConfigError, EngineError
        If there is no such engine, or it cannot be made. It starts, or connects, with the first piece of work.
    """
    from asd.detection.engines import engine_from

    made = engine_from(engine, scheduler)
    token = _engine.set(made)
    try:
        yield made
    finally:
        _engine.reset(token)
        if made is not None and made is not engine:
            made.close()


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


def over_clips(
    function: Callable[[S, Sequence[Clip]], Iterable[R]],
    state: S,
    clips: Sequence[Clip],
    *,
    needs: Needs | None = None,
) -> Generator[R | Failure]:
    """Yield what `function` makes of each clip, in order, done by the workers of the current engine or here.

    Parameters
    ----------
    function : callable
        Takes the state and some clips, and yields or returns one result for each, in order. Of an importable module.
        Here it gets all clips at once, so let it be a generator; a clip's result must not depend on others.
    state : Any
        Read-only; can be pickled. A `Shared` lets each worker keep what it makes of it.
    clips : sequence of Clip
        What to go through.
    needs : mapping of str to float, optional
        As for `asd.plugin.WorkEngine.submit`.

    Yields
    ------
    R or Failure
        A `Failure` also for a clip whose process died, and died again when it had this clip alone.

    Raises
    ------
    EngineError
        If the engine cannot be reached, or breaks off. What the function raises is raised at its place.
    """
    engine = current_engine()
    if engine is None:
        yield from function(state, clips)
        return
    yield from _Pieces(engine, function, state, needs, of_clips=True, tries=2).results(clips, len(clips))


def each(
    function: Callable[[S, T], R],
    state: S,
    items: Iterable[T],
    *,
    needs: Needs | None = None,
    retries: int = 1,
    in_order: bool = True,
    lost: Callable[[T, WorkerLost], R] | None = None,
) -> Generator[R]:
    """Yield what `function` makes of each item, done by the workers of the current engine or here.

    Parameters
    ----------
    function : callable
        Takes the state and an item, and returns its result. Of an importable module.
    state, needs
        As for `over_clips`.
    items : iterable
        A piece of work each; taken from the iterable as they are needed. Few are ahead of what was yielded.
    retries : int
        How often an item is done again whose process died.
    in_order : bool
        Whether results come in the order of the items; otherwise as they are done.
    lost : callable, optional
        Makes the result of an item whose process died each time; default: an error.

    Raises
    ------
    EngineError
        If the engine cannot be reached, or an item's process died each time. What the function raises is raised at its
        place.
    """
    engine = current_engine()
    if engine is None:
        for item in items:
            yield function(state, item)
        return
    pieces = _Pieces(engine, function, state, needs, of_clips=False, tries=1 + retries, lost=lost, in_order=in_order)
    yield from pieces.results(items)


_Line = tuple[int, str, tuple[Any, ...]]
"""What was logged: level, text, and the whole numbers in it that are added up over pieces."""


@dataclass(eq=False)
class _Piece:
    """Some items of the work, the task that does them, and what came of them."""

    items: list[Any]
    tries: int = 0
    task: Any = None
    outcome: _Outcome | None = None


@dataclass
class _Outcome:
    """What a worker made of a piece: results until an error, if there was one; the seconds; what it logged."""

    results: list[Any]
    seconds: float = 0.0
    error: BaseException | None = None
    logged: tuple[_Line, ...] = ()


class _Pieces:
    """The pieces of one run, in their order: those that are begun, and those that wait to be delivered."""

    def __init__(
        self,
        engine: WorkEngine,
        function: Callable[..., Any],
        state: Any,
        needs: Needs | None,
        *,
        of_clips: bool,
        tries: int,
        in_order: bool = True,
        lost: Callable[[Any, WorkerLost], Any] | None = None,
    ) -> None:
        self._in_order, self._lost = in_order, lost
        self._engine, self._function, self._needs = engine, function, needs
        self._of_clips, self._tries = of_clips, tries
        self._given = state
        self._state: Any = None
        self._pieces: deque[_Piece] = deque()
        self._size = 1
        self._told: set[str] = set()
        self._counts: dict[str, tuple[int, ...]] = {}
        self._deadly = 0

    def results(self, items: Iterable[Any], count: int | None = None) -> Generator[Any]:
        """Yield the result of each item."""
        self._engine.start()
        self._state = self._engine.scatter(self._given)
        source = iter(items)
        left = count
        try:
            while True:
                self._begin(source, left)
                if not self._pieces:
                    return
                while (piece := self._next()) is None:
                    self._gather()
                    self._begin(source, left)
                self._pieces.remove(piece)
                if left is not None:
                    left -= len(piece.items)
                yield from self._delivered(piece)
        finally:
            self._engine.cancel([piece.task for piece in self._pieces if piece.outcome is None])
            for text, counts in self._counts.items():
                _log.info(text, *counts)

    def _begin(self, source: Iterator[Any], left: int | None) -> None:
        """Submit pieces until enough are under way."""
        slots = max(1, self._engine.slots)
        while len(self._pieces) < _AHEAD * slots and len(self._running()) < _QUEUED * slots:
            size = self._size
            if left is not None:  # near the end, small ones: nobody waits long for the last
                size = min(size, max(1, (left - sum(len(each.items) for each in self._pieces)) // (2 * slots)))
            items = list(itertools.islice(source, size))
            if not items:
                return
            self._pieces.append(piece := _Piece(items))
            self._submit(piece)

    def _next(self) -> _Piece | None:
        """Return the piece that is to be delivered now; None: it is not done."""
        candidates = itertools.islice(self._pieces, 1 if self._in_order else None)
        return next((piece for piece in candidates if piece.outcome is not None), None)

    def _running(self) -> list[_Piece]:
        return [piece for piece in self._pieces if piece.outcome is None]

    def _submit(self, piece: _Piece) -> None:
        piece.tries += 1
        arguments = (self._function, self._state, piece.items, self._of_clips)
        piece.task = self._engine.submit(run_piece, *arguments, needs=self._needs)

    def _gather(self) -> None:
        """Wait until a piece is done; take what came of all that are."""
        running = self._running()
        self._engine.wait([piece.task for piece in running])
        for piece in running:
            if not self._engine.done(piece.task):
                continue
            try:
                piece.outcome = self._engine.result(piece.task)
            except WorkerLost as loss:
                self._again(piece, loss)
                continue
            self._learn(piece)

    def _learn(self, piece: _Piece) -> None:
        """Let the next pieces be as large as fits."""
        assert piece.outcome is not None
        self._deadly = 0
        if self._of_clips and piece.outcome.results:
            fitting = int(_PIECE_SECONDS * len(piece.outcome.results) / max(piece.outcome.seconds, 1e-6))
            self._size = min(max(1, fitting), _GROWTH * len(piece.items), _LARGEST)

    def _again(self, piece: _Piece, loss: WorkerLost) -> None:
        """Do a piece once more whose worker died: its items one by one, to find the one that is to blame."""
        if len(piece.items) > 1:
            singles = [_Piece([item], piece.tries) for item in piece.items]
            place = self._pieces.index(piece)
            self._pieces.remove(piece)
            for offset, single in enumerate(singles):
                self._pieces.insert(place + offset, single)
                self._submit(single)
        elif piece.tries < self._tries:
            self._submit(piece)
        elif self._of_clips:
            self._deadly += 1
            if self._deadly >= _MOST_DEADLY:
                raise EngineError(f"{loss}; so did all before it: {self._deadly} clips, twice each; {_MEND}") from loss
            (clip,) = piece.items
            piece.outcome = _Outcome([Failure(clip, AudioError(f"{clip}: {_DEADLY}"))])
        elif self._lost is not None:
            piece.outcome = _Outcome([self._lost(piece.items[0], loss)])
        else:
            text = f"{loss}; that was try {piece.tries} of the same piece of work; if memory ran out, use fewer workers"
            piece.outcome = _Outcome([], error=EngineError(text))

    def _delivered(self, piece: _Piece) -> Iterator[Any]:
        assert piece.outcome is not None
        for level, text, counts in piece.outcome.logged:
            if counts:
                sums = self._counts.get(text, (0,) * len(counts))
                self._counts[text] = tuple(map(sum, zip(sums, counts, strict=True)))
            elif text not in self._told:
                self._told.add(text)
                _log.log(level, "%s", text)
        yield from piece.outcome.results
        if piece.outcome.error is not None:
            raise piece.outcome.error


_MOST_DEADLY = 4
"""Clips in a row that may kill their processes before it is no clip's fault."""
_MEND = "if memory ran out, use fewer workers (or give them more), else look at what they wrote to standard error"
_DEADLY = (
    "the process that worked on it died twice; if memory ran out, use fewer workers, else the recording kills what "
    "decodes it: leave it out"
)


def run_piece(function: Callable[..., Any], state: Any, items: list[Any], of_clips: bool) -> _Outcome:
    """Do a piece of work in a worker; called by engines with what `over_clips` and `each` submit."""
    with _one_at_a_time, _logged() as logged:
        results: list[Any] = []
        error = None
        try:
            if isinstance(state, Shared):
                _ = state.value  # what is made once does not count as the piece's time
            began = time.perf_counter()
            if of_clips:
                results.extend(function(state, items))
            else:
                results.append(function(state, *items))
        except Exception as raised:
            error = _sendable(raised)
        seconds = time.perf_counter() - began if results else 0.0
        return _Outcome(results, seconds, error, tuple(logged))


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
        self.kept: list[_Line] = []

    def emit(self, record: logging.LogRecord) -> None:
        counts = record.args if isinstance(record.args, tuple) else ()
        if record.levelno >= logging.WARNING:
            self.kept.append((record.levelno, record.getMessage(), ()))
        elif counts and all(type(each) is int for each in counts):
            self.kept.append((record.levelno, record.msg, counts))


@contextmanager
def _logged() -> Iterator[list[_Line]]:
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
