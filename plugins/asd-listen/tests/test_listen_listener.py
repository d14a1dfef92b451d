"""A listener from end to end: healthy, a fault sets in, alarm, feedback, quiet again; and sources that misbehave."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd.errors import MonitorError, SourceError
from asd.plugin import Block, Float32, Source
from asd_listen import feed as feed_module
from asd_listen import listener as listener_module
from asd_listen import view
from asd_listen.listener import Listener
from asd_listen.reader import Reader
from asd_listen.remarks import remark
from asd_listen.schema import HistoryFullError
from asd_listen.settings import settings_from

RATE = 16000
CLIP = 1.0
START = "2026-11-01T00:00:00"


@functools.cache
def _day() -> Float32:
    """Return ten minutes of one machine, hum in noise; after six a fault sets in, a whine."""
    rng = np.random.default_rng(1)
    moment = np.arange(600 * RATE) / RATE
    hum = sum(0.1 / order * np.sin(2 * np.pi * 97 * order * moment) for order in (1, 2, 3, 5))
    hum *= 1 + 0.05 * np.sin(2 * np.pi * 0.31 * moment)
    whine = 0.03 * np.sin(2 * np.pi * 3500 * moment) * (moment >= 360)
    sound: Float32 = (hum + whine + rng.normal(0, 0.02, len(moment))).astype(np.float32)
    return sound


def healthy(seconds: float, start: float = 60.0) -> Float32:
    """Return healthy sound, float32 (n,); the first minute is what the model learned from."""
    assert start + seconds <= 360.0
    return _day()[round(start * RATE) : round((start + seconds) * RATE)]


def faulty(seconds: float, start: float = 0.0) -> Float32:
    """Return the sound of the machine with a fault, of which there are four minutes."""
    assert start + seconds <= 240.0
    return _day()[round((360.0 + start) * RATE) : round((360.0 + start + seconds) * RATE)]


def write(path: Path, *parts: Float32, rate: int = RATE) -> Path:
    """Write parts one after the other as a recording."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate(parts), rate, subtype="FLOAT")
    return path


def fitted(folder: Path) -> Path:
    """Fit a model on clips of a second of the healthy machine, and return its file."""
    sound = healthy(60.0, start=0.0)
    for i in range(30):
        write(folder / "train" / f"{i:02d}.wav", sound[2 * i * RATE : (2 * i + 1) * RATE])
    model = asd.fit(
        folder / "train", extractor="band-levels", detector="deviation", embedding_pooling="mean", cache=False
    )
    model.save(folder / "machine.asd")
    return folder / "machine.asd"


def command(*arguments: object, code: int = 0, cwd: Path, stdin: Any = None) -> subprocess.CompletedProcess[str]:
    """Run ``asd`` as a user does."""
    words = [os.environ["ASD_COMMAND"], *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd, stdin=stdin, timeout=240)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fitted(tmp_path_factory.mktemp("model"))


def block(samples: Float32, at: float, rate: int = RATE, name: str | None = None) -> Block:
    return Block(samples[:, np.newaxis] if samples.ndim == 1 else samples, rate, at, name)


def blocks_of(samples: Float32, at: float, seconds: float = 0.5) -> Iterator[Block]:
    size = round(seconds * RATE)
    for first in range(0, len(samples), size):
        yield block(samples[first : first + size], at + first / RATE)


class Script(Source):
    """A virtual source: yields what a function gives, at the pace at which it is judged."""

    paced = False

    def __init__(self, give: Callable[[], Iterator[Block]]) -> None:
        self.give = give

    def blocks(self) -> Iterator[Block]:
        return self.give()


class Heard:
    """A listener to scripted sources, and what it said."""

    def __init__(self, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **sources: Any) -> None:
        self.said: list[tuple[str, str]] = []
        settings = settings_from(
            {
                "model": str(model),
                "folder": str(folder),
                "source": [{"kind": "file", "path": "-", "name": name} for name in sources],
            }
        )
        monkeypatch.setattr(listener_module, "source_of", lambda own: sources[own.name])
        self.listener = Listener(settings, lambda path: asd.Model.load(path, cache=False), self._say)

    def _say(self, text: str, severity: str) -> None:
        self.said.append((severity, text))

    def run(self) -> list[str]:
        with self.listener as listener:
            listener.run()
            self.verdicts = {machine.name: machine.status for machine in listener.machines}
            self.watched = {machine.name: machine.monitor.state.watched for machine in listener.machines}
        return [text for _, text in self.said]


