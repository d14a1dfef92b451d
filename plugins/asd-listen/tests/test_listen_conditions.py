"""A microphone that was changed is told from a machine that changed, by its noise floor."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from asd.plugin import Block
from asd_listen.conditions import LEARNING, Change, Conditions
from asd_listen.floor import Floor
from asd_listen.levels import Second, bands_at

RATE = 16000
COUNT = len(bands_at(RATE))


def second(at: int, decibel: np.ndarray, level: float = -30.0) -> Second:
    return Second(float(at), level, 0.1, 10 ** (decibel / 10), RATE)


def learned() -> tuple[Conditions, np.random.Generator, np.ndarray]:
    rng = np.random.default_rng(0)
    usual = np.linspace(-50, -80, COUNT)
    conditions = Conditions(levels=(-35.0, -25.0))
    for at in range(LEARNING + 5):
        assert conditions.second(second(at, usual + rng.normal(0, 1, COUNT))) == []
    assert conditions.floor is not None
    return conditions, rng, usual


def heard(change: np.ndarray | float) -> list[Change]:
    conditions, rng, usual = learned()
    found: list[Change] = []
    for at in range(120):
        found += conditions.second(second(1000 + at, usual + change + rng.normal(0, 1, COUNT)))
    return found


def test_a_gain_that_was_changed() -> None:
    (change,) = heard(12.0)
    assert change.name == "gain"
    assert re.fullmatch(
        r"all bands of the noise floor are (9|1\d) dB louder: was the gain changed, or the microphone moved\?",
        change.text,
    )


@pytest.mark.parametrize(("change", "name"), [(12.0, "gain"), (-12.0, "gain"), (None, "microphone")])
def test_a_change_of_a_steady_machine_is_told_within_seconds(change: float | None, name: str) -> None:
    conditions, rng, usual = learned()
    moved = np.where(np.arange(COUNT) % 2 == 0, 14.0, -16.0) if change is None else change
    begun = [
        (each.name, at)
        for at in range(20)
        for each in conditions.second(second(1000 + at, usual + moved + rng.normal(0, 1, COUNT)))
    ]
    assert begun == [(name, begun[0][1])]
    assert begun[0][1] <= 12


def test_short_pauses_of_the_machine_are_no_condition() -> None:
    conditions, rng, usual = learned()
    for at in range(180):
        pause = -15.0 if at % 30 >= 23 else 0.0
        assert conditions.second(second(1000 + at, usual + pause + rng.normal(0, 1, COUNT))) == []


def test_a_machine_that_stops_is_told_as_such_and_no_microphone_is_blamed() -> None:
    """What is left is the room, with a spectrum of its own: less of everything, but not by the same as a lower gain."""
    conditions, rng, usual = learned()
    room = np.linspace(-76, -92, COUNT)
    found: list[Change] = []
    for at in range(240):
        heard = room if 60 <= at < 90 or 150 <= at < 240 else usual
        found += conditions.second(second(1000 + at, heard + rng.normal(0, 1, COUNT)))
    assert [(each.name, each.over) for each in found] == [("quiet", False), ("quiet", True), ("quiet", False)]
    began, over, again = (each.time for each in found)
    assert 1066 <= began <= 1080  # by what it has heard of the pause
    assert 1090 <= over <= 1095
    assert 1156 <= again <= 1170
    assert "quieter by 10 dB or more than ever: is the machine off, or the microphone dead" in found[0].text
    assert conditions.spoiled  # nothing is judged while it is off


def test_a_floor_is_kept() -> None:
    conditions, rng, usual = learned()
    assert conditions.floor is not None
    kept = Floor.from_dict(json.loads(json.dumps(conditions.floor.as_dict())))
    again = Conditions(levels=(-35.0, -25.0), floor=kept)
    found = [
        change.name for at in range(20) for change in again.second(second(at, usual + 12.0 + rng.normal(0, 1, COUNT)))
    ]
    assert found == ["gain"]
    former = Floor.from_dict({"sample_rate": RATE, "bands": kept.bands.tolist()})  # of an earlier version
    again = Conditions(levels=(-35.0, -25.0), floor=former)
    found = [change.name for at in range(70) for change in again.second(second(at, usual + 12.0))]
    assert found == ["gain"]


def test_another_microphone() -> None:
    tilt = np.where(np.arange(COUNT) % 2 == 0, 14.0, -16.0)
    (change,) = heard(tilt)
    assert change.name == "microphone"
    assert change.text.endswith("is it another microphone, or a dead one?")


@pytest.mark.parametrize(
    "fault", [np.where(np.arange(COUNT) > COUNT - 8, 20.0, 0.0), np.linspace(0, 14, COUNT), 3.0 * np.ones(COUNT)]
)
def test_a_machine_that_changes_is_no_condition(fault: np.ndarray) -> None:
    assert heard(fault) == []


def test_a_condition_is_over_when_the_floor_is_back() -> None:
    conditions, rng, usual = learned()
    found = [
        change
        for at in range(400)
        for change in conditions.second(second(1000 + at, usual + (9.0 if at < 200 else 0) + rng.normal(0, 1, COUNT)))
    ]
    assert [(change.name, change.over) for change in found] == [("gain", False), ("gain", True)]
    assert not conditions.spoiled


def block(at: float, seconds: float = 0.5) -> Block:
    return Block(np.full((round(seconds * RATE), 1), 0.1, np.float32), RATE, at)


@pytest.mark.parametrize(
    ("at", "waited", "expected"),
    [
        (0.6, 0.1, []),  # jitter
        (10.5, 10.0, ["gap"]),
        (10.5, 0.1, ["clock"]),  # nobody waited: the clock moved
        (-3600.0, 0.5, ["clock"]),
    ],
)
def test_gaps_and_clocks(at: float, waited: float, expected: list[str]) -> None:
    conditions = Conditions()
    conditions.block(block(0.0), 100.0, paced=True)
    changes, broken = conditions.block(block(at), 100.0 + waited, paced=True)
    assert [change.name for change in changes if not change.over] == expected
    assert broken == bool(expected)
    assert not conditions.spoiled
