"""Fetching from a real server: whole, broken off, wrong, offline, and by hand."""

from __future__ import annotations

import errno
import hashlib
import http.server
import io
import json
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from asd.errors import DataError
from asd.plugin import RemoteFile
from asd_data import fetch as fetching
from asd_data.fetch import fetch, missing, unpack


def zipped(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


NAMES = [
    "fan/train/section_00_source_train_normal_0000_m_W.wav",
    "fan/test/section_00_source_test_normal_0000_m_W.wav",
    "fan/test/section_00_source_test_anomaly_0000_m_W.wav",
]
ARCHIVE = zipped(**{name: name * 20_000 for name in NAMES})
MD5 = f"md5:{hashlib.md5(ARCHIVE, usedforsecurity=False).hexdigest()}"
STATED = MD5.replace(":", " ")


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; the first `cuts` answers break off half way."""

    files: dict[str, bytes]
    cuts = 0
    requests: list[tuple[str, str | None]]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers["Range"]))
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        start = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        end = len(content)
        if self.server.cuts:
            self.server.cuts -= 1
            end = start + (end - start) // 2
        self.wfile.write(content[start:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.files = {"/dev_fan.zip": ARCHIVE, "/labels.csv": b"fan\n", "/login.zip": b"<html>please log in</html>"}
        running.requests = []
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_fetched_verified_and_unpacked_once(server: Server, tmp_path: Path) -> None:
    remotes = [
        RemoteFile(f"{server.address}/dev_fan.zip", folder="dev_data", checksum=MD5, size=len(ARCHIVE)),
        RemoteFile(f"{server.address}/labels.csv", folder="labels"),
    ]
    assert fetch(remotes, tmp_path) == remotes
    assert {(tmp_path / "dev_data" / name).read_text() for name in NAMES} == {name * 20_000 for name in NAMES}
    assert (tmp_path / "labels" / "labels.csv").read_text() == "fan\n"
    assert not (tmp_path / "dev_fan.zip").exists()
    asked = len(server.requests)
    assert fetch(remotes, tmp_path) == []
    assert len(server.requests) == asked
    (tmp_path / "dev_data" / NAMES[0]).unlink()
    assert missing(remotes, tmp_path) == remotes[:1]
    assert fetch(remotes, tmp_path, keep=True) == remotes[:1]
    assert (tmp_path / "dev_fan.zip").read_bytes() == ARCHIVE


def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.cuts = 2
    fetch([RemoteFile(f"{server.address}/dev_fan.zip", checksum=MD5)], tmp_path)
    assert server.requests[0] == ("/dev_fan.zip", None)
    assert all(asked and asked.startswith("bytes=") for _, asked in server.requests[1:])
    assert (tmp_path / NAMES[0]).is_file()


def test_what_an_earlier_run_left_is_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / "dev_fan.zip.part").write_bytes(ARCHIVE[:1000])
    fetch([RemoteFile(f"{server.address}/dev_fan.zip", checksum=MD5)], tmp_path)
    assert server.requests == [("/dev_fan.zip", "bytes=1000-")]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "dev_fan.zip.part").write_bytes(b"another version" * 9)
    fetch([RemoteFile(f"{server.address}/dev_fan.zip", checksum=MD5)], tmp_path / "other")
    assert server.requests[-1] == ("/dev_fan.zip", None)
    assert (tmp_path / "other" / NAMES[0]).is_file()


def test_another_content_is_not_kept(server: Server, tmp_path: Path) -> None:
    wrong = RemoteFile(f"{server.address}/dev_fan.zip", checksum=f"md5:{'0' * 32}")
    with pytest.raises(
        DataError, match=rf"gave another file \({len(ARCHIVE)} bytes, {STATED}, expected 0+\); it was not"
    ):
        fetch([wrong], tmp_path)
    assert not list(tmp_path.glob("*.zip*"))
    with pytest.raises(DataError, match=rf"{STATED}, expected {len(ARCHIVE) + 1} bytes\)"):
        fetch([RemoteFile(f"{server.address}/dev_fan.zip", checksum=MD5, size=len(ARCHIVE) + 1)], tmp_path)
    with pytest.raises(
        DataError, match=r"login\.zip: not a valid zip archive \(File is not a zip file\); it was not kept"
    ):
        fetch([RemoteFile(f"{server.address}/login.zip")], tmp_path)
    assert not list(tmp_path.glob("*.zip*"))


def test_an_unknown_checksum_is_trusted_once(server: Server, tmp_path: Path) -> None:
    remote = RemoteFile(f"{server.address}/dev_fan.zip")
    fetch([remote], tmp_path)
    state = json.loads((tmp_path / ".asd-data.json").read_text())
    assert state[remote.url]["checksum"] == f"sha256:{hashlib.sha256(ARCHIVE).hexdigest()}"
    (tmp_path / NAMES[0]).unlink()
    server.files["/dev_fan.zip"] = zipped(**dict.fromkeys(NAMES, "changed"))
    with pytest.raises(DataError, match=r"gave another file .* sha256 [0-9a-f]+, expected [0-9a-f]{64}"):
        fetch([remote], tmp_path)


def test_an_archive_brought_by_hand_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_OFFLINE", "1")
    remote = RemoteFile("https://zenodo.org/records/1/files/dev_fan.zip", checksum=MD5)
    with pytest.raises(
        DataError, match=r"download https://zenodo.*/dev_fan.zip elsewhere, put it at .*/dev_fan.zip and"
    ):
        fetch([remote], tmp_path)
    (tmp_path / "dev_fan.zip").write_bytes(ARCHIVE)
    assert fetch([remote], tmp_path) == [remote]
    assert (tmp_path / NAMES[0]).is_file()


def test_what_the_server_refuses_is_said(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.zip: http.*answers 404 Not Found; or download http"):
        fetch([RemoteFile(f"{server.address}/gone.zip")], tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DataError, match=r"cannot be kept in .*file \(File exists\); name a folder that you may write to"
    ):
        fetch([RemoteFile(f"{server.address}/dev_fan.zip")], tmp_path / "file")


def test_a_full_disk_leaves_nothing_half(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    # A double: no test may fill the machine's disk.
    monkeypatch.setattr(fetching, "require_space", full)
    (tmp_path / "other.part").write_text("half")
    with pytest.raises(DataError, match=r"\(No space left on device\); free some, or name a folder on another disk"):
        fetch([RemoteFile(f"{server.address}/dev_fan.zip")], tmp_path)
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("name", ["../evil.wav", "/etc/evil.wav", "a/../../evil.wav", "C:evil.wav", "..\\evil.wav"])
def test_names_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("good.wav", "x")
        opened.writestr(name, "x")
    with pytest.raises(DataError, match="leads out of its folder; nothing was unpacked"):
        unpack(archive, tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_unpacking_goes_on_after_a_kill(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(ARCHIVE)
    done = tmp_path / "into" / NAMES[0]
    done.parent.mkdir(parents=True)
    done.write_text(NAMES[0] * 20_000)
    half = tmp_path / "into" / f"{NAMES[1]}.part"
    half.parent.mkdir(parents=True)
    half.write_text("half")
    before = done.stat().st_mtime_ns
    unpack(tmp_path / "a.zip", tmp_path / "into")
    assert done.stat().st_mtime_ns == before
    assert (tmp_path / "into" / NAMES[1]).read_text() == NAMES[1] * 20_000
    assert not half.exists()


PLUGIN = '''
from asd import Dataset, RemoteFile
from asd.plugin import create
from asd_registry import ComponentSpec, hookimpl


@hookimpl
def asd_components():
    yield ComponentSpec(kind="dataset", name="tiny", summary="Tiny", target=f"{__name__}:Tiny", licence="MIT")


class Tiny(Dataset):
    """Somebody's collection.

    Parameters
    ----------
    address : str
        Server.
    """

    def __init__(self, *, address: str = "http://127.0.0.1:9") -> None:
        self.address = address

    def downloads(self):
        return [RemoteFile(f"{self.address}/dev_fan.zip")]

    def recordings(self, folder):
        return create("dataset", "dcase2023").recordings(folder)
'''


def run(plugin: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "asd", "--plugin-file", plugin, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def test_the_command_fetches_anybodys_data_set(server: Server, tmp_path: Path) -> None:
    plugin = tmp_path / "tiny.py"
    plugin.write_text(PLUGIN)
    folder = tmp_path / "data"
    done = run(plugin, "data", "fetch", "tiny", folder, "--dataset.address", server.address)
    assert done.returncode == 0, done.stderr
    assert f"1 of 1 files fetched, 0 were there: {folder}" in done.stdout
    assert "no checksum of its publisher is known; remembering sha256:" in done.stderr

    offline = run(plugin, "data", "fetch", "tiny", tmp_path / "none", "--offline", "--json")
    assert offline.returncode == 2
    assert "http://127.0.0.1:9/dev_fan.zip" in offline.stdout
    assert "1 file(s) of tiny are missing: download them elsewhere, put them into" in offline.stderr
    assert not (tmp_path / "none").exists()
