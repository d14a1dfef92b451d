"""Work in other processes: the seam, and the engine ``local``; what comes back is what this process would compute."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd.detection import members, terms
from asd.detection.local_engine import LocalEngine
from asd.detection.piece import run_piece
from asd.errors import AudioError, ConfigError, EngineError, PluginError, WorkerLost
from asd.experiment import Clip, Failure, Shared, current_engine, each, over_clips, using_engine
from asd.files.store import place_of
from asd_registry import WeightFile
from waiting import PATIENCE, until
from work_pieces import awaited, odd, once_only, square, stems, touched, variable, warning

ASD = Path(os.environ["ASD_COMMAND"])
QUICK = {"extractor": "mel-statistics", "detector": "mahalanobis"}


def clips_of(*stems: object) -> list[Clip]:
    return [Clip(Path(f"/nowhere/{stem}.wav")) for stem in stems]


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    """Two processes for all tests that do no harm to them for good."""
    made = LocalEngine(scheduler="local:2")
    with using_engine(made):
        yield made
    made.close()


@pytest.fixture
def _engine(engine: LocalEngine) -> Iterator[None]:
    with using_engine(engine):
        yield


@pytest.fixture(autouse=True)
def _here() -> Iterator[None]:
    """Let nothing but what a test enters be the engine."""
    with using_engine(None):
        yield


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 12 short healthy recordings and 6 others."""
    folder = tmp_path_factory.mktemp("machine")
    rng = np.random.default_rng(7)
    for kind, count, slope in (("normal", 12, 0.0), ("other", 6, 0.3)):
        (folder / kind).mkdir()
        for n in range(count):
            noise = rng.normal(0, 0.1, 16000)
            soundfile.write(folder / kind / f"{n}.wav", np.convolve(noise, [1, slope])[:16000], 16000)
    return folder


def learned(model: asd.Model) -> str:
    """Return what a model learned, as a digest."""
    _, arrays = model.content()
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(name.encode() + array.tobytes())
    return digest.hexdigest()


def said(verdicts: Any) -> list[Any]:
    return [(v.score, v.p_value, v.anomalous, v.notes, v.window_scores.tobytes(), v.branches) for v in verdicts]


def test_results_come_in_order(engine: LocalEngine) -> None:
    clips = clips_of(*range(300))
    here = list(over_clips(stems, "a", clips))
    assert here == [f"a{n}" for n in range(300)]
    with using_engine(engine):
        assert current_engine() is engine
        assert list(over_clips(stems, "a", clips)) == here
        assert list(over_clips(stems, "a", [])) == []
        assert list(each(square, 2, range(5))) == [0, 2, 8, 18, 32]
    assert current_engine() is None


@pytest.mark.usefixtures("_engine")
def test_a_clip_that_kills_its_process_is_a_failure_and_no_other_is() -> None:
    clips = clips_of(*range(40), "kill", *range(40, 80))
    found = list(over_clips(stems, "", clips))
    assert found[:40] + found[41:] == [str(n) for n in range(80)]
    failure = found[40]
    assert isinstance(failure, Failure)
    assert failure.clip == clips[40]
    assert str(failure.error) == (
        "/nowhere/kill.wav: the process that worked on it died twice; if memory ran out, use fewer workers, else the "
        "recording kills what decodes it: leave it out"
    )


@pytest.mark.usefixtures("_engine")
def test_where_every_clip_kills_the_run_ends() -> None:
    with pytest.raises(EngineError, match=r"process \d of this computer died \(SIGKILL\); so did all .* 4 clips"):
        list(over_clips(stems, "", clips_of(*(f"kill{n}" for n in range(100)))))


@pytest.mark.usefixtures("_engine")
def test_a_killed_process_changes_nothing(tmp_path: Path) -> None:
    assert list(over_clips(once_only, tmp_path, clips_of(*range(60)))) == [str(n) for n in range(60)]
    assert (tmp_path / "seen").exists()


@pytest.mark.usefixtures("_engine")
def test_a_process_killed_from_outside_changes_nothing(engine: LocalEngine) -> None:
    results = over_clips(stems, "", clips_of(*range(2000)))
    begun = [next(results) for _ in range(5)]
    victim = next(iter(engine.everywhere(os.getpid).values()))
    os.kill(victim, signal.SIGKILL)
    assert [*begun, *results] == [str(n) for n in range(2000)]
    assert victim not in engine.everywhere(os.getpid).values()


