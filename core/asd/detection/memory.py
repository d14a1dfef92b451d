"""How much memory this process has needed at most."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

_PROC = Path("/proc/self")


def peak_memory() -> int:
    """Return the largest resident memory in bytes since the start, or since `reset_peak` where that works; 0: unknown.

    Worker processes of isolated components are not counted.
    """
    with contextlib.suppress(OSError):
        with (_PROC / "status").open("rb", buffering=0) as file:  # it is asked for at every clip
            _, _, rest = file.read(2**16).partition(b"\nVmHWM:")
        if rest:
            return int(rest.split(None, 1)[0]) * 1024
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
