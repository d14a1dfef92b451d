"""The embedding cache of several computers: a file for each clip, by content, in a folder or an object store.

SQLite's locks are not kept by network drives. Here an entry is written beside its place and moved there, or put in one
request; two computers that compute the same clip write the same twice. Nothing is removed but by ``asd cache prune``.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from asd.files.objects import Entry, Objects, objects_at
from asd.records import Float32, Float64

FOLDER = "embeddings-2"
"""The number is that of the entries' form: another version of asd, with another one, has a folder of its own."""
_PIPELINES, _REQUESTS = "pipelines", "requests"
_MAGIC = b"asd embeddings 2\n"
_DAY = 86400.0


class SharedEntries:
    """Entries that several computers read and write.

    Parameters
    ----------
    place : Path or str
        A folder, or an fsspec address.
    """

    def __init__(self, place: Path | str) -> None:
        self._place = place
        self._opened: Objects | None = None
        self._told: set[str] = set()

    @property
    def _objects(self) -> Objects:
        if self._opened is None:
            self._opened = objects_at(self._place)
        return self._opened

    def load(self, key: str, damaged: Callable[[], None]) -> tuple[Float32, Float64, dict[str, Any]] | None:
        """Return an entry, None if there is none; `damaged` is called if it is not what was written."""
        content = self._objects.get(_place_of(key))
        if content is None:
            return None
        end = len(_MAGIC) + 32
        if content[: len(_MAGIC)] != _MAGIC or content[len(_MAGIC) : end] != _checksum(key, content[end:]):
            damaged()
            return None
        head, _, arrays = content[end:].partition(b"\n")
        described = json.loads(head)
        count, width = described["shape"]
        start = np.frombuffer(arrays, np.float64, count).copy()
        values = np.frombuffer(arrays, np.float32, count * width, offset=start.nbytes).reshape(count, width).copy()
        return values, start, described["facts"]

    def store(self, key: str, described: str, values: Float32, start: Float64, facts: str) -> None:
        """Keep an entry."""
        self._tell(_PIPELINES, described, described)
        head = json.dumps({"facts": json.loads(facts), "pipeline": _digest(described), "shape": values.shape})
        content = head.encode() + b"\n" + start.tobytes() + values.tobytes()
        self._objects.put(_place_of(key), _MAGIC + _checksum(key, content) + content)

    def recall(self, request: str) -> str | None:
        """Return the pipeline that a request means; None: not known."""
        digest = self._objects.get(f"{_REQUESTS}/{_digest(request)}")
        described = self._objects.get(f"{_PIPELINES}/{digest.decode()}") if digest else None
        return described.decode() if described else None

    def remember(self, request: str, described: str) -> None:
        """Keep which pipeline a request means."""
        self._tell(_PIPELINES, described, described)
        self._tell(_REQUESTS, request, _digest(described))

    def entries(self) -> list[Entry]:
        """Return the entries, without their content."""
        return [each for each in self._objects.entries() if not each.name.startswith((_PIPELINES, _REQUESTS))]

    def prune(self, unused_days: float | None, max_bytes: int | None) -> int:
        """Remove what was written so many days ago, then the oldest until the rest takes at most `max_bytes`."""
        limit = -1.0 if unused_days is None else time.time() - unused_days * _DAY
        total, removed = 0, 0
        for each in sorted(self.entries(), key=lambda each: -each.written):
            total += each.size
            if each.written <= limit or (max_bytes is not None and total > max_bytes):
                self._objects.remove(each.name)
                total -= each.size
                removed += 1
        if max_bytes == 0:
            for each in list(self._objects.entries()):
                self._objects.remove(each.name)
            self._told.clear()
        return removed

    def _tell(self, kind: str, text: str, content: str) -> None:
        name = f"{kind}/{_digest(text)}"
        if name not in self._told:
            self._objects.put(name, content.encode())
            self._told.add(name)


def _place_of(key: str) -> str:
    return f"{key[:2]}/{key}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(key: str, content: bytes) -> bytes:
    return hashlib.sha256(f"{key} {len(content)}\n".encode() + content).digest()
