"""Archives that are damaged, forged or cut off are refused, and change nothing."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backing_up import asd, content, filled

from asd_listen.archive import LISTING, back_up_all
from asd_listen.restore import restore as put_back
from asd_listen.schema import HistoryError


@pytest.fixture
def folder(tmp_path: Path, said: Any) -> Path:
    return filled(tmp_path / "plant", said)


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Write an archive again with other content."""
    with zipfile.ZipFile(path) as source:
        parts = {name: source.read(name) for name in source.namelist()}
    change(parts)
    path.unlink()
    with zipfile.ZipFile(path, "w") as target:
        for name, part in parts.items():
            target.writestr(name, part)
    return path


def listed(parts: dict[str, bytes], change: Callable[[dict[str, Any]], None]) -> None:
    listing = json.loads(parts[LISTING])
    change(listing)
    parts[LISTING] = json.dumps(listing).encode()


def smuggled(name: str) -> Callable[[dict[str, bytes]], None]:
    def change(parts: dict[str, bytes]) -> None:
        parts[name] = b"evil"
        digest = "b1d9ad6cb8c0ddafb4c2ed1bd5b9b2a1c6ad4a3b9d9d2f3d5d0d7b1d6f9f4c1d"
        listed(parts, lambda listing: listing["files"].append({"name": name, "bytes": 4, "sha256": digest}))

    return change


def flipped(parts: dict[str, bytes]) -> None:
    name = next(name for name in parts if name.endswith(".flac"))
    parts[name] = parts[name][:100] + bytes([parts[name][100] ^ 1]) + parts[name][101:]


def bomb(parts: dict[str, bytes]) -> None:
    parts["models/pump/1.asd"] = bytes(2**26)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (flipped, ".flac is not what the backup's list says; use another backup"),
        (bomb, "models/pump/1.asd is not what the backup's list says"),
        (lambda parts: parts.pop("history.sqlite"), "its content is not what its list says; use another backup"),
        (lambda parts: parts.update({"more.txt": b""}), "its content is not what its list says"),
        (lambda parts: parts.pop(LISTING), "a zip archive, but no backup of asd; name one that 'asd history HISTORY"),
        (lambda parts: parts.update({LISTING: b"{"}), "the list of its content is damaged"),
        (lambda parts: parts.update({LISTING: b"[]"}), "the list of its content is damaged"),
        (
            lambda parts: listed(parts, lambda listing: listing.update(format=2)),
            "a backup of version 2, this asd knows versions up to 1: pip install --upgrade asd-listen",
        ),
        (
            lambda parts: listed(parts, lambda listing: listing.update(schema=99)),
            "holds a history of version 99, this asd knows versions up to",
        ),
        *(
            (smuggled(name), "which is no part of a backup; nothing was put back")
            for name in (
                "../evil", "/etc/evil", "evidence/../../evil", "evidence/a\\..\\..\\evil", "evidence/./evil", "C:evil",
                "evidence//evil", "evidence/.hidden", "plant.toml", "history.sqlite-wal", "monitors/x\n.monitor",
                "evidence",
            )
        ),
        (smuggled("EVIDENCE/x"), "which is no part of a backup"),
    ],
)  # fmt: skip
def test_a_damaged_or_forged_archive_changes_nothing(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None], expected: str
) -> None:
    back_up_all(folder, tmp_path / "all.zip")
    rewritten(tmp_path / "all.zip", change)
    before, around = content(folder), sorted(tmp_path.iterdir())
    done = asd(folder, "restore", tmp_path / "all.zip", "--force")
    assert done.returncode == 2
    assert expected in " ".join(done.stderr.split())
    assert done.stderr.count("\n") == 1
    assert content(folder) == before
    assert sorted(tmp_path.iterdir()) == around
    assert not list(folder.glob("before-*"))
    assert not (folder / ".restore.part").exists()


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97, 0.9999])
def test_an_archive_that_was_cut_off_is_refused(folder: Path, tmp_path: Path, share: float) -> None:
    back_up_all(folder, tmp_path / "all.zip")
    whole = (tmp_path / "all.zip").read_bytes()
    (tmp_path / "all.zip").write_bytes(whole[: int(len(whole) * share)])
    done = asd(tmp_path / "new", "restore", tmp_path / "all.zip")
    assert done.returncode == 2
    assert "all.zip: damaged, cut off, or no backup (File is not a zip file); use another backup" in done.stderr


def test_damaged_bytes_are_found(folder: Path, tmp_path: Path) -> None:
    """Bits that flip on the disk, in the archive as it is."""
    back_up_all(folder, tmp_path / "all.zip")
    whole = (tmp_path / "all.zip").read_bytes()
    before, refused = content(folder), 0
    told: set[bool] = set()
    for place in range(50, len(whole), len(whole) // 25):
        (tmp_path / "all.zip").write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            put_back(tmp_path / f"at {place}", tmp_path / "all.zip")
            assert content(tmp_path / f"at {place}") == before  # a time of the archive's own: it says nothing of files
        except HistoryError as error:
            refused += 1
            told.add("use another backup" in str(error))
    assert refused > 15
    assert told == {True}
