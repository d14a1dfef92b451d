"""A small plant whose past the tests of teaching share: a fan with an alarm, a pump without, a listener's history."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import asd
from asd_listen import Listener, Reader, read_settings


def copied(plant: Path, to: Path) -> Path:
    """Copy a plant, so that a test may change it."""
    shutil.copytree(plant, to)
    settings = to / "plant.toml"
    settings.write_text(settings.read_text().replace(str(plant), str(to)))
    with sqlite3.connect(to / "history" / "history.sqlite") as connection:
        connection.execute("UPDATE machines SET monitor = replace(monitor, ?, ?)", (str(plant), str(to)))
    connection.close()
    return to


def alarm_of(plant: Path, machine: str = "fan") -> str:
    """Return the id of a machine's alarm."""
    with Reader(plant / "history") as reader:
        return next(row["id"] for row in reader.rows("events", machine) if row["kind"] == "alarm")


def feedback(plant: Path) -> list[tuple[str, dict[str, Any], str | None]]:
    """Return what people said: kind, data, answer."""
    with Reader(plant / "history") as reader:
        return [(row["kind"], row["data"], row["answer"]) for row in reader.rows("feedback")]


def monitor_of(plant: Path, machine: str = "fan") -> Any:
    """Return a copy of a machine's monitor."""
    from asd.experiment import copy_of_monitor

    with asd.load(plant / "models" / f"{machine}.asd", cache=False) as model:
        return copy_of_monitor(plant / "history" / "monitors" / f"{machine}.monitor", model)


def listened_briefly(plant: Path) -> None:
    """Let a listener begin and end: it heeds what was said."""

    def load(path: Path) -> asd.Model:
        return asd.Model.load(path, cache=False)

    with Listener(read_settings(plant / "plant.toml"), load, lambda text, severity: None) as listener:
        listener.stop()
        listener.run()


def answered(answer: Any, code: int = 200) -> Any:
    """Return the JSON of an answer that has this status."""
    assert answer.status_code == code, answer.text
    return json.loads(answer.text) if answer.text else None
