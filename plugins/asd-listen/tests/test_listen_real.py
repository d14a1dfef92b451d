"""A real fan, as a user listens to it: healthy, a fault sets in, alarm, explanation, "that was normal", quiet again."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from listening import START, command

from asd_listen.reader import Reader

CHEAP = ("--extractor", "band-levels", "--detector", "deviation", "--embedding-pooling", "mean")
HEALTHY = 20
"""Rounds of the ten healthy clips that the model has not seen. An alarm is possible after 22 clips, but the more of
them are known, the fewer of a fault it takes."""


def play(folder: Path, name: str, *parts: list[Path]) -> None:
    """Lay clips, one after the other by their names, where the source ``file`` plays them."""
    (folder / name).mkdir()
    for number, clip in enumerate(each for part in parts for each in part):
        (folder / name / f"{number:04d}.flac").symlink_to(clip)


def test_a_real_fan_from_healthy_to_quiet_again(shared: Path, tmp_path: Path) -> None:
    fan = shared / "data" / "fan_id_00"
    healthy, faulty = (sorted((fan / kind).glob("*.flac")) for kind in ("normal", "abnormal"))
    play(tmp_path, "train", healthy[:10])
    play(tmp_path, "day", healthy[10:] * HEALTHY, faulty)
    play(tmp_path, "later", faulty[:10])
    command("fit", "train", *CHEAP, "-o", "fan.asd", cwd=tmp_path)
    listen = (
        "listen",
        "fan.asd",
        "--source",
        "file",
        "--source.speed",
        "0",
        "--name",
        "fan",
        "--folder",
        "L",
        "--hop",
        10,
    )
    done = command(*listen, "--source.path", "day", "--source.start", START, cwd=tmp_path)
    (alarm,) = re.findall(r"ALARM: (fan: the sound has changed since .+)", done.stdout)
    assert "a healthy machine raises 1 false alarm a month at most" in alarm

    set_in = time.mktime(time.strptime(START, "%Y-%m-%dT%H:%M:%S")) + 10 * 10 * HEALTHY
    with Reader(tmp_path / "L") as history:
        (event,) = [row for row in history.rows("events", "fan") if row["kind"] == "alarm"]
        after = event["time"] - set_in
        assert 0 < after <= 200, after
        assert {row["phase"] for row in history.rows("verdicts", "fan") if row["time"] < set_in} == {
            "learning",
            "watching",
        }

    (kept,) = (tmp_path / "L" / "evidence").rglob("*alarm*.json")
    explained = json.loads(kept.read_text())["explanation"]
    assert any("dB" in sentence and "Hz" in sentence for sentence in explained["sentences"]), explained
    again = command("explain", "fan.asd", kept.with_suffix(".flac"), cwd=tmp_path)
    assert "Hz" in again.stdout

    command("history", "L", "normal", "fan", cwd=tmp_path)
    later = command(*listen, "--source.path", "later", "--source.start", "2026-11-01T02:00:00", cwd=tmp_path)
    assert "taken for healthy; watching" in later.stdout
    assert "ALARM" not in later.stdout
