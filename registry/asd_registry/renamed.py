"""Former names of components and parameters: they keep working, with a warning where somebody typed them."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from contextvars import ContextVar

_quiet = ContextVar("former names are used without a warning", default=False)


class RenamedWarning(FutureWarning):
    """A component, parameter or option was called by its former name."""


@contextlib.contextmanager
def former_names_allowed() -> Iterator[None]:
    """Do not warn inside the block: nobody typed the names in a model file."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


def warn_renamed(what: str, former: str, present: str) -> None:
    """Warn that `what` ``former`` is now called ``present``: once per process by Python's usual filters."""
    if not _quiet.get():
        warnings.warn(f"{what} {former!r} is now called {present!r}", RenamedWarning, stacklevel=2)
