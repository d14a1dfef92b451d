"""Operating states: learned by name, told by sound, kept apart by the monitor and in the model file."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile

import asd
from asd.detection import feedback, modelfile
from asd.detection.bag import BINS, Bag
from asd.detection.calibration import Calibration
from asd.detection.monitor import Monitor
from asd.detection.monitor_state import StateFile
from asd.detection.states import MOST, States
from asd.detection.status import Status
from asd.errors import DataError, ModelFileError, MonitorError
from asd.records import Clip

ASD = Path(os.environ["ASD_COMMAND"])
QUICK: dict[str, Any] = {"frontend": "mel-stack", "extractor": "identity", "pca": 0.9, "detector": "mahalanobis"}
OPTIONS = [text for name, value in QUICK.items() for text in (f"--{name}", str(value))]
SECONDS = 10.0
APART = 4.0
"""Deviations between the scores of the two states."""


def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command and check its exit code."""
    done = subprocess.run([ASD, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


# Learning and telling


def test_states_are_learned_and_told_by_the_nearest_centre() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 8)) + 6 * (np.arange(40) % 2)[:, np.newaxis]
    names = ["fast" if i % 2 else "slow" for i in range(40)]
    states = States.learned(names, rows, np.arange(0, 40, 3))
    assert states is not None
    assert (states.names, states.told) == (("fast", "slow"), 1.0)
    np.testing.assert_array_equal(states.of_clips, [1, 0] * 7)
    assert [states.name(states.number(None, row)) for row in rows] == names
    assert states.number("slow", rows[1]) == 1  # who names it knows better
    assert states.name(states.number("never heard of", None)) == "unknown"


def test_states_that_sound_alike_are_told_by_chance_and_lone_clips_never() -> None:
    rng = np.random.default_rng(0)
    alike = States.learned(["a", "b"] * 50, rng.normal(size=(100, 30)), np.arange(100))
    assert alike is not None
    assert alike.told is not None
    assert alike.told < 0.65  # a clip that counted in its own centre would nearly always be told
    lone = States.learned(["a", "b", "b", "b"], rng.normal(size=(4, 3)), np.arange(4))
    assert lone is not None
    assert lone.told is not None
    assert lone.told <= 0.75


def test_one_group_or_very_many_are_no_states() -> None:
    rows = np.random.default_rng(0).normal(size=(MOST + 1, 3))
    assert States.learned(["a"] * MOST + [None], rows, np.arange(3)) is None
    assert States.learned([str(i) for i in range(MOST + 1)], rows, np.arange(3)) is None


def test_clips_of_no_known_state_are_a_state_of_their_own() -> None:
    states = States.learned(["a", "b", None, "a"], np.eye(4), np.arange(4))
    assert states is not None
    assert states.of_clips.tolist() == [0, 1, 2, 0]
    assert states.counts() == [2, 1]


# Watching


def two_states(count: int = 40) -> Any:
    """Return what a monitor asks of a model of two states, whose scores are far apart."""
    state = np.arange(count) % 2
    scores = np.random.default_rng(0).normal(size=count) + APART * state
    states = States(("idle", "load"), state, np.zeros((2, 1)), np.ones(1))
    calibration = Calibration(scores, np.zeros(count, np.int64), SECONDS, count, states=states)
    return SimpleNamespace(calibration=calibration, decision=calibration.decide())


def watch(monitor: Monitor, model: Any, scores: Any, states: Any) -> list[Status]:
    """Let a monitor watch clips of these scores and states, one every ten seconds."""
    found = []
    for score, state in zip(scores, states, strict=True):
        at = (monitor.state.evidence.last_time or 1e9) + SECONDS
        clip, own = Clip(Path(f"clip-{monitor.state.watched}.wav")), np.array([score])
        p_value, of_state = model.calibration.p_value(own), model.calibration.p_value(own, state)
        verdict: Any = SimpleNamespace(
            clip=clip, score=float(score), p_value=p_value, state=state, state_p_value=of_state
        )
        found.append(monitor.update(verdict, at))
    return found


