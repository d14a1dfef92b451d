"""Sound that was taken for healthy: it stays quiet when it goes on, and a fault beside it is found all the same."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from asd.detection import feedback
from asd.detection.accepted import MOST, Accepted
from asd.detection.calibration import Calibration
from asd.detection.monitor import Monitor
from asd.detection.monitor_state import StateFile, hold
from asd.detection.status import Status
from asd.errors import MonitorError
from asd.records import Clip

SECONDS = 10.0


def fake_model(seed: int = 0) -> Any:
    """Return what a monitor asks of a model: its calibration, and whether it promises anything."""
    scores = np.random.default_rng(seed).normal(size=20)
    calibration = Calibration(scores, np.zeros(20, np.int64), SECONDS, 20)
    return SimpleNamespace(calibration=calibration, decision=calibration.decide())


def watch(monitor: Monitor, model: Any, scores: Any) -> Iterator[Status]:
    """Let a monitor watch clips of these scores, one every ten seconds."""
    for score in scores.tolist():
        clip = Clip(Path(f"clip-{monitor.state.watched}.wav"))
        of_fit = model.calibration.p_value(np.array([score]))
        verdict: Any = SimpleNamespace(clip=clip, score=score, p_value=of_fit, state=None, state_p_value=None)
        yield monitor.update(verdict, (monitor.state.evidence.last_time or 1.7e9) + SECONDS)


def answered(shift: float, seed: int, *, healthy: int = 360, minutes: int = 10) -> tuple[Monitor, Any, Any]:
    """Return a monitor whose alarm about a change was answered with "that was normal", its model and a generator."""
    model, rng = fake_model(seed), np.random.default_rng(1000 + seed)
    monitor = Monitor(model)
    list(watch(monitor, model, rng.normal(size=healthy)))
    alarms = 0
    for status in watch(monitor, model, shift + rng.normal(size=2000)):
        alarms += status.alarm
        if alarms > 6 * minutes:
            break
    feedback.last_alarm_was_normal(monitor)
    return monitor, model, rng


def alarmed(model: Any) -> Monitor:
    """Return a monitor whose alarm stands."""
    monitor, rng = Monitor(model), np.random.default_rng(5)
    list(watch(monitor, model, rng.normal(size=360)))
    assert list(watch(monitor, model, 4 + rng.normal(size=30)))[-1].alarm
    return monitor


@pytest.mark.parametrize("shift", [1.0, 2.0, 4.0, 8.0])
@pytest.mark.parametrize(("healthy", "minutes"), [(360, 10), (3000, 10), (360, 1)])
def test_sound_that_was_taken_for_healthy_stays_quiet_when_it_goes_on(shift: float, healthy: int, minutes: int) -> None:
    monitor, model, rng = answered(shift, 1, healthy=healthy, minutes=minutes)
    statuses = list(watch(monitor, model, shift + rng.normal(size=2500)))
    assert {status.phase for status in statuses} == {"watching"}


@pytest.mark.parametrize("shift", [1.0, 2.0, 4.0])
def test_it_stays_quiet_when_it_comes_and_goes(shift: float) -> None:
    monitor, model, rng = answered(shift, 2)
    scores, at, on = rng.normal(size=3000), 0, False
    while at < 3000:
        length = int(rng.integers(30, 360))
        scores[at : at + length] += shift * on
        at, on = at + length, not on
    assert not any(status.alarm for status in watch(monitor, model, scores))


@pytest.mark.parametrize(
    ("accepted", "goes_on", "fault", "most"),
    [
        (4.0, True, 7.0, 15),  # 8 without any feedback, of 3 deviations
        (4.0, True, 6.0, 30),  # 13
        (4.0, False, 8.0, 15),
        (4.0, False, 2.0, 75),  # between the two healthy sounds
        (2.0, False, 4.0, 40),
    ],
)
def test_a_fault_beside_it_is_found(accepted: float, goes_on: bool, fault: float, most: int) -> None:
    delays = []
    for seed in range(9):
        monitor, model, rng = answered(accepted, 5000 + seed)
        before = list(watch(monitor, model, accepted * goes_on + rng.normal(size=100)))
        assert not any(status.alarm for status in before)
        statuses = watch(monitor, model, fault + rng.normal(size=300))
        delays.append(next((i for i, status in enumerate(statuses, start=1) if status.alarm), math.inf))
    assert np.median(delays) <= most, delays


def test_a_fault_right_after_the_answer_to_a_short_alarm_is_found() -> None:
    """The dozen clips of an alarm that was answered at once do not open the door to what is far from them."""
    delays = []
    for seed in range(9):
        monitor, model, rng = answered(4.0, 5000 + seed, minutes=0)
        statuses = watch(monitor, model, 9 + rng.normal(size=300))
        delays.append(next((i for i, status in enumerate(statuses, start=1) if status.alarm), math.inf))
    assert np.median(delays) <= 20, delays


def test_p_values_of_the_accepted_sound_are_not_small() -> None:
    p_values: list[float] = []
    for seed in range(12):
        monitor, model, rng = answered(4.0, seed)
        p_values += [status.p_value for status in watch(monitor, model, 4 + rng.normal(size=200))]
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(p_values) <= level) <= level + 3 * math.sqrt(level / len(p_values))


def test_undo_forgets_the_sound_and_its_clips(tmp_path: Path) -> None:
    model = fake_model()
    monitor = alarmed(model)
    held = monitor.bag.total
    feedback.last_alarm_was_normal(monitor)
    list(watch(monitor, model, 4 + np.random.default_rng(6).normal(size=50)))
    assert monitor.accepted.total == 390 + 50 - held
    with hold(tmp_path / "m.monitor") as file:  # it is in the file, and undone from there
        monitor.save(file)
    again = Monitor.from_state(StateFile(tmp_path / "m.monitor").read())
    assert again.accepted.total == 390 + 50 - held
    feedback.undo(again)
    assert (again.bag.total, again.accepted.bags, again.state.evidence.phase) == (held, {}, "alarm")
    assert again.state.recent.rows["counted"].sum() == held
    statuses = list(watch(again, model, 4 + np.random.default_rng(7).normal(size=50)))
    assert all(status.alarm for status in statuses)  # the sound is none that is healthy


def test_forgetting_everything_forgets_accepted_sounds_and_undo_brings_them_back() -> None:
    model = fake_model()
    monitor = alarmed(model)
    feedback.last_alarm_was_normal(monitor)
    held = monitor.accepted.total
    feedback.reset(monitor, forget=True)
    assert (monitor.bag.total, monitor.accepted.total) == (0, 0)
    feedback.undo(monitor)
    assert monitor.accepted.total == held


def test_a_monitor_goes_on_with_accepted_sounds_where_it_was_left(tmp_path: Path) -> None:
    model, scores = fake_model(), 4 + np.random.default_rng(3).normal(size=300)
    whole = alarmed(model)
    with hold(tmp_path / "m.monitor") as file:
        feedback.last_alarm_was_normal(whole)
        whole.save(file)
    expected, found = list(watch(whole, model, scores)), []
    for start in range(0, 300, 43):
        with Monitor.open(tmp_path / "m.monitor", model) as monitor:
            found += list(watch(monitor, model, scores[start : start + 43]))
    assert found == expected


def test_files_of_before_are_read(tmp_path: Path) -> None:
    """Format 1 knew no accepted sounds: the clips of an alarm had gone into the bag."""
    path, model = tmp_path / "m.monitor", fake_model()
    with Monitor.open(path, model) as monitor:
        list(watch(monitor, model, np.zeros(64)))
    plain = msgspec.msgpack.decode(path.read_bytes()[14 + 32 :])
    for name in ("sounds", "accepted_sounds"):
        del plain[name]
    plain["recent"] = [each[:6] for each in plain["recent"]]
    packed = msgspec.msgpack.encode(plain)
    path.write_bytes(b"asd-monitor 1\n" + hashlib.sha256(packed).digest() + packed)
    with Monitor.open(path, model) as monitor:
        assert (monitor.bag.total, monitor.accepted.total) == (64, 0)
        assert list(watch(monitor, model, np.zeros(1)))[-1].phase == "watching"
    assert path.read_bytes().startswith(b"asd-monitor 2\n")


def test_many_accepted_sounds_are_put_together_with_the_nearest() -> None:
    monitor = Monitor(fake_model())
    bins = [monitor.bag.bin_of(score) for score in (3.0, 6.0, 12.0, 24.0, 48.0, 26.0)]
    accepted = Accepted(monitor.state)
    opened = [accepted.accept({number: 5})[1] for number in bins]
    assert opened == [[1], [2], [3], [4], [], []]
    assert len(accepted.bags) == MOST
    assert accepted.bags[4][1].total == 15
    assert accepted.accept({bins[0]: 2})[0] == {1: {bins[0]: 2}}  # within a known one


def test_feedback_with_a_mark_is_taken_back_by_it() -> None:
    model = fake_model()
    monitor, rng = alarmed(model), np.random.default_rng(8)
    held = monitor.bag.total
    feedback.last_alarm_was_normal(monitor, mark="first")
    list(watch(monitor, model, rng.normal(size=100)))
    assert list(watch(monitor, model, 9 + rng.normal(size=30)))[-1].alarm
    feedback.last_alarm_was_normal(monitor, mark="second")
    assert len(monitor.accepted.bags) == 2
    with pytest.raises(MonitorError, match=r"^nothing to undo"):
        feedback.undo(monitor, mark="third")
    feedback.undo(monitor, mark="first")  # not the last: the evidence goes on
    assert (list(monitor.accepted.bags), monitor.state.evidence.phase) == ([2], "watching")
    feedback.undo(monitor, mark="second")
    assert (monitor.accepted.bags, monitor.state.evidence.phase) == ({}, "alarm")
    assert monitor.bag.total >= held
