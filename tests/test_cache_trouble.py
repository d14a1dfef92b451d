"""What is wrong with the cache's file, folder or drive costs time, never a result, and is said once."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from asd.detection.embeddings import EmbeddingCache
from asd.detection.model import Model
from asd.detection.pipeline import Pipeline, embed_all
from asd.errors import CacheError
from asd.files import database
from asd.records import Clip
from caching import CONFIG, computed, four_recordings, values
from waiting import PATIENCE

CANNOT = "the embedding cache cannot be used"
GOING_ON = (
    "; delete the file, make room, or set ASD_CACHE to a folder that you may write to; going on without the cache"
)


@pytest.fixture(autouse=True)
def size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_CACHE_SIZE", "2GB")


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    return four_recordings(tmp_path)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[EmbeddingCache]:
    cache = EmbeddingCache(tmp_path / "cache" / "embeddings.sqlite")
    yield cache
    cache.close()


def going_on(clips: list[Clip], cache: EmbeddingCache, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Fit and score with a cache that cannot be used; return what it warns of."""
    expected = Model.fit(halves(clips), CONFIG, cache=False)
    with caplog.at_level(logging.WARNING, "asd"):
        model = Model.fit(halves(clips), CONFIG, cache=cache)
        verdicts = list(model.score(clips))
    scores = [[v.score for v in each] for each in (verdicts, expected.score(clips))]  # type: ignore[union-attr]
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)
    np.testing.assert_allclose(model.calibration.scores, expected.calibration.scores, rtol=1e-6)
    return [record.getMessage() for record in caplog.records if record.module == "embeddings"]


def halves(clips: list[Clip]) -> list[Clip]:
    return [Clip(clip.path, start, 0.5) for clip in clips for start in (0, 0.5)]


