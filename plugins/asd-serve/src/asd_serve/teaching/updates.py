"""What was taught to machines' models, so that it can be taken back."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asd.errors import AsdError


class Updates:
    """What was taught to machines' models, in a file of the server's folder, so that it can be taken back."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()

    def of(self, machine: str) -> list[dict[str, Any]]:
        """Return what was taught to the model of a machine, the latest at the end."""
        with self._lock:
            return [each for each in self._read() if each["machine"] == machine]

    def add(self, entry: Mapping[str, Any]) -> None:
        """Note that something was taught."""
        with self._lock:
            self._write([*self._read(), dict(entry)])

    def drop(self, entry: Mapping[str, Any]) -> None:
        """Note that it was taken back."""
        with self._lock:
            self._write([each for each in self._read() if each != entry])

    def _read(self) -> list[dict[str, Any]]:
        try:
            found = json.loads(self._file.read_text())
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            text = f"{self._file}: cannot be read ({error}); move it away: what was taught then cannot be taken back"
            raise AsdError(text) from error
        return list(found)

    def _write(self, entries: list[dict[str, Any]]) -> None:
        part = self._file.with_name(f".{self._file.name}.part")
        part.write_text(json.dumps(entries, indent=1))
        part.replace(self._file)
