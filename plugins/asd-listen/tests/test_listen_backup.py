"""All of a listener's folder in one file, taken while it runs, and put back: nothing is lost, come what may."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest

from asd_listen import archive, restore
from asd_listen.archive import LISTING, back_up_all
from asd_listen.history import History
from asd_listen.keeping import Keeper
from asd_listen.reader import Reader
from asd_listen.restore import restore as put_back
from asd_listen.schema import HistoryError

ASD = os.environ["ASD_COMMAND"]


def asd(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ASD, "history", *map(str, words)], capture_output=True, text=True, check=False)


def filled(folder: Path, said: Any, clips: int = 10) -> Path:
    """Make a listener's folder with three alarms' evidence, two monitors and a server's database."""
    (folder / "monitors").mkdir(parents=True)
    with contextlib.closing(History.open(folder)) as history:
        keeper = Keeper(folder / "evidence", history, 1e6, 1e3, 0.0)
        for clip in range(clips):
            history.verdict("pump 1", said.noon + 10 * clip, said.verdict(f"{clip}.wav"), said.status(10 * clip))
        for number in range(3):
            event = said.event(number)
            history.event(event)
            sound = np.random.default_rng(number).uniform(-0.5, 0.5, (8000, 1)).astype(np.float32)
            path = keeper.keep(event, sound, 8000, said.noon + number)
            path.with_suffix(".png").write_bytes(b"a picture" * (number + 1))
            keeper.describe(path, event, said.noon + number, 1.0, {"text": "2 dB louder"})
        history.commit()
    for name in ("pump 1.monitor", "pump 1.floor", "fan%2F2.monitor", ".pump 1.monitor.lock", "fan.part"):
        (folder / "monitors" / name).write_bytes(name.encode() * 100)
    with contextlib.closing(sqlite3.connect(folder / "serve.sqlite")) as server:
        server.execute("CREATE TABLE keys (id TEXT, digest TEXT)")
        server.execute("INSERT INTO keys VALUES ('k1', 'abc')")
        server.commit()
    (folder / "models" / "pump").mkdir(parents=True)
    (folder / "models" / "pump" / "1.asd").write_bytes(b"model")
    return folder


@pytest.fixture
def folder(tmp_path: Path, said: Any) -> Path:
    return filled(tmp_path / "plant", said)


def content(folder: Path) -> dict[str, Any]:
    """Return all that a folder holds of a listener, by name; databases as their rows."""
    found: dict[str, Any] = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_dir() or name.endswith(("-wal", "-shm", ".lock", ".part")) or name.startswith("before-"):
            continue
        if name.endswith(".sqlite"):
            with contextlib.closing(sqlite3.connect(file)) as database:
                found[name] = list(database.iterdump())
        else:
            found[name] = file.read_bytes()
    return found


