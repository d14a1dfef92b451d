"""The weight store within one process: what it fetches, resumes, verifies and refuses, and what it says."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asd.errors import WeightError
from asd.files import weights
from asd.progress import rendered_by
from asd_registry import WeightFile

CONTENT_SIZE = 3_400_000


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_in(store: Path) -> set[str]:
    return {path.name for path in store.iterdir() if path.is_file()}


def megabytes(asked: str) -> float:
    return int(asked.removeprefix("bytes=").removesuffix("-")) // 100_000 / 10


def begin(store: Path, content: bytes) -> None:
    store.mkdir(parents=True)
    (store / "net.pth.part").write_bytes(content)


@pytest.mark.parametrize("habit", ["whole", "no-range", "no-length", "redirect"])
def test_a_file_is_fetched_once(server: Any, store: Path, habit: str) -> None:
    weight = server.weight(habit)
    assert weights.verify(weight) == "absent"
    path = weights.locate(weight)
    assert path == store / "net.pth"
    assert path.read_bytes() == server.content
    assert files_in(store) == {"net.pth"}
    assert weights.verify(weight) == "present"
    asked = len(server.requests)
    assert weights.locate(weight) == path
    assert len(server.requests) == asked


def test_a_hash_given_in_part_is_enough(server: Any, store: Path) -> None:
    weight = server.weight("whole")
    assert weights.locate(server.weight("whole", sha256=weight.sha256[:8])).is_file()
    with pytest.raises(WeightError, match="expected 00000000…"):
        weights.locate(server.weight("whole", name="other.pth", sha256="00000000"))


def test_what_is_here_already_is_not_asked_for_again(server: Any, store: Path) -> None:
    begin(store, server.content[:2_000_000])
    assert weights.locate(server.weight("whole")).read_bytes() == server.content
    assert server.requests == [("whole", "bytes=2000000-")]


def test_a_server_without_ranges_starts_over(server: Any, store: Path) -> None:
    begin(store, server.content[:2_000_000])
    assert weights.locate(server.weight("no-range")).read_bytes() == server.content
    assert server.requests == [("no-range", "bytes=2000000-")]


def test_a_server_that_sends_another_part_starts_over(server: Any, store: Path) -> None:
    begin(store, server.content[:2_000_000])
    assert weights.locate(server.weight("elsewhere")).read_bytes() == server.content
    assert server.requests == [("elsewhere", "bytes=2000000-"), ("elsewhere", None)]


def test_the_beginning_of_another_version_is_given_up(server: Any, store: Path) -> None:
    begin(store, bytes(2_000_000))
    assert weights.locate(server.weight("whole")).read_bytes() == server.content
    assert server.requests == [("whole", "bytes=2000000-"), ("whole", None)]


def test_a_part_longer_than_the_file_is_given_up(server: Any, store: Path) -> None:
    begin(store, bytes(CONTENT_SIZE + 1))
    assert weights.locate(server.weight("whole")).read_bytes() == server.content
    assert server.requests == [("whole", f"bytes={CONTENT_SIZE + 1}-"), ("whole", None)]


def test_a_whole_part_needs_no_network(server: Any, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_OFFLINE", "1")
    begin(store, server.content)
    assert weights.locate(server.weight("whole")).read_bytes() == server.content
    assert server.requests == []


def test_a_connection_that_breaks_is_taken_up_again(server: Any, store: Path) -> None:
    assert weights.locate(server.weight("cut")).read_bytes() == server.content
    assert [asked and megabytes(asked) for _, asked in server.requests] == [None, 1.5, 3.0]


def test_a_download_that_breaks_for_good_goes_on_next_time(server: Any, store: Path) -> None:
    weight = server.weight("cut-no-range")
    with pytest.raises(WeightError) as caught:
        weights.locate(weight)
    reason = r"broke off at 1\.5 MB \(.*1500000 bytes read, 1900000 more expected.*\)"
    mend = "run the command again, it goes on from there"
    assert re.fullmatch(rf"net\.pth: the download {reason}; {mend}", str(caught.value))
    assert len(server.requests) == 2
    assert files_in(store) == {"net.pth.part"}
    assert weights.locate(server.weight("whole")).read_bytes() == server.content
    assert megabytes(server.requests[-1][1]) == 1.5


def test_a_damaged_file_is_fetched_again(server: Any, store: Path) -> None:
    weight = server.weight("whole")
    path = weights.locate(weight)
    path.write_bytes(server.content[:-1] + b"?")
    assert weights.verify(weight) == "damaged"
    assert weights.locate(weight).read_bytes() == server.content


def test_a_wrong_file_is_not_kept(server: Any, store: Path) -> None:
    weight = server.weight("whole", sha256="12" * 32)
    with pytest.raises(WeightError) as caught:
        weights.locate(weight)
    got = hashlib.sha256(server.content).hexdigest()
    assert str(caught.value) == (
        f"net.pth: {weight.url} gave another file (3400000 bytes, sha256 {got}, expected {'12' * 32}); it was not "
        "kept: the publisher may have changed it, or a proxy's login page may have answered; fetch "
        f"{weight.url} elsewhere and run 'asd weights import net.pth FILE --sha256 {'12' * 32}', which puts it at "
        f"{store / ('12' * 32) / 'net.pth'}"
    )
    assert files_in(store) == set()


@pytest.mark.parametrize(("habit", "answer"), [("missing", "404 Not Found"), ("failing", "500 Internal Server Error")])
def test_a_refusing_server_is_quoted(server: Any, store: Path, habit: str, answer: str) -> None:
    weight = server.weight(habit)
    with pytest.raises(WeightError, match=re.escape(f"net.pth: {weight.url} answers {answer}; fetch {weight.url}")):
        weights.locate(weight)


def test_a_server_that_says_nothing_is_given_up(server: Any, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asd.files.fetch._TIMEOUT", (0.2, 0.2))
    with pytest.raises(WeightError, match=r"net\.pth: cannot reach 127\.0\.0\.1:\d+ \(timed out\); fetch "):
        weights.locate(server.weight("silent"))


def test_a_part_nobody_asked_for_is_refused(server: Any, store: Path) -> None:
    with pytest.raises(WeightError, match="answers with a part of the file where the whole was asked for"):
        weights.locate(server.weight("uninvited"))


def test_without_a_network_the_user_learns_the_other_ways(nets: Any, store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = f"http://127.0.0.1:{port}/net.pth"
    weight = WeightFile(name="net.pth", licence="MIT", sha256="1" * 8, url=url)
    with pytest.raises(WeightError) as caught:
        weights.locate(weight, alternative="squeezenet1_0")
    assert str(caught.value) == (
        f"net.pth: cannot reach 127.0.0.1:{port} (Connection refused); fetch {url} elsewhere and run "
        f"'asd weights import net.pth FILE --sha256 11111111', which puts it at {store / '11111111' / 'net.pth'}; "
        "or use squeezenet1_0, which needs no download"
    )


def test_offline_nothing_is_asked_and_the_alternative_is_found(
    nets: Any, server: Any, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASD_OFFLINE", "1")
    with pytest.raises(WeightError) as caught:
        weights.locate(nets.listed)
    assert str(caught.value) == (
        "net.pth: no good copy is here, and the network is forbidden (ASD_OFFLINE or --offline); fetch "
        f"{nets.listed.url} elsewhere and run 'asd weights import net.pth FILE', which puts it at {store / 'net.pth'}; "
        "or use small-net, which needs no download"
    )
    assert server.requests == []
    monkeypatch.setenv("ASD_OFFLINE", "0")
    assert weights.locate(nets.listed).is_file()
    monkeypatch.setenv("ASD_OFFLINE", "1")
    assert weights.locate(nets.listed).is_file()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/net.pth", "net.pth", "http:///net.pth"])
def test_an_address_that_is_none_is_named(store: Path, url: str) -> None:
    with pytest.raises(WeightError, match=re.escape(f"net.pth: {'cannot fetch ' if 'http' in url else ''}{url} ")):
        weights.locate(WeightFile(name="net.pth", licence="MIT", sha256="0" * 8, url=url))


def test_a_file_url_is_copied_even_offline(
    server: Any, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASD_OFFLINE", "1")
    source = tmp_path / "my nets.pth"
    weight = WeightFile(name="net.pth", licence="MIT", sha256=server.weight("whole").sha256, url=source.as_uri())
    with pytest.raises(WeightError, match=r"my%20nets\.pth does not exist; fetch "):
        weights.locate(weight)
    source.write_bytes(server.content)
    assert weights.locate(weight).read_bytes() == server.content
    assert source.is_file()


def test_a_name_with_folders_is_refused() -> None:
    with pytest.raises(ValueError, match=r"name must be a file name, got '\.\./net\.pth'"):
        WeightFile(name="../net.pth", licence="MIT", sha256="0" * 8, url="http://127.0.0.1/net.pth")


def test_a_download_larger_than_the_disk_is_not_begun(server: Any, store: Path) -> None:
    with pytest.raises(WeightError) as caught:
        weights.locate(server.weight("huge"))
    assert str(caught.value) == (
        f"no space left for net.pth, 3.4 MB, in {store} (No space left on device); free some, or set ASD_CACHE to a "
        "folder on another disk"
    )
    assert files_in(store) == set()


def test_a_store_that_cannot_be_made_is_named(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightError) as caught:
        weights.locate(server.weight("whole"))
    assert str(caught.value) == (
        f"net.pth cannot be kept in {tmp_path}/file/weights (Not a directory); set ASD_CACHE to a folder that you may "
        "write to"
    )
    assert server.requests == []


def test_import_takes_the_right_file_only(server: Any, store: Path, tmp_path: Path) -> None:
    weight = server.weight("whole")
    stick = tmp_path / "stick.pth"
    with pytest.raises(WeightError, match=re.escape(f"{stick}: no such file; give the path of a copy of {weight.url}")):
        weights.import_file(weight, stick)
    stick.write_bytes(b"something else")
    with pytest.raises(WeightError) as caught:
        weights.import_file(weight, stick)
    assert str(caught.value) == (
        f"{stick} is not net.pth: its sha256 is {digest(stick)}, expected {weight.sha256}; copy it again from its "
        f"source, {weight.url}"
    )
    assert not store.exists()
    stick.write_bytes(server.content)
    place = store / weight.sha256 / "net.pth"  # no component lists it
    assert weights.import_file(weight, stick) == place
    assert weights.locate(weight) == place
    assert place.read_bytes() == server.content
    assert files_in(place.parent) == {"net.pth"}
    assert server.requests == []


def test_import_of_a_wrong_file_leaves_the_good_one_whole(server: Any, store: Path, tmp_path: Path) -> None:
    weight = server.weight("whole")
    weights.locate(weight)
    stick = tmp_path / "stick.pth"
    stick.write_bytes(b"something else")
    with pytest.raises(WeightError):
        weights.import_file(weight, stick)
    assert weights.verify(weight) == "present"


def test_an_embedded_file_is_found_and_verified(nets: Any) -> None:
    assert weights.locate(nets.shipped) == nets.shipped_path
    assert weights.verify(nets.shipped) == "embedded"
    with pytest.raises(WeightError, match=r"small\.safetensors ships inside its plugin's distribution"):
        weights.import_file(nets.shipped, nets.shipped_path)
    nets.shipped_path.write_bytes(b"smell")
    assert weights.verify(nets.shipped) == "damaged"
    with pytest.raises(WeightError) as caught:
        weights.locate(nets.shipped)
    assert str(caught.value) == (
        "small.safetensors is damaged, and should be inside asd-nets: pip install --force-reinstall --no-deps asd-nets"
    )
    nets.shipped_path.unlink()
    assert weights.verify(nets.shipped) == "absent"


def test_an_embedded_file_of_no_installed_plugin_is_named(nets: Any) -> None:
    stray = WeightFile(name="stray.safetensors", licence="MIT", sha256="0" * 8)
    with pytest.raises(WeightError, match=r"stray\.safetensors has no url, and no installed component names it"):
        weights.locate(stray)


def test_each_file_is_listed_once_with_its_users(nets: Any) -> None:
    listed = {entry.weight.name: [c.spec.name for c in entry.components] for entry in weights.catalogue()}
    assert listed == {"net.pth": ["both-nets", "net"], "small.safetensors": ["both-nets", "small-net"]}


@pytest.mark.parametrize(("habit", "total"), [("whole", 4), ("no-length", None)])
@pytest.mark.parametrize("here", [0, 2_000_000])
def test_progress_counts_megabytes(server: Any, store: Path, habit: str, total: int | None, here: int) -> None:
    shown: list[tuple[str, int | None]] = []
    counted: list[int] = []

    def renderer(items: Iterable[Any], description: str, total: int | None) -> Iterator[Any]:
        shown.append((description, total))
        for number, item in enumerate(items, 1):
            yield item
            counted.append(number)

    begin(store, server.content[:here])
    with rendered_by(renderer):
        weights.locate(server.weight(habit))
    assert shown == [("net.pth, MB", total)]
    assert counted == [1, 2, 3, 4][: total or 3]
