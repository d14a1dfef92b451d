"""A listener's folder to back up, and what it holds: what tests of backups share."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from asd_listen.history import History
from asd_listen.keeping import Keeper

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
