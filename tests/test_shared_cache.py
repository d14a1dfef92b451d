"""One embedding cache for several computers: on a network drive, or in an object store."""

# ruff: noqa: F811  # fixtures are named where they are used

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asd.detection.embeddings import EmbeddingCache, cache_from
from asd.detection.shared_cache import FOLDER, SharedEntries
from asd.files import objects
from asd.files.folders import cache_folder
from asd.files.objects import is_on_network, objects_at
from elsewhere import Run, error_of, run, s3_server  # noqa: F401  # a fixture

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)
START = np.arange(3, dtype=np.float64)
DESCRIBED = json.dumps({"frontend": {"name": "a:b"}, "extractor": {"name": "a:c"}, "runtime": {"precision": "fp32"}})


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """Return an address in a bucket of a real server that speaks S3."""
    pytest.importorskip("s3fs", reason="needs s3fs")
    pytest.importorskip("moto.server", reason="needs moto's server")
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as store:
        store.fs.mkdir("plant")
        yield "s3://plant/kept"


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    if request.param == "folder":
        return tmp_path / "drive" / FOLDER
    pytest.importorskip("fsspec", reason="needs fsspec")
    if request.param == "memory":
        return f"memory://{tmp_path.name}/kept"
    return f"{request.getfixturevalue('bucket')}/{tmp_path.name}"


def test_what_one_keeps_another_finds(place: Any) -> None:
    one, other = EmbeddingCache(place, 10**9), EmbeddingCache(place, 10**9)
    assert other.load("ab12") is None
    one.store("ab12", DESCRIBED, VALUES, START, {"seconds": 1.5, "notes": ["ä"]})
    values, start, facts = other.load("ab12") or pytest.fail("not found")
    assert (values.tobytes(), start.tobytes()) == (VALUES.tobytes(), START.tobytes())
    assert facts == {"seconds": 1.5, "notes": ["ä"]}
    one.remember("asked", DESCRIBED)
    assert other.recall("asked") == json.loads(DESCRIBED)
    assert other.recall("something else") is None
    (usage,) = other.usage()
    assert usage.clips == 1
    assert other.prune(unused_days=1) == 0
    assert other.prune(max_bytes=0) == 1
    assert one.load("ab12") is None
    assert other.recall("asked") is None
    assert one.usage() == []


def test_a_damaged_entry_is_computed_again(place: Any, caplog: pytest.LogCaptureFixture) -> None:
    cache = EmbeddingCache(place, 10**9)
    cache.store("ab12", DESCRIBED, VALUES, START, {})
    kept = objects_at(place)
    content = bytearray(kept.get("ab/ab12") or b"")
    content[-1] ^= 1
    kept.put("ab/ab12", bytes(content))
    assert cache.load("ab12") is None
    kept.put("ab/ab12", bytes(content[:40]))
    assert cache.load("ab12") is None
    own = [record for record in caplog.records if record.name == "asd"]
    assert [record.getMessage().partition(": ")[2] for record in own] == [
        "holds damaged entries; they are computed again; is the drive sound?"
    ]
    cache.store("ab12", DESCRIBED, VALUES, START, {})
    assert cache.load("ab12") is not None


