"""Addresses as paths: taken apart, joined, masked, pickled; the spool; what is known of versions."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import fsspec
import pytest
from fsspec.registry import _registry

from asd.cli.flags import LocalPath
from asd.errors import ConfigError, DataError, RemoteError
from asd.files import known, spool
from asd.files.address import Address, is_url, manifest_path, mask_in, masked, shared_folder
from asd.files.reading import sha256_of
from asd.files.remote import RemotePath, as_path, has_magic, sealed_path
from asd.files.versions import facts_from
from asd.records import Clip


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()


URLS = [
    "s3://bucket/pump/1.wav",
    "gs://bucket/a b/ü.wav",
    "https://host:8000/a/clip%201.wav?part=1",
    "http://[::1]:80/x.wav",
    "zip://in/side.wav::https://host/all.zip",
    "zip://side.wav::zip://all.zip::s3://bucket/more.zip",
    "hf://datasets/me/sounds@main/x.wav",
    "memory://x.wav",
    "simplecache::s3://bucket/x.wav",
    "webdav://plant/x.wav",
]


@pytest.mark.parametrize("url", URLS)
def test_a_path_keeps_its_address(url: str) -> None:
    path = as_path(url)
    assert isinstance(path, RemotePath)
    assert str(Address.of(url)) == url
    again = pickle.loads(pickle.dumps(Clip(path, 1.0, 2.0, "g"))).path  # noqa: S301
    assert (again, again.url, hash(again), str(again)) == (path, url, hash(path), str(path))
    assert path.absolute() is path
    assert path.suffix == ".wav"
    assert path.parent != path
    assert list(path.parents)[-1].parent == list(path.parents)[-1]
    assert path != Path(str(path))
    assert not pickle.loads(pickle.dumps(path.parent)).url.endswith("wav")  # noqa: S301


@pytest.mark.parametrize(
    ("url", "name", "parent"),
    [
        ("s3://bucket/pump/1.wav", "1.wav", "s3://bucket/pump"),
        ("s3://bucket/1.wav", "1.wav", "s3://bucket"),
        ("https://host/a/clip%201.wav?x=1", "clip 1.wav", "https://host/a"),
        ("zip://in/side.wav::https://host/all.zip", "side.wav", "zip://in::https://host/all.zip"),
        ("zip://side.wav::/data/all.zip", "side.wav", "zip://::/data/all.zip"),
        ("s3://bucket/what?.wav", "what?.wav", "s3://bucket"),
    ],
)
def test_name_and_folder(url: str, name: str, parent: str) -> None:
    path = RemotePath.of(url)
    assert (path.name, path.parent.url) == (name, parent)


@pytest.mark.parametrize(
    ("folder", "name", "expected"),
    [
        ("s3://bucket/day", "a/1.wav", "s3://bucket/day/a/1.wav"),
        ("s3://bucket/day", "../../../1.wav", "s3://bucket/1.wav"),
        ("https://host/day?key=1", "a b#.wav", "https://host/day/a%20b%23.wav"),
        ("zip://day::s3://bucket/x.zip", "../1.wav", "zip://1.wav::s3://bucket/x.zip"),
        ("memory://day", "../1.wav", "memory://1.wav"),
        ("s3://bucket/day", "s3://other/1.wav", "s3://other/1.wav"),
    ],
)
def test_a_manifest_names_what_is_beside_it(folder: str, name: str, expected: str) -> None:
    assert manifest_path(RemotePath.of(folder), name).url == expected


@pytest.mark.parametrize("name", ["/etc/x.wav", "C:\\x.wav", "file:///etc/x.wav", "~/x.wav", "zip://x.wav::/etc/x.zip"])
def test_a_manifest_elsewhere_names_no_file_here(name: str) -> None:
    with pytest.raises(DataError, match=r"is a file of this computer, and the manifest is not"):
        manifest_path(RemotePath.of("s3://bucket/day"), name)


def test_a_manifest_here_names_addresses_and_files(tmp_path: Path) -> None:
    assert manifest_path(tmp_path, "/x.wav") == Path("/x.wav")
    assert manifest_path(tmp_path, "file:///x.wav") == Path("/x.wav")
    assert manifest_path(tmp_path, "s3://bucket/x.wav").url == "s3://bucket/x.wav"


@pytest.mark.parametrize("text", ["clip.wav", "/a/b", "C://x", "C:\\x", "a::b", "s3:/bucket", "://x", "", "x y://z"])
def test_these_are_files(text: str) -> None:
    assert not is_url(text)
    assert type(as_path(text)) is type(Path())


def test_file_addresses_are_files() -> None:
    assert as_path("file:///data/a%20b.wav") == Path("/data/a b.wav")
    assert as_path("file://localhost/data/x.wav") == Path("/data/x.wav")
    assert as_path("local://data/x.wav") == Path("data/x.wav")


SECRETS = [
    ("https://me:s3cret@host/x.wav", "https://***@host/x.wav"),
    ("https://s3cret@host/x.wav", "https://***@host/x.wav"),
    ("https://host/x.wav?X-Amz-Signature=s3cret&part=1", "https://host/x.wav?X-Amz-Signature=***&part=***"),
    ("https://me:s3/cret@host/x.wav", "https://***@host/x.wav"),
    ("https://me:s3c@ret@host/x.wav", "https://***@host/x.wav"),
    ("zip://x.wav::https://me:s3cret@host/x.zip?sig=s3cret", "zip://x.wav::https://***@host/x.zip?sig=***"),
    ("webdav://me:s3cret@host/x.wav", "webdav://***@host/x.wav"),
    ("s3://key:s3cret@bucket/x.wav", "s3://***@bucket/x.wav"),
    ("sftp://me:s3cret@host:22/x.wav", "sftp://***@host:22/x.wav"),
    ("abfs://box@account.dfs.core.windows.net/x.wav", "abfs://box@account.dfs.core.windows.net/x.wav"),
    ("hf://datasets/me/sounds@main/x.wav", "hf://datasets/me/sounds@main/x.wav"),
    ("https://host:8080/@me/x.wav", "https://host:8080/@me/x.wav"),
]


@pytest.mark.parametrize(("url", "shown"), SECRETS)
def test_secrets_are_not_shown(url: str, shown: str) -> None:
    path = RemotePath.of(url)
    assert masked(url) == shown == str(path) == str(Clip(path)) == os.fspath(path)
    for text in (repr(path), repr(Clip(path)), str(path.parent), "/".join(path.parts), repr(path / "y.wav")):
        assert "s3cret" not in text
    assert mask_in(f"asd score m.asd '{url}' --json") == f"asd score m.asd '{shown}' --json"
    assert path.url == url


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        (["s3://b/day/1.wav", "s3://b/day/2.wav [0–1 s]"], "s3://b/day"),
        (["s3://b/day/1.wav", "s3://b/night/2.wav"], "s3://b"),
        (["s3://b/1.wav", "s3://c/1.wav"], ""),
        (["s3://b/1.wav", "/x/1.wav"], ""),
        (["zip://a/1.wav::s3://b/x.zip", "zip://a/2.wav::s3://b/x.zip"], ""),
        (["/x/a/1.wav", "/x/b/1.wav"], "/x"),
        (["a/1.wav"], "a"),
        (["/x/1.wav", "y/1.wav"], ""),
        ([], ""),
    ],
)
def test_the_folder_that_all_are_in(paths: list[str], folder: str) -> None:
    assert shared_folder(paths) == folder


@pytest.mark.parametrize(
    ("url", "is_pattern"),
    [
        ("s3://b/*.wav", True),
        ("s3://b/1?.wav", True),
        ("https://h/*.wav", True),
        ("https://h/x.wav?y=1", False),
        ("http://[::1]/x.wav", False),
        ("http://[::1]/[0-9].wav", True),
        ("zip://*.wav::s3://b/x.zip", True),
        ("s3://b/x.wav", False),
    ],
)
def test_patterns(url: str, is_pattern: bool) -> None:
    assert has_magic(url) is is_pattern


def test_an_archive_needs_a_name() -> None:
    with pytest.raises(DataError, match=r"zip://x\.wav: name the archive, too: zip://FOLDER_OR_FILE::ARCHIVE"):
        as_path("zip://x.wav")


def test_a_sealed_path_is_never_asked_for(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe_file("/x.wav", b"1")
    path = sealed_path("memory://x.wav")
    assert str(path) == "memory://x.wav"
    for ask in (path.stat, path.read_bytes, path.parent.stat, pickle.loads(pickle.dumps(path)).read_bytes):  # noqa: S301
        with pytest.raises(FileNotFoundError):
            ask()


def test_folders_are_listed_without_what_is_hidden(memory: fsspec.AbstractFileSystem) -> None:
    for name in ("day/2.wav", "day/sub/1.wav", "day/.hidden.wav", "day/.git/x.wav", "daylight.wav"):
        memory.pipe_file(f"/{name}", name.encode())
    folder = RemotePath.of("memory://day")
    assert [str(path) for path in folder.files_below()] == ["memory://day/2.wav", "memory://day/sub/1.wav"]
    assert sorted(path.name for path in folder.iterdir()) == ["2.wav", "sub"]
    assert sorted(str(path) for path in folder.glob("*/*.wav")) == ["memory://day/sub/1.wav"]
    assert {path.name for path in folder.rglob("*.wav")} == {"1.wav", "2.wav"}
    assert (folder / "sub").is_dir()
    assert not (folder / "sub").is_file()
    assert (folder / "2.wav").read_bytes() == b"day/2.wav"
    assert (folder / "2.wav").relative_to(folder) == Path("2.wav")
    assert not (folder / "3.wav").exists()


def test_the_digest_is_that_of_the_content_whatever_is_written_when(memory: fsspec.AbstractFileSystem) -> None:
    import hashlib

    path = RemotePath.of("memory://x.bin")
    for content in (b"one", b"two", b"one", b"six"):  # of one size, within a second
        memory.pipe_file("/x.bin", content)
        assert sha256_of(path) == sha256_of(path) == hashlib.sha256(content).hexdigest()


def test_a_version_that_is_known_is_not_read(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    memory.pipe_file("/x.bin", b"one")
    path = RemotePath.of("memory://x.bin")
    digest = sha256_of(path)
    monkeypatch.setattr("asd.files.reading._digest", None)
    assert sha256_of(path) == digest
    known.remove_all()
    with pytest.raises(TypeError):
        sha256_of(path)
    monkeypatch.undo()
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "file"))
    (tmp_path / "file").write_text("not a folder")
    assert sha256_of(path) == digest  # what cannot be kept is read again


TIMES = [
    ("https", {"ETag": '"a"'}, False),
    ("https", {"ETag": '"a"', "Last-Modified": "Mon, 20 Jan 2020 10:00:00 GMT"}, True),
    ("https", {"Last-Modified": "Mon, 20 Jan 2120 10:00:00 GMT"}, False),
    ("https", {}, False),
    ("s3", {"ETag": '"a"'}, True),
    ("webdav", {"etag": "a", "modified": 4_733_510_400.0}, False),  # 2120: not an hour ago, whenever this runs
]


@pytest.mark.parametrize(("scheme", "info", "is_sure"), TIMES)
def test_a_version_is_sure_only_if_another_content_would_show(scheme: str, info: dict[str, str], is_sure: bool) -> None:
    facts = facts_from("u", scheme, {"size": 3, **info}, None)
    assert facts.is_sure is is_sure
    assert bool(facts.version) is bool(info)


def fill(content: bytes):  # type: ignore[no-untyped-def]
    return lambda file, most: spool.bounded(file, most)(content)


def test_the_spool_holds_what_was_used_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("ASD_SPOOL_SIZE", "1000")
    for number, key in enumerate("abc"):
        with spool.spooled(key, 300, fill(key.encode() * 300)) as file:
            assert file.read() == key.encode() * 300
        os.utime(tmp_path / "spool" / f"{key}.copy", (number, number))
    still_open = spool.kept("b")
    assert still_open is not None
    os.utime(tmp_path / "spool" / "b.copy", (0, 0))
    first = spool.kept("a")  # used now
    assert first is not None
    first.close()
    spool.spooled("d", None, fill(b"d" * 300)).close()
    assert sorted(path.stem for path in (tmp_path / "spool").glob("*.copy")) == ["a", "c", "d"]
    assert still_open.read() == b"b" * 300
    still_open.close()
    assert spool.kept("b") is None
    with pytest.raises(spool.TooLargeError):
        spool.spooled("e", 1001, fill(b""))
    with pytest.raises(spool.TooLargeError):
        spool.spooled("e", None, fill(b"e" * 1001))
    assert not list((tmp_path / "spool").glob("*.part"))
    spool._remove_own()
    assert not list((tmp_path / "spool").glob("*.copy"))


def test_the_spool_bears_several_writers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("ASD_SPOOL_SIZE", "4000")
    wrong: list[object] = []

    def work(seed: int) -> None:
        for number in range(12):
            key = f"{(seed + number) % 5}"
            file = spool.kept(key) or spool.spooled(key, 800, fill(key.encode() * 800))
            with file:
                if file.read() != key.encode() * 800:
                    wrong.append(key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sum(path.stat().st_size for path in (tmp_path / "spool").glob("*.copy")) <= 4000


def test_a_wrong_size_of_the_spool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_SPOOL_SIZE", "many")
    with pytest.raises(
        ConfigError, match=r"ASD_SPOOL_SIZE takes a size such as 500MB or 2GB, or bytes, or 0: no copies"
    ):
        spool.spool_size()


def test_the_network_may_be_forbidden(memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_OFFLINE", "1")
    memory.pipe_file("/x.wav", b"1")
    assert as_path("memory://x.wav").read_bytes() == b"1"
    for url in (
        "http://localhost/x",
        "http://me:s3cret@127.0.0.1:80/x",
        "https://[::1]:8/x",
        "zip://x::http://127.0.0.1/x",
    ):
        assert not Address.of(url).needs_network
    for url in ("http://localhost.evil/x", "http://127.0.0.1@evil/x", "http://10.0.0.1/x"):
        assert Address.of(url).needs_network
    for url in ("s3://bucket/x.wav", "https://me:s3cret@host/x.wav", "zip://x.wav::s3://bucket/x.zip", "hf://a/b/c"):
        with pytest.raises(RemoteError, match=r"^\S+: the network is forbidden \(ASD_OFFLINE or --offline\)") as raised:
            as_path(url).read_bytes()
        assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("gs://bucket/x.wav", "gs://bucket/x.wav: gs:// needs gcsfs: pip install gcsfs"),
        ("az://box/x.wav", "az://box/x.wav: az:// needs adlfs: pip install adlfs"),
        (
            "hf://datasets/me/x.wav",
            "hf://datasets/me/x.wav: hf:// needs huggingface_hub: pip install huggingface_hub",
        ),
        ("s3://bucket/x.wav", "s3://bucket/x.wav: s3:// needs s3fs: pip install 'asd-framework[remote]'"),
        ("https://host/x.wav", "https://host/x.wav: https:// needs aiohttp: pip install 'asd-framework[remote]'"),
        (
            "webdav://me:s3cret@host/x.wav",
            "webdav://***@host/x.wav: webdav:// needs webdav4: pip install 'webdav4[fsspec]'",
        ),
        (
            "nonsense://x/y.wav",
            "nonsense://x/y.wav: no scheme is called nonsense://; expected s3, gs, az, hf, https, webdav or zip",
        ),
    ],
)
def test_what_is_not_installed_is_named(url: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("gcsfs", "adlfs", "huggingface_hub", "s3fs", "aiohttp", "webdav4"):
        for module in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.http", raising=False)
    monkeypatch.delitem(_registry, url.partition(":")[0], raising=False)
    with pytest.raises(RemoteError) as raised:
        as_path(url).read_bytes()
    assert str(raised.value) == text


def test_without_fsspec_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "fsspec"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RemoteError, match=r"reading addresses needs fsspec: pip install 'asd-framework\[remote\]'"):
        as_path("s3://bucket/x.wav").read_bytes()


def commands_of(group: click.Group, context: click.Context) -> Iterator[click.Command]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield command
        if isinstance(command, click.Group):
            yield from commands_of(command, context)


def test_no_command_takes_an_address_for_the_name_of_a_folder() -> None:
    """`click.Path` would: ``-o s3://bucket/x`` would make a folder ``s3:`` here."""
    from asd.cli.main import cli

    parameters = [
        (command.name, each)
        for command in [cli, *commands_of(cli, click.Context(cli))]
        for each in command.params
        if not isinstance(each, click.Option) or not each.is_flag
    ]
    assert not [(name, each.name) for name, each in parameters if isinstance(each.type, click.Path)]
    local = [each for _, each in parameters if isinstance(each.type, LocalPath)]
    assert len(local) > 10
    for each in local:
        with pytest.raises(ConfigError, match=r"^s3://.*@plant/x: .* must be on this computer.*; name a local path$"):
            each.type.convert("s3://me:secret@plant/x", each, None)


@pytest.mark.parametrize(
    "words", [("new-plugin", "mine", "-o"), ("history",), ("weights", "import", "name"), ("export", "m.asd", "--onnx")]
)
def test_an_address_where_a_path_here_is_needed_is_one_line(words: tuple[str, ...], tmp_path: Path) -> None:
    found = subprocess.run(
        [os.environ["ASD_COMMAND"], *words, "s3://plant/x"], cwd=tmp_path, capture_output=True, text=True
    )
    assert found.returncode == 2
    assert found.stderr == "asd: error: s3://plant/x: it must be on this computer; name a local path\n"
    assert not [*tmp_path.iterdir()]
