"""Progress of long loops: a bar on stderr in a terminal, or below the cell of a notebook; nothing elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, Self, TypeVar

T = TypeVar("T")

_PATIENCE = 1.0
"""Seconds before a bar appears: shorter loops need none."""
_REDRAWN = 0.2
"""Seconds from one drawing of a notebook's line to the next."""


class Renderer(Protocol):
    """Draws a loop's progress while passing its items through."""

    def __call__(self, items: Iterable[T], description: str, total: int | None) -> Iterable[T]:
        """Yield `items`, showing how many of `total` are done."""


_renderer: ContextVar[Renderer | None] = ContextVar("asd_progress", default=None)
_is_quiet = False


def quiet(silent: bool = True) -> None:
    """Show no progress bars from now on; ``asd.quiet(False)`` shows them again. Warnings still come.

    Parameters
    ----------
    silent : bool
        Whether to be quiet.
    """
    global _is_quiet  # a switch of the process, as the user sees it
    _is_quiet = silent


def track(items: Iterable[T], description: str, total: int | None = None) -> Generator[T, None, None]:
    """Yield `items`; show `description` with the count and the time left, if it takes longer than a second.

    Parameters
    ----------
    items : iterable
        What the loop goes through.
    description : str
        What it does: ``"scoring"``.
    total : int, optional
        How many there are; default: their length, if they have one.
    """
    renderer = _renderer.get()
    if total is None and isinstance(items, Sized):
        total = len(items)
    yield from (renderer or Bar())(items, description, total)


@contextmanager
def rendered_by(renderer: Renderer) -> Iterator[None]:
    """Show the progress of every `track` inside the block with `renderer`."""
    token = _renderer.set(renderer)
    try:
        yield
    finally:
        _renderer.reset(token)


def without_bar(items: Iterable[T], description: str, total: int | None) -> Iterable[T]:
    """Pass items through without a bar: a `Renderer` for what runs inside another loop."""
    return items


class Bar:
    """A bar with counts and the time left, once a loop has taken longer than a second.

    Parameters
    ----------
    log : logging.Logger, optional
        Where to say, after the loop, how long it took.
    """

    def __init__(self, log: logging.Logger | None = None) -> None:
        self._log = log

    def __call__(self, items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
        """Yield `items`, drawing the bar meanwhile."""
        began = time.monotonic()
        iterator = iter(items)
        for done, item in enumerate(iterator, start=1):
            yield item
            if time.monotonic() - began > _PATIENCE:
                yield from self._drawn(iterator, description, total, done, began)
                return

    def _drawn(self, items: Iterator[T], description: str, total: int | None, done: int, began: float) -> Iterator[T]:
        bar = _started(description, total, done)
        try:
            for item in items:
                yield item
                done += 1
                if bar is not None:
                    bar.advance()
        finally:  # also where the user's loop ends before ours
            if bar is not None:
                bar.stop()
        if self._log is not None:
            self._log.info("%s: %d in %.1f s", description, done, time.monotonic() - began)


def _started(description: str, total: int | None, done: int) -> _TerminalBar | _NotebookBar | None:
    """Return a bar; None where nobody would see it, or another display is shown."""
    if _is_quiet:
        return None
    if _in_notebook():
        return _NotebookBar(description, total, done)
    return _TerminalBar.started(description, total, done) if sys.stderr.isatty() else None


class _TerminalBar:
    """A bar of rich, on stderr."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress

    @classmethod
    def started(cls, description: str, total: int | None, done: int) -> Self | None:
        """Return a bar that is shown; None where an outer loop, or the user's program, has a display of its own."""
        from rich.console import Console
        from rich.errors import LiveError
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            # What is printed meanwhile goes above the bar; into a pipe or a file it goes as it is.
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=sys.stderr.isatty(),
        )
        progress.add_task(description, total=total, completed=done)
        try:
            progress.start()
        except LiveError:
            return None
        return cls(progress)

    def advance(self) -> None:
        self._progress.advance(self._progress.task_ids[0])

    def stop(self) -> None:
        self._progress.stop()


class _NotebookBar:
    """A line below a notebook's cell. The bar of rich needs ipywidgets there, and warns without."""

    def __init__(self, description: str, total: int | None, done: int) -> None:
        self._description, self._total, self._done = description, total, done
        self._began = self._shown = time.monotonic()
        display: Any = sys.modules["IPython"].display.display
        self._handle: Any = display(self._text(), raw=True, display_id=True)

    def advance(self) -> None:
        self._done += 1
        if time.monotonic() - self._shown > _REDRAWN:
            self._shown = time.monotonic()
            self._handle.update(self._text(), raw=True)

    def stop(self) -> None:
        self._handle.update({"text/plain": ""}, raw=True)

    def _text(self) -> dict[str, str]:
        seconds = time.monotonic() - self._began
        of = "" if self._total is None else f" of {self._total}"
        return {"text/plain": f"{self._description}: {self._done}{of}, {seconds:.0f} s"}


def _in_notebook() -> bool:
    """Return whether this is a notebook's process: IPython is imported there, and its shell is no terminal's."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ not in ("TerminalInteractiveShell", "InteractiveShellEmbed")
