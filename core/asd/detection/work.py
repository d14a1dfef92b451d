"""Work in pieces: here, or by the processes of a work engine.

A piece is a function of an importable module, read-only state, and a few clips or other items. Without an engine the
same function runs in this process, with all clips at once. Results come in order, and few pieces wait at a time, so
that memory does not grow with their number. A piece whose process died is done again; the clip that kills its process
twice is a failure. Closing the iterator gives up the rest.
"""

from __future__ import annotations

import functools
import itertools
import logging
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from asd.contract.interfaces import WorkEngine
from asd.detection.features import Failure
from asd.detection.piece import Outcome, Shared, run_piece
from asd.detection.terms import Terms, agreed, send_weights
from asd.errors import AudioError, EngineError, WorkerLost
from asd.records import Clip

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")

Needs = Mapping[str, float]

_PIECE_SECONDS = 1.0
"""Seconds that a piece should take: long against the way to a worker and back, short against a run."""
_GROWTH = 8
"""Times that a piece may be larger than the one before: the first ones measure."""
_SMALLEST = 5
"""Part of a piece that is still worth the way: no smaller one at the end."""
_LARGEST = 1000
_QUEUED = 2
"""Pieces for each slot that run or wait at a worker, so that none idles until we hear of its last."""
_AHEAD = 8
"""Pieces for each slot that are begun and not yet delivered, at most."""
_log = logging.getLogger("asd")
_engine: ContextVar[WorkEngine | None] = ContextVar("asd_engine", default=None)
_ended: weakref.WeakSet[WorkEngine] = weakref.WeakSet()
"""Engines whose block has ended."""


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
            _ended.add(made)
            made.close()


def of_call(function: Callable[P, Iterator[R]]) -> Callable[P, Iterator[R]]:
    """Return the generator function so that the engine counts that was current when it was called.

    Otherwise it would be the one that is current when the first result is asked for: outside the block, none.
    """

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        return _stepped(function(*args, **kwargs), current_engine())

    return called


def _stepped(results: Iterator[R], engine: WorkEngine | None) -> Generator[R]:
    try:
        while True:
            token = _engine.set(engine)
            try:
                result = next(results)
            except StopIteration:
                return
            finally:
                _engine.reset(token)
            yield result
    finally:
        if isinstance(results, Generator):
            results.close()


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


@dataclass(eq=False)
class _Piece:
    """Some items of the work, the task that does them, and what came of them."""

    items: list[Any]
    tries: int = 0
    task: Any = None
    outcome: Outcome | None = None


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
        self._terms = Terms()
        self._pieces: deque[_Piece] = deque()
        self._size = 1
        self._measured = False
        self._told: set[str] = set()
        self._counts: dict[str, tuple[int, ...]] = {}
        self._deadly = 0

    def results(self, items: Iterable[Any], count: int | None = None) -> Generator[Any]:
        """Yield the result of each item."""
        if self._engine in _ended:
            raise EngineError(
                "the engine was closed at the end of its block (asd.using_engine): read the results in it"
            )
        self._engine.start()
        components = self._given.components if isinstance(self._given, Shared) else ()
        self._terms = agreed(self._engine, components)
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
        queued = 1 if self._of_clips and not self._measured else _QUEUED  # the first ones are too small to wait for
        while len(self._pieces) < _AHEAD * slots and len(self._running()) < queued * slots:
            size = self._size
            if left is not None:  # near the end, small ones: nobody waits long for the last
                rest = left - sum(len(each.items) for each in self._pieces)
                size = min(size, max(1, size // _SMALLEST, rest // (2 * slots)))
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
        arguments = (self._function, self._state, piece.items, self._of_clips, self._terms)
        piece.task = self._engine.submit(run_piece, *arguments, needs=self._needs)

    def _gather(self) -> None:
        """Wait until a piece is done; take what came of all that are."""
        running = self._running()
        self._engine.wait([piece.task for piece in running])
        for piece in running:
            if not self._engine.done(piece.task):
                continue
            try:
                outcome: Outcome = self._engine.result(piece.task)
            except WorkerLost as loss:
                self._again(piece, loss)
                continue
            if outcome.lacking:  # of a worker that came later
                send_weights(self._engine, outcome.lacking)
                piece.tries -= 1
                self._submit(piece)
                continue
            piece.outcome = outcome
            self._learn(piece)

    def _learn(self, piece: _Piece) -> None:
        """Let the next pieces be as large as fits."""
        assert piece.outcome is not None
        self._deadly = 0
        if self._of_clips and piece.outcome.results:
            fitting = int(_PIECE_SECONDS * len(piece.outcome.results) / max(piece.outcome.seconds, 1e-6))
            self._size = min(max(1, fitting), _GROWTH * len(piece.items), _LARGEST)
            self._measured = True

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
            piece.outcome = Outcome([Failure(clip, AudioError(f"{clip}: {_DEADLY}"))])
        elif self._lost is not None:
            piece.outcome = Outcome([self._lost(piece.items[0], loss)])
        else:
            text = f"{loss}; that was try {piece.tries} of the same piece of work; if memory ran out, use fewer workers"
            piece.outcome = Outcome([], error=EngineError(text))

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