@pytest.mark.usefixtures("_engine")
def test_an_item_whose_process_dies_each_time() -> None:
    with pytest.raises(
        EngineError, match=r"process \d of this computer died \(exit code 3\); that was try 2 of the same piece of work"
    ):
        list(each(square, 1, range(10)))
    lost = lambda item, loss: -item if isinstance(loss, WorkerLost) else 0  # noqa: E731
    assert list(each(square, 1, range(9), lost=lost)) == [0, 1, 4, 9, 16, 25, 36, -7, 64]


@pytest.mark.usefixtures("_engine")
def test_results_as_they_are_done(engine: LocalEngine, tmp_path: Path) -> None:
    engine.everywhere(os.getpid)  # both have started
    results = each(awaited, tmp_path / "go", [5, 1, 2], in_order=False)
    assert sorted([next(results), next(results)]) == [1, 2]
    (tmp_path / "go").touch()
    assert list(results) == [5]


def test_an_error_comes_at_its_place(engine: LocalEngine) -> None:
    clips = clips_of(*range(20), "bad", *range(20))
    for used in (None, engine):
        with using_engine(used):
            got = []
            with pytest.raises(KeyError, match="bad") as caught:
                got.extend(over_clips(stems, "", clips))  # keeps what came before the error
            assert got == [str(n) for n in range(20)]
    assert "in a worker process" in caught.value.__notes__[0]
    assert "work_pieces.py" in caught.value.__notes__[0]


@pytest.mark.usefixtures("_engine")
def test_an_error_that_cannot_travel_is_told_by_its_text() -> None:
    with pytest.raises(RuntimeError, match="OddError: 1 and 2"):
        list(each(odd, None, [1]))


@pytest.mark.usefixtures("_engine")
def test_few_items_are_ahead_and_closing_gives_up_the_rest(tmp_path: Path) -> None:
    taken = itertools.count()
    results = each(touched, tmp_path, taken)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    results.close()
    begun = next(taken)
    assert begun <= 3 + 2 * 8
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) <= begun


@pytest.mark.usefixtures("_engine")
def test_warnings_come_back_once_and_counts_are_added_up(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "asd"):
        assert list(over_clips(warning, "mind the gap", clips_of(*range(50)))) == [0] * 50
    texts = [record.getMessage() for record in caplog.records if record.name == "asd"]
    assert texts == ["mind the gap", "50 of 100"]


