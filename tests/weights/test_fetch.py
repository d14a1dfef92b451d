"""The downloader: when it resumes, when it starts over, and what it refuses."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from asd.files import fetch as module
from asd.files.fetch import TransferError, fetch

SIZE = 3_400_000


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ASD_OFFLINE", raising=False)
    folder = tmp_path / "fetched"
    folder.mkdir()
    return folder / "net.pth"


@pytest.mark.parametrize("habit", ["whole", "no-length", "chunked", "compressed", "redirect", "tagged"])
def test_the_checksum_of_what_came_is_returned(server: Any, place: Path, habit: str) -> None:
    assert fetch(f"{server.address}/{habit}/net.pth", place) == sha256(server.content)
    assert place.read_bytes() == server.content
    assert files_in(place.parent) == {"net.pth"}


def test_a_good_file_is_kept_and_any_is_good_without_a_checksum(server: Any, place: Path) -> None:
    place.write_bytes(b"by hand")
    assert fetch(f"{server.address}/whole/net.pth", place) == sha256(b"by hand")
    digest = hashlib.md5(b"by hand", usedforsecurity=False).hexdigest()
    assert fetch(f"{server.address}/whole/net.pth", place, checksum=f"md5:{digest}") == f"md5:{digest}"
    assert server.requests == []
    assert fetch(f"{server.address}/whole/net.pth", place, checksum=sha256(server.content)) == sha256(server.content)
    assert place.read_bytes() == server.content


def test_what_has_not_changed_is_resumed_without_a_checksum(server: Any, place: Path) -> None:
    assert fetch(f"{server.address}/tagged-cut/net.pth", place) == sha256(server.content)
    assert server.requests == [("tagged-cut", None), ("tagged-cut", "bytes=1500000-"), ("tagged-cut", "bytes=3000000-")]
    place.rename(place.with_name("net.pth.part"))
    with place.with_name("net.pth.part").open("ab") as part:
        part.truncate(2_000_000)
    tag = hashlib.sha256(server.content).hexdigest()[:8]
    place.with_name("net.pth.part.validator").write_text(f'"{tag}"')
    assert fetch(f"{server.address}/tagged/net.pth", place) == sha256(server.content)
    assert server.requests[3:] == [("tagged", "bytes=2000000-")]
    assert files_in(place.parent) == {"net.pth"}


def test_a_broken_download_leaves_what_the_next_attempt_needs(server: Any, place: Path) -> None:
    with pytest.raises(TransferError, match=r"broke off at 0\.1 MB") as caught:
        fetch(f"{server.address}/tagged-stuck/net.pth", place)
    assert caught.value.unfinished
    assert files_in(place.parent) == {"net.pth.part", "net.pth.part.validator"}
    fetch(f"{server.address}/tagged/net.pth", place)
    assert server.requests[-1] == ("tagged", "bytes=100000-")


@pytest.mark.parametrize("habit", ["tagged", "tagged-careless"])
def test_what_has_changed_since_the_last_attempt_starts_over(server: Any, place: Path, habit: str) -> None:
    part = place.with_name("net.pth.part")
    part.write_bytes(server.content[:1_000_000])
    place.with_name("net.pth.part.validator").write_text('"of yesterday"')
    assert fetch(f"{server.address}/{habit}/net.pth", place) == sha256(server.content)
    assert server.requests[0] == (habit, "bytes=1000000-")
    assert files_in(place.parent) == {"net.pth"}


def test_what_nothing_can_verify_starts_over(server: Any, place: Path) -> None:
    place.with_name("net.pth.part").write_bytes(bytes(1_000_000))
    assert fetch(f"{server.address}/whole/net.pth", place) == sha256(server.content)
    assert server.requests == [("whole", None)]
    place.unlink()
    with pytest.raises(TransferError, match=r"broke off at 1\.5 MB") as caught:
        fetch(f"{server.address}/cut/net.pth", place)
    assert not caught.value.unfinished
    assert server.requests[1:] == [("cut", None), ("cut", None)]


def test_an_endless_answer_is_refused(server: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{server.address}/endless/net.pth"
    with pytest.raises(TransferError, match=re.escape(f"{url} gives more than {SIZE} bytes; it was not kept: ")):
        fetch(url, place, size=SIZE)
    monkeypatch.setattr(module, "_LARGEST", 5_000_000)
    with pytest.raises(TransferError, match=re.escape(f"{url} gives more than 5000000 bytes; it was not kept: ")):
        fetch(url, place)
    assert files_in(place.parent) == set()


def test_a_larger_file_than_the_publisher_states_is_refused_at_once(server: Any, place: Path) -> None:
    url = f"{server.address}/larger/net.pth"
    with pytest.raises(TransferError, match=re.escape(f"{url} offers {SIZE + 1} bytes, expected {SIZE}; it was not k")):
        fetch(url, place, size=SIZE)
    assert files_in(place.parent) == set()


def test_a_smaller_file_is_refused_unless_its_sha256_is_right(server: Any, place: Path) -> None:
    url, checksum = f"{server.address}/whole/net.pth", sha256(server.content)
    for known in (None, checksum[:20], f"md5:{hashlib.md5(server.content, usedforsecurity=False).hexdigest()}"):
        with pytest.raises(TransferError, match=rf"gave another file \({SIZE} bytes, .*, expected {SIZE + 1} bytes\)"):
            fetch(url, place, checksum=known, size=SIZE + 1)
        assert files_in(place.parent) == set()
    assert fetch(url, place, checksum=checksum, size=SIZE + 1) == checksum


def test_a_dripping_answer_is_given_up(server: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PERIOD", 0.3)
    with pytest.raises(TransferError, match=r"the download is too slow: \d+ bytes in 0 s") as caught:
        fetch(f"{server.address}/dripping/net.pth", place, checksum=sha256(server.content))
    assert caught.value.unfinished
    assert files_in(place.parent) == {"net.pth.part"}


@pytest.mark.parametrize("habit", ["missing", "failing", "uninvited"])
def test_a_refusal_leaves_no_empty_file(server: Any, place: Path, habit: str) -> None:
    with pytest.raises(TransferError):
        fetch(f"{server.address}/{habit}/net.pth", place)
    assert files_in(place.parent) == set()


def test_a_file_address_that_cannot_be_read_is_named(place: Path, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match=r"^file:///.* cannot be read \(Is a directory\)$"):
        fetch(tmp_path.as_uri(), place)
    assert files_in(place.parent) == set()
