"""What components return and raise: wrong results are failures of their clips, with component, plugin and place."""

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
from asd.detection.calibration import Calibration
from asd.detection.conditions import Conditions, computed_with, of_branch, runtime_of_fit
from asd.detection.config import Choice
from asd.detection.model import Model
from asd.detection.pipeline import ClipFeatures, Failure, Pipeline
from asd.detection.verdict import Verdict
from asd.errors import AudioError, ConfigError, PluginError
from asd.sound.finding import find_clips

ASD = Path(os.environ["ASD_COMMAND"])
INSTALLED = Path(sys.executable).with_name("asd")
PLUGIN = Path(__file__).resolve().parent / "broken" / "wrong_results.py"
QUICK = ("--plugin-file", str(PLUGIN), "--frontend", "energies", "--extractor", "same", "--detector", "careless")
RATE = 8000

FAULTS = {
    "nan": "returned NaN or infinity for 1 of 4 windows",
    "inf": "returned NaN or infinity for 1 of 4 windows",
    "columns": "expected numbers of shape (4",
    "one-less": "expected numbers of shape (4",
    "one-for-all": "expected numbers of shape (4",
    "scalar": "of shape (), expected numbers of shape (4",
    "none": "returned object of shape (), expected numbers",
    "complex": "returned complex128 of shape (4",
    "object": "returned object of shape (4",
    "ragged": "returned object of shape (2,)",
    "text": "returned <U",
    "raise": "KeyError: 'left' (",
    "exit": "SystemExit: 0 (",
    "unreadable": "UnreadableError: its text cannot be shown: ValueError (",
}


@pytest.fixture(scope="module", autouse=True)
def plugin() -> None:
    from asd.contract.installed import registry

    if not any(each.distribution == PLUGIN.name for each in registry().plugins):
        asd.use_plugin_file(PLUGIN)