def test_the_command_shows_and_prunes_what_is_at_an_address(
    bucket: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By age, by size, all: where nothing is removed by itself."""
    monkeypatch.setenv("ASD_CACHE", f"{bucket}/pruned")
    monkeypatch.setenv("ASD_CACHE_SIZE", "1GB")
    cache = cache_from(True)
    assert cache is not None
    for number in range(4):
        cache.store(f"ab{number}", DESCRIBED, VALUES, START, {})
    (size,) = {entry.size for entry in SharedEntries(cache.path).entries()}
    _, out, err = run("cache", "show", "--json")
    assert json.loads(out)["pipelines"][0]["clips"] == 4, err
    assert "has no limit: 'asd cache prune' removes" in run("cache", "show")[2]
    assert run("cache", "prune", "--unused-days", "1")[1] == "Removed the embeddings of 0 clips.\n"
    assert run("cache", "prune", "--max-size", str(2.5 * size / 1e6))[1] == "Removed the embeddings of 2 clips.\n"
    assert len(SharedEntries(cache.path).entries()) == 2
    assert run("cache", "prune", "--unused-days", "0")[1] == "Removed the embeddings of 2 clips.\n"
    cache.store("ab9", DESCRIBED, VALUES, START, {})
    assert run("cache", "prune", "--all", "--json")[1].count('"removed": 1') == 1
    assert run("cache", "show")[1] == "No embeddings are kept.\n"
    monkeypatch.setenv("ASD_CACHE", "s3://no-such-bucket-here/x")
    assert error_of(run("cache", "prune", "--unused-days", "1")).startswith(
        "s3://no-such-bucket-here/x/embeddings-2: the embedding cache cannot be used"
    )


def test_two_processes_on_one_folder_do_no_harm(tmp_path: Path) -> None:
    """Both write and read the same entries at the same time; a third one prunes."""
    script = """
import sys, numpy as np
from pathlib import Path
from asd.detection.embeddings import EmbeddingCache
cache = EmbeddingCache(Path(sys.argv[1]), 10**9)
for n in range(300):
    key = f"{n % 20:04x}"
    cache.store(key, '{"a": 1}', np.full((50, 40), n % 20, np.float32), np.zeros(50), {"n": n % 20})
    found = cache.load(key)
    assert found is None or (found[0] == n % 20).all() and found[2] == {"n": n % 20}
    if sys.argv[2] == "2" and n % 50 == 0:
        cache.prune(max_bytes=10_000)
"""
    place = tmp_path / FOLDER
    command = [sys.executable, "-W", "error", "-c", script, str(place)]
    running = [subprocess.Popen([*command, str(number)], stderr=subprocess.PIPE) for number in range(3)]
    assert [process.communicate()[1] for process in running] == [b""] * 3
    assert [process.returncode for process in running] == [0] * 3
    assert not list(place.rglob("*.part"))


def test_the_drive_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "share" / "asd"))
    assert not EmbeddingCache().is_shared
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/x {tmp_path}/share nfs4 rw 0 0\n")
    monkeypatch.setattr(objects, "_MOUNTS", mounts)
    assert is_on_network(tmp_path / "share" / "asd")
    assert not is_on_network(tmp_path / "shared")
    assert EmbeddingCache().path == tmp_path / "share" / "asd" / FOLDER
    assert EmbeddingCache().is_shared


def test_an_address_is_for_embeddings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_CACHE", "s3://plant/kept")
    assert EmbeddingCache().path == f"s3://plant/kept/{FOLDER}"
    assert "plant" not in str(cache_folder())


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("nosuch://x/y", "no scheme is called nosuch"),
        ("s3://no-such-bucket-here/x", "the embedding cache cannot be used"),
    ],
)
def test_one_that_cannot_be_used_is_told_once(
    address: str, reason: str, bucket: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASD_CACHE", address)
    monkeypatch.setenv("ASD_CACHE_SIZE", "1GB")
    cache = cache_from(True)
    assert cache is not None
    for _ in range(3):
        cache.store("ab12", DESCRIBED, VALUES, START, {})
    (record,) = [record for record in caplog.records if record.name == "asd"]
    assert reason in record.getMessage()
    assert record.getMessage().endswith("; going on without the cache")


def test_the_network_may_be_forbidden_and_secrets_are_not_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASD_CACHE", "s3://ann:s3cret@plant/kept")
    monkeypatch.setenv("ASD_CACHE_SIZE", "1GB")
    monkeypatch.setenv("ASD_OFFLINE", "1")
    cache = cache_from(True)
    assert cache is not None
    cache.store("ab12", DESCRIBED, VALUES, START, {})
    assert "the network is forbidden (ASD_OFFLINE or --offline)" in caplog.text
    assert "s3cret" not in caplog.text
