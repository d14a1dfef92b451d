"""The table that grows while a benchmark runs, on a terminal; a line for each cell elsewhere."""

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
from asd_bench.grid import LOUDNESS
from asd_bench.recipe import Recipe
from asd_bench.results import results_of
from asd_bench.runner import Observer, Row
from asd_bench.show import one_line

T = TypeVar("T")

_log = logging.getLogger("asd")
_LINES = 20


@contextmanager
def watched(recipe: Recipe, console: Console | None = None) -> Iterator[Observer]:
    """Give what is to be told each finished row; it draws the best so far on a terminal, and logs elsewhere."""
    console = console or Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _logged
        return
    with Live(console=console, transient=True, auto_refresh=False) as live, _tidy_log():
        table = _Table(recipe, live)
        with rendered_by(table):
            yield table.add


def _logged(row: Row, done: int, total: int) -> None:
    if row.fresh:
        _log.info("%s", one_line(row, done, total))


@contextmanager
def _tidy_log() -> Iterator[None]:
    """Let the log's lines go through the live display, which stands in for stderr, so that they do not tear it."""
    handlers = [handler for handler in _log.handlers if isinstance(handler, logging.StreamHandler)]
    before = [handler.setStream(sys.stderr) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            if stream is not None:
                handler.setStream(stream)


class _Table:
    """The best pipelines so far, and what is being done; also the renderer of the loops within."""

    def __init__(self, recipe: Recipe, live: Live) -> None:
        self._recipe, self._live = recipe, live
        self._rows: list[Row] = []
        self._state = ""

    def __call__(self, items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
        for done, item in enumerate(items, start=1):
            yield item
            self._live.update(self._drawn(f"{description}: {done} of {total or '?'}"), refresh=True)

    def add(self, row: Row, done: int, total: int) -> None:
        """Take a finished row in."""
        self._rows.append(row)
        self._state = f"{done} of {total} cells"
        if row.fresh or done == total:
            self._live.update(self._drawn(""), refresh=True)

    def _drawn(self, doing: str) -> Group:
        table = Table("pipeline so far", "score", "95 % interval", "cells", box=box.SIMPLE_HEAD, pad_edge=False)
        if any(row.label == LOUDNESS for row in self._rows):
            for line in results_of(self._recipe, self._rows).lines[:_LINES]:
                low, high = line.interval
                table.add_row(line.label, f"{line.score:.3f}", f"{low:.3f} – {high:.3f}", str(line.cells))
        return Group(table, Text(f"{self._state}  {doing}"))
