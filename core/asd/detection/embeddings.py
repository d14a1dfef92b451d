"""The embedding cache: what a front end and an extractor made of a clip, computed once.

It is one SQLite file below the cache folder; where that is a network drive or an object store, it is a file for each
clip (`asd.detection.shared_cache`). Several processes may use it at once. Clips that take long are committed one by
one, others together, twice a second, so that a kill leaves whole entries and costs half a second's. Each entry carries
a checksum. Where the file would grow beyond its limit, what
was not used for longest goes first. A cache that cannot be used costs time, never a result: that is logged once, and
the run goes on.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import math
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from asd.detection.shared_cache import FOLDER, SharedEntries
from asd.errors import CacheError
from asd.files.address import is_url, masked
from asd.files.database import open_database
from asd.files.folders import cache_folder, size_in
from asd.files.objects import is_on_network
from asd.records import Float32, Float64

T = TypeVar("T")

_log = logging.getLogger("asd")

_FILE = "embeddings-2.sqlite"
"""The number is that of the tables: another version of asd, with other tables, has a file of its own."""
_DAY = 86400.0
_DEFAULT_LIMIT = "2GB"
_PAGES = 2**15
"""Bytes that an entry may take beside its content."""
_LARGEST = 10**9
"""SQLite keeps nothing larger in a row."""

_COMMIT_SECONDS = 0.5
_COMMIT_BYTES = 2**24
"""Entries are committed once it is so long ago that others were, or they have so many bytes: each commit writes the
index anew, which takes longer than a short clip's embeddings do."""

_FRESH = 3600.0
"""Seconds in which a further use is written down only if something else is, or is about to be removed: the disk is
waited for, or else reading the cache takes half as long again."""
_SIZE = 3
"""Where a row of the table has the bytes of its embeddings."""

_SHRINK = "PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)"
"""As a script: a single statement would give one page back."""

_ALL = {
    "frontend": {"name": "asd-framework:(all)"},
    "extractor": {"name": "asd-framework:(all)"},
    "runtime": {"precision": ""},
}
"""What ``asd cache show`` says of a cache that it does not read to tell its pipelines."""

_TABLES = """
CREATE TABLE IF NOT EXISTS pipelines (id TEXT PRIMARY KEY, described TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS requests (id TEXT PRIMARY KEY, pipeline TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS embeddings (
    key TEXT PRIMARY KEY, pipeline TEXT NOT NULL, used REAL NOT NULL, size INTEGER NOT NULL,
    facts TEXT NOT NULL, checksum BLOB NOT NULL, start BLOB NOT NULL, embedding BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS embeddings_used ON embeddings (used, key, size);
"""


@dataclass(frozen=True)
class Usage:
    """What the cache holds of one pipeline.

    Parameters
    ----------
    described : dict
        Front end and extractor with parameters, versions and weights; runtime; machine.
    clips, size : int
        Entries, and their embeddings' bytes.
    used : float
        When one was last used; seconds since 1970.
    """

    described: dict[str, Any]
    clips: int
    size: int
    used: float


