"""A listener from end to end, as a user has it: healthy, a fault sets in, alarm, feedback, quiet again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from listening import NOW, START, Heard, blocks_of, command, faulty, healthy, refuse, write

import asd
from asd.errors import MonitorError
from asd_listen import view
from asd_listen.reader import Reader
from asd_listen.remarks import remark
from asd_listen.schema import HistoryFullError
from waiting import PATIENCE, until


def test_healthy_fault_alarm_feedback_quiet_again(model: Path, tmp_path: Path) -> None:
    write(tmp_path / "day.wav", healthy(300), faulty(90))
    name, events = 'pump "1" <b>/x', tmp_path / "events.jsonl"
    first = ("--source", "file", "--source.speed", "0", "--name", name, "--folder", "L", "--hop", "0.5")
    told = ("--sink", "jsonl", "--sink.path", events)
    done = command("listen", model, *first, *told, "--source.path", "day.wav", "--source.start", START, cwd=tmp_path)
    assert "promise: 1 false alarm a month" in done.stdout
    assert re.search(r"phase: learning: 64 more healthy clips, .+, until an alarm is possible", done.stdout)
    assert f"ALARM: {name}: the sound has changed" in done.stdout
    told_events = [json.loads(line) for line in events.read_text().splitlines()]
    assert [each["kind"] for each in told_events] == ["started", "phase", "alarm", "stopped"]
    alarm = told_events[2]
    began = time.mktime(time.strptime(START, "%Y-%m-%dT%H:%M:%S"))
    assert 300 < alarm["time"] - began < 360
    with Reader(tmp_path / "L") as history:
        assert [row["phase"] for row in history.rows("verdicts", name)][-1] == "alarm"
        assert len(list(history.rows("verdicts", name))) == pytest.approx(389, abs=2)
        assert len(list(history.rows("levels", name))) == 7
    kept = list((tmp_path / "L" / "evidence").rglob("*alarm*.flac"))
    assert len(kept) == 1

    command("history", "L", "normal", name, cwd=tmp_path)
    write(tmp_path / "later.wav", faulty(15, start=100))
    again = command(
        "listen", model, *first, *told, "--source.path", "later.wav", "--source.start", "2026-11-01T01:00:00",
        cwd=tmp_path,
    )  # fmt: skip
    assert "taken for healthy; watching" in again.stdout
    assert "ALARM" not in again.stdout
    kinds = [json.loads(line)["kind"] for line in events.read_text().splitlines()]
    assert kinds == ["started", "phase", "alarm", "stopped", "started", "cleared", "stopped"]


def test_several_machines_share_a_model_and_a_history(model: Path, tmp_path: Path) -> None:
    write(tmp_path / "good.wav", healthy(200))
    write(tmp_path / "bad.wav", healthy(120), faulty(80))
    (tmp_path / "plant.toml").write_text(
        f"""
        model = "{model}"
        folder = "L"
        [[source]]
        name = "good"
        kind = "file"
        path = "good.wav"
        speed = 0
        start = "{START}"
        [[source]]
        name = "bad"
        kind = "file"
        path = "bad.wav"
        speed = 0
        start = "{START}"
        false_alarms = "1/week"
        """
    )
    done = command("listen", "plant.toml", cwd=tmp_path)
    assert "ALARM: bad:" in done.stdout
    assert "ALARM: good:" not in done.stdout
    assert "promise: 1 false alarm a week" in done.stdout
    assert {each.name for each in (tmp_path / "L" / "monitors").glob("*.monitor")} == {"good.monitor", "bad.monitor"}


def test_two_listeners_on_one_history(model: Path, tmp_path: Path) -> None:
    write(tmp_path / "day.wav", healthy(30))
    words = ("listen", model, "--source", "file", "--source.path", "day.wav", "--source.speed", "0", "--folder", "L")
    (tmp_path / "L").mkdir()
    from asd_listen.history import History

    first = History.open(tmp_path / "L" / "history.sqlite")
    try:
        done = command(*words, cwd=tmp_path, code=2)
    finally:
        first.close()
    (line,) = done.stderr.strip().splitlines()
    assert "another listener is using this history; stop it, or give this one a folder of its own" in line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_saves_and_ends_well(number: signal.Signals, model: Path, tmp_path: Path) -> None:
    write(tmp_path / "day.wav", healthy(60))
    words = [sys.executable, "-c", "from asd.command import main; main()"]
    options = ["listen", str(model), "--source", "file", "--source.path", "day.wav", "--source.speed", "4"]
    listening = subprocess.Popen(
        [*words, *options, "--source.repeat", "0", "--folder", "L"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ},
    )  # fmt: skip
    assert listening.stdout is not None
    assert any("listening" in line for line in listening.stdout)
    until(lambda: judged(tmp_path / "L") >= 5, by=listening)
    listening.send_signal(number)
    out, err = listening.communicate(timeout=PATIENCE)
    assert listening.returncode == 0, err
    assert "clips judged; history and evidence are in L" in out
    with Reader(tmp_path / "L") as history:
        verdicts = list(history.rows("verdicts", "file"))
        kinds = [row["kind"] for row in history.rows("events")]
    assert len(verdicts) >= 5
    assert [kind for kind in kinds if kind != "phase"] == ["started", "stopped"]
    with asd.Monitor.open(tmp_path / "L" / "monitors" / "file.monitor", asd.load(model)) as monitor:
        assert monitor.state.watched == len(verdicts)


def judged(folder: Path) -> int:
    """Return how many clips a running listener has judged."""
    with Reader(folder) as history:
        return len(list(history.rows("verdicts", "file")))


def test_after_a_kill_a_monitor_catches_up_with_the_history(model: Path, tmp_path: Path) -> None:
    write(tmp_path / "day.wav", healthy(60))
    words = ("listen", model, "--source", "file", "--source.path", "day.wav", "--source.speed", "0", "--folder", "L")
    command(*words, "--source.start", START, cwd=tmp_path)
    file = tmp_path / "L" / "monitors" / "file.monitor"
    loaded = asd.load(model)
    with asd.Monitor.open(file, loaded) as monitor:
        whole = monitor.state.watched, monitor.evidence
    old = asd.Monitor(loaded)
    old.state.evidence.last_time = time.mktime(time.strptime(START, "%Y-%m-%dT%H:%M:%S")) - 1
    file.unlink()
    with asd.Monitor.open(file, loaded) as monitor:  # as if it had been saved before the first clip
        monitor.state.evidence.last_time = old.state.evidence.last_time
        monitor.keep()
    write(tmp_path / "short.wav", healthy(1.2))
    later = [each if each != "day.wav" else "short.wav" for each in words]
    command(*later, "--source.start", "2026-11-02T00:00:00", cwd=tmp_path)
    with asd.Monitor.open(file, loaded) as monitor:
        assert monitor.state.watched == whole[0] + 1


def test_no_model(tmp_path: Path) -> None:
    write(tmp_path / "day.wav", healthy(1))
    done = command("listen", "--source", "file", "--source.path", "day.wav", cwd=tmp_path, code=2)
    assert 'file: no model; give one to all, or to each source: model = "pump.asd"' in done.stderr


def test_a_folder_that_cannot_be_written(model: Path, tmp_path: Path) -> None:
    (tmp_path / "L").write_text("a file")
    words = ("listen", model, "--source", "file", "--source.path", "x.wav", "--folder", "L")
    done = command(*words, cwd=tmp_path, code=2)
    assert "L: cannot be used to keep the history" in done.stderr


def test_feedback_is_heeded_once_although_neither_file_can_be_written(
    hear: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = hear(pump=lambda: blocks_of(healthy(1), NOW))
    with heard.listener as listener:
        listener.history.commit()
        remark(listener.history.path, "pump", "normal", {})
        monkeypatch.setattr(listener.history, "_write_once", refuse(HistoryFullError("the disk is full")))
        monkeypatch.setattr(listener.machines[0].monitor, "keep", refuse(MonitorError("the disk is full")))
        for _ in range(3):
            listener._tick()  # at night nothing may end the listening
        monkeypatch.undo()
        listener._tick()
        (row,) = listener.history.rows("feedback")
    assert [text for _, text in heard.said if text.startswith("pump: nothing changed")] == [f"pump: {row['answer']}"]


def test_lines_that_nobody_can_write_do_not_end_the_listening(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    tell = view.Said(echo=True)
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        tell("pump: the sound has changed", "alarm")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
    assert tell.last()[0][1] == "pump: the sound has changed"
