"""Progress of long loops: silent in a library, drawn where a renderer is installed (the command line installs one)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

T = TypeVar("T")


class Renderer(Protocol):
    """Draws a loop's progress while passing its items through."""

    def __call__(self, items: Iterable[T], description: str, total: int | None) -> Iterable[T]:
        """Yield `items`, showing how many of `total` are done."""


_renderer: ContextVar[Renderer | None] = ContextVar("asd_progress", default=None)


def track(items: Iterable[T], description: str, total: int | None = None) -> Generator[T, None, None]:
    """Yield `items`; where a renderer is installed, show `description` with the count and the time left."""
    renderer = _renderer.get()
    if total is None and isinstance(items, Sized):
        total = len(items)
    yield from items if renderer is None else renderer(items, description, total)


@contextmanager
def rendered_by(renderer: Renderer) -> Iterator[None]:
    """Show the progress of every `track` inside the block with `renderer`."""
    token = _renderer.set(renderer)
    try:
        yield
    finally:
        _renderer.reset(token)
