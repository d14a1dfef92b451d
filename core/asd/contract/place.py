"""Where in a component's own code an exception was raised."""

from __future__ import annotations

import re
import traceback


def place_of(error: BaseException, package: str) -> str:
    """Return file and line of the innermost frame in a component's own package, or else of the innermost of all."""
    in_worker = re.findall(r'File "([^"\n]+)", line (\d+)', "\n".join(getattr(error, "__notes__", ())))
    if in_worker:
        own = [each for each in in_worker if f"/{package}" in each[0].replace("\\", "/")]
        return ", line ".join((own or in_worker)[-1])
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        is_own = frame.f_globals.get("__name__", "").partition(".")[0] == package
        if is_own or not found.startswith("\0"):
            found = "\0" * is_own + f"{frame.f_code.co_filename}, line {line}"
    return found.removeprefix("\0")