def alternating(count: int, dwell: int = 60) -> list[str]:
    return [("idle", "load")[i // dwell % 2] for i in range(count)]


def drawn(states: list[str], seed: int) -> Any:
    return np.random.default_rng(seed).normal(size=len(states)) + APART * np.array([s == "load" for s in states])


def test_states_are_ranked_among_themselves() -> None:
    bag = Bag(0.0, 1.0, states=2)
    for score in (1.0, 2.0, 3.0):
        bag.add(bag.bin_of(score, 0))
    bag.add(bag.bin_of(50.0, 1))
    assert bag.rank(bag.bin_of(1.5, 0)) == (2, 0, 3)
    assert bag.rank(bag.bin_of(1.5, 1)) == (1, 0, 1)
    assert (bag.totals, bag.total) == ([3, 1], 4)


def test_p_values_in_alternating_states_are_uniform() -> None:
    model, states = two_states(), alternating(3000)
    p_values = [status.p_value for status in watch(Monitor(model), model, drawn(states, 1), states)]
    counts = np.histogram(p_values, bins=10, range=(0, 1))[0]
    assert np.sum((counts - 300) ** 2 / 300) < 27.9  # chi-square with 9 degrees of freedom, 0.1 %


def test_a_machine_that_alternates_raises_no_alarm_and_its_fault_is_found_soon() -> None:
    delays = []
    for seed in range(8):
        model, monitor = two_states(), Monitor(two_states(), "1/month")
        states = alternating(720)
        statuses = watch(monitor, model, drawn(states, seed), states)
        assert {status.phase for status in statuses} == {"learning", "watching"}
        assert monitor.state.step == 1  # neighbours are alike no more
        states = alternating(120)
        statuses = watch(monitor, model, drawn(states, 50 + seed) + 2, states)
        delays.append(next((i for i, status in enumerate(statuses, start=1) if status.alarm), math.inf))
    assert np.median(delays) <= 16  # a fault in idle never reaches the scores of load


def test_each_state_is_learned_by_itself() -> None:
    model = two_states()
    monitor = Monitor(model)
    watch(monitor, model, drawn(["idle"] * 64, 1), ["idle"] * 64)
    wanted = monitor._wanted
    assert (monitor.needed, monitor.needed_by_state()) == (0, {"idle": 0, "load": wanted})
    statuses = watch(monitor, model, drawn(["load"] * 20, 2), ["load"] * 20)  # another state is no fault
    assert not any(status.alarm for status in statuses)
    assert monitor.needed_by_state() == {"idle": 0, "load": wanted - 20}
    watch(monitor, model, [0.0], [None])
    assert monitor.bag.totals == [64, 20, 1]


def test_steady_sound_that_no_state_explains_is_told_from_a_fault() -> None:
    model = two_states()
    monitor, states = Monitor(model), alternating(200)
    statuses = watch(monitor, model, drawn(states, 1) + 3, states)
    assert statuses[-1].phase == "unlike"
    assert not any(status.alarm for status in statuses)
    text = monitor.state.history[-1].text
    assert text.startswith("the clips have been unlike those of the fit in all known states (idle, load), p-values 0.")


def test_feedback_is_about_the_states_of_its_clips() -> None:
    model = two_states()
    monitor, states = Monitor(model), alternating(360)
    watch(monitor, model, drawn(states, 1), states)
    assert watch(monitor, model, drawn(["idle"] * 30, 2) + APART, ["idle"] * 30)[-1].alarm
    before = list(monitor.bag.totals)
    moved = feedback.last_alarm_was_normal(monitor)
    assert [sound.state for sound, _ in monitor.accepted.bags.values()] == [0]
    assert (monitor.accepted.total, list(monitor.bag.totals)) == (moved, before)
    assert monitor.bag.totals[1:] == before[1:]
    feedback.undo(monitor)
    assert monitor.bag.totals == before


def test_the_states_are_in_the_monitors_file(tmp_path: Path) -> None:
    model, path = two_states(), tmp_path / "m.monitor"
    states = alternating(100, dwell=5)
    with Monitor.open(path, model) as monitor:
        watch(monitor, model, drawn(states, 1), states)
    with Monitor.open(path, model) as again:
        assert again.bag.totals == monitor.bag.totals == [50, 50, 0]
        np.testing.assert_array_equal(again.bag.counts, monitor.bag.counts)
    model.calibration.states.of_clips[:2] = model.calibration.states.of_clips[1::-1]
    with pytest.raises(MonitorError, match="belongs to another model"), Monitor.open(path, model):
        pytest.fail("other states")
    plain = msgspec.msgpack.decode(path.read_bytes()[14 + 32 :])
    plain["bag"] = {3 * BINS: 1}
    packed = msgspec.msgpack.encode(plain)
    path.write_bytes(b"asd-monitor 1\n" + hashlib.sha256(packed).digest() + packed)
    with pytest.raises(MonitorError, match=rf"does not hold a monitor \(.*bins must be below {3 * BINS}, got"):
        StateFile(path).read()


# Recordings


def hum(path: Path, *, seed: int, fast: bool, whine: float = 0.0) -> Path:
    """Write a second of a motor's hum; it is higher and louder in the fast state."""
    rng, time = np.random.default_rng(seed), np.arange(8000) / 8000
    pitch, noise = (80, 0.02) if fast else (50, 0.01)
    signal = sum(noise * 5 / k * np.sin(2 * np.pi * pitch * k * time + rng.uniform(0, 6)) for k in range(1, 6))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal + rng.normal(0, noise, 8000) + whine * np.sin(2 * np.pi * 3000 * time), 8000)
    return path


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with recordings in two states: to learn from, of a healthy morning, and of a faulty noon."""
    folder = tmp_path_factory.mktemp("sounds")
    for i in range(24):
        hum(folder / "train" / ("fast" if i % 2 else "slow") / f"{i:02d}.wav", seed=i, fast=bool(i % 2))
    for i in range(160):
        fast = i // 20 % 2 == 1
        place = folder / ("morning" if i < 120 else "noon") / ("fast" if fast else "slow")
        name = f"press-20260301_08{i // 60:02d}{i % 60:02d}.wav"
        hum(place / name, seed=100 + i, fast=fast, whine=0.0 if i < 120 else 0.1)
    done = run("fit", folder / "train", "-o", folder / "m.asd", *OPTIONS, "--group", "folder")
    told = (
        "A monitor keeps 2 operating states apart: fast (12), slow (12) held-out clips. The state of a clip is told by"
    )
    assert f"{told} its sound, of 100% of these recordings rightly." in done.stdout
    return folder


def test_scoring_tells_the_state_and_the_monitor_finds_the_fault(sounds: Path, tmp_path: Path) -> None:
    state = tmp_path / "m.monitor"
    done = run("score", sounds / "m.asd", sounds / "morning", "--monitor", state, "--json")
    rows = json.loads(done.stdout)["clips"]
    assert all(row["state"] == Path(row["clip"]).parent.name for row in rows)
    assert all(0 < row["state_p_value"] <= 1 for row in rows)
    assert not any(row["alarm"] for row in rows)
    shown = run("score", sounds / "m.asd", sounds / "noon", "--monitor", state, code=1).stdout
    assert re.search(r"\sslow(\s|$)", shown)  # as a cell: in paths, a slash follows
    shown = json.loads(run("monitor", state, "show", "--json").stdout)
    assert shown["phase"] == "alarm"
    assert shown["needed_by_state"] == {"fast": 0, "slow": 0}


def test_the_user_may_name_the_state(sounds: Path, tmp_path: Path) -> None:
    one = sounds / "morning" / "slow" / "press-20260301_080000.wav"
    (tmp_path / "clips.csv").write_text(f"path,speed\n{one},fast\n")
    done = run("score", sounds / "m.asd", tmp_path / "clips.csv", "--state", "speed", "--csv")
    assert done.stdout.splitlines()[0].endswith("error,state,state_p_value")
    assert ",fast,0.0769" in done.stdout  # 1 / 13: no clip of the fast state is like it
    done = run("score", sounds / "m.asd", sounds / "morning" / "slow", "--state", "folder", "--csv", "--monitor",
               tmp_path / "m.monitor")  # fmt: skip
    assert {line.split(",")[7] for line in done.stdout.splitlines()[1:]} == {"slow"}


def test_states_that_cannot_be_are_refused_in_one_line(sounds: Path, tmp_path: Path) -> None:
    asd.fit(sounds / "train", **QUICK).save(tmp_path / "plain.asd")
    (tmp_path / "clips.csv").write_text(f"path,speed\n{sounds / 'train' / 'slow' / '00.wav'},turbo\n")
    refused = {
        (tmp_path / "plain.asd", sounds / "train", "folder"): (
            "--state names operating states, but the model knows none; fit it with --group COLUMN or --group folder"
        ),
        (sounds / "m.asd", sounds / "train", "speed"): (
            "no clip has a state: 'speed' is a column of a CSV manifest; name the manifest as DATA"
        ),
        (sounds / "m.asd", tmp_path / "clips.csv", "speed"): (
            "state 'turbo' is none of those that the model was fitted with (fast, slow); name one of them, leave "
            "--state out, or fit with recordings of it, too"
        ),
    }
    for (model, data, state), text in refused.items():
        assert f"asd: error: {text}" in run("score", model, data, "--state", state, code=2).stderr.splitlines()


def test_without_groups_nothing_is_different(sounds: Path) -> None:
    model = asd.fit(sounds / "train", **QUICK)
    assert model.calibration.as_entry().keys() == {"clip_seconds", "recordings"}
    assert model.calibration.arrays().keys() == {"scores", "member"}
    verdict = next(iter(asd.score(model, sounds / "noon")))
    assert isinstance(verdict, asd.Verdict)
    assert verdict.state is None
    assert "state" not in verdict.as_dict()


def test_the_states_are_in_the_model_file_and_in_a_new_calibration(sounds: Path, tmp_path: Path) -> None:
    model = asd.load(sounds / "m.asd")
    states = model.calibration.states
    assert states is not None
    assert (states.names, states.counts(), states.told) == (("fast", "slow"), [12, 12], None)
    new = asd.recalibrate(model, sounds / "morning" / "slow")
    assert new.calibration.states is not None
    assert new.calibration.states.counts() == [0, 60]
    new = asd.recalibrate(model, sounds / "morning" / "fast", keep=True)
    assert new.calibration.states is not None
    assert new.calibration.states.counts() == [12 + 60, 12]
    new.save(tmp_path / "new.asd")
    again = asd.load(tmp_path / "new.asd").calibration.states
    assert again is not None
    np.testing.assert_array_equal(again.of_clips, new.calibration.states.of_clips)


def test_the_state_may_be_named_in_python_and_for_an_evaluation(sounds: Path, tmp_path: Path) -> None:
    model, one = asd.load(sounds / "m.asd"), sounds / "morning" / "slow" / "press-20260301_080000.wav"
    table = tmp_path / "clips.csv"
    table.write_text(f"path,speed\n{one},fast\n")
    named = [each.state for each in asd.score(model, table, state="speed") if isinstance(each, asd.Verdict)]
    told = [each.state for each in asd.score(model, one) if isinstance(each, asd.Verdict)]
    assert (named, told) == (["fast"], ["slow"])
    with pytest.raises(DataError, match="no clip has a state: 'speed' is a column"):
        list(asd.score(model, one, state="speed"))
    both = ("--normal", sounds / "morning", "--anomalous", sounds / "noon")
    assert "of the healthy clips" in run("evaluate", sounds / "m.asd", *both, "--state", "folder").stdout
    done = run("evaluate", sounds / "m.asd", *both, "--state", "speed", code=2)
    assert "asd: error: no clip has a state: 'speed' is a column" in done.stderr


FORGED: list[tuple[Any, str]] = [
    (lambda m, a: a.pop("calibration.state"), "calibration must have the arrays scores and member, state, centres and"),
    (lambda m, a: m["calibration"].pop("states"), "calibration must have the arrays scores and member"),
    (lambda m, a: m["calibration"].update(states=["a"]), "length >= 2"),
    (lambda m, a: m["calibration"].update(states=["a", "a"]), "calibration.states must be different names"),
    (lambda m, a: a["calibration.state"].__setitem__(0, 3), "calibration.state must be from 0 to 2, got 0 to 3"),
    (lambda m, a: a["calibration.spread"].__setitem__(0, 0.0), "calibration.spread must be above 0"),
    (lambda m, a: a["calibration.centres"].__setitem__((0, 0), np.nan), "calibration.centres and spread must be"),
    (lambda m, a: a.update({"calibration.spread": np.ones(3)}), "calibration.centres and spread must be"),
    (lambda m, a: a.update({"calibration.state": np.zeros(3, np.int64)}), "must be an int64 number for each score"),
]


@pytest.mark.parametrize(("forge", "text"), FORGED)
def test_forged_states_are_refused(forge: Any, text: str, sounds: Path, tmp_path: Path) -> None:
    manifest, arrays = modelfile.read(sounds / "m.asd")
    arrays = {name: array.copy() for name, array in arrays.items()}
    manifest = json.loads(json.dumps(manifest))
    forge(manifest, arrays)
    modelfile.write(tmp_path / "forged.asd", manifest, arrays)
    with pytest.raises(ModelFileError, match=text):
        asd.load(tmp_path / "forged.asd")
