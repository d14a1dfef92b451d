"""The sink ``jsonl``: a line of JSON for each event, at the end of a file."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from asd.errors import SinkError
from asd.plugin import Event, Sink, number
from asd_listen.sinks.content import as_dict


class JsonLines(Sink):
    """Appends events to a file, one line of JSON each.

    Parameters
    ----------
    path : Path
        The file; made if it is not there. Other programs may follow it (``tail -F``).
    max_mb : float
        Megabytes (10⁶ bytes) at which the file is renamed to ``NAME.1``, in place of the one before, and begun anew.
    """

    def __init__(self, *, path: Path, max_mb: float = 100.0) -> None:
        self.path = Path(path).expanduser()
        self.max_mb = number(self, "max_mb", max_mb, above=0)

    def send(self, event: Event) -> None:
        """Append a line, whole or not at all, and wait until it is on the disk; errors as in `Sink.send`."""
        content = json.dumps(as_dict(event), default=str).encode() + b"\n"
        try:
            if self.path.is_file() and self.path.stat().st_size + len(content) > self.max_mb * 1e6:
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
            with self.path.open("ab", buffering=0) as file:
                size = file.tell()
                if size and not self._ends_a_line(size):
                    content = b"\n" + content  # a kill has cut the last line
                try:
                    while content:
                        content = content[file.write(content) :]
                    os.fsync(file.fileno())
                except OSError:
                    with contextlib.suppress(OSError):  # such as of /dev/full
                        os.truncate(self.path, size)
                    raise
        except OSError as error:
            reason = error.strerror or str(error)
            raise SinkError(f"{self.path}: cannot be written ({reason}); free space, or choose another file") from error

    def _ends_a_line(self, size: int) -> bool:
        with self.path.open("rb") as file:
            file.seek(size - 1)
            return file.read(1) == b"\n"

    @classmethod
    def example_parameters(cls, folder: Path) -> dict[str, object]:
        """Return parameters for a trial."""
        return {"path": folder / "events.jsonl"}