def write(path: Path, *, seed: int, level: float = 0.1, seconds: float = 2.0, **changes: Any) -> Path:
    samples = np.random.default_rng(seed).normal(0, level, int(seconds * RATE))
    soundfile.write(path, changes.get("samples", samples), changes.get("rate", RATE))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 healthy clips, and beside them three to score: one is very quiet, which the plugin answers with its fault."""
    folder = tmp_path_factory.mktemp("sounds")
    (folder / "train").mkdir()
    (folder / "new").mkdir()
    for i in range(20):
        write(folder / "train" / f"{i:02}.wav", seed=i)
    for name in ("a", "b"):
        write(folder / "new" / f"{name}.wav", seed=ord(name))
    write(folder / "new" / "bad.wav", seed=99, level=0.001)
    return folder


def options(**faults: str) -> dict[str, Any]:
    names = {"frontend": "energies", "extractor": "same", "detector": "careless"}
    chosen: dict[str, Any] = {
        kind: {"name": name, **({"fault": faults[kind]} if kind in faults else {})} for kind, name in names.items()
    }
    return {**chosen, "pca": None}


def scored(folder: Path, **faults: str) -> list[Verdict | Failure]:
    model = asd.fit(folder / "train", **options(**faults))
    return list(asd.score(model, folder / "new"))


@pytest.mark.parametrize("kind", ["frontend", "extractor", "detector"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_result_fails_its_clip_and_no_other(folder: Path, kind: str, fault: str) -> None:
    first, second, failure = scored(folder, **{kind: fault})
    assert isinstance(first, Verdict)
    assert isinstance(second, Verdict)
    assert isinstance(failure, Failure)
    text = str(failure.error)
    name = options()[kind]["name"]
    assert text.startswith(f"{folder / 'new' / 'bad.wav'}: {kind} '{name}' of wrong_results.py sha256:"), text
    assert FAULTS[fault] in text
    if "(" in FAULTS[fault][-1]:
        assert f"{PLUGIN}, line " in text
    assert "\n" not in text


@pytest.mark.parametrize("kind", ["extractor", "detector"])
@pytest.mark.parametrize("fault", ["float32", "list"])
def test_float32_and_lists_are_converted(folder: Path, kind: str, fault: str) -> None:
    results = scored(folder, **{kind: fault})
    expected = scored(folder)
    for got, want in zip(results, expected, strict=True):
        assert isinstance(got, Verdict)
        assert isinstance(want, Verdict)
        assert got.score == pytest.approx(want.score, rel=1e-6)
        assert type(got.score) is float


def test_scores_too_large_for_a_mean_are_refused(folder: Path) -> None:
    failure = scored(folder, detector="huge")[2]
    assert isinstance(failure, Failure)
    assert "expected numbers up to 1e+290" in str(failure.error)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("start-nan", "the call (start) returned NaN or infinity"),
        ("start-one-less", "the call (start) returned float64 of shape (3,), expected numbers of shape (4,)"),
        ("duration-nan", "returned 4 windows of duration nan, expected"),
        ("duration-zero", "returned 4 windows of duration 0, expected"),
        ("duration-text", "returned 4 windows of duration 'x', expected"),
        ("tuple", "returned tuple, expected Windows"),
    ],
)
def test_starts_and_duration_of_windows(folder: Path, fault: str, text: str) -> None:
    failure = scored(folder, frontend=fault)[2]
    assert isinstance(failure, Failure)
    assert text in str(failure.error)


def test_a_window_that_no_memory_holds_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"'energies': has windows of 300000 s every 0.5 s; expected windows of up to"
    ):
        Pipeline(asd.Config.from_mapping({**options(), "frontend": {"name": "energies", "long": True}}))


def command(*arguments: str | Path, code: int, program: Path = ASD) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def spoiling(folder: Path) -> Path:
    path = folder / "spoiling.asd"
    command("fit", folder / "train", "-o", path, *QUICK, "--detector.fault", "raise", "--pca", "none", code=0)
    return path


def test_the_run_goes_on_and_strict_stops(folder: Path, spoiling: Path) -> None:
    done = command("score", spoiling, folder / "new", "--plugin-file", PLUGIN, "--json", code=0)
    clips = {Path(clip["clip"]).name: clip for clip in json.loads(done.stdout)["clips"]}
    assert "KeyError: 'left'" in clips["bad.wav"]["error"]
    assert [name for name, clip in clips.items() if clip["error"] is None] == ["a.wav", "b.wav"]
    assert "please report" not in done.stderr
    strict = command("score", spoiling, folder / "new", "--plugin-file", PLUGIN, "--strict", code=2)
    assert "asd: error: " in strict.stderr
    assert "of wrong_results.py sha256:" in strict.stderr


def test_fit_leaves_such_a_clip_out(folder: Path, tmp_path: Path) -> None:
    arguments = (folder / "train", folder / "new", *QUICK, "--extractor.fault", "nan")
    done = command("fit", *arguments, "-o", tmp_path / "m.asd", "--json", code=0)
    summary = json.loads(done.stdout)
    assert (summary["clips"], summary["left_out"]) == (22, 1)
    assert "embed returned NaN or infinity" in summary["failures"][0]["error"]
    command("fit", *arguments, "-o", tmp_path / "n.asd", "--strict", code=2)
    assert not (tmp_path / "n.asd").exists()


def test_an_error_in_fit_ends_in_one_line_that_names_the_place(folder: Path, tmp_path: Path) -> None:
    done = command("fit", folder / "train", "-o", tmp_path / "m.asd", *QUICK, "--detector.fit_fault", "raise", code=2)
    lines = [line for line in done.stderr.splitlines() if line.startswith("asd: error: ")]
    assert len(lines) == 1
    assert "asd: error: detector 'careless' of wrong_results.py sha256:" in lines[0]
    assert f"KeyError: 'left' ({PLUGIN}, line " in lines[0]
    assert "please report" not in lines[0]


def test_when_no_clip_can_be_used_the_reason_is_given(folder: Path, tmp_path: Path) -> None:
    done = command("fit", folder / "new", "-o", tmp_path / "m.asd", *QUICK, code=2)
    assert "3 clips: at least 5 clips" in done.stderr
    for i in range(5):
        write(tmp_path / f"{i}bad.wav", seed=i, level=0.001)
    done = command("fit", tmp_path, "-o", tmp_path / "m.asd", *QUICK, "--extractor.fault", "raise", code=2)
    assert "0 of 5 clips can be used" in done.stderr
    assert "(the first that cannot: " in done.stderr.splitlines()[-1]


def test_what_a_plugins_command_returns_is_no_exit_code() -> None:
    command("one", "--plugin-file", PLUGIN, code=0)
    done = command("one", "--raise", "--plugin-file", PLUGIN, code=2)
    assert "unexpected KeyError: 'left' in the plugin wrong_results.py sha256:" in done.stderr
    assert f"({PLUGIN}, line " in done.stderr
    assert "please report" not in done.stderr


def test_json_never_holds_nan(capsys: pytest.CaptureFixture[str]) -> None:
    from asd.cli.output import print_json

    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"p": float("nan")})
    print_json({"name": "\udce9 →"})
    assert json.loads(capsys.readouterr().out) == {"name": "\udce9 →"}


# Conditions


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return asd.fit(folder / "train", **options())


def verdict_of(model: Model, path: Path) -> Verdict:
    (result,) = asd.score(model, path)
    assert isinstance(result, Verdict)
    return result


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda noise: np.stack([noise, noise], axis=1), "has 2 channel(s), the model learned from 1: is it the same"),
        (lambda noise: noise / 10, "its level, -40 dB, is 20 dB below the quietest training clip (-20 dB)"),
        (lambda noise: noise * 4, "its level, -8 dB, is 12 dB above the loudest training clip (-20 dB)"),
    ],
)
def test_other_channels_and_levels_are_noted(
    model: Model, tmp_path: Path, change: Callable[[Any], Any], note: str
) -> None:
    noise = np.random.default_rng(5).normal(0, 0.1, 2 * RATE)
    path = write(tmp_path / "a.wav", seed=0, samples=change(noise))
    model.save(tmp_path / "m.asd")
    for each in (model, asd.load(tmp_path / "m.asd")):
        assert any(note in text for text in verdict_of(each, path).notes)
    usual = write(tmp_path / "b.wav", seed=0, samples=2 * noise)
    assert verdict_of(model, usual).notes == ()


def test_the_order_of_files_changes_nothing(folder: Path, tmp_path: Path) -> None:
    paths = sorted((folder / "train").iterdir())
    # The name does not matter either, only the content.
    renamed = [write(tmp_path / f"{99 - i}.wav", seed=i) for i in range(20)]
    fits = [asd.fit(given, folds=3, **options()) for given in (paths, paths[::-1], renamed)]
    for other in fits[1:]:
        np.testing.assert_array_equal(other.calibration.scores, fits[0].calibration.scores)
        np.testing.assert_array_equal(other.calibration.member, fits[0].calibration.member)
        for member, expected in zip(other.members, fits[0].members, strict=True):
            np.testing.assert_array_equal(
                member.detector.get_state()["centre_"], expected.detector.get_state()["centre_"]
            )
    assert fits[0].training == fits[1].training


def test_notes_on_training_clips_are_counted(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(3):
        write(tmp_path / f"short{i}.wav", seed=i, seconds=0.3 + i / 100)
    with caplog.at_level("WARNING", logger="asd"):
        fitted = asd.fit([folder / "train", tmp_path], **options())
    line = "3 of 23 clips: 0.3"
    assert any(line in message and "shorter than a window" in message for message in caplog.messages)
    assert [(each.count, len(each.clips)) for each in fitted.notes] == [(3, 3)]
    fitted.save(tmp_path / "m.asd")
    assert [each.count for each in asd.load(tmp_path / "m.asd").notes] == [3]
    done = command("fit", folder / "train", *tmp_path.glob("*.wav"), "-o", tmp_path / "n.asd", *QUICK, "--json", code=0)
    assert [each["count"] for each in json.loads(done.stdout)["notes"]] == [3]
    assert line in done.stderr


def features(**changes: Any) -> ClipFeatures:
    usual: dict[str, Any] = {"seconds": 1.0, "file_rate": 8000, "silent": False, "device": "cpu", "precision": "bf16"}
    return ClipFeatures(asd.Clip(Path("a.wav")), np.zeros((1, 1), np.float32), np.zeros(1), **{**usual, **changes})


def test_scoring_takes_the_precision_of_the_fit() -> None:
    kept = computed_with(["a"], [asd.Runtime()], [features()])
    assert (kept["device"], kept["precision"], kept["asked_precision"]) == ("cpu", "bf16", "auto")
    assert runtime_of_fit(asd.Runtime(), kept) == asd.Runtime()  # on this machine, auto means the same again
    assert runtime_of_fit(asd.Runtime(), {**kept, "hardware": "other"}).precision == "bf16"
    assert runtime_of_fit(asd.Runtime(device="cuda"), kept).precision == "bf16"
    asked = computed_with(["a"], [asd.Runtime(precision="bf16")], [features()])
    assert runtime_of_fit(asd.Runtime(), asked).precision == "bf16"
    assert runtime_of_fit(asd.Runtime(precision="fp32"), kept).precision == "fp32"
    assert runtime_of_fit(asd.Runtime(), {"precision": "auto"}) == asd.Runtime()


def test_scoring_takes_the_engine_of_the_fit_where_auto_may_mean_another() -> None:
    kept = computed_with(["a"], [asd.Runtime()], [features(engine="torch")])
    assert kept["engine"] == "torch"
    assert runtime_of_fit(asd.Runtime(), kept) == asd.Runtime(engine="torch")
    assert runtime_of_fit(asd.Runtime(engine="onnx"), kept).engine == "onnx"
    assert runtime_of_fit(asd.Runtime(), {**kept, "hardware": "other"}) == asd.Runtime(precision="bf16")


def test_each_branch_has_the_precision_of_its_own_fit() -> None:
    runtimes = [asd.Runtime(precision="bf16"), asd.Runtime(precision="fp32")]
    taken = [features(engine="torch"), features(precision="fp32", engine="onnx")]
    kept = computed_with(["a", "b.c"], runtimes, taken)
    assert [of_branch(kept, name)["precision"] for name in ("a", "b.c")] == ["bf16", "fp32"]
    assert [of_branch(kept, name)["engine"] for name in ("a", "b.c")] == ["torch", "onnx"]
    assert runtime_of_fit(asd.Runtime(), of_branch(kept, "b.c")).precision == "fp32"


def test_another_precision_than_in_the_fit_is_said_once(
    folder: Path, model: Model, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "fitted_with", {"precision": "fp32"})
    monkeypatch.setattr(model.pipeline.extractor, "computes_with", lambda: asd.Runtime("cpu", "bf16"))
    assert len(list(asd.score(model, folder / "train"))) == 20
    said = [message for message in caplog.messages if "computed in bf16, but the model was fitted in fp32" in message]
    assert len(said) == 1


def test_conditions_of_old_model_files_say_nothing() -> None:
    assert list(Conditions().notes(features(channels=7, level=-90.0), 8000)) == []


# The end of a recording


@pytest.mark.parametrize("tail", ["move", "drop"])
def test_a_bang_at_the_very_end_is_found(folder: Path, tmp_path: Path, tail: str) -> None:
    fitted = asd.fit(folder / "train", tail=tail, pooling="max", **options())
    sound = np.random.default_rng(3).normal(0, 0.1, int(2.4 * RATE))
    healthy = write(tmp_path / "healthy.wav", seed=0, samples=sound)
    banged = sound.copy()
    banged[-int(0.3 * RATE) :] *= 6
    faulty = write(tmp_path / "faulty.wav", seed=0, samples=banged)
    fitted.save(tmp_path / "m.asd")
    for each in (fitted, asd.load(tmp_path / "m.asd")):
        got, usual = verdict_of(each, faulty), verdict_of(each, healthy)
        if tail == "move":
            assert got.anomalous
            assert not usual.anomalous
            assert got.peak == pytest.approx(1.9)
            assert got.window_start.tolist() == pytest.approx([0, 0.5, 1.0, 1.5, 1.9])
        else:
            assert got.score == usual.score


# Options


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"seed": -1}, "seed takes 0 or more, got -1"),
        ({"seed": 0.5}, "seed takes 0 or more, got 0.5"),
        ({"seed": True}, "seed takes 0 or more, got True"),
        ({"segment": float("inf")}, "segment takes seconds above 0, or none, got inf"),
        ({"segment": float("nan")}, "segment takes seconds above 0, or none, got nan"),
        ({"folds": 1001}, "folds takes at most 1000, got 1001"),
        ({"pca": float("nan")}, "pca takes a fraction above 0, at most 1, or auto, or none, got nan"),
        ({"pca": 2}, "pca takes a fraction above 0, at most 1, or auto, or none, got 2.0"),
        ({"pca": True}, "pca takes a fraction above 0, at most 1, or auto, or none, got True"),
        ({"deviation_floor": float("nan")}, "deviation_floor takes a number from 0, got nan"),
        ({"top_fraction": "x"}, "top_fraction takes a fraction above 0, at most 1, got 'x'"),
        ({"channel": 1.5}, "channel takes mix, or a number from 1, got 1.5"),
        ({"pooling": "sum"}, "pooling takes mean or max or top, got 'sum'"),
        ({"tail": "keep"}, "tail takes move or drop, got 'keep'"),
        ({"standardise": 1}, "standardise takes true or false, got 1"),
        ({"detector": "gmm"}, "detector takes a Choice or none (Config.from_mapping({'detector': ...}) takes names"),
        *(
            (
                {"false_alarms_per_hour": rate},
                f"false_alarms_per_hour takes alarms per hour above 0, or none, got {rate}",
            )
            for rate in (0, -3, float("nan"), float("inf"))
        ),
    ],
)
def test_python_refuses_what_the_command_refuses(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        asd.Config(**given)
    assert text in str(caught.value)


def test_whole_numbers_are_fractions_too() -> None:
    assert asd.Config(pca=1).pca == 1.0
    assert asd.Config(detector=Choice("gmm")).detector == Choice("gmm")


@pytest.mark.parametrize("rate", [0, -3, float("nan"), float("inf")])
def test_no_decision_for_a_rate_that_is_none(rate: float) -> None:
    with pytest.raises(ConfigError, match="false_alarms_per_hour takes alarms per hour above 0"):
        Calibration(np.arange(20.0), np.zeros(20, np.int64), 10.0).decide(rate)


@pytest.mark.parametrize("rate", ["0", "-3", "nan", "inf"])
def test_every_command_refuses_such_a_rate(folder: Path, spoiling: Path, rate: str) -> None:
    option = ("--false-alarms-per-hour", rate)
    for arguments in (
        ("fit", folder / "train", "-o", folder / "none.asd", *QUICK),
        ("score", spoiling, folder / "new"),
        ("evaluate", spoiling, "--normal", folder / "train", "--anomalous", folder / "new"),
    ):
        done = command(*arguments, *option, code=2)
        assert "asd: error: false_alarms_per_hour takes alarms per hour above 0, or none, got " in done.stderr


# Streams


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell with the installed command: the streams are what Python opens at its start."""
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, text=True, check=False, errors="replace",
        env={**os.environ, **environment},
    )  # fmt: skip


