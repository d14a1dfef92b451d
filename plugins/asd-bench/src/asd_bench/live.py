"""The table that grows while a benchmark runs, on a terminal; a line for each trial elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from asd.experiment import rendered_by
from asd_bench.candidates import LOUDNESS
from asd_bench.recipe import Recipe
from asd_bench.results import summarise
from asd_bench.runner import Observer
from asd_bench.show import one_line
from asd_bench.trial import TrialResult

T = TypeVar("T")

_log = logging.getLogger("asd")
_LINES = 20


@contextmanager
def watched(recipe: Recipe, console: Console | None = None) -> Iterator[Observer]:
    """Give the observer of a run: on a terminal it draws the best pipelines so far, elsewhere it logs each trial."""
    console = console or Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _logged
        return
    with Live(console=console, transient=True, auto_refresh=False) as live, _log_through_display():
        table = _Table(recipe, live)
        with rendered_by(table):
            yield table.add


def _logged(result: TrialResult, done: int, total: int) -> None:
    if result.computed:
        _log.info("%s", one_line(result, done, total))


@contextmanager
def _log_through_display() -> Iterator[None]:
    """Send the log's lines through the live display, which replaces stderr; written beside it they would tear it."""
    handlers = [handler for handler in _log.handlers if isinstance(handler, logging.StreamHandler)]
    before = [handler.setStream(sys.stderr) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            if stream is not None:
                handler.setStream(stream)


class _Table:
    """The best pipelines so far and the work in progress; also the renderer of the progress loops within."""

    def __init__(self, recipe: Recipe, live: Live) -> None:
        self._recipe, self._live = recipe, live
        self._results: list[TrialResult] = []
        self._state = ""

    def __call__(self, items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
        for done, item in enumerate(items, start=1):
            yield item
            self._live.update(self._drawn(f"{description}: {done} of {total or '?'}"), refresh=True)

    def add(self, result: TrialResult, done: int, total: int) -> None:
        """Add the result of a finished trial."""
        self._results.append(result)
        self._state = f"{done} of {total} trials"
        if result.computed or done == total:
            self._live.update(self._drawn(""), refresh=True)

    def _drawn(self, doing: str) -> Group:
        table = Table("pipeline so far", "score", "95 % interval", "trials", box=box.SIMPLE_HEAD, pad_edge=False)
        if any(result.trial.label == LOUDNESS for result in self._results):
            for summary in summarise(self._recipe, self._results).ranking[:_LINES]:
                low, high = summary.interval
                table.add_row(summary.label, f"{summary.score:.3f}", f"{low:.3f} – {high:.3f}", str(summary.trials))
        return Group(table, Text(f"{self._state}  {doing}"))
