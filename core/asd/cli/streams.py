"""Standard streams that are closed, full, or of an encoding that lacks our signs; who is to blame for an exception."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Iterator

from asd.contract.installed import registry
from asd.errors import AsdError
from asd_registry.discovery import Plugin

OUTPUT_ERRORS = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT)
"""What writing to standard output may end in, besides that nobody reads it."""


class ReaderGoneError(Exception):
    """Whoever read our output has gone; click would end with exit code 1, which means an anomaly."""


@contextlib.contextmanager
def readers_errors() -> Iterator[None]:
    """Raise a ReaderGoneError instead of a BrokenPipeError."""
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGoneError from error


def open_missing_streams() -> None:
    """Let standard error go nowhere if it is closed, and take signs that an encoding lacks as question marks.

    Raises
    ------
    SystemExit
        If standard output is closed: no result could be shown.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # the next file that is opened would take the number, and messages would go into it
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stderr.write("asd: error: standard output is closed; send it to a file, or to /dev/null\n")
        sys.exit(2)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            is_unicode = (stream.encoding or "").lower().replace("-", "").startswith("utf")
            # A file name that is no Unicode goes out as it came in.
            stream.reconfigure(errors="surrogateescape" if is_unicode else "replace")


def give_up_stdout() -> None:
    """Send what is still to be written nowhere: Python must not complain at exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def blame(error: BaseException) -> str:
    """Return a line for an exception that nobody meant for the user: a plugin's error, or one of asd itself."""
    text = f"unexpected {type(error).__name__}: {_text(error)}"
    packages = _packages_of_plugins()
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package in packages:
            plugin, place = packages[package], f"{frame.f_code.co_filename}, line {line}"
            return f"{text} in the plugin {plugin.distribution} {plugin.version} ({place}); report it to its author"
        if package == "asd":
            break
    return f"{text} (-v shows where; please report it)"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be read)"


def _packages_of_plugins() -> dict[str, Plugin]:
    """Return plugins by the packages that their components and commands are in."""
    try:
        offered = registry()
    except AsdError:
        return {}
    components = [(each.spec.target, each.plugin) for each in offered.components]
    commands = [(spec.target, plugin) for spec, plugin in offered.commands.values()]
    return {target.partition(":")[0].partition(".")[0]: plugin for target, plugin in components + commands}
