"""What a component's parameters may name as its weights, and that nothing takes the place of a published file."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from asd.errors import AsdError, ConfigError, WeightError
from asd.files import weights
from asd.files.resolve import check_weights, resolve_weights
from asd.files.weights import import_file, locate, locate_on_first_use
from asd_registry import WeightFile

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "sha256"),
    [
        ("default", None),
        ("random", DIGEST[:8]),
        ("net.pth", None),
        ("nets/net", DIGEST),
        ("nets\\net", None),
        ("~/net.pth", None),
        ("https://example.org/net", DIGEST),
        ("HTTP://example.org/a/net.pth?download=1#top", DIGEST),
        ("file:///net.pth", DIGEST),
    ],
)
def test_what_may_name_weights(text: str, sha256: str | None) -> None:
    check_weights(text, ("default", "random"), sha256=sha256)


@pytest.mark.parametrize(
    ("text", "sha256", "message"),
    [
        ("net", None, "weights is 'net', expected default, random, a file or a URL; write ./net for a file of that "
         "name"),
        ("", None, "weights is '', expected default, random, a file or a URL"),
        ("ftp://a.org/net.pth", DIGEST, "weights is 'ftp://a.org/net.pth', expected the https, http or file URL of a "
         "file"),
        ("https://a.org/", DIGEST, "weights is 'https://a.org/', expected the https, http or file URL of a file"),
        ("https://a.org", DIGEST, "weights is 'https://a.org', expected the https, http or file URL of a file"),
        ("https://a.org/net.pth", None, "https://a.org/net.pth needs weights_sha256, the file's SHA-256, to be "
         "trusted; or fetch it yourself and give its path"),
        ("https://a.org/net.pth", DIGEST[:63], "https://a.org/net.pth needs weights_sha256 with all 64 digits, got "
         f"{DIGEST[:63]!r}: another file can be made to begin with a few; or fetch it yourself and give its path"),
        ("net.pth", "ABCDEF01", "weights_sha256 is 'ABCDEF01', expected 8 to 64 hexadecimal digits in lower case"),
        ("net.pth", DIGEST[:7], f"weights_sha256 is {DIGEST[:7]!r}, expected 8 to 64 hexadecimal digits in lower case"),
        ("net.pth", DIGEST + "0", f"weights_sha256 is '{DIGEST}0', expected 8 to 64 hexadecimal digits in lower case"),
    ],
)  # fmt: skip
def test_what_cannot_name_weights_is_refused(
    text: str, sha256: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net").write_text("a file, but the disk is not looked at")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        check_weights(text, ("default", "random"), sha256=sha256)
    assert str(caught.value) == message


def test_messages_use_the_components_own_names() -> None:
    names = {"parameters": ("graph", "sha256"), "digits": 64}
    for text, sha256, message in (
        ("net", None, "graph is 'net', expected a file or a URL; write ./net for a file of that name"),
        ("net.pb", DIGEST[:8], f"sha256 is {DIGEST[:8]!r}, expected 64 hexadecimal digits in lower case"),
    ):
        with pytest.raises(ConfigError) as caught:
            resolve_weights(text, {}, sha256=sha256, **names)  # type: ignore[arg-type]
        assert str(caught.value) == message


def test_a_published_file_a_path_and_a_url(server: Any, store: Path, tmp_path: Path) -> None:
    published = server.weight("whole")
    known = {"default": published}
    path = resolve_weights("default", known)
    assert path == store / "net.pth"
    assert resolve_weights("default", known, sha256=published.sha256[:8]) == path
    assert resolve_weights(str(path), known, sha256=published.sha256) == path
    assert resolve_weights(path.as_uri(), known, sha256=published.sha256) == path
    own = tmp_path / "own.pth"
    own.write_bytes(b"mine")
    digest = hashlib.sha256(b"mine").hexdigest()
    assert resolve_weights(own.as_uri(), known, sha256=digest) == store / digest / "own.pth"


def test_an_address_that_ends_in_no_file_name_is_refused(store: Path) -> None:
    with pytest.raises(ConfigError, match=r"weights is 'file:///a/\.\.', whose end is no file's name"):
        resolve_weights("file:///a/..", {}, sha256=DIGEST)


def test_a_published_file_without_a_hash_needs_the_users(server: Any, store: Path) -> None:
    known = {"default": f"{server.address}/whole/net.pth"}
    with pytest.raises(ConfigError, match=r"/whole/net\.pth needs weights_sha256, the file's SHA-256, to be trusted"):
        resolve_weights("default", known)
    digest = server.weight("whole").sha256
    assert resolve_weights("default", known, sha256=digest) == store / digest / "net.pth"


def test_another_file_than_expected_is_named(server: Any, store: Path, tmp_path: Path) -> None:
    known = {"default": server.weight("whole")}
    told = "another file than expected: its sha256 is .*, expected 00000000; correct weights_sha256 or fetch the file"
    for text in ("default", str(store / "net.pth")):
        with pytest.raises(WeightError, match=told):
            resolve_weights(text, known, sha256="0" * 8)
    with pytest.raises(WeightError, match=r"/lost\.pth: no such weight file; give default, a file or a URL$"):
        resolve_weights(str(tmp_path / "lost.pth"), known)


def test_a_users_file_never_takes_the_place_of_a_published_one(
    nets: Any, server: Any, store: Path, tmp_path: Path
) -> None:
    other = tmp_path / "net.pth"  # as the published file is called
    other.write_bytes(b"mine")
    digest = hashlib.sha256(b"mine").hexdigest()
    before = resolve_weights(other.as_uri(), {}, sha256=digest)
    published = locate(nets.listed)
    assert (before.read_bytes(), published.read_bytes()) == (b"mine", server.content)
    assert resolve_weights(other.as_uri(), {}, sha256=digest) == before == store / digest / "net.pth"
    again = WeightFile(name="net.pth", licence="unknown", sha256=digest, url=other.as_uri())
    assert import_file(again, other) == before
    assert weights.verify(nets.listed) == "present"
    assert len(server.requests) == 1


def test_a_damaged_file_of_a_user_is_fetched_again(store: Path, tmp_path: Path) -> None:
    source = tmp_path / "own.pth"
    source.write_bytes(b"mine")
    digest = hashlib.sha256(b"mine").hexdigest()
    path = resolve_weights(source.as_uri(), {}, sha256=digest)
    path.write_bytes(b"damaged")
    assert resolve_weights(source.as_uri(), {}, sha256=digest).read_bytes() == b"mine"


def nothing_wrong(path: Path) -> None:
    assert path.is_file()


def test_the_first_file_is_trusted_and_no_other(server: Any, store: Path) -> None:
    url = f"{server.address}/whole/net.pth"
    assert locate_on_first_use("net.pth", url, nothing_wrong) == store / "net.pth"
    (store / "net.pth").write_bytes(b"damaged")
    server.content = server.content[::-1]
    with pytest.raises(WeightError, match=rf"gave another file \(.*, expected {server.weight('whole').sha256}\)"):
        locate_on_first_use("net.pth", url, nothing_wrong)


def test_a_first_file_that_is_not_what_is_wanted_is_not_kept(server: Any, store: Path) -> None:
    def refused(path: Path) -> None:
        raise AsdError("no network")

    url = f"{server.address}/whole/net.pth"
    with pytest.raises(WeightError, match=rf"^net\.pth: {re.escape(url)} gave another file \(no network\); it was"):
        locate_on_first_use("net.pth", url, refused)
    assert [path.name for path in store.iterdir()] == [".locks"]


def test_a_damaged_record_of_the_first_file_is_named(server: Any, store: Path) -> None:
    store.mkdir(parents=True)
    (store / "net.pth.sha256").write_bytes(b"\xff")
    with pytest.raises(WeightError) as caught:
        locate_on_first_use("net.pth", f"{server.address}/whole/net.pth", nothing_wrong)
    assert str(caught.value) == (
        f"{store / 'net.pth.sha256'}: holds no SHA-256; delete it, and the next file is trusted instead"
    )
    assert server.requests == []