def test_a_cache_that_cannot_be_used_costs_time_only(
    clips: list[Clip], cache: EmbeddingCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.path.parent.mkdir()
    cache.path.write_bytes(b"this is no database" * 100)
    with caplog.at_level(logging.WARNING, "asd"):
        results = list(embed_all(Pipeline(CONFIG), clips, cache))
    assert len(values(results)) == 4
    assert [record.getMessage() for record in caplog.records] == [
        f"{cache.path}: {CANNOT} (file is not a database){GOING_ON}"
    ]
    with pytest.raises(CacheError, match="file is not a database"):
        cache.usage()


def test_a_file_where_the_folder_should_be(clips: list[Clip], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = EmbeddingCache(tmp_path / "file" / "kept")
    told = going_on(clips, cache, caplog)
    assert len(told) == 1
    assert told[0].startswith(f"{cache.path}: {CANNOT} ([Errno ")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX permissions")
@pytest.mark.parametrize("kept", [False, True], ids=["empty", "filled"])
def test_a_folder_that_is_read_only(clips: list[Clip], caplog: pytest.LogCaptureFixture, kept: bool) -> None:
    """As another user where the tests run as root, whom no permission stops."""
    # pytest's own folders are closed to other users.
    with tempfile.TemporaryDirectory() as temporary:
        top, folder = Path(temporary), Path(temporary) / "read-only"
        top.chmod(0o755)
        copies = [Clip(Path(shutil.copy(clip.path, top))) for clip in clips]
        folder.mkdir()
        cache = EmbeddingCache(folder / "kept")
        going_on(copies, cache if kept else EmbeddingCache(top / "elsewhere"), caplog)  # imports what it needs, too
        cache.close()
        for path in (*folder.iterdir(), folder):
            path.chmod(path.stat().st_mode & ~0o222)
        root = os.geteuid() == 0
        try:
            if root:
                os.seteuid(65534)
            told = going_on(copies, cache, caplog)
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)
    assert len(told) == 1
    assert told[0].startswith(f"{cache.path}: {CANNOT} (")


def test_a_drive_that_is_full(clips: list[Clip], tmp_path: Path) -> None:
    """No file may grow beyond 64 kB: SQLite gets the error of a full drive."""
    pytest.importorskip("resource")
    script = """
        import logging, resource, sys; from pathlib import Path; from asd.experiment import *
        logging.basicConfig(format="%(message)s", level=logging.WARNING)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
        config = Config(frontend=Choice("mel-stack"), extractor=Choice("identity"))
        clips = [Clip(Path(path)) for path in sys.argv[2:]]
        cache = EmbeddingCache(Path(sys.argv[1]))
        kept = list(Pipeline(config, cache=cache).embed_all(clips, cache=cache))
        plain = list(Pipeline(config).embed_all(clips))
        assert all((a.values == b.values).all() for a, b in zip(kept, plain)) and len(kept) == 4
    """
    command = [sys.executable, "-c", textwrap.dedent(script), tmp_path / "kept", *(clip.path for clip in clips)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = done.stderr.splitlines()
    assert len(told) == 1, told
    assert told[0].startswith(f"{tmp_path / 'kept'}: {CANNOT} (")
    assert told[0].endswith(GOING_ON)


def test_a_drive_that_fills_up_amid_the_clips(
    clips: list[Clip], cache: EmbeddingCache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = cache._store
    calls = iter(range(100))

    def store(*arguments: object) -> None:
        if next(calls) == 2:
            raise sqlite3.OperationalError("database or disk is full")
        kept(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cache, "_store", store)
    assert going_on(clips, cache, caplog) == [f"{cache.path}: {CANNOT} (database or disk is full){GOING_ON}"]


@pytest.mark.parametrize("error", ["database is locked", "locking protocol", "disk I/O error"])
def test_a_network_share_that_cannot_lock(
    clips: list[Clip],
    cache: EmbeddingCache,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: str,
) -> None:
    """A double: no such share is here."""

    class Share(sqlite3.Connection):
        def execute(self, *arguments: object) -> sqlite3.Cursor:
            if str(arguments[0]).startswith("BEGIN"):
                raise sqlite3.OperationalError(error)
            return super().execute(*arguments)  # type: ignore[arg-type]

    connect = sqlite3.connect
    monkeypatch.setattr(database.sqlite3, "connect", lambda *args, **options: connect(*args, factory=Share, **options))
    assert going_on(clips, cache, caplog) == [f"{cache.path}: {CANNOT} ({error}){GOING_ON}"]


def test_a_file_system_without_locks_for_files(
    clips: list[Clip], cache: EmbeddingCache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock", fail)
    told = going_on(clips, cache, caplog)
    assert told == [f"{cache.path}: {CANNOT} (FileSystem does not appear to support flock){GOING_ON}"]


def test_a_file_system_without_write_ahead_log(
    clips: list[Clip], cache: EmbeddingCache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind of file access that SQLite uses where nothing locks: it has no shared memory, which WAL mode needs."""
    connect = sqlite3.connect
    monkeypatch.setattr(
        database.sqlite3,
        "connect",
        lambda path, **options: connect(f"{path.as_uri()}?vfs=unix-none", uri=True, **options),
    )
    assert going_on(clips, cache, caplog) == []
    assert cache._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert computed(Pipeline(CONFIG), clips, cache) == 0


def test_the_former_cache_is_left_alone(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from asd.cli.main import cli

    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "own"))
    former = tmp_path / "own" / "embeddings.sqlite"
    former.parent.mkdir()
    connection = sqlite3.connect(former)
    connection.execute("CREATE TABLE embeddings (key TEXT PRIMARY KEY, dimension INTEGER, embedding BLOB)")
    connection.execute("INSERT INTO embeddings VALUES ('a', 3, 'old')")
    connection.commit()
    connection.close()
    before = former.read_bytes()
    with caplog.at_level(logging.WARNING, "asd"):
        cache = EmbeddingCache()
        assert computed(Pipeline(CONFIG), clips, cache) == 4
        cache.close()
    assert cache.path != former
    assert former.read_bytes() == before
    assert caplog.records == []
    cli.main(["cache", "prune", "--all"], standalone_mode=False)
    assert not former.exists()
    assert cache.path.exists()


@pytest.mark.parametrize("column", ["facts", "start", "embedding", "checksum"])
def test_damaged_entries_are_computed_again_and_reported_once(
    clips: list[Clip], cache: EmbeddingCache, caplog: pytest.LogCaptureFixture, column: str
) -> None:
    pipeline = Pipeline(CONFIG)
    expected = values(embed_all(pipeline, clips, cache))
    cache.close()
    connection = sqlite3.connect(cache.path)
    for key, content in connection.execute(f"SELECT key, {column} FROM embeddings LIMIT 2").fetchall():
        content = content.replace("false", "true") if column == "facts" else content[:-1] + bytes([content[-1] ^ 1])
        connection.execute(f"UPDATE embeddings SET {column} = ? WHERE key = ?", (content, key))
    connection.commit()
    connection.close()
    with caplog.at_level(logging.WARNING, "asd"):
        assert computed(pipeline, clips, cache) == 2
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"{cache.path}: holds damaged entries; they are computed again; is the drive sound?"]
    again = values(embed_all(pipeline, clips, cache))
    assert all(np.array_equal(own, other) for own, other in zip(again, expected, strict=True))
    assert computed(pipeline, clips, cache) == 0


def test_two_entries_that_changed_places_are_damage(clips: list[Clip], cache: EmbeddingCache) -> None:
    pipeline = Pipeline(CONFIG)
    list(embed_all(pipeline, clips[:2], cache))
    cache.close()
    connection = sqlite3.connect(cache.path)
    keys = [key for (key,) in connection.execute("SELECT key FROM embeddings")]
    for old, new in ((keys[0], "-"), (keys[1], keys[0]), ("-", keys[1])):
        connection.execute("UPDATE embeddings SET key = ? WHERE key = ?", (new, old))
    connection.commit()
    connection.close()
    assert computed(pipeline, clips[:2], cache) == 2


def test_a_file_with_damaged_pages_costs_time_only(
    clips: list[Clip], cache: EmbeddingCache, caplog: pytest.LogCaptureFixture
) -> None:
    Model.fit(halves(clips), CONFIG, cache=cache)
    cache.close()
    content = bytearray(cache.path.read_bytes())
    content[4096:40960] = os.urandom(36864)
    cache.path.write_bytes(content)
    told = going_on(clips, cache, caplog)
    assert len(told) == 1
    assert CANNOT in told[0]


def test_a_forked_process_leaves_the_connection_alone(clips: list[Clip], cache: EmbeddingCache) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    assert computed(Pipeline(CONFIG), clips[:1], cache) == 1
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = int(cache.load("any") is not None or "_connection" not in vars(cache))
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert computed(Pipeline(CONFIG), clips[:1], cache) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_in_the_middle_keeps_what_is_done_and_stops_the_threads(
    clips: list[Clip], cache: EmbeddingCache, workers: int
) -> None:
    results = Pipeline(CONFIG).embed_all(clips, cache=cache, workers=workers)
    next(results)
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert cache.usage()[0].clips == 1
    for thread in threading.enumerate():
        if thread.name.startswith(("asd-prefetch", "asd-ahead")):
            thread.join(120)
            assert not thread.is_alive()


@pytest.mark.slow
def test_two_processes_fill_one_cache_at_once(clips: list[Clip], cache: EmbeddingCache) -> None:
    script = (
        "import sys; from pathlib import Path; from asd.experiment import *\n"
        "config = Config(frontend=Choice('mel-stack'), extractor=Choice('identity'))\n"
        "clips = [Clip(Path(p)) for p in sys.argv[2:]]\n"
        "print(len([values for values, _ in embed_all(Pipeline(config), clips, EmbeddingCache(Path(sys.argv[1])))]))"
    )
    command = [sys.executable, "-c", script, str(cache.path), *(str(clip.path) for clip in clips)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=PATIENCE) for process in running] == [("4\n", "")] * 3
    assert cache.usage()[0].clips == 4


def test_a_process_that_opens_a_cache_twice_keeps_its_locks(tmp_path: Path) -> None:
    """Another process that closes the file last, as it believes, would delete the log that is still written to."""
    tables, path = "CREATE TABLE IF NOT EXISTS t (a)", tmp_path / "x.sqlite"
    first, second = (database.open_database(path, tables) for _ in range(2))
    first.execute("INSERT INTO t VALUES (1)")
    script = (
        "import sys; from pathlib import Path; from asd.files.database import open_database\n"
        "other = open_database(Path(sys.argv[1]), sys.argv[2])\n"
        "other.execute('INSERT INTO t VALUES (2)'); other.close()"
    )
    subprocess.run([sys.executable, "-c", script, str(path), tables], check=True)
    assert (tmp_path / "x.sqlite-wal").exists()
    first.execute("INSERT INTO t VALUES (3)")
    assert second.execute("SELECT a FROM t").fetchall() == [(1,), (2,), (3,)]
    first.close()
    second.close()
