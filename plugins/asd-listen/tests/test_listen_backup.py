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
from backing_up import asd, content, filled

from asd_listen import archive, restore
from asd_listen.archive import LISTING, back_up_all
from asd_listen.history import History
from asd_listen.keeping import Keeper
from asd_listen.reader import Reader
from asd_listen.restore import restore as put_back
from waiting import until


@pytest.fixture
def folder(tmp_path: Path, said: Any) -> Path:
    return filled(tmp_path / "plant", said)


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
        until(lambda: written[0] > 3)
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
