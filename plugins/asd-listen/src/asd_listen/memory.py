"""Memory that is free goes back to the system.

glibc keeps for each thread what that thread has freed, as long as anything behind it is in use: a recording that was
written leaves a megabyte behind for good, another one another megabyte.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


def give_back() -> None:
    """Give back what is free, where the C library can: glibc; others do so by themselves, or cannot."""
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # no glibc; Windows has no library without a name
        return None
    return found
