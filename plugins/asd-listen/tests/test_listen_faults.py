"""Faults of the recording are told, and what was heard meanwhile is not judged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from listening import CLIP, NOW, RATE, Heard, Script, block, blocks_of, healthy

import asd
from asd.plugin import Block, Float32
from asd_listen.feed import Feed
from asd_listen.machine import Machine
from asd_listen.reader import Reader

CONDITIONS: dict[str, tuple[Callable[[], Iterator[Block]], str]] = {
    "silence": (
        lambda: blocks_of(np.zeros(8 * RATE, np.float32), NOW + 30),
        "digital silence: is the microphone connected?",
    ),
    "quiet": (
        lambda: blocks_of((1e-5 * np.random.default_rng(0).normal(size=15 * RATE)).astype(np.float32), NOW + 30),
        "below the quietest healthy clip: is the machine off, or the microphone dead, or another one?",
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
        began = [row["time"] for row in history.rows("verdicts", "pump")]
    assert condition["over"] > condition["began"]
    assert [at for at in began if NOW + 30 - CLIP < at < condition["over"] - 1] == []
    assert len([at for at in began if at <= NOW + 30 - CLIP]) >= 29  # what was healthy was judged, up to the fault


def _noise(seconds: float, level: float = 1e-5) -> Float32:
    return (level * np.random.default_rng(0).normal(size=round(seconds * RATE))).astype(np.float32)


def _loud(seconds: float) -> Float32:
    return np.clip(50 * healthy(seconds, start=200), -1, 1)


def _clicking(seconds: float) -> Float32:
    sound = _noise(seconds)
    sound[RATE // 3 :: RATE] = 0.05
    return sound


def _now_and_then(seconds: float) -> Float32:
    sound = healthy(seconds, start=200).copy()
    for first in range(0, len(sound), 3 * RATE):
        sound[first : first + RATE // 4] = 1.0
    return sound


@pytest.mark.parametrize("length", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("onset", [30.0, 30.37])
@pytest.mark.parametrize(
    "fault", [lambda s: np.zeros(round(s * RATE), np.float32), _noise, _loud, _clicking, _now_and_then]
)
def test_nothing_that_overlaps_a_fault_is_judged(
    fault: Callable[[float], Float32], onset: float, length: float, hear: Callable[..., Heard], tmp_path: Path
) -> None:
    sound = np.concatenate([healthy(onset), fault(20.0), healthy(20, start=120)])
    listening = hear(pump=lambda: blocks_of(sound, NOW, length))
    listening.run()
    with Reader(tmp_path / "L") as history:
        over = max(row["over"] for row in history.rows("conditions", "pump")) - NOW
        began = [row["time"] - NOW for row in history.rows("verdicts", "pump")]
    assert [at for at in began if onset - CLIP + 0.11 < at < onset + 20.0 - 1e-3] == []
    assert len([at for at in began if at < onset]) >= 29
    assert min(at for at in began if at > onset) >= over - 1.1


def test_a_single_knock_is_judged_later_and_in_order(model: Path) -> None:
    sound = healthy(30.0).copy()
    sound[10 * RATE : 10 * RATE + 100] = 1.0
    judged = dict(_judged(model, sound))
    assert list(judged) == list(range(29))  # in the order of time
    late = {at: when - at - CLIP for at, when in judged.items()}
    assert all(late[at] <= 0.11 for at in late if at + CLIP < 10 or at > 20)
    assert late[10] == pytest.approx(10.0, abs=1.0)


def test_healthy_clips_are_judged_at_once(model: Path) -> None:
    assert all(when - at - CLIP <= 0.11 for at, when in _judged(model, healthy(30.0)))


@pytest.mark.parametrize(
    ("rest", "judged", "told"),
    [(_noise(2.0), 12, []), (_noise(6.0), 10, ["quiet"]), (np.ones(RATE // 10, np.float32), 10, [])],
)
def test_where_sound_ends_what_is_in_doubt_is_decided(rest: Float32, judged: int, told: list[str], model: Path) -> None:
    machine = _machine(model)
    sound = np.concatenate([healthy(10.2), rest])
    clips = [clip for each in blocks_of(sound, NOW, 0.1) for clip in machine.take(each, 0.0, lambda _: None)[0]]
    more, changes = machine.finish(NOW)
    assert len([*clips, *more]) == judged
    assert [change.name for change in changes] == told


def test_what_is_in_doubt_is_decided_after_a_while_without_sound(model: Path) -> None:
    machine = _machine(model)
    sound = healthy(10.2).copy()
    sound[9 * RATE : 9 * RATE + 100] = 1.0
    clips = [clip for each in blocks_of(sound, NOW, 0.1) for clip in machine.take(each, 0.0, lambda _: None)[0]]
    assert len(clips) == 9
    assert machine.settle(machine.feed.last + 1.0, NOW) == ([], [])
    (clip,), changes = machine.settle(machine.feed.last + 60.0, NOW)
    assert (round(clip.time - NOW), changes) == (9, [])


def test_what_is_in_doubt_when_a_source_fails_is_not_judged(model: Path) -> None:
    machine = _machine(model)
    sound = np.concatenate([healthy(10.2), _noise(5.0)])
    clips = [clip for each in blocks_of(sound, NOW, 0.1) for clip in machine.take(each, 0.0, lambda _: None)[0]]
    machine.lost("unplugged", NOW)
    assert len(clips) == 10
    assert machine.finish(NOW)[0] == []


def _machine(model: Path) -> Machine:
    loaded = asd.load(model)
    feed = Feed("pump", lambda: Script(lambda: iter(())), threading.Event())
    return Machine("pump", asd.LiveScorer(loaded), None, feed, model.parent / "pump.floor")


def _judged(model: Path, sound: Float32) -> Iterator[tuple[float, float]]:
    """Yield when each clip began, and after how many seconds it may be judged."""
    machine = _machine(model)
    for each in blocks_of(sound, NOW, 0.1):
        for clip in machine.take(each, 0.0, lambda _: None)[0]:
            yield round(clip.time - NOW, 3), each.time + len(each.samples) / RATE - NOW
