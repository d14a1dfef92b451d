"""The embedding cache: what a front end and an extractor made of a clip, computed once.

An entry's key covers all that decides its values: the content of the clip, front end and extractor with every
parameter, the versions of their distributions and of the libraries these ask for, the weights' hashes, the device and
the precision (for ``auto``, the hardware that it is chosen by). It is one SQLite file in WAL mode below
the cache folder: several processes may use it at once, each clip is committed by itself, and a kill leaves
whole entries only. A cache that cannot be used costs time, never a result: that is logged once, and the run goes on.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from asd.detection.identity import identity_of, libraries_of, runtime_identity
from asd.detection.memory import peak_memory
from asd.detection.pipeline import ClipFeatures, Failure, Pipeline
from asd.errors import CacheError
from asd.files.database import open_database
from asd.files.digest import digest_of
from asd.files.folders import cache_folder
from asd.records import Clip

T = TypeVar("T")

_log = logging.getLogger("asd")

_DAY = 86400.0

_TABLES = """
CREATE TABLE IF NOT EXISTS pipelines (id TEXT PRIMARY KEY, described TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS embeddings (
    key TEXT PRIMARY KEY, pipeline TEXT NOT NULL, used REAL NOT NULL, size INTEGER NOT NULL, dimension INTEGER NOT NULL,
    embedding BLOB NOT NULL, start BLOB NOT NULL, facts TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS embeddings_used ON embeddings (used);
"""


@dataclass(frozen=True)
class Cost:
    """What a clip's embeddings cost when they were computed.

    Parameters
    ----------
    seconds : float
        Time from file to embeddings.
    peak_memory : int
        Largest resident memory of the process in bytes; 0: unknown.
    """

    seconds: float
    peak_memory: int


@dataclass(frozen=True)
class Usage:
    """What the cache holds of one pipeline.

    Parameters
    ----------
    described : dict
        Front end and extractor with parameters, distributions, versions, weights; runtime; framework.
    clips, size : int
        Entries, and their embeddings' bytes.
    used : float
        When one was last used, to the day; seconds since 1970.
    """

    described: dict[str, Any]
    clips: int
    size: int
    used: float


class EmbeddingCache:
    """A file of embeddings.

    Parameters
    ----------
    path : Path, optional
        The SQLite file; default: ``embeddings.sqlite`` in the cache folder. It is made at first use.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or cache_folder() / "embeddings.sqlite"
        self._broken = False

    @functools.cached_property
    def _connection(self) -> sqlite3.Connection:
        return open_database(self.path, _TABLES)

    def load(self, key: str, clip: Clip) -> tuple[ClipFeatures, Cost] | None:
        """Return the entry of `key` as the features of `clip`, with their cost; None if there is none."""
        return self._try(lambda: self._load(key, clip))

    def holds(self, key: str) -> bool:
        """Return whether there is an entry of `key`."""
        query = "SELECT 1 FROM embeddings WHERE key = ?"
        return bool(self._try(lambda: self._connection.execute(query, (key,)).fetchone()))

    def store(self, key: str, pipeline: dict[str, Any], features: ClipFeatures, cost: Cost) -> None:
        """Keep `features` under `key`, with what `describe` says of the pipeline that made them."""
        self._try(lambda: self._store(key, pipeline, features, cost))

    def usage(self) -> list[Usage]:
        """Return what is held of each pipeline, the largest first.

        Raises
        ------
        CacheError
            If the file cannot be read.
        """
        query = """
            SELECT described, COUNT(*), SUM(size), MAX(used) FROM embeddings JOIN pipelines ON pipeline = id
            GROUP BY pipeline ORDER BY SUM(size) DESC, pipeline
        """
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
        if "_connection" in vars(self):
            self._connection.close()
            del self._connection

    def _load(self, key: str, clip: Clip) -> tuple[ClipFeatures, Cost] | None:
        query = "SELECT dimension, embedding, start, facts, used FROM embeddings WHERE key = ?"
        row = self._connection.execute(query, (key,)).fetchone()
        if row is None:
            return None
        dimension, embedding, start, text, used = row
        if used < time.time() - _DAY:  # to the day is enough, and spares a write per reading
            self._connection.execute("UPDATE embeddings SET used = ? WHERE key = ?", (time.time(), key))
        facts = json.loads(text)
        cost = Cost(**facts.pop("cost"))
        values = np.frombuffer(embedding, np.float32).reshape(-1, dimension)
        return ClipFeatures(clip=clip, values=values, start=np.frombuffer(start, np.float64), **facts), cost

    def _store(self, key: str, pipeline: dict[str, Any], features: ClipFeatures, cost: Cost) -> None:
        described = _json(pipeline)
        pipeline_id = hashlib.sha256(described.encode()).hexdigest()
        values = np.ascontiguousarray(features.values, np.float32)
        names = ("seconds", "file_rate", "silent", "notes")
        facts = _json({"cost": asdict(cost), **{name: getattr(features, name) for name in names}})
        size = values.nbytes + features.start.nbytes
        entry = (key, pipeline_id, time.time(), size, values.shape[1], values.data, features.start.tobytes(), facts)
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            connection.execute("INSERT OR IGNORE INTO pipelines VALUES (?, ?)", (pipeline_id, described))
            connection.execute("INSERT OR IGNORE INTO embeddings VALUES (?, ?, ?, ?, ?, ?, ?, ?)", entry)

    def _prune(self, unused_days: float | None, max_bytes: int | None) -> int:
        connection, removed = self._connection, 0
        if unused_days is not None:
            limit = time.time() - unused_days * _DAY
            removed += connection.execute("DELETE FROM embeddings WHERE used <= ?", (limit,)).rowcount
        if max_bytes is not None:
            removed += connection.execute(
                """DELETE FROM embeddings WHERE key IN (
                    SELECT key FROM (SELECT key, SUM(size) OVER (ORDER BY used DESC, key) AS total FROM embeddings)
                    WHERE total > ?)""",
                (max_bytes,),
            ).rowcount
        connection.execute("DELETE FROM pipelines WHERE id NOT IN (SELECT pipeline FROM embeddings)")
        connection.execute("PRAGMA incremental_vacuum").fetchall()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return removed

    def _try(self, action: Callable[[], T]) -> T | None:
        if self._broken:
            return None
        try:
            return self._explained(action)
        except CacheError as error:
            self._broken = True
            _log.warning("%s; going on without the cache", error)
            return None

    def _explained(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except (sqlite3.Error, OSError, ValueError, KeyError, TypeError) as error:
            raise CacheError(
                f"{self.path}: the embedding cache cannot be used ({error}); delete the file, make room, or set "
                "ASD_CACHE to a folder that you may write to"
            ) from error


def describe(pipeline: Pipeline) -> dict[str, Any]:
    """Return all that decides the embeddings of a clip, save the clip."""
    config = pipeline.config
    return {
        "frontend": {**identity_of("frontend", config.frontend.name), "parameters": pipeline.frontend.get_params()},
        "extractor": {
            **identity_of("extractor", config.extractor.name),
            "parameters": pipeline.extractor.get_params(),
            "weights": pipeline.extractor.weight_hashes(),
        },
        "channel": config.channel,
        "short": config.short,
        "runtime": runtime_identity(pipeline.runtime),
        "framework": importlib.metadata.version("asd-framework"),
        "libraries": dict(libraries_of("asd-framework")),
    }


def key_of(described: dict[str, Any], clip: Clip) -> str:
    """Return the key of a clip's embeddings by a pipeline; the clip's name and folder are no part of it."""
    part = {"content": content_of(clip.path), "start": clip.start, "duration": clip.duration}
    return hashlib.sha256(_json([described, part]).encode()).hexdigest()


def content_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, read once a process unless its size or time changes.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    status = path.stat()
    return _content(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=2**17)
def _content(path: Path, size: int, changed: int) -> str:
    return digest_of(path)


def embed_all(
    pipeline: Pipeline, clips: Sequence[Clip], cache: EmbeddingCache, *, workers: int = 1
) -> Iterator[tuple[ClipFeatures, Cost] | Failure]:
    """Yield the embeddings of each clip in order, with their cost: from the cache, or computed and kept there.

    Each clip is embedded by itself, so that neither its neighbours nor an interruption change the numbers.

    Parameters
    ----------
    pipeline : Pipeline
        Front end and extractor.
    clips : sequence of Clip
        What to embed.
    cache : EmbeddingCache
        Where they are kept.
    workers : int
        Threads that decode ahead.
    """
    described = describe(pipeline)
    keys = [_key_or_none(described, clip) for clip in clips]
    missing = [clip for key, clip in zip(keys, clips, strict=True) if key is None or not cache.holds(key)]
    with closing(_timed(pipeline.embed_all(missing, workers=workers))) as computed:
        waiting = set(missing)
        for key, clip in zip(keys, clips, strict=True):
            entry = None if key is None or clip in waiting else cache.load(key, clip)
            if entry is not None:
                yield entry
                continue
            # What was pruned since, or is damaged, is computed on the spot.
            result = next(computed if clip in waiting else _timed(pipeline.embed_all([clip], workers=0)))
            if key is not None and not isinstance(result, Failure):
                cache.store(key, described, *result)
            yield result


def _timed(
    results: Iterator[ClipFeatures | Failure],
) -> Generator[tuple[ClipFeatures, Cost] | Failure, None, None]:
    while True:
        began = time.perf_counter()
        result = next(results, None)
        seconds = time.perf_counter() - began
        if result is None:
            return
        yield result if isinstance(result, Failure) else (result, Cost(seconds, peak_memory()))


def _key_or_none(described: dict[str, Any], clip: Clip) -> str | None:
    try:
        return key_of(described, clip)
    except OSError:  # reading it says what is wrong
        return None


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
