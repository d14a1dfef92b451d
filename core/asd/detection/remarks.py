"""What is warned of while one of many machines is at work: kept with it, as a thousand lines would help nobody."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from asd_registry.text import printable

_MOST = 20
_LONGEST = 500

_kept: ContextVar[list[str] | None] = ContextVar("asd_remarks", default=None)


class _Keeper(logging.Filter):
    """Keeps the warnings of a block that collects them, and lets nothing of it through."""

    def filter(self, record: logging.LogRecord) -> bool:
        kept = _kept.get()
        if kept is None:
            return True
        if record.levelno >= logging.WARNING:
            text = printable(record.getMessage())[:_LONGEST]
            if text not in kept and len(kept) < _MOST:
                kept.append(text)
        return False


_KEEPER = _Keeper()


@contextmanager
def remarks_kept() -> Iterator[list[str]]:
    """Give the list that takes the warnings of asd inside the block, in place of the log: the first 20, each once."""
    logging.getLogger("asd").addFilter(_KEEPER)  # once: a logger takes a filter a single time
    kept: list[str] = []
    token = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(token)
