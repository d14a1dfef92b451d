"""Record what a process does to the network and to files, by Python's audit hooks; network access is refused.

Native code of a library that does not go through Python is not seen.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
_NETWORK = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"}
_PROCESSES = {"subprocess.Popen", "os.fork", "os.posix_spawn", "os.system", "os.exec"}
_NOT_FILES = ("/dev/", "/proc/", "/sys/")


@dataclass
class AuditLog:
    """The events of this process, from `install` on.

    Parameters
    ----------
    allowed : tuple of Path
        Folders that may be written to.

    Attributes
    ----------
    network : list of str
        Attempts to reach another machine.
    writes : list of str
        Files and folders outside `allowed` that were written, made, moved or removed.
    record_all : bool
        Whether `events` is filled; default False.
    events : list of str
        Every file that was opened or changed, and every process that was started.
    """

    allowed: tuple[Path, ...]
    network: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    record_all: bool = False
    events: list[str] = field(default_factory=list)

    def install(self) -> None:
        """Begin to record; Python cannot remove an audit hook before the process ends."""
        sys.addaudithook(self._record)

    def _record(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            self._record_open(*arguments[:3])
        elif event in _CHANGES:
            self._record_change(arguments[0])
        elif event in _NETWORK:
            self._record_network(event, arguments)
        elif event in _PROCESSES and self.record_all:
            self.events.append(f"starts a process ({event})")

    def _record_open(self, path: Any, mode: Any, flags: Any) -> None:
        if not _is_file(path):
            return
        if self.record_all:
            self.events.append(f"opens {os.fsdecode(path)}")
        if isinstance(flags, int) and flags & _WRITING:
            self._record_change(path)

    def _record_change(self, path: Any) -> None:
        if not _is_file(path):
            return
        place = Path(os.path.realpath(os.fsdecode(path)))
        if self.record_all:
            self.events.append(f"changes {place}")
        if "__pycache__" not in place.parts and not any(place.is_relative_to(folder) for folder in self.allowed):
            self.writes.append(str(place))

    def _record_network(self, event: str, arguments: tuple[Any, ...]) -> None:
        address = arguments[0] if event in ("socket.getaddrinfo", "socket.gethostbyname") else arguments[-1]
        if event == "socket.connect" and not isinstance(address, tuple):
            return  # a socket between processes of this machine
        self.network.append(f"{event} {address}")
        raise OSError(f"asd.testing forbids the network: {event} {address}")


def _is_file(path: Any) -> bool:
    return isinstance(path, str | bytes) and not os.fsdecode(path).startswith(_NOT_FILES)
