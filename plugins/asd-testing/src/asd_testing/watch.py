"""Watch what a process does to the network and to files, by Python's audit hooks; the network is forbidden.

What a library does in native code without Python's knowledge is not seen.
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
_OTHERS = {"subprocess.Popen", "os.fork", "os.posix_spawn", "os.system", "os.exec"}
_NOT_FILES = ("/dev/", "/proc/", "/sys/")


@dataclass
class Watch:
    """What was seen, while `active`.

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
    touches : list of str
        Whatever was opened, started or reached, as long as `thorough`.
    """

    allowed: tuple[Path, ...]
    network: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    touches: list[str] = field(default_factory=list)
    thorough: bool = False

    def install(self) -> None:
        """Begin to watch; an audit hook stays as long as the process."""
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            self._hear_open(*arguments[:3])
        elif event in _CHANGES:
            self._hear_change(event, arguments[0])
        elif event in _NETWORK:
            self._hear_network(event, arguments)
        elif event in _OTHERS and self.thorough:
            self.touches.append(f"starts a process ({event})")

    def _hear_open(self, path: Any, mode: Any, flags: Any) -> None:
        if not isinstance(path, str | bytes) or os.fsdecode(path).startswith(_NOT_FILES):
            return
        if self.thorough:
            self.touches.append(f"opens {os.fsdecode(path)}")
        if isinstance(flags, int) and flags & _WRITING:
            self._hear_change("open", path)

    def _hear_change(self, event: str, path: Any) -> None:
        if not isinstance(path, str | bytes) or os.fsdecode(path).startswith(_NOT_FILES):
            return
        place = Path(os.path.realpath(os.fsdecode(path)))
        if self.thorough:
            self.touches.append(f"changes {place}")
        if "__pycache__" in place.parts or any(place.is_relative_to(folder) for folder in self.allowed):
            return
        self.writes.append(str(place))

    def _hear_network(self, event: str, arguments: tuple[Any, ...]) -> None:
        where = arguments[0] if event in ("socket.getaddrinfo", "socket.gethostbyname") else arguments[-1]
        if event == "socket.connect" and not isinstance(where, tuple):
            return  # a socket of this machine alone, as between processes
        self.network.append(f"{event} {where}")
        raise OSError(f"asd.testing forbids the network: {event} {where}")