def test_a_closed_pipe_does_not_look_like_an_anomaly(folder: Path, spoiling: Path) -> None:
    done = shell(f"{INSTALLED} score {spoiling} {folder / 'new'} --csv --plugin-file {PLUGIN} 2>/dev/null | head -1")
    assert done.returncode in (0, 2)
    assert done.stdout.startswith("clip,score")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", ["--help", "plugins --json", "score"])
def test_a_full_disk_is_one_line(folder: Path, spoiling: Path, arguments: str) -> None:
    if arguments == "score":
        arguments = f"score {spoiling} {folder / 'new'} --csv --plugin-file {PLUGIN}"
    done = shell(f"{INSTALLED} {arguments} > /dev/full")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "asd: error: cannot write the output: No space left on device"
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_closed_streams(folder: Path, spoiling: Path) -> None:
    line = f"{INSTALLED} score {spoiling} {folder / 'new'} --plugin-file {PLUGIN}"
    done = shell(f"{line} >&-")
    assert done.returncode == 0  # the verdict is in the exit code
    assert "Traceback" not in done.stderr
    done = shell(f"{line} --json 2>&-")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["clips"]) == 3
    assert shell(f"{INSTALLED} score {folder / 'none.asd'} {folder} 2>&-").returncode == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_terminals_that_lack_our_signs(folder: Path, tmp_path: Path, encoding: str) -> None:
    fit = f"{INSTALLED} fit {folder / 'train'} -o {tmp_path / 'm.asd'} {' '.join(QUICK)}"
    done = shell(fit, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "Pipeline: energies" in done.stdout


def test_every_clip_that_fails_in_python_names_the_matter(folder: Path) -> None:
    model = asd.fit(folder / "train", **options(detector="nan"))
    clips = find_clips([folder / "new"])
    errors = [result.error for result in model.score(clips) if isinstance(result, Failure)]
    assert [type(error) for error in errors] == [AudioError]
    assert isinstance(errors[0].__cause__, PluginError)


def test_a_model_whose_extractor_gives_another_width(folder: Path) -> None:
    model = asd.fit(folder / "train", **options())
    model.members[0].transform.mean = np.zeros(7)
    results = list(asd.score(model, folder / "new"))
    assert all("the embeddings have 4 values, the model learned from 7" in str(each.error) for each in results
               if isinstance(each, Failure))  # fmt: skip
    assert all(isinstance(each, Failure) for each in results)
