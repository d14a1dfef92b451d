"""How much memory this process has needed at most."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

_PROC = Path("/proc/self")


def peak_memory() -> int:
    """Return the largest resident memory in bytes since the start, or since `reset_peak` where that works; 0: unknown.

    Worker processes of isolated components are not counted.
    """
    with contextlib.suppress(OSError):
        if found := re.search(r"^VmHWM:\s+(\d+) kB", (_PROC / "status").read_text(), re.MULTILINE):
            return int(found[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak() -> None:
    """Count the peak anew from here; Linux alone can."""
    with contextlib.suppress(OSError):
        (_PROC / "clear_refs").write_text("5")
