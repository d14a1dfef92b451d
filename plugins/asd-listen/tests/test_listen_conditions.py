"""A microphone that was changed is told from a machine that changed, by its noise floor."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable

import numpy as np
import pytest

from asd.plugin import Block
from asd_listen.conditions import LEARNING, Change, Conditions
from asd_listen.floor import Floor, share_lost
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


HUMS = np.where(np.arange(COUNT) % 4 == 2, -45.0, -62.0) - np.linspace(0, 6, COUNT)
"""A machine with tones, which stand out of its noise by 17 dB."""


@pytest.fixture(scope="module")
def of_hum() -> Conditions:
    """Return what has learned the noise floor of a machine with tones."""
    rng, conditions = np.random.default_rng(1), Conditions(levels=(-35.0, -25.0))
    for at in range(LEARNING + 5):
        assert conditions.second(second(at, HUMS + rng.normal(0, 1, COUNT))) == []
    return conditions


def begun_by(conditions: Conditions, sound: Callable[[int], np.ndarray]) -> list[str]:
    rng, own = np.random.default_rng(2), copy.deepcopy(conditions)
    found: list[str] = []
    for at in range(150):
        changes = own.second(second(1000 + at, sound(at) + rng.normal(0, 1, COUNT)))
        found += [each.name for each in changes if not each.over]
    return found


def with_noise(level: float) -> np.ndarray:
    noise = np.linspace(level, level - 6, COUNT)
    return np.asarray(10 * np.log10(10 ** (HUMS / 10) + 10 ** (noise / 10)))


RESPONSE = 10.5 + 4 * np.sin(np.linspace(0, 5, COUNT))
"""dB of another microphone: 10 or more in hardly more than half of the bands."""


@pytest.mark.parametrize("sign", [1, -1])
def test_a_microphone_multiplies_all_sound_so_that_tones_stand_out_as_before(of_hum: Conditions, sign: int) -> None:
    assert 0.5 <= np.mean(RESPONSE >= 10) < 0.8
    assert begun_by(of_hum, lambda at: HUMS + sign * RESPONSE) == ["microphone"]


@pytest.mark.parametrize(
    "sound",
    [
        pytest.param(lambda at: with_noise(-34.0) if at % 40 < 15 else HUMS, id="lorries"),
        pytest.param(lambda at: with_noise(-34.0), id="a fault drowns the tones"),
        pytest.param(lambda at: with_noise(-46.0), id="a fault as loud as the tones"),
    ],
)
def test_noise_that_is_added_fills_what_lay_between_the_tones(
    of_hum: Conditions, sound: Callable[[int], np.ndarray]
) -> None:
    """It lifts most bands by 10 dB and more, as another microphone would, but is judged as sound."""
    assert np.mean(sound(0) - HUMS >= 10) >= 0.7
    assert begun_by(of_hum, sound) == []


def test_what_stood_out_is_kept_by_a_microphone_filled_by_noise_and_gone_with_the_machine() -> None:
    hertz = np.array(bands_at(RATE))

    def lost(now: np.ndarray, before: np.ndarray = HUMS) -> float | None:
        return share_lost((before, before + 3), (now, now + 3), hertz)

    assert lost(HUMS + RESPONSE) == pytest.approx(0.0, abs=0.1)
    assert lost(HUMS - RESPONSE) == pytest.approx(0.0, abs=0.1)
    for level in (-50.0, -46.0, -34.0):
        assert (lost(with_noise(level)) or 0.0) > 0.7
    assert (lost(np.linspace(-76, -92, COUNT)) or 0.0) > 0.9
    assert lost(np.linspace(-40, -70, COUNT), np.linspace(-50, -80, COUNT)) is None  # nothing stands out


def test_loud_moments_stand_out_of_quiet_ones_where_there_are_no_tones() -> None:
    hertz = np.array(bands_at(RATE))
    low = np.linspace(-60, -80, COUNT)
    high, drowned = low + 12, low + 14
    assert share_lost((low, high), (low + 11, high + 11), hertz) == pytest.approx(0.0, abs=0.01)
    assert (share_lost((low, high), (drowned, drowned + 1), hertz) or 0.0) > 0.7


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