@pytest.mark.parametrize("quick", [True, False])
def test_numbers_are_those_of_this_process(
    quick: bool, machine: Path, shared: Path, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default pipeline on real sound, and one of a single branch: bit for bit."""
    options = QUICK if quick else {}
    normal, other = (machine / "normal", machine / "other")
    if not quick:
        normal, other = (
            sorted((shared / "data/fan_id_00" / kind).glob("*.flac"))[:8] for kind in ("normal", "abnormal")
        )
    monkeypatch.setattr(members, "_WORTH_SENDING", 0.0)  # members are learned there, too

    def everything() -> tuple[Any, ...]:
        model = asd.fit(normal, cache=False, **options)
        branch = {} if quick else {"branch": "spectrum"}
        pooled, windows = (asd.embed(other, windows=w, cache=False, **branch, **options).vectors for w in (False, True))
        return learned(model), said(model.score(other, cache=False)), pooled.tobytes(), windows.tobytes()

    here = everything()
    with using_engine(engine):
        assert everything() == here


def test_arrays_in_memory_travel(engine: LocalEngine, machine: Path) -> None:
    samples = [soundfile.read(path)[0] for path in sorted((machine / "normal").iterdir())]
    here = asd.embed(samples, rate=16000, cache=False, **QUICK)
    with using_engine(engine):
        there = asd.embed(samples, rate=16000, cache=False, **QUICK)
    assert there.vectors.tobytes() == here.vectors.tobytes()
    assert there.clips == here.clips


def test_clips_that_cannot_be_read_are_left_out_alike(engine: LocalEngine, machine: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF nothing")
    data = [machine / "normal", broken]
    here = asd.fit(data, cache=False, **QUICK)
    with using_engine(engine):
        there = asd.fit(data, cache=False, **QUICK)
        with pytest.raises(AudioError, match=r"broken\.wav"):
            asd.fit(data, cache=False, strict=True, **QUICK)
        (verdict,) = there.score([broken])
    assert [str(failure.error) for failure in there.failures] == [str(failure.error) for failure in here.failures]
    assert isinstance(verdict, Failure)
    assert learned(there) == learned(here)


def test_the_engine_is_that_of_the_call(machine: Path) -> None:
    model = asd.fit(machine / "normal", cache=False, **QUICK)
    here = model.score(machine / "other", cache=False)
    with using_engine("local:1"):
        assert current_engine() is not None
        expected = said(here)  # called before the block: by this process
        assert said(asd.score(model, machine / "other", cache=False)) == expected
        late = asd.score(model, machine / "other", cache=False)
    with pytest.raises(
        EngineError, match=r"closed at the end of its block \(asd.using_engine\): read the results in it"
    ):
        next(late)


def test_a_model_that_no_file_can_keep_says_so(engine: LocalEngine, machine: Path) -> None:
    model = asd.fit(machine / "normal", cache=False, **QUICK)
    model.unsaveable = "its detector holds a socket"
    with (
        using_engine(engine),
        pytest.raises(ConfigError, match="so other processes cannot have it: leave --engine out"),
    ):
        list(model.score(machine / "other"))


def test_components_given_in_python_are_refused(engine: LocalEngine, machine: Path) -> None:
    from asd.detection.config import Choice, Config
    from asd.experiment import Pipeline

    config = Config.from_mapping({"extractor": "mel-statistics", "detector": "mahalanobis"})
    part = config.resolved()
    own = replace(part, extractor=Choice("mel-statistics", {}, Pipeline(part).extractor))
    with (
        using_engine(engine),
        pytest.raises(ConfigError, match="extractor 'mel-statistics' is given in Python, and other processes"),
    ):
        asd.Model.fit(clips_of(*range(6)), own)


def test_another_version_is_refused_with_both(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Shared(str, "a", components=[("extractor", "mel-statistics")])
    real = terms.terms_of(shared.components)
    versions = {**dict(real.versions), "asd-frontends": "99.1"}
    monkeypatch.setattr(terms, "terms_of", lambda _: replace(real, versions=tuple(versions.items())))
    own = dict(real.versions)["asd-frontends"]
    expected = (
        f"worker process 1 of this computer (and 1 of 2 workers besides): has asd-frontends {own}, the process that "
        "asks for the work has 99.1: pip install asd-frontends==99.1, and start the worker again"
    )
    with using_engine(engine), pytest.raises(PluginError, match=f"^{re.escape(expected)}$"):
        list(each(variable, shared, [1]))


def test_a_worker_that_comes_later_refuses_its_piece() -> None:
    late = terms.Terms((("extractor", "mel-statistics"),), (("asd-frontends", "99.1"),))
    outcome = run_piece(square, 1, [2], False, late)
    assert outcome.results == []
    assert isinstance(outcome.error, PluginError)
    assert re.search(
        r"worker \S+ \(process \d+\): has asd-frontends .*, the process that asks .* has 99\.1", str(outcome.error)
    )


def test_a_missing_plugin_is_told() -> None:
    problem, _ = terms.check(terms.Terms((("extractor", "nobodys"),)))
    assert problem is not None
    assert "unknown extractor 'nobodys'" in problem


class Elsewhere(LocalEngine):
    """Its processes have another cache folder, as another computer has."""

    folder = Path()

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "ASD_CACHE": str(self.folder)}


def test_weights_are_sent_once_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"weights of a network"
    weight = WeightFile(
        name="tiny.bin", licence="MIT", url="https://example.org/tiny.bin", sha256=hashlib.sha256(content).hexdigest()
    )
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "here"))
    place_of(weight).parent.mkdir(parents=True)
    place_of(weight).write_bytes(content)
    monkeypatch.setattr(terms, "terms_of", lambda _: terms.Terms(weights=(weight,)))
    Elsewhere.folder = tmp_path / "there"
    engine = Elsewhere(scheduler="1")
    with using_engine(engine):
        assert list(each(square, 1, [2, 3])) == [4, 9]
        there = tmp_path / "there" / "weights" / "tiny.bin"
        assert there.read_bytes() == content
        there.unlink()  # of a worker that comes later
        next(iter(engine._workers))._process.kill()  # type: ignore[union-attr]
        assert list(each(square, 1, [2, 3, 4])) == [4, 9, 16]
    engine.close()
    assert there.read_bytes() == content
    assert terms.take_weights(weight, b"something else") == (
        f"tiny.bin: what was sent has another sha256 than {weight.sha256}; fetch it here"
    )


def test_processes_share_the_cores_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    cores = len(os.sched_getaffinity(0))
    for limit, expected in ((None, str(max(1, cores // 2))), ("3", "3")):
        if limit:
            monkeypatch.setenv("OMP_NUM_THREADS", limit)
        with using_engine("local:2"):
            assert list(each(variable, "OMP_NUM_THREADS", [1])) == [expected]


def test_processes_that_cannot_start_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asd.detection.local_engine._START", "raise SystemExit(5)")
    with (
        using_engine("local:2"),
        pytest.raises(EngineError, match=r"of the engine 'local' ended while it started \(exit code 5\); what"),
    ):
        list(each(square, 1, [1]))


def test_a_closed_engine_says_so(engine: LocalEngine) -> None:
    with using_engine("local:1") as made:
        assert made is not None
        processes = made.everywhere(os.getpid)
    with pytest.raises(EngineError, match="the engine 'local' is closed"):
        made.submit(square, 1, 1)
    (gone,) = processes.values()
    with pytest.raises(ProcessLookupError):
        os.kill(gone, 0)


@pytest.mark.parametrize(
    ("given", "scheduler", "text"),
    [
        (
            "local",
            "tcp://host:8786",
            "scheduler 'tcp://host:8786': the engine 'local' starts processes on this",
        ),
        ("local:0", None, "scheduler '0': the engine 'local' starts processes"),
        ("local:2", "local:3", "the address stands twice"),
        (None, "local:3", "scheduler 'local:3' is for an engine that is given by its name"),
        (object(), None, "builtins.object is no engine, nor a client of one; expected a name (local"),
        ("nobodys", None, "unknown engine 'nobodys'"),
    ],
)
def test_engines_that_cannot_be(given: Any, scheduler: str | None, text: str) -> None:
    with pytest.raises((ConfigError, PluginError), match=re.escape(text)), using_engine(given, scheduler):
        pass


def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([ASD, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            ["--engine", "foo"],
            "--engine 'foo' is unknown; expected auto, onnx, torch (what runs the network), or",
        ),
        (["--engine", "torch", "--engine", "onnx"], "--engine torch and --engine onnx exclude each other"),
        (["--engine", "local", "--engine", "local:3"], "--engine local and --engine local:3 exclude each other"),
        (["--engine", "local", "--scheduler", "tcp://a:1"], "an address is for the engine of a cluster"),
    ],
)
def test_options_that_cannot_be(options: list[str], text: str, machine: Path, tmp_path: Path) -> None:
    done = run("embed", machine, "-o", tmp_path / "x.npz", *options, code=2)
    (line,) = done.stderr.splitlines()
    assert text in line
    assert not (tmp_path / "x.npz").exists()


def test_commands_say_the_same_with_processes(machine: Path, tmp_path: Path) -> None:
    options = ["--extractor", "mel-statistics", "--detector", "mahalanobis"]
    local = ["--engine", "local", "--scheduler", "local:2"]
    run("fit", machine / "normal", "-o", tmp_path / "here.asd", *options)
    run("fit", machine / "normal", "-o", tmp_path / "there.asd", *options, *local)
    models = [asd.load(tmp_path / name) for name in ("here.asd", "there.asd")]
    assert learned(models[0]) == learned(models[1])
    score = ["score", tmp_path / "here.asd", machine / "other", "--csv"]
    assert run(*score, code=1).stdout == run(*score, *local, code=1).stdout
    test = ["--normal", machine / "normal", "--anomalous", machine / "other", "--json"]
    evaluate = ["evaluate", tmp_path / "here.asd", *test]
    assert run(*evaluate).stdout == run(*evaluate, *local).stdout


def is_gone(group: int) -> bool:
    """Return whether nobody of a process group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_ctrl_c_keeps_the_rows_and_leaves_no_process(machine: Path, tmp_path: Path) -> None:
    asd.fit(machine / "normal", cache=False, **QUICK).save(tmp_path / "m.asd")
    many = tmp_path / "many"
    many.mkdir()
    for n in range(4000):  # far more than the pipe holds, from which only ten are read
        os.link(machine / "other" / "0.wav", many / f"{n:04}.wav")
    command = [sys.executable, "-m", "asd", "score", tmp_path / "m.asd", many, "--csv", "--engine", "local:2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, start_new_session=True
    )
    assert process.stdout is not None
    first = [process.stdout.readline() for _ in range(10)]
    os.killpg(process.pid, signal.SIGINT)
    rest, errors = (text.decode() for text in process.communicate(timeout=PATIENCE))
    written = len([*first, *rest.splitlines()]) - 1
    assert process.returncode == 2
    told = re.search(r"asd: error: interrupted; the rows of (\d+) clips were written", errors.splitlines()[-1])
    assert told is not None
    assert written - 1 <= int(told[1]) <= written < 4000  # Ctrl-C may come between a row and its count
    until(lambda: is_gone(process.pid), "all its processes end")