@pytest.fixture
def hear(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Heard]:
    monkeypatch.setattr(feed_module, "_FIRST_PAUSE", 0.02)
    return lambda **sources: Heard(
        model, tmp_path / "L", monkeypatch, **{name: Script(give) for name, give in sources.items()}
    )


NOW = time.time() - 3600


# ------------------------------------------------------------------------------------------------------ as a user would


def test_healthy_fault_alarm_feedback_quiet_again(model: Path, tmp_path: Path) -> None:
    write(tmp_path / "day.wav", healthy(300), faulty(90))
    name, events = 'pump "1" <b>/x', tmp_path / "events.jsonl"
    first = ("--source", "file", "--source.speed", "0", "--name", name, "--folder", "L", "--hop", "0.5")
    told = ("--sink", "jsonl", "--sink.path", events)
    done = command("listen", model, *first, *told, "--source.path", "day.wav", "--source.start", START, cwd=tmp_path)
    assert "promise: 1 false alarm a month" in done.stdout
    assert re.search(r"phase: learning: \d+ more healthy clips, \d+ s, until an alarm is possible", done.stdout)
    assert f"ALARM: {name}: the sound has changed" in done.stdout
    told_events = [json.loads(line) for line in events.read_text().splitlines()]
    assert [each["kind"] for each in told_events] == ["started", "alarm", "stopped"]
    alarm = told_events[1]
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
    assert kinds == ["started", "alarm", "stopped", "started", "cleared", "stopped"]


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
    while "listening" not in listening.stdout.readline():
        pass
    time.sleep(4)
    listening.send_signal(number)
    out, err = listening.communicate(timeout=30)
    assert listening.returncode == 0, err
    assert "clips judged; history and evidence are in L" in out
    with Reader(tmp_path / "L") as history:
        verdicts = list(history.rows("verdicts", "file"))
        kinds = [row["kind"] for row in history.rows("events")]
    assert len(verdicts) >= 5
    assert kinds == ["started", "stopped"]
    with asd.Monitor.open(tmp_path / "L" / "monitors" / "file.monitor", asd.load(model)) as monitor:
        assert monitor.state.watched == len(verdicts)


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


# -------------------------------------------------------------------------------------------- sources that misbehave


def test_a_source_that_fails_is_connected_again(hear: Callable[..., Heard]) -> None:
    attempts: list[int] = []

    def give() -> Iterator[Block]:
        attempts.append(1)
        if len(attempts) < 3:
            raise SourceError("pump.example: connection refused; is it running?")
        yield from blocks_of(healthy(20.2), NOW)

    listening = hear(pump=give)
    said = listening.run()
    assert any("connection refused; is it running?; tried again in" in text for text in said)
    assert any(text.startswith("pump: over: pump.example: connection refused") for text in said)
    assert listening.watched["pump"] == 20


def test_a_plugin_that_raises_does_not_end_the_others(hear: Callable[..., Heard]) -> None:
    calls: list[int] = []

    def broken() -> Iterator[Block]:
        calls.append(1)
        yield from blocks_of(healthy(2), NOW)
        if len(calls) == 1:
            raise ZeroDivisionError("division by zero")

    listening = hear(broken=broken, good=lambda: blocks_of(healthy(20.2), NOW))
    said = listening.run()
    assert any("Script failed by itself: ZeroDivisionError: division by zero; report it" in text for text in said)
    assert listening.watched["good"] == 20


def test_no_clip_reaches_over_a_gap(hear: Callable[..., Heard]) -> None:
    def give() -> Iterator[Block]:
        yield from blocks_of(healthy(10.5), NOW)
        yield from blocks_of(healthy(10.5, start=100), NOW + 60)

    listening = hear(pump=give)
    said = listening.run()
    assert "pump: 49.5 s of sound are missing" in said
    assert listening.watched["pump"] == 20


