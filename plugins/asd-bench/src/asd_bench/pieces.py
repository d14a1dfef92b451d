"""Trials as pieces of work: those that share embeddings are computed by one process, which holds them.

Without an engine a piece ends after each trial, so that each is kept at once. A worker ends it after half a minute:
what it found comes back, and the rest is a piece again, for whoever is free.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from asd.errors import WorkerLost
from asd.experiment import Shared, current_engine, each
from asd.plugin import Float64
from asd_bench.compute import TrialRunner
from asd_bench.trial import Trial, TrialResult, failed

_PATIENCE = 30.0
"""Seconds after which a worker gives back what it has: so much is lost by Ctrl-C."""
_LAST_PATIENCE = 1.0
"""The same for the last piece of each worker: soon others are idle, and take a part."""
_AGAINST_EMBEDDING = 2.0
"""Times that a piece goes on for as long as its first trial took, which embeds: others may have to embed again."""


@dataclass(frozen=True)
class _Piece:
    """Trials that share embeddings, to compute one after the other.

    Parameters
    ----------
    number : int
        By which its results are told.
    trials : tuple of Trial
        In their order.
    patience : float
        Seconds after which what is left is given back; 0: after each trial.
    again : bool
        Whether a process died that computed it.
    """

    number: int
    trials: tuple[Trial, ...]
    patience: float
    again: bool = False


@dataclass(frozen=True)
class _Outcome:
    """What came of a piece: record and draws of its first trials, or why its process died."""

    number: int
    found: list[tuple[dict[str, Any], Float64]] = field(default_factory=list)
    loss: str = ""


def computed(
    runner: Shared[TrialRunner], trials: Sequence[Trial], needs: Mapping[str, float] | None = None
) -> Generator[TrialResult]:
    """Compute trials, here or by the workers of the current engine, and yield each result as soon as it is there.

    Parameters
    ----------
    runner : Shared of TrialRunner
        What computes them.
    trials : sequence of Trial
        In the order of work; those that share embeddings follow each other.
    needs : mapping of str to float, optional
        As for `asd.experiment.each`.
    """
    pieces = _Pieces(trials)
    with closing(each(_run, runner, pieces, needs=needs or None, retries=0, lost=_lost, in_order=False)) as outcomes:
        for outcome in outcomes:
            yield from pieces.take(outcome)


class _Pieces(Iterator[_Piece]):
    """The pieces that wait; it gives more where the rest of one comes back."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        groups = [tuple(own) for _, own in groupby(trials, key=_embeddings_of)]
        self._waiting = deque((own, False) for own in groups)
        self._given: dict[int, _Piece] = {}
        self._numbers = 0
        self._divided = False

    def __next__(self) -> _Piece:
        if not self._divided:  # not before: the engine has started by now
            self._divide_last()
        if not self._waiting:
            raise StopIteration
        trials, again = self._waiting.popleft()
        self._numbers += 1
        patience = _PATIENCE if len(self._waiting) >= _slots() else _LAST_PATIENCE
        piece = _Piece(self._numbers, trials, patience if current_engine() else 0.0, again)
        self._given[piece.number] = piece
        return piece

    def take(self, outcome: _Outcome) -> Iterator[TrialResult]:
        """Yield the results of a piece; what is left of it waits again."""
        piece = self._given.pop(outcome.number)
        if outcome.loss:
            yield from self._after_loss(piece, outcome.loss)
            return
        done = len(outcome.found)
        if rest := piece.trials[done:]:
            idle = _slots() - len(self._given) - len(self._waiting)
            self._return(_parts(rest, max(1, idle)), piece.again)
        for trial, (record, draws) in zip(piece.trials, outcome.found, strict=False):
            yield TrialResult(trial, record, draws)

    def _after_loss(self, piece: _Piece, loss: str) -> Iterator[TrialResult]:
        """Let each trial be computed once more by itself, to find the one that is to blame."""
        if piece.again and len(piece.trials) == 1:
            text = (
                f"its process died twice ({loss}); if memory ran out, use fewer workers; the same command tries again"
            )
            yield failed(piece.trials[0], text)
        else:
            self._return([(trial,) for trial in piece.trials], True)

    def _divide_last(self) -> None:
        """Divide the groups of the last round among the workers that would be idle in it."""
        self._divided = True
        slots = _slots()
        if last := len(self._waiting) % slots:
            groups = [self._waiting.pop() for _ in range(last)]
            for trials, again in reversed(groups):
                self._waiting.extend((part, again) for part in _parts(trials, slots // last))

    def _return(self, parts: Sequence[tuple[Trial, ...]], again: bool) -> None:
        self._waiting.extendleft((part, again) for part in reversed(parts))


def _embeddings_of(trial: Trial) -> tuple[str, str]:
    return trial.candidate.embedding_key if trial.candidate else "", trial.section.name


def _slots() -> int:
    engine = current_engine()
    return max(1, engine.slots) if engine else 1


def _parts(trials: tuple[Trial, ...], count: int) -> list[tuple[Trial, ...]]:
    """Return trials in at most `count` parts of about one size, in order."""
    size = -(-len(trials) // count)
    return [trials[i : i + size] for i in range(0, len(trials), size)]


def _run(runner: Shared[TrialRunner], piece: _Piece) -> _Outcome:
    """Compute trials of a piece until its time is over, at least one; called in a worker, or here."""
    outcome = _Outcome(piece.number)
    began = deadline = time.monotonic()
    for trial in piece.trials:
        result = runner.value.run(trial)
        outcome.found.append((result.record, result.draws))
        now = time.monotonic()
        if len(outcome.found) == 1 and piece.patience:
            deadline = now + max(piece.patience, _AGAINST_EMBEDDING * (now - began))
        if now >= deadline:
            break
    return outcome


def _lost(piece: _Piece, loss: WorkerLost) -> _Outcome:
    return _Outcome(piece.number, loss=str(loss))
