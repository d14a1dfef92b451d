"""Sources that fail, stall, end, or come too fast, and clocks that are set."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from listening import CLIP, NOW, RATE, Heard, Script, block, blocks_of, command, healthy

from asd.errors import SourceError
from asd.plugin import Block
from asd_listen import feed as feed_module
from asd_listen import listener as listener_module
from asd_listen.listener import Listener
from asd_listen.reader import Reader
from waiting import PATIENCE, until


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


def test_a_source_that_can_never_be_reached_ends_the_listening(hear: Callable[..., Heard]) -> None:
    def give() -> Iterator[Block]:
        raise SourceError("pump.example: no such recording; check the path", permanent=True)
        yield

    with pytest.raises(SourceError, match=r"^pump: pump\.example: no such recording; check the path$"):
        hear(pump=give, other=lambda: blocks_of(healthy(200), NOW)).run()


def test_what_can_never_be_reached_later_is_tried_again(hear: Callable[..., Heard]) -> None:
    attempts: list[int] = []

    def give() -> Iterator[Block]:
        attempts.append(1)
        if len(attempts) < 3:
            raise SourceError("no such rate", permanent=len(attempts) == 2)
        yield from blocks_of(healthy(5.2), NOW)

    listening = hear(pump=give)
    listening.run()
    assert listening.watched["pump"] == 5


@pytest.mark.parametrize("recorded", [True, False])
def test_a_wrong_path_ends_the_command_with_one_line(recorded: bool, model: Path, tmp_path: Path) -> None:
    what = ("--record-healthy", "10s", "-o", "out") if recorded else (model, "--folder", "L")
    done = command("listen", *what, "--source", "file", "--source.path", "none.wav", cwd=tmp_path, code=2)
    (line,) = done.stderr.strip().splitlines()
    assert line == "asd: error: file: none.wav: no such recording, nor a folder of recordings; check the path"


def nothing(until: Callable[[], bool]) -> Iterator[Block]:
    """Yield blocks without sound until something has come to pass."""
    while not until():
        time.sleep(0.05)
        yield block(np.zeros((0, 1), np.float32), NOW)


def test_a_recorder_that_drops_no_recordings_any_more_is_told(
    hear: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "_TICK", 0.1)
    monkeypatch.setattr(Script, "patience", 0.5)

    def give() -> Iterator[Block]:
        yield block(healthy(CLIP), NOW, name="1.wav")
        yield from nothing(lambda: heard.told("no sound has come"))
        yield block(healthy(CLIP, start=80), NOW + 60, name="2.wav")

    heard = hear(pump=give)
    said = heard.run()
    told = [text for text in said if "no sound has come" in text]
    assert re.fullmatch(
        r"pump: no sound has come for .* s; 0\.5 s is the longest it may take: is the recorder running\?", told[0]
    )
    assert told[1].startswith("pump: over: no sound has come for")


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


def test_a_source_that_stalls_is_told(hear: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asd_listen.machine._STALLED", 0.5)
    monkeypatch.setattr(listener_module, "_TICK", 0.2)
    monkeypatch.setattr(Script, "paced", True)

    def give() -> Iterator[Block]:
        yield from blocks_of(healthy(5), NOW)
        yield from nothing(lambda: heard.told("no sound has come"))
        yield from blocks_of(healthy(5, start=100), NOW + 60)

    heard = hear(pump=give)
    said = heard.run()
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
    until(lambda: feed.held >= feed_module.HELD_SECONDS)
    time.sleep(0.2)  # it takes no more
    assert feed.held == pytest.approx(feed_module.HELD_SECONDS, abs=1)
    feed.stop()
    feed.join(PATIENCE)
    assert not feed.is_alive()


def test_files_that_were_watched_before_are_left_out(hear: Callable[..., Heard]) -> None:
    def give() -> Iterator[Block]:
        for at in (0, 10, 5, 20):
            yield block(healthy(CLIP, start=60 + at), NOW + at, name=f"{at}.wav")
        yield block(np.zeros((0, 1), np.float32), NOW)

    listening = hear(pump=give)
    listening.run()
    assert listening.watched["pump"] == 3


def test_nothing_is_held_once_all_was_taken() -> None:
    sound = Script(lambda: (block(np.zeros(RATE // 10, np.float32), 0.1 * i) for i in range(3)))
    feed = feed_module.Feed("pump", lambda: sound, threading.Event())
    feed.run()
    feed.take(60.0)
    assert feed.held == 0.0  # three times 0.1 less three times 0.1 is 3e-17: the listener would never pause


def test_a_clock_that_was_far_ahead_does_not_silence_a_machine_for_good(hear: Callable[..., Heard]) -> None:
    def give() -> Iterator[Block]:
        yield from blocks_of(healthy(5.2), NOW + 3 * 86400)
        yield from blocks_of(healthy(20.2, start=70), NOW)

    listening = hear(pump=give)
    said = listening.run()
    assert any("in the future" in text for text in said)
    assert "clock" not in listening.listener.machines[0].conditions.standing
    assert listening.watched["pump"] == 20


def test_a_machine_whose_every_clip_is_broken_off_is_told(
    hear: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asd_listen.machine._UNJUDGED", 0.2)
    monkeypatch.setattr(listener_module, "_TICK", 0.1)
    monkeypatch.setattr(Script, "paced", True)

    def give() -> Iterator[Block]:
        moment = NOW
        while not heard.told("no clip could be judged"):
            # A gap in each clip of a second: each gap is over at once, and nobody would be told.
            yield from blocks_of(healthy(0.8), moment)
            moment += 2
            time.sleep(0.1)
        yield from blocks_of(healthy(5, start=100), moment + 60)

    heard = hear(pump=give)
    said = heard.run()
    assert any(text.startswith("pump: no clip could be judged for") for text in said)
    assert any(text.startswith("pump: over: no clip could be judged for") for text in said)


def test_a_source_that_ends_while_others_go_on_is_told(
    hear: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "_TICK", 0.1)
    monkeypatch.setattr(Script, "paced", True)

    def slowly() -> Iterator[Block]:
        yield from blocks_of(healthy(5), NOW)
        yield from nothing(lambda: heard.told("has ended"))

    heard = hear(short=lambda: blocks_of(healthy(2), NOW), long=slowly)
    said = heard.run()
    assert [text for text in said if "has ended" in text] == ["short: the source has ended: start the listener again"]