def test_a_clock_that_is_set_back_or_forward_is_told(hear: Callable[..., Heard], tmp_path: Path) -> None:
    def give() -> Iterator[Block]:
        yield from blocks_of(healthy(10.2), NOW)
        yield from blocks_of(healthy(10.2, start=70), NOW - 3600 + 10)

    listening = hear(pump=give)
    said = listening.run()
    assert "pump: the clock was set back by 1 h" in said
    assert listening.watched["pump"] == 20  # it goes on
    with Reader(tmp_path / "L") as history:
        times = [row["time"] for row in history.rows("verdicts", "pump")]
    assert times == sorted(set(times))


CONDITIONS: dict[str, tuple[Callable[[], Iterator[Block]], str]] = {
    "silence": (
        lambda: blocks_of(np.zeros(8 * RATE, np.float32), NOW + 30),
        "digital silence: is the microphone connected?",
    ),
    "quiet": (
        lambda: blocks_of((1e-5 * np.random.default_rng(0).normal(size=15 * RATE)).astype(np.float32), NOW + 30),
        "below the quietest healthy clip: is the machine off, or the microphone dead?",
    ),
    "clipping": (
        lambda: blocks_of(np.clip(50 * healthy(15, start=200), -1, 1), NOW + 30),
        "clipped: the level reaches full scale; turn the gain down, or move the microphone away",
    ),
    "garbage": (
        lambda: blocks_of(np.full(8 * RATE, np.nan, np.float32), NOW + 30),
        "holds NaN, or values that no sound has: is the format right?",
    ),
    "another rate": (
        lambda: iter([block(healthy(8, start=200), NOW + 30, rate=8000)]),
        "8000 Hz, 1 channel instead of 16000 Hz, 1 channel: is another device connected?",
    ),
    "another channel count": (
        lambda: iter([block(np.repeat(healthy(8, start=200)[:, None], 2, axis=1), NOW + 30)]),
        "16000 Hz, 2 channels instead of 16000 Hz, 1 channel: is another device connected?",
    ),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_fault_of_the_recording_is_told_and_not_judged(name: str, hear: Callable[..., Heard], tmp_path: Path) -> None:
    give_fault, text = CONDITIONS[name]
    after = NOW + 30 + (16 if name == "another rate" else 8)

    def give() -> Iterator[Block]:
        yield from blocks_of(healthy(30), NOW)
        fault = list(give_fault())
        yield from fault
        yield from blocks_of(healthy(30, start=120), after if name.startswith("another") else fault[-1].time + 0.5)

    listening = hear(pump=give)
    said = listening.run()
    assert any(text in each for each in said), said
    assert any(each.startswith("pump: over: ") and text[:20] in each for each in said), said
    assert listening.verdicts["pump"].phase in ("watching", "learning")
    with Reader(tmp_path / "L") as history:
        (condition,) = history.rows("conditions", "pump")
        unusual = [row for row in history.rows("verdicts", "pump") if NOW + 41 < row["time"] < condition["over"] - 1]
    assert condition["over"] > condition["began"]
    assert unusual == []


def test_a_source_that_stalls_is_told(hear: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asd_listen.machine._STALLED", 0.5)
    monkeypatch.setattr(listener_module, "_TICK", 0.2)
    monkeypatch.setattr(Script, "paced", True)

    def give() -> Iterator[Block]:
        yield from blocks_of(healthy(5), NOW)
        for _ in range(10):
            time.sleep(0.2)
            yield block(np.zeros((0, 1), np.float32), NOW)
        yield from blocks_of(healthy(5, start=100), NOW + 60)

    said = hear(pump=give).run()
    assert any(text.startswith("pump: no sound has come for") for text in said)
    assert any(text.startswith("pump: over: no sound has come for") for text in said)


def test_who_cannot_keep_up_says_so(hear: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Script, "paced", True)
    monkeypatch.setattr(listener_module, "_TICK", 0.0)
    judge = Listener._judge
    monkeypatch.setattr(Listener, "_judge", lambda self, clips: (time.sleep(0.05), judge(self, clips))[1])
    said = hear(pump=lambda: blocks_of(healthy(120), NOW)).run()
    assert any("sound comes faster than it can be judged" in text for text in said)
    assert any("over: sound comes faster" in text for text in said)


def test_memory_held_by_a_source_is_bounded(model: Path) -> None:
    arrived = threading.Event()
    feed = feed_module.Feed("pump", lambda: Script(lambda: blocks_of(healthy(120), NOW)), arrived)
    feed.start()
    time.sleep(0.5)
    assert feed.held == pytest.approx(feed_module.HELD_SECONDS, abs=1)
    feed.stop()
    feed.join(5)
    assert not feed.is_alive()


def test_files_that_were_watched_before_are_left_out(hear: Callable[..., Heard]) -> None:
    def give() -> Iterator[Block]:
        for at in (0, 10, 5, 20):
            yield block(healthy(CLIP, start=60 + at), NOW + at, name=f"{at}.wav")
        yield block(np.zeros((0, 1), np.float32), NOW)

    listening = hear(pump=give)
    listening.run()
    assert listening.watched["pump"] == 3


def test_no_model(tmp_path: Path) -> None:
    write(tmp_path / "day.wav", healthy(1))
    done = command("listen", "--source", "file", "--source.path", "day.wav", cwd=tmp_path, code=2)
    assert 'file: no model; give one to all, or to each source: model = "pump.asd"' in done.stderr


def test_a_folder_that_cannot_be_written(model: Path, tmp_path: Path) -> None:
    (tmp_path / "L").write_text("a file")
    words = ("listen", model, "--source", "file", "--source.path", "x.wav", "--folder", "L")
    done = command(*words, cwd=tmp_path, code=2)
    assert "L: cannot be used to keep the history" in done.stderr


def test_nothing_is_held_once_all_was_taken() -> None:
    sound = Script(lambda: (block(np.zeros(RATE // 10, np.float32), 0.1 * i) for i in range(3)))
    feed = feed_module.Feed("pump", lambda: sound, threading.Event())
    feed.run()
    feed.take(60.0)
    assert feed.held == 0.0  # three times 0.1 less three times 0.1 is 3e-17: the listener would never pause


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


def refuse(error: Exception) -> Callable[..., None]:
    def write(*_: object, **__: object) -> None:
        raise error

    return write


def test_a_clock_that_was_far_ahead_does_not_silence_a_machine_for_good(hear: Callable[..., Heard]) -> None:
    def give() -> Iterator[Block]:
        yield from blocks_of(healthy(5.2), NOW + 3 * 86400)
        yield from blocks_of(healthy(20.2, start=70), NOW)

    listening = hear(pump=give)
    said = listening.run()
    assert any("in the future" in text for text in said)
    assert "clock" not in listening.listener.machines[0].conditions.standing
    assert listening.watched["pump"] == 20


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


def test_a_machine_whose_every_clip_is_broken_off_is_told(
    hear: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asd_listen.machine._UNJUDGED", 0.2)
    monkeypatch.setattr(listener_module, "_TICK", 0.1)
    monkeypatch.setattr(Script, "paced", True)

    def give() -> Iterator[Block]:
        for i in range(18):  # a gap in each clip of a second: each gap is over at once, and nobody would be told
            yield from blocks_of(healthy(0.8), NOW + 2 * i)
            time.sleep(0.25)
        yield from blocks_of(healthy(5, start=100), NOW + 60)

    said = hear(pump=give).run()
    assert any(text.startswith("pump: no clip could be judged for") for text in said)
    assert any(text.startswith("pump: over: no clip could be judged for") for text in said)


def test_a_source_that_ends_while_others_go_on_is_told(
    hear: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "_TICK", 0.1)
    monkeypatch.setattr(Script, "paced", True)

    def slowly() -> Iterator[Block]:
        for each in blocks_of(healthy(5), NOW):
            yield each
            time.sleep(0.1)

    said = hear(short=lambda: blocks_of(healthy(2), NOW), long=slowly).run()
    assert [text for text in said if "has ended" in text] == ["short: the source has ended: start the listener again"]
