"""What runs in a new process to see what importing a plugin's module does; imports nothing heavy itself."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
import threading
import time

import asd_registry  # noqa: F401  # every plugin's module imports it: it counts for none


def main() -> None:
    """Import the module that the first argument names, call its hooks, and print what happened as JSON."""
    before, printed = set(sys.modules), io.StringIO()
    began = time.perf_counter()
    with contextlib.redirect_stdout(printed):
        module = importlib.import_module(sys.argv[1])
        for hook in ("asd_components", "asd_commands", "asd_trackers"):
            list(getattr(module, hook, tuple)())
    found = {
        "seconds": time.perf_counter() - began,
        "modules": sorted({name.partition(".")[0] for name in set(sys.modules) - before}),
        "printed": printed.getvalue(),
        "threads": [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()],
    }
    print(json.dumps(found), flush=True)
    os._exit(0)  # threads that the module has left behind must not delay the end
