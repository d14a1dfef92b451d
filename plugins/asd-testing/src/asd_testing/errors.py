"""How a check says that a component failed it, or that it could not be made."""

from __future__ import annotations


class CheckFailedError(AssertionError):
    """A component does not do what it promises; the text says what was found, what was expected, and how to mend it."""


class SkippedError(Exception):
    """A check that cannot be made here; the text says what is missing."""