class EmbeddingCache:
    """A file of embeddings.

    Parameters
    ----------
    path : Path or str, optional
        The SQLite file; or, as text, an fsspec address that several computers share. Default: what ``ASD_CACHE`` says.
        It is made at first use.
    limit : int, optional
        Bytes that the file may take; 0: nothing is kept or taken. Default: ``ASD_CACHE_SIZE``, or 2 GB. What several
        computers share has no other limit.

    Raises
    ------
    ConfigError
        If ``ASD_CACHE_SIZE`` is no size.
    """

    def __init__(self, path: Path | str | None = None, limit: int | None = None) -> None:
        self.path = _usual_place() if path is None else path
        self._shared = None
        if isinstance(self.path, str) or self.path.name == FOLDER:
            self._shared = SharedEntries(self.path)
        self.limit = size_limit() if limit is None else limit
        self._owner = os.getpid()
        self._lock = threading.RLock()
        self._used: set[str] = set()
        self._closing: weakref.finalize[..., EmbeddingCache] | None = None
        self._stale = False
        self._waiting: dict[str, tuple[Any, ...]] = {}
        self._described: dict[str, str] = {}
        self._committed = -math.inf
        self._broken = False
        self._damage_reported = False

    @functools.cached_property
    def _connection(self) -> sqlite3.Connection:
        assert isinstance(self.path, Path)
        connection = open_database(self.path, _TABLES)
        self._closing = weakref.finalize(self, connection.close)
        return connection

    def load(self, key: str) -> tuple[Float32, Float64, dict[str, Any]] | None:
        """Return the embeddings, the windows' starts and the facts kept under `key`; None if there are none."""
        return self._try(lambda: self._load(key))

    def store(self, key: str, described: str, values: Float32, start: Float64, facts: Mapping[str, Any]) -> None:
        """Keep embeddings under `key`.

        Parameters
        ----------
        key : str
            What decides the embeddings, as a digest.
        described : str
            The pipeline as JSON, for `usage` and `recall`.
        values : float32 array of shape (n_windows, dimension)
            Embeddings.
        start : float64 array of shape (n_windows,)
            Start of each window.
        facts : mapping
            What else belongs to them, as JSON takes it.
        """
        as_agreed = values.dtype == np.float32 and start.dtype == np.float64 and values.shape[:-1] == start.shape
        if as_agreed and values.size:
            self._try(lambda: self._store(key, described, values, start, to_json(facts)))

    def recall(self, request: str) -> dict[str, Any] | None:
        """Return the pipeline that `request` was found to mean, as `remember` got it; None if that is not known."""
        described = self._try(lambda: self._recall(request))
        return json.loads(described) if described else None

    def remember(self, request: str, described: str) -> None:
        """Keep which pipeline a request means: its components need not be created to know that again."""
        self._try(lambda: self._remember(request, described))

    def flush(self) -> None:
        """Write down what was stored since the last commit, and what was used, so that it stays longest."""
        if self._waiting or self._stale:
            self._try(self._commit)

    def usage(self) -> list[Usage]:
        """Return what is held of each pipeline, the largest first; of what several computers share, of all together.

        Raises
        ------
        CacheError
            If the file cannot be read.
        """
        query = """
            SELECT described, COUNT(*), SUM(size), MAX(used) FROM embeddings JOIN pipelines ON pipeline = id
            GROUP BY pipeline ORDER BY SUM(size) DESC, pipeline
        """
        if self._shared:
            return self._explained(self._shared_usage)
        self.flush()
        return self._explained(lambda: [Usage(json.loads(row[0]), *row[1:]) for row in self._connection.execute(query)])

    def prune(self, *, unused_days: float | None = None, max_bytes: int | None = None) -> int:
        """Remove entries, give their space back, and return how many they were.

        Parameters
        ----------
        unused_days : float, optional
            Remove what was not used for so many days.
        max_bytes : int, optional
            Then remove what was not used for longest, until the embeddings take at most this.

        Raises
        ------
        CacheError
            If the file cannot be changed.
        """
        return self._explained(lambda: self._prune(unused_days, max_bytes))

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            self.flush()
            self._committed = -math.inf
            if "_connection" in vars(self):
                self._connection.close()
                del self._connection

    @property
    def is_shared(self) -> bool:
        """Whether several computers may use it at once."""
        return self._shared is not None

    @property
    def exists(self) -> bool:
        """Whether it was used before; of what is elsewhere, True."""
        return isinstance(self.path, str) or self.path.exists()

    def _recall(self, request: str) -> str | None:
        if self._shared:
            return self._shared.recall(request)
        query = "SELECT described FROM pipelines JOIN requests ON pipeline = pipelines.id WHERE requests.id = ?"
        row = self._connection.execute(query, (_digest(request),)).fetchone()
        return row and str(row[0])

    def _load(self, key: str) -> tuple[Float32, Float64, dict[str, Any]] | None:
        if self._shared:
            return self._shared.load(key, self._report_damage)
        if key in self._waiting:
            _, _, used, _, facts, checksum, start, embedding = self._waiting[key]
            row = facts, start, embedding, checksum, used
        else:
            query = "SELECT facts, start, embedding, checksum, used FROM embeddings WHERE key = ?"
            row = self._connection.execute(query, (key,)).fetchone()
        if row is None:
            return None
        *parts, checksum, used = row
        if checksum != _checksum(key, *parts):
            self._report_damage()
            return None
        self._used.add(key)
        self._stale = self._stale or not 0 <= time.time() - used < _FRESH
        facts, start, embedding = parts
        starts = np.frombuffer(start, np.float64).copy()
        return np.frombuffer(embedding, np.float32).reshape(len(starts), -1).copy(), starts, json.loads(facts)

    def _report_damage(self) -> None:
        if not self._damage_reported:
            _log.warning("%s: holds damaged entries; they are computed again; is the drive sound?", self.path)
        self._damage_reported = True

    def _store(self, key: str, described: str, values: Float32, start: Float64, facts: str) -> None:
        if self._shared:
            self._shared.store(key, described, values, start, facts)
            return
        parts = (facts, start.tobytes(), values.tobytes())
        size = values.nbytes + start.nbytes
        if size > min(self.limit // 10, _LARGEST):  # it would push out too much else
            return
        pipeline = _digest(described)
        self._described[pipeline] = described
        self._waiting[key] = (key, pipeline, time.time(), size, facts, _checksum(key, *parts), *parts[1:])
        together = sum(entry[_SIZE] for entry in self._waiting.values())
        late = time.monotonic() - self._committed >= _COMMIT_SECONDS
        if late or together >= min(_COMMIT_BYTES, self.limit // 10):
            self._commit()

    def _commit(self) -> None:
        """Write what waits to be written; nothing if that is nothing."""
        if not (self._waiting or self._used):
            return
        entries, described = list(self._waiting.values()), list(self._described.items())
        self._waiting, self._described = {}, {}

        def insert(connection: sqlite3.Connection) -> None:
            if entries:
                self._make_room(connection, sum(entry[_SIZE] + _PAGES for entry in entries))
            connection.executemany("INSERT OR IGNORE INTO pipelines VALUES (?, ?)", described)
            connection.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?, ?, ?, ?, ?)", entries)

        self._in_transaction(insert)
        self._committed = time.monotonic()
        assert isinstance(self.path, Path)
        if self.path.stat().st_size > self.limit:  # the limit was lowered
            self._connection.executescript(_SHRINK)

    def _shared_usage(self) -> list[Usage]:
        assert self._shared is not None
        entries = self._shared.entries()
        last = max((each.written for each in entries), default=0.0)
        return [Usage(_ALL, len(entries), sum(each.size for each in entries), last)] if entries else []

    def _remember(self, request: str, described: str) -> None:
        if self._shared:
            self._shared.remember(request, described)
            return

        def insert(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR IGNORE INTO pipelines VALUES (?, ?)", (_digest(described), described))
            connection.execute("INSERT OR REPLACE INTO requests VALUES (?, ?)", (_digest(request), _digest(described)))

        self._in_transaction(insert)

    def _in_transaction(self, action: Callable[[sqlite3.Connection], None]) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            now = time.time()
            connection.executemany("UPDATE embeddings SET used = ? WHERE key = ?", [(now, key) for key in self._used])
            self._used.clear()
            self._stale = False
            action(connection)

    def _make_room(self, connection: sqlite3.Connection, size: int) -> None:
        """Remove what was not used for longest, and a little more, if the file would exceed its limit by `size`."""
        pages, free, bytes_each = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        excess = (pages - free) * bytes_each + size - self.limit
        if excess > 0:
            held = connection.execute("SELECT SUM(size) FROM embeddings").fetchone()[0] or 0
            _remove_beyond(connection, max(0, held - excess - self.limit // 50))

    def _prune(self, unused_days: float | None, max_bytes: int | None) -> int:
        if self._shared:
            return self._shared.prune(unused_days, max_bytes)
        self._commit()
        connection, removed = self._connection, 0
        if unused_days is not None:
            limit = time.time() - unused_days * _DAY
            removed += connection.execute("DELETE FROM embeddings WHERE used <= ?", (limit,)).rowcount
        if max_bytes is not None:
            removed += _remove_beyond(connection, max_bytes)
        connection.execute("DELETE FROM pipelines WHERE id NOT IN (SELECT pipeline FROM embeddings)")
        connection.execute("DELETE FROM requests WHERE pipeline NOT IN (SELECT id FROM pipelines)")
        connection.executescript(_SHRINK)
        return removed

    def _try(self, action: Callable[[], T]) -> T | None:
        # A forked copy of the process must leave the connection alone; at its end, Python closes what was not used up
        # (the results after an error) after the connection.
        ending = self._closing is not None and not self._closing.alive
        if self._broken or ending or not self.limit or self._owner != os.getpid():
            return None
        try:
            return self._explained(action)
        except CacheError as error:
            self._broken = True
            _log.warning("%s; going on without the cache", error)
            return None

    def _explained(self, action: Callable[[], T]) -> T:
        try:
            with self._lock:
                return action()
        except (sqlite3.Error, OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
            raise CacheError(
                f"{masked(str(self.path))}: the embedding cache cannot be used ({error}); delete the file, make "
                "room, or set ASD_CACHE to a folder that you may write to"
            ) from error


def _usual_place() -> Path | str:
    """Return where the user's embeddings are kept: an address, a folder on a network drive, or a file."""
    chosen = os.environ.get("ASD_CACHE", "")
    if is_url(chosen):
        return f"{chosen.rstrip('/')}/{FOLDER}"
    folder = cache_folder()
    return folder / (FOLDER if is_on_network(folder) else _FILE)


def cache_from(wanted: bool | EmbeddingCache) -> EmbeddingCache | None:
    """Return the cache that is wanted, the user's own for True; None if there is to be none."""
    cache = EmbeddingCache() if wanted is True else wanted or None
    return cache if cache and cache.limit else None


def size_limit() -> int:
    """Return the bytes that the cache may take, by ``ASD_CACHE_SIZE``; 0: it is off.

    Raises
    ------
    ConfigError
        If the variable is no size.
    """
    return size_in("ASD_CACHE_SIZE", _DEFAULT_LIMIT, "no cache")


def to_json(value: Any) -> str:
    """Return `value` as JSON, the same for equal values.

    Raises
    ------
    TypeError
        If it is not plain data.
    """
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=os.fspath)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(*parts: str | bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.digest()


def _remove_beyond(connection: sqlite3.Connection, size: int) -> int:
    """Remove what was not used for longest, until the embeddings take at most `size` bytes; return how many went."""
    return connection.execute(
        """DELETE FROM embeddings WHERE key IN (
            SELECT key FROM (SELECT key, SUM(size) OVER (ORDER BY used DESC, key) AS total FROM embeddings)
            WHERE total > ?)""",
        (size,),
    ).rowcount
