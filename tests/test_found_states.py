"""Operating states that nobody named: how many there are is found by the sound of the clips."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd.detection.clusters import found_states
from asd.detection.states import States
from asd.errors import ConfigError, DataError
from asd.plugin import Float64
from asd.sound.machines import Machine

ASD = Path(os.environ["ASD_COMMAND"])
QUICK: dict[str, Any] = {"frontend": "mel-stack", "extractor": "identity", "pca": 0.9, "detector": "mahalanobis"}
OPTIONS = [text for name, value in QUICK.items() for text in (f"--{name}", str(value))]


def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command and check its exit code."""
    done = subprocess.run([ASD, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


# Embeddings


def stretched(rng: np.random.Generator, along: Float64) -> Float64:
    """Return clips of one state that differ along a line in 30 dimensions."""
    return rng.normal(size=(len(along), 30)) + 5 * along[:, np.newaxis] * rng.normal(size=30)


ONE_STATE: dict[str, Callable[[np.random.Generator, int], Float64]] = {
    "normal": lambda rng, n: rng.normal(size=(n, 30)),
    "stretched": lambda rng, n: stretched(rng, rng.normal(size=n)),
    "any speed alike": lambda rng, n: stretched(rng, rng.random(n)),
    "skewed": lambda rng, n: stretched(rng, rng.exponential(size=n)),
    "with clips far out": lambda rng, n: rng.standard_t(2, size=(n, 30)),
    "a few of another kind": lambda rng, n: rng.normal(size=(n, 30)) + 20 * (np.arange(n) < 3)[:, np.newaxis],
    "all alike": lambda _, n: np.ones((n, 3)),
}


@pytest.mark.parametrize("count", [5, 20, 150])
@pytest.mark.parametrize("kind", ONE_STATE)
def test_clips_of_one_state_stay_together(kind: str, count: int) -> None:
    for seed in range(3):
        rows = ONE_STATE[kind](np.random.default_rng(seed), count)
        assert not found_states([rows], seed=seed).any()


@pytest.mark.parametrize("states", [2, 3, 4])
def test_states_that_lie_apart_are_found(states: int) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        own = rng.permutation(np.repeat(np.arange(states), [30, 25, 20, 15][:states]))
        rows = 3 * rng.normal(size=(states, 30))[own] + rng.normal(size=(len(own), 30))
        found = found_states([rows], seed=seed)
        assert found.tolist() == own.tolist()  # the state of most clips is 0
        assert found_states([rows], count=states, seed=seed).tolist() == own.tolist()


def test_a_short_embedding_weighs_as_much_as_a_long_one() -> None:
    rng, own = np.random.default_rng(0), np.arange(80) % 2
    parts = [rng.normal(size=(80, 300)), 12.0 * own[:, np.newaxis] + rng.normal(size=(80, 1))]
    assert len({tuple(pair) for pair in np.stack([found_states(parts), own], axis=1).tolist()}) == 2
    assert not found_states([np.concatenate(parts, axis=1)]).any()


def test_of_many_clips_some_are_looked_at_and_all_are_told() -> None:
    rng = np.random.default_rng(0)
    own = (rng.random(5000) < 0.3).astype(int)
    assert found_states([8.0 * own[:, np.newaxis] + rng.normal(size=(5000, 5))]).tolist() == own.tolist()


def test_a_loud_fault_does_not_pass_for_another_state() -> None:
    rng, own = np.random.default_rng(0), np.arange(40) % 2
    rows = np.concatenate([rng.normal(size=(40, 20)) + 5 * own[:, np.newaxis], rng.normal(size=(40, 1))], axis=1)
    rows[:, 20] -= 2 * own
    states = States.learned([f"state {k + 1}" for k in own], rows, np.arange(40))
    assert states is not None
    fault = np.append(np.full(20, 5.0), 500.0)  # in the second state, whose level is the lower one
    assert states.number(None, fault) == 1


# Machines


def record(folder: Path, machine: int, seeds: range, **how: Any) -> Path:
    """Write recordings of two seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        sound = Machine(seed=machine).record(2.0, seed=seed, **how)
        soundfile.write(folder / f"{machine}-{seed:03d}.wav", sound.audio.samples[0], 16000)
    return folder


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with recordings of one state, of two, and of another morning with a fault in it."""
    folder = tmp_path_factory.mktemp("found")
    record(folder / "one", 1, range(40))
    record(folder / "two", 1, range(30))
    record(folder / "two", 2, range(20))
    record(folder / "new", 1, range(100, 110))
    record(folder / "new", 2, range(100, 110))
    record(folder / "faulty", 2, range(200, 205), anomaly="whine", level=0.0)
    return folder


def test_as_many_states_are_found_as_lie_apart(sounds: Path) -> None:
    done = run("fit", sounds / "two", "-o", sounds / "two.asd", *OPTIONS, "--states", "auto")
    told = (
        "A monitor keeps 2 operating states apart, found by the sound of the clips: state 1 (30), state 2 (20) held-out"
    )
    assert told in done.stdout
    rows = json.loads(run("score", sounds / "two.asd", sounds / "new", "--json", code=1).stdout)["clips"]
    assert all(row["state"] == {"1": "state 1", "2": "state 2"}[Path(row["clip"]).name[0]] for row in rows)
    rows = json.loads(run("score", sounds / "two.asd", sounds / "faulty", "--json", code=1).stdout)["clips"]
    assert {row["state"] for row in rows} == {"state 2"}
    state = sounds / "two.monitor"
    run("score", sounds / "two.asd", sounds / "new", "--monitor", state)
    shown = json.loads(run("monitor", state, "show", "--json").stdout)
    assert shown["needed_by_state"].keys() == {"state 1", "state 2"}


def test_one_state_is_said_to_be_one(sounds: Path) -> None:
    done = run("fit", sounds / "one", "-o", sounds / "one.asd", *OPTIONS, "--states", "auto")
    told = (
        "By their sound all clips are of one operating state: no group of 10 clips or more lies apart from the others."
    )
    assert told in done.stdout
    model = asd.load(sounds / "one.asd")
    assert model.calibration.states is None
    assert model.config.states == "auto"


def test_a_number_of_states_is_taken_as_it_is_given(sounds: Path) -> None:
    model = asd.fit(sounds / "one", **QUICK, states=3)
    assert model.calibration.states is not None
    assert model.calibration.states.names == ("state 1", "state 2", "state 3")
    done = run("fit", sounds / "one", "-o", sounds / "three.asd", *OPTIONS, "--states", "3")
    assert "rightly; that is too few: find fewer, with --states." in done.stdout
    few = (
        r"12 operating states: the sound of the 12 clips falls into groups of 1, 1, .* clips, and a state needs 2; ask"
    )
    with pytest.raises(DataError, match=few):
        asd.fit(sorted((sounds / "one").iterdir())[:12], **QUICK, states=12)


@pytest.mark.parametrize("states", [0, 1, 13, -2, 2.5, "many", True])
def test_other_numbers_are_refused(states: Any) -> None:
    with pytest.raises(ConfigError, match="states"):
        asd.Config.from_mapping({"states": states})


def test_models_without_found_states_are_written_as_before() -> None:
    assert "states" not in asd.Config().as_mapping()
    assert asd.Config.from_mapping({"states": "auto"}).as_mapping()["states"] == "auto"
    assert asd.Config.from_mapping({"states": "none"}).states is None


def test_it_is_told_that_states_decide_where_groups_are_named(sounds: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = asd.fit(sounds / "two", **QUICK, states="auto", group="folder")
    assert model.calibration.states is not None
    assert len(model.calibration.states.names) == 2
    assert "operating states are those found by sound, not those of group" in caplog.text


def test_found_states_go_on_with_the_model(sounds: Path, tmp_path: Path) -> None:
    model = asd.fit(sounds / "two", **QUICK, states="auto")
    new = asd.recalibrate(model, sounds / "new")
    assert new.calibration.states is not None
    assert new.calibration.states.counts() == [10, 10]
    more = asd.update(model, sounds / "new", old_data=sounds / "two")
    assert more.calibration.states is not None
    assert more.calibration.states.counts() == [40, 30]
    model.save(tmp_path / "two.asd")
    more.save(tmp_path / "more.asd")
    picture = tmp_path / "diff.svg"
    done = run("diff", tmp_path / "two.asd", tmp_path / "more.asd", "--picture", picture, code=1)
    assert "state 1 (30), state 2 (20)" in done.stdout
    assert "state 1 (40), state 2 (30)" in done.stdout
    assert "<svg" in picture.read_text(encoding="utf-8")


def test_a_picture_that_cannot_be_drawn_is_refused_before_the_models_are_read(tmp_path: Path) -> None:
    models = (tmp_path / "none.asd", tmp_path / "none.asd")
    done = run("diff", *models, "--picture", tmp_path / "d.gif", code=2)
    assert (
        f"asd: error: --picture {tmp_path / 'd.gif'}: draws .png or .svg files; give a name that ends so" in done.stderr
    )
    (tmp_path / "matplotlib.py").write_text("raise ImportError('broken')")
    where = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    asked = [sys.executable, "-m", "asd", "diff", *models, "--picture", tmp_path / "d.png"]
    refused = subprocess.run(asked, capture_output=True, text=True, check=False, env=where)
    assert (refused.returncode, refused.stderr) == (
        2, f"asd: error: --picture {tmp_path / 'd.png'}: drawing needs matplotlib: pip install matplotlib\n"
    )  # fmt: skip


def test_real_machines(shared: Path) -> None:
    data = shared / "data"
    fan, slider = (
        sorted((data / "fan_id_00" / "normal").iterdir()),
        data / "dcase2020_few" / "slider" / "id_00" / "normal",
    )
    assert asd.fit(fan, quality="fast", states="auto").calibration.states is None
    states = asd.fit([*fan, slider], states="auto").calibration.states
    assert states is not None
    names = [clip.path.parts[-3] for clip in asd.fit([*fan, slider]).calibration.clips]
    own = [states.names[number] for number in states.of_clips.tolist()]
    assert not {state for state, name in zip(own, names, strict=True) if name == "fan_id_00"} & {
        state for state, name in zip(own, names, strict=True) if name != "fan_id_00"
    }