def test_everything_comes_back(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "all.zip"
    done = asd(folder, "backup", target)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(
        " MB: the history, 3 recordings of evidence, 2 monitors, 1 model, keys and sessions of the server.\n"
    )
    assert target.stat().st_mode & 0o077 == 0  # it holds the digests of keys
    assert not list(tmp_path.glob(".all*"))
    again = tmp_path / "again"
    done = asd(again, "restore", target)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{again}: put back: the history, 3 recordings of evidence, 2 monitors")
    assert content(again) == content(folder)
    assert asd(again, "check").stdout == "The history is whole.\n"
    with History.open(again) as history:  # a listener goes on with it
        assert len(history.verdicts_after("pump 1", None)) == 10


def test_an_archive_is_read_by_other_programs_too(folder: Path, tmp_path: Path) -> None:
    back_up_all(folder, tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as found:
        assert found.testzip() is None
        listing = json.loads(found.read(LISTING))
    assert listing["format"] == 1
    assert {entry["name"] for entry in listing["files"]} >= {"history.sqlite", "serve.sqlite", "models/pump/1.asd"}


def test_a_listener_writes_meanwhile(folder: Path, tmp_path: Path, said: Any) -> None:
    """The copy is of one moment: each verdict has its slot, and no evidence is named that the archive lacks."""
    stop, written = threading.Event(), [0]

    def write() -> None:
        with contextlib.closing(History.open(folder)) as history:
            keeper = Keeper(folder / "evidence", history, 1e6, 1e3, 0.0)
            while not stop.is_set():
                number = written[0] = written[0] + 1
                event = said.event(1000 + number)
                history.event(event)
                history.verdict("pump 2", said.noon + number, said.verdict(f"{number}.wav"), said.status(number))
                path = keeper.keep(event, np.zeros((800, 1), np.float32), 8000, said.noon + number)
                keeper.describe(path, event, said.noon + number, 0.1, {})
                history.commit()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        said.until(lambda: written[0] > 3)
        for number in range(3):
            back_up_all(folder, tmp_path / f"{number}.zip")
    finally:
        stop.set()
        thread.join()
    for number in range(3):
        put_back(tmp_path / f"restored {number}", tmp_path / f"{number}.zip")
        with Reader(tmp_path / f"restored {number}") as reader:
            assert reader.check() == []
            (clips,) = reader.ask("SELECT sum(clips) FROM slots")[0]
            assert clips == reader.ask("SELECT count(*) FROM verdicts")[0][0] > 10
            kept = [row["file"] for row in reader.rows("evidence") if row["deleted"] is None]
        assert len(kept) > 3
        assert all((tmp_path / f"restored {number}" / "evidence" / file).is_file() for file in kept)


def test_evidence_that_goes_during_the_backup_is_marked(folder: Path, tmp_path: Path) -> None:
    first = sorted((folder / "evidence").rglob("*.flac"))[0]
    first.unlink()
    back_up_all(folder, tmp_path / "all.zip")
    put_back(tmp_path / "again", tmp_path / "all.zip")
    with Reader(tmp_path / "again") as reader:
        reasons = {row["file"]: row["reason"] for row in reader.rows("evidence")}
    assert reasons[str(first.relative_to(folder / "evidence"))] == "deleted before it was backed up"
    assert sum(reason is None for reason in reasons.values()) == 2


def test_feedback_that_reaches_a_monitor_in_between_is_in_both(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The monitor is copied first; if it then learns what people said, it is copied again."""
    plain, moved = archive._plain_files, []

    def listed(place: Path) -> list[Path]:
        found = plain(place)
        if place.name == "monitors" and not moved:
            moved.append(True)
            new = folder / "new"

            def told() -> None:
                new.write_bytes(b"told")
                new.replace(folder / "monitors" / "pump 1.monitor")
                with contextlib.closing(sqlite3.connect(folder / "history.sqlite")) as history:
                    values = ("pump 1", time.time(), "normal", "{}", time.time() + 1, "done")
                    history.execute(
                        "INSERT INTO feedback (machine, time, kind, data, done, answer) VALUES (?, ?, ?, ?, ?, ?)",
                        values,
                    )
                    history.commit()

            told_at.append(told)
        elif place.name == "monitors":
            moved.append(True)
        return found

    told_at: list[Callable[[], None]] = []
    connect = sqlite3.connect

    def connected(*words: Any, **named: Any) -> sqlite3.Connection:
        if told_at:
            told_at.pop()()
        return connect(*words, **named)

    monkeypatch.setattr(archive, "_plain_files", listed)
    monkeypatch.setattr(archive.sqlite3, "connect", connected)
    back_up_all(folder, tmp_path / "all.zip")
    monkeypatch.undo()
    put_back(tmp_path / "again", tmp_path / "all.zip")
    assert (tmp_path / "again" / "monitors" / "pump 1.monitor").read_bytes() == b"told"


def test_the_former_history_is_kept_aside(folder: Path, tmp_path: Path, said: Any) -> None:
    back_up_all(folder, tmp_path / "all.zip")
    saved = content(folder)
    with contextlib.closing(History.open(folder)) as history:
        history.verdict("later", said.noon, said.verdict(), said.status())
        history.commit()
    (folder / "monitors" / "later.monitor").write_bytes(b"later")
    (folder / "plant.toml").write_text("# the user's own")
    later = content(folder)
    refused = asd(folder, "restore", tmp_path / "all.zip")
    assert refused.returncode == 2
    assert (
        "has evidence, monitors, models, serve.sqlite, history.sqlite already; --force puts the backup in its place"
        in (refused.stderr)
    )
    assert content(folder) == later
    done = asd(folder, "restore", tmp_path / "all.zip", "--force")
    assert done.returncode == 0, done.stderr
    (aside,) = folder.glob("before-restore-*")
    assert done.stdout.endswith(f"What was there before is in {aside}.\n")
    assert content(folder) == {**saved, "plant.toml": b"# the user's own"}
    assert {**content(aside), "plant.toml": b"# the user's own"} == later
    assert asd(aside, "check").stdout == "The history is whole.\n"


def test_a_copy_of_the_history_alone_comes_back_beside_the_evidence(folder: Path, tmp_path: Path) -> None:
    done = asd(folder, "backup", tmp_path / "copy.sqlite")
    assert done.stdout.endswith(" MB: the history alone; FILE.zip holds all.\n")
    before = content(folder)
    done = asd(folder, "restore", tmp_path / "copy.sqlite", "--force")
    assert done.returncode == 0, done.stderr
    assert content(folder) == before


def test_a_damaged_history_is_replaced(folder: Path, tmp_path: Path) -> None:
    back_up_all(folder, tmp_path / "all.zip")
    saved = content(folder)
    (folder / "history.sqlite").write_bytes(b"no database at all" * 1000)
    assert asd(folder, "show").returncode == 2
    assert asd(folder, "restore", tmp_path / "all.zip", "--force").returncode == 0
    assert content(folder) == saved


@pytest.mark.parametrize(
    ("lock", "expected"),
    [
        (".history.sqlite.lock", "a listener (asd listen) is using it; end that first, then restore"),
        (".serve.sqlite.lock", "a server (asd serve) is using it; end that first, then restore"),
    ],
)
def test_nothing_is_put_under_a_running_listener(folder: Path, tmp_path: Path, lock: str, expected: str) -> None:
    back_up_all(folder, tmp_path / "all.zip")
    before = content(folder)
    with filelock.FileLock(folder / lock):
        done = asd(folder, "restore", tmp_path / "all.zip", "--force")
    assert done.returncode == 2
    assert expected in done.stderr
    assert content(folder) == before


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


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "no such file; name one that 'asd history HISTORY backup FILE.zip' made"),
        (lambda path: path.write_bytes(b""), "damaged, cut off, or no backup"),
        (lambda path: path.write_text("a letter"), "damaged, cut off, or no backup"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(5000)), "damaged, or no history"),
    ],
)
def test_what_is_no_backup_is_refused(tmp_path: Path, make: Callable[[Path], object], expected: str) -> None:
    make(tmp_path / "all.zip")
    done = asd(tmp_path / "new", "restore", tmp_path / "all.zip")
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stderr.startswith(f"asd: error: {tmp_path}")
    assert done.stderr.count("\n") == 1


def test_a_target_that_is_there_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "all.zip").write_text("mine")
    done = asd(folder, "backup", tmp_path / "all.zip")
    assert done.returncode == 2
    assert "all.zip: is there already; name a new file" in done.stderr
    done = asd(folder, "backup", tmp_path / "nowhere" / "all.zip")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_full_disk_leaves_nothing(folder: Path, small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("size=64k")
    done = asd(folder, "backup", disk / "all.zip")
    assert done.returncode == 2
    assert "no space left" in done.stderr
    assert list(disk.iterdir()) == []


def test_restoring_needs_space_before_it_begins(
    folder: Path, tmp_path: Path, small_disk: Callable[[str], Path]
) -> None:
    back_up_all(folder, tmp_path / "all.zip")
    disk = small_disk("size=1m")
    done = asd(disk / "new", "restore", tmp_path / "all.zip")
    assert done.returncode == 2
    assert "the backup needs " in done.stderr
    assert "free some on this disk" in done.stderr


def restored_until(step: int, folder: Path, source: Path) -> bool:
    """Restore in a process that is killed before its step of this number; return whether it came to an end."""
    if child := os.fork():
        return os.waitpid(child, 0)[1] == 0
    left = [step]

    def counted(function: Any) -> Any:
        def call(*words: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), 9)
            return function(*words, **named)

        return call

    Path.rename, Path.replace, Path.mkdir = map(counted, (Path.rename, Path.replace, Path.mkdir))  # type: ignore[method-assign]
    os.link = counted(os.link)
    code = 1
    try:
        put_back(folder, source, force=True)
        code = 0
    finally:
        os._exit(code)


def test_a_kill_at_any_step_loses_nothing_and_restoring_again_mends_it(folder: Path, tmp_path: Path, said: Any) -> None:
    back_up_all(folder, tmp_path / "all.zip")
    saved = content(folder)
    with contextlib.closing(History.open(folder)) as history:
        history.verdict("later", said.noon, said.verdict(), said.status())
        history.commit()
    (folder / "monitors" / "later.monitor").write_bytes(b"later")
    later = content(folder)
    kills = 0
    for step in range(100):
        trial = tmp_path / f"trial {step}"
        shutil.copytree(folder, trial)
        if restored_until(step, trial, tmp_path / "all.zip"):
            break
        kills += 1
        with Reader(trial) as reader:  # the former or the restored one, whole
            assert reader.check() == []
        put_back(trial, tmp_path / "all.zip", force=True)
        assert content(trial) == saved
        kept = [content(aside) for aside in trial.glob("before-restore-*")]
        for name, former in later.items():
            assert any(each.get(name) == former for each in kept), (step, name)
        shutil.rmtree(trial)
    assert step == kills > 10


def test_a_kill_while_backing_up_leaves_no_archive(folder: Path, tmp_path: Path) -> None:
    script = (
        "import os, sys, zipfile; from pathlib import Path; from asd_listen import archive\n"
        "archive._add_server = lambda *_: os.kill(os.getpid(), 9)\n"
        "archive.back_up_all(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", script, str(folder), str(tmp_path / "all.zip")]
    assert subprocess.run(command, check=False).returncode == -9
    assert not (tmp_path / "all.zip").exists()
    back_up_all(folder, tmp_path / "all.zip")
    put_back(tmp_path / "again", tmp_path / "all.zip")
    assert content(tmp_path / "again") == content(folder)
    assert not list(tmp_path.glob(".all*"))


def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder / "monitors" / "link.monitor").symlink_to(tmp_path / "secret")
    (folder / "models" / "link.asd").symlink_to(tmp_path / "secret")
    listing = back_up_all(folder, tmp_path / "all.zip")
    assert not any("link" in entry.name for entry in listing.files)


def test_the_history_may_be_named_by_its_file(folder: Path, tmp_path: Path) -> None:
    assert asd(folder / "history.sqlite", "backup", tmp_path / "all.zip").returncode == 0
    assert asd(tmp_path / "new" / "history.sqlite", "restore", tmp_path / "all.zip").returncode == 0
    assert content(tmp_path / "new") == content(folder)
    done = asd(tmp_path / "new" / "copy.sqlite", "restore", tmp_path / "all.zip")
    assert done.returncode == 2
    assert "copy.sqlite: a backup is put back as history.sqlite; name the listener's folder" in done.stderr


def test_nothing_that_restore_puts_back_is_unknown_to_backup() -> None:
    assert set(restore._PARTS) == {archive.HISTORY, archive.SERVER, *archive.FOLDERS}
