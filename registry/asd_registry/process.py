"""What all plugins share in a process, and how it is put back after one that changes it."""

from __future__ import annotations

import contextlib
import locale
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

_NUMPY_DEFAULTS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


class ProcessState(NamedTuple):
    """Current folder, environment variables, ``sys.path``, locale and NumPy's handling of floating-point errors."""

    folder: str | None
    environment: dict[str, str]
    path: list[str]
    locale: str
    numpy_errors: dict[str, Any] | None

    @classmethod
    def now(cls) -> ProcessState:
        """Return the present state."""
        return cls(_folder(), dict(os.environ), list(sys.path), locale.setlocale(locale.LC_ALL), _numpy_errors())

    def restore(self) -> Iterator[str]:
        """Put back what is no longer so, and yield what that was. New entries of ``sys.path`` go to its end."""
        now = ProcessState.now()
        if now.folder != self.folder and self.folder is not None:
            with contextlib.suppress(OSError):
                os.chdir(self.folder)
            yield "changes the current folder on import (undone)"
        if names := _differing(self.environment, now.environment):
            for name in names:
                os.environ.pop(name, None)
            os.environ.update({name: self.environment[name] for name in names if name in self.environment})
            yield f"changes environment variables on import (undone): {', '.join(names)}"
        if now.path != self.path:
            sys.path[:] = [*self.path, *(entry for entry in now.path if entry not in self.path)]
            if sys.path != now.path:
                yield "changes sys.path on import (new entries are moved to its end)"
        if now.locale != self.locale:
            with contextlib.suppress(locale.Error):
                locale.setlocale(locale.LC_ALL, self.locale)
            yield "changes the locale on import (undone)"
        before = self.numpy_errors or _NUMPY_DEFAULTS
        if now.numpy_errors not in (None, before):
            sys.modules["numpy"].seterr(**before)
            yield "changes numpy.seterr on import (undone)"


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109  # pathlib would add nothing
    except OSError:  # it was deleted
        return None


def _numpy_errors() -> dict[str, Any] | None:
    """Return NumPy's error handling, None while NumPy is not imported."""
    get: Callable[[], dict[str, Any]] | None = getattr(sys.modules.get("numpy"), "geterr", None)
    return get() if get else None


def _differing(before: dict[str, str], now: dict[str, str]) -> list[str]:
    if before == now:
        return []
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
