"""The installed command, driven as a user would: what it prints, what it leaves behind, how it exits."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from waiting import PATIENCE, until

ASD = Path(os.environ["ASD_COMMAND"])
INSTALLED = Path(sys.executable).with_name("asd")
QUICK = (
    *("--frontend", "mel-stack", "--extractor", "identity", "--pca", "0.9"),
    *("--detector", "gmm", "--detector.n_components", "2"),
)
Completed = subprocess.CompletedProcess[str]


def asd(*arguments: str | Path, code: int | None = 0, env: dict[str, str] | None = None) -> Completed:
    """Run the command and check its exit code (None: any); there must be no traceback."""
    done = subprocess.run(
        [ASD, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **(env or {})}
    )
    assert code in (None, done.returncode), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def error(*arguments: str | Path, env: dict[str, str] | None = None) -> str:
    """Return the one line of an error with exit code 2; nothing may be on stdout."""
    done = asd(*arguments, code=2, env=env)
    lines = [line for line in done.stderr.splitlines() if line.startswith("asd: error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0].removeprefix("asd: error: ")


def hum(path: Path, *, seed: int, whine: float = 0.0, seconds: float = 2.0, rate: int = 16000) -> Path:
    """Write a motor's hum in noise, with a whine if it is faulty."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    signal = sum(0.05 / k * np.sin(2 * np.pi * 50 * k * time + rng.uniform(0, 6)) for k in range(1, 6))
    signal = signal + rng.normal(0, 0.01, len(time)) + whine * np.sin(2 * np.pi * 3000 * time)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, rate)
    return path


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    for i in range(12):
        hum(folder / "train" / f"{i:02d}.wav", seed=i)
    for i in range(4):
        hum(folder / "normal" / f"{i}.wav", seed=100 + i)
        hum(folder / "faulty" / f"{i}.wav", seed=200 + i, whine=0.05)
    return folder


@pytest.fixture(scope="module")
def model(sounds: Path) -> Path:
    asd("fit", sounds / "train", "-o", sounds / "m.asd", *QUICK)
    return sounds / "m.asd"


def test_fit_says_what_it_did_and_what_to_do_next(sounds: Path, tmp_path: Path) -> None:
    done = asd("fit", sounds / "train", "-o", tmp_path / "m.asd", *QUICK)
    assert f"Learned from 12 clips (24 s of sound), written to {tmp_path / 'm.asd'}." in done.stdout
    assert "Pipeline: mel-stack → identity → PCA 0.9 → gmm (n_components 2)." in done.stdout
    assert (
        "healthy sound then causes about 138 false alarms an hour, judged by 12 clips held out of training"
        in done.stdout
    )
    assert f"Next: asd score {tmp_path / 'm.asd'} NEW_RECORDINGS" in done.stdout


def test_fit_json(sounds: Path, tmp_path: Path) -> None:
    result = json.loads(asd("fit", sounds / "train", "-o", tmp_path / "m.asd", "--json", *QUICK).stdout)
    assert result["clips"] == 12
    assert result["decision"]["false_alarms_per_hour"] == pytest.approx(result["lowest_false_alarms_per_hour"])
    assert result["config"]["detector"]["name"] == "asd-sklearn:gmm"
    assert result["config"]["detector"]["n_components"] == 2
    assert result["config"]["pca"] == 0.9


def test_a_parameter_of_the_default_detector_keeps_its_others(sounds: Path, tmp_path: Path) -> None:
    options = ("--detector.n_neighbors", "2", "--frontend", "mel-stack", "--extractor", "identity", "--folds", "1")
    detector = json.loads(asd("fit", sounds / "train", "-o", tmp_path / "m.asd", "--json", *options).stdout)["config"][
        "detector"
    ]
    assert detector["name"] == "asd-sklearn:knn"
    assert (detector["local_density"], detector["n_neighbors"]) == ("ratio", 2)


def test_the_default_components_are_marked() -> None:
    listed = json.loads(asd("plugins", "--json").stdout)
    marked = {c["kind"]: c["name"] for c in listed if c["default"]}
    assert marked == {"frontend": "efficientat-mel", "extractor": "efficientat-mn04", "detector": "knn"}
    assert "knn (default)" in " ".join(asd("plugins", "--kind", "detector").stdout.split())


def test_a_parameter_of_a_front_end_is_that_of_the_chosen_extractors_own(sounds: Path, tmp_path: Path) -> None:
    arguments = ("fit", sounds / "train", "-o", tmp_path / "m.asd", "--frontend.speed", "3")
    for chosen, frontend in (("--detector", "dense-ae"), "mel-stack"), (("--extractor", "musicnn-mtt"), "musicnn-mel"):
        assert f"frontend '{frontend}' has no parameter 'speed'" in asd(*arguments, *chosen, code=2).stderr


def test_score_exit_codes_and_table(model: Path, sounds: Path) -> None:
    normal = asd("score", model, sounds / "train" / "00.wav", code=0).stdout
    assert "1 clip: 0 anomalous, 1 normal." in normal
    faulty = asd("score", model, sounds / "faulty", code=1).stdout
    assert faulty.count("ANOMALOUS") == 4
    assert "4 clips: 4 anomalous, 0 normal." in faulty


def test_score_cuts_a_long_recording(model: Path, tmp_path: Path) -> None:
    """The model was fitted on clips of 2 s."""
    long = hum(tmp_path / "long.wav", seed=1, seconds=7)

    def clips(*options: str) -> list[str]:
        done = asd("score", model, long, "--json", *options, code=None)
        return [row["clip"].removeprefix(f"{long} ") for row in json.loads(done.stdout)["clips"]]

    assert clips("--segment", "none") == [str(long)]
    assert clips() == clips("--segment", "auto") == ["[0–2 s]", "[2–4 s]", "[4–6 s]", "[6–7 s]"]
    assert clips("--segment", "3") == ["[0–3 s]", "[3–7 s]"]
    assert error("score", model, long, "--segment", "x") == "--segment takes seconds, none or auto, got 'x'"
    assert error("score", model, long, "--segment", "inf") == "segment takes seconds, at least 0.01, got inf"


def test_score_json_and_csv_agree_and_a_fresh_process_gives_identical_scores(model: Path, sounds: Path) -> None:
    as_json = json.loads(asd("score", model, sounds / "normal", sounds / "faulty", "--json", code=1).stdout)
    as_csv = list(
        csv.DictReader(io.StringIO(asd("score", model, sounds / "normal", sounds / "faulty", "--csv", code=1).stdout))
    )
    assert [row["clip"] for row in as_csv] == [row["clip"] for row in as_json["clips"]]
    assert [float(row["score"]) for row in as_csv] == [row["score"] for row in as_json["clips"]]
    assert as_json["summary"]["anomalous"] >= 4
    for row in as_json["clips"]:
        assert row["anomalous"] == (row["p_value"] <= as_json["decision"]["level"])
        assert 0 < row["p_value"] <= 1


def test_the_alarm_rate_can_be_changed_without_fitting(model: Path, sounds: Path) -> None:
    lenient = json.loads(
        asd("score", model, sounds / "train", "--json", "--false-alarms-per-hour", "1000", code=1).stdout
    )
    assert lenient["decision"]["level"] == pytest.approx(7 / 13)  # floor(1000 * 2 / 3600 * 13) of 13
    assert "1 false alarm an hour cannot be promised from 12 held-out clips of 2 s" in error(
        "score", model, sounds / "normal", "--false-alarms-per-hour", "1"
    )


@pytest.mark.parametrize("option", [("--false-alarm-rate", "1000"), ("--false-alarm-rate=1000",)])
def test_the_former_option_works_with_a_warning(model: Path, sounds: Path, option: tuple[str, ...]) -> None:
    said = "asd: warning: option '--false-alarm-rate' is now called '--false-alarms-per-hour'\n"
    scored = asd("score", model, sounds / "normal", "--json", *option, code=None)
    assert json.loads(scored.stdout)["decision"]["false_alarms_per_hour"] == 1000
    assert scored.stderr.count(said) == 1  # a slow machine reports progress too
    for command in ("fit", "score", "evaluate"):
        shown = asd(command, "--help").stdout
        assert "--false-alarms-per-hour" in shown
        assert "--false-alarm-rate" not in shown


def test_evaluate(model: Path, sounds: Path) -> None:
    arguments = ("evaluate", model, "--normal", sounds / "normal", "--anomalous", sounds / "faulty")
    result = json.loads(asd(*arguments, "--json").stdout)
    assert result["auc"] == 1.0
    assert result["hits"] == 4
    table = asd(*arguments).stdout
    assert "chance that a faulty clip scores above a healthy one" in table
    flattered = asd("evaluate", model, "--normal", sounds / "train", "--anomalous", sounds / "faulty")
    assert "warning: 12 of these clips were in the training set" in flattered.stderr
    assert "False alarms: 7.7% of the healthy clips promised, " in table
    assert result["promised_false_alarm_rate"] == result["decision"]["level"] == pytest.approx(1 / 13)
    low, high = result["false_alarm_interval"]
    assert low <= result["false_alarm_rate"] == result["false_alarms"] / 4 <= high
    assert "given as normal and as anomalous; 4 such clips" in error(
        "evaluate", model, "--normal", sounds / "normal", "--anomalous", sounds / "normal"
    )


def test_toml_says_the_same_as_options(sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        'pca = 0.9\nfrontend = "mel-stack"\nextractor = "identity"\n[detector]\nname = "gmm"\nn_components = 5\n'
    )
    asd(
        "fit",
        sounds / "train",
        "-o",
        tmp_path / "file.asd",
        "--config",
        tmp_path / "p.toml",
        "--detector.n_components",
        "2",
    )
    asd("fit", sounds / "train", "-o", tmp_path / "options.asd", *QUICK)
    scores = [
        [
            row["score"]
            for row in json.loads(asd("score", tmp_path / name, sounds / "faulty", "--json", code=1).stdout)["clips"]
        ]
        for name in ("file.asd", "options.asd")
    ]
    assert scores[0] == scores[1]


def test_bad_clips_are_left_out_and_counted_and_strict_stops(model: Path, sounds: Path, tmp_path: Path) -> None:
    for i in range(6):
        hum(tmp_path / f"{i}.wav", seed=i)
    (tmp_path / "text.wav").write_text("hello")
    soundfile.write(tmp_path / "silent.wav", np.zeros(32000), 16000)
    fitted = asd("fit", tmp_path, "-o", tmp_path / "m.asd", *QUICK)
    assert "Left out 2 clips that could not be used (see above)." in fitted.stdout
    assert "warning: left out: " in fitted.stderr
    assert "digital silence: nothing to learn from; is the microphone connected?" in fitted.stderr
    scored = asd("score", model, tmp_path, code=1)  # silence is an anomaly, and is said
    assert "8 clips:" in scored.stdout
    assert "1 left out." in scored.stdout
    assert "digital silence: is the microphone connected?" in scored.stdout
    assert "text.wav: not a recording that libsndfile can read" in error("score", model, tmp_path, "--strict")
    assert not (tmp_path / "strict.asd").exists()
    assert "silent.wav: digital silence" in error("fit", tmp_path, "-o", tmp_path / "s.asd", "--strict", *QUICK)
    assert not (tmp_path / "s.asd").exists()
    assert "no clip could be read" in asd("score", model, tmp_path / "text.wav", code=2).stderr


def test_strict_says_one_thing_when_embeddings_came_from_the_cache(model: Path, tmp_path: Path) -> None:
    """Python closes the cache at the end of a process before the results that nobody asked for any more."""
    hum(tmp_path / "a.wav", seed=0)
    (tmp_path / "b.wav").write_text("hello")
    cached = {"ASD_CACHE": str(tmp_path / "cache"), "ASD_CACHE_SIZE": "1GB"}
    for _ in range(2):
        stderr = asd("score", model, tmp_path, "--strict", code=2, env=cached).stderr
        assert stderr.startswith("asd: error: ")
        assert stderr.count("\n") == 1


def test_a_pipe_or_a_device_is_not_read_to_its_end(model: Path, tmp_path: Path) -> None:
    """A device may have no end, and opening a pipe waits for a writer."""
    os.mkfifo(tmp_path / "pipe.wav")
    cached = {"ASD_CACHE": str(tmp_path / "cache"), "ASD_CACHE_SIZE": "1GB"}
    assert "pipe.wav: a pipe can be read only once" in asd("score", model, tmp_path, code=2, env=cached).stderr
    assert "/dev/zero: a device, not a recording" in asd("score", model, "/dev/zero", code=2, env=cached).stderr


def test_short_long_and_mixed(model: Path, sounds: Path, tmp_path: Path) -> None:
    hum(tmp_path / "short.wav", seed=1, seconds=0.03)
    hum(tmp_path / "long.wav", seed=2, seconds=20)
    arguments = ("score", model, tmp_path / "short.wav", tmp_path / "long.wav", "--json")
    table = asd(*arguments, "--segment", "none", code=1).stdout
    assert "padded with its own repetition" in table
    assert "lasts 20 s, the model was calibrated on clips of 2 s" in table
    cut = asd(*arguments, code=1)
    assert "1 of 2 recordings are longer than 4 s: cut into clips of 2 s, as the model was calibrated" in cut.stderr
    clips = [row["clip"].rpartition("/")[2] for row in json.loads(cut.stdout)["clips"]]
    assert clips == ["short.wav", *(f"long.wav [{start}–{start + 2} s]" for start in range(0, 20, 2))]
    halves = json.loads(asd("score", model, tmp_path / "long.wav", "--json", "--segment", "10", code=None).stdout)
    assert [row["clip"].rpartition("[")[2] for row in halves["clips"]] == ["0–10 s]", "10–20 s]"]
    cut = asd("fit", tmp_path / "long.wav", "-o", tmp_path / "seg.asd", "--segment", "2", *QUICK)
    assert "Learned from 10 clips (20 s of sound)" in cut.stdout
    assert "No promise: the 10 held-out clips are parts of 1 recording; make 10 recordings or more" in cut.stdout
    scored = asd("score", tmp_path / "seg.asd", tmp_path / "long.wav", "--csv", code=None)
    assert "[18–20 s]" in scored.stdout
    assert "asd: warning: the alarm is a guess: the 10 held-out clips are parts of 1 recording" in scored.stderr
    single = asd("fit", sounds / "train", "-o", tmp_path / "one.asd", "--folds", "1", *QUICK).stdout
    assert "judged by 3 clips held out" in single


def test_sample_rates_that_differ_from_those_learned_are_noted(model: Path, tmp_path: Path) -> None:
    def notes(model: Path, clip: Path) -> list[str]:
        (row,) = json.loads(asd("score", model, clip, "--json", code=None).stdout)["clips"]
        return list(row["notes"])

    low, high = hum(tmp_path / "low.wav", seed=1, rate=8000), hum(tmp_path / "high.wav", seed=1, rate=48000)
    assert notes(model, low) == [
        "recorded at 8000 Hz, the model learned from 16000 Hz: it contains nothing above 4000 Hz"
    ]
    assert notes(model, high) == []  # the pipeline itself takes nothing above 8000 Hz
    for i in range(6):
        hum(tmp_path / "train" / f"{i}.wav", seed=i, rate=8000)
    fitted = asd("fit", tmp_path / "train", "-o", tmp_path / "low.asd", *QUICK)
    assert "recorded at 8000 Hz: they contain nothing above 4000 Hz" in fitted.stderr
    assert notes(tmp_path / "low.asd", low) == []
    assert notes(tmp_path / "low.asd", high) == [
        "recorded at 48000 Hz, the model learned from 8000 Hz: it learned nothing above 4000 Hz (fit anew with such "
        "recordings)"
    ]


def test_mixed_rates_are_logged(tmp_path: Path) -> None:
    for i, rate in enumerate((4000, 16000, 44100, 192000, 8000)):
        hum(tmp_path / "mixed" / f"{i}.wav", seed=i, rate=rate)
    mixed = asd("fit", tmp_path / "mixed", "-o", tmp_path / "mixed.asd", *QUICK)
    assert "warning: mixed sample rates (1 at 4000 Hz, 1 at 8000 Hz, 1 at 16000 Hz" in mixed.stderr


MISTAKES = [
    ("fit {tmp}/absent -o {new}", "{tmp}/absent: no such file or folder"),
    ("fit {tmp} -o {new}", "this folder holds no recordings"),
    (
        "fit {train}/00.wav {train}/01.wav -o {new} {quick}",
        "2 clips: at least 5 clips of the healthy machine are needed",
    ),
    ("fit {train} -o {model}", "exists already; choose another name, or overwrite it with --force"),
    ("fit {train} -o {model} --detector gmn", "or overwrite it with --force; and unknown detector 'gmn'; did you mean"),
    ("fit {tmp} -o {model}", "or overwrite it with --force; and {tmp}: this folder holds no recordings"),
    ("fit {train} -o {tmp}", "is a folder; name a file, such as"),
    ("fit {train} -o {tmp}/no/m.asd", "no such folder to write the model to"),
    ("fit {train} -o {new} --detector gmn", "unknown detector 'gmn'; did you mean"),
    ("fit {train} -o {new} --detector.clusters 3", "detector 'knn' has no parameter 'clusters'"),
    (
        "fit {train} -o {new} --detector gmm --detector.n_components=x",
        "parameter 'n_components' takes a whole number, got 'x'",
    ),
    ("fit {train} -o {new} --pooling sum", "parameter 'pooling' takes mean or max or top, got 'sum'"),
    ("fit {train} -o {new} --detector.n_components", "--detector.n_components needs a value"),
    (
        "fit {train} -o {new} --false-alarms-per-hour 1 {quick}",
        "1 false alarm an hour cannot be promised from 12 held-out clips of 2 s: the lowest rate they support",
    ),
    ("fit {train} -o {new} --batch-size 0", "--batch-size takes a whole number from 1, or auto, got '0'"),
    ("fit -o {new}", "Missing argument 'DATA...'. Usage: asd fit [OPTIONS] DATA..."),
    ("fit {train}", "Missing option '-o' / '--output'. Model file to write (*.asd)"),
    ("cache prune all", "Got unexpected extra argument (all). Usage: asd cache prune [OPTIONS]"),
    ("monitor {tmp}/a.state", "no such monitor; start one with 'asd score MODEL DATA --monitor {tmp}/a.state'"),
    ("fitt", "unknown command 'fitt'; did you mean fit?"),
    ("qqqq", "unknown command 'qqqq'; known: demo, fit, score, "),
    ("score {tmp}/absent.asd {train}", "no such model file; make one with 'asd fit"),
    ("score {model}d {train}", "no such model file; did you mean {model}?"),
    ("score {train}/00.wav {model}", "a recording, not a model file; name the model before the recordings"),
    ("score {train} {model}", "this folder has no index of models (machines.json); name a model file before any"),
    ("explain {train} {model}", "{train}: a folder; name a model file that 'asd fit' wrote, before any recordings"),
    ("score {model} {train}/0.wav", "{train}/0.wav: no such file or folder; did you mean {train}/"),
    ("score {model} {train}s/00.wav", "no such file or folder; did you mean {train}/00.wav?"),
    ("score {model} -", "not read from standard input, since they are read more than once; save them to a file, or"),
    ("score {model} {train} --json --csv", "--json and --csv exclude each other"),
    ("score {model} {train} --segment -1", "segment takes seconds, at least 0.01, got -1.0"),
]


@pytest.mark.parametrize(("command", "text"), MISTAKES, ids=[command for command, _ in MISTAKES])
def test_a_mistake_ends_in_one_line(model: Path, sounds: Path, tmp_path: Path, command: str, text: str) -> None:
    names = {"tmp": tmp_path, "train": sounds / "train", "new": tmp_path / "new.asd", "model": model}
    before = model.read_bytes()
    assert text.format(**names) in error(*command.format(**names, quick=" ".join(QUICK)).split())
    assert list(tmp_path.iterdir()) == []
    assert model.read_bytes() == before


def test_a_model_without_its_plugin_names_the_pip_command(model: Path, sounds: Path) -> None:
    env = {"ASD_PLUGINS": "asd-frontends,asd-imagenet"}
    assert "needs the plugin asd-sklearn 0.1.0: pip install asd-sklearn" in error(
        "score", model, sounds / "normal", env=env
    )


def test_force_overwrites(sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "m.asd").write_text("old")
    asd("fit", sounds / "train", "-o", tmp_path / "m.asd", "--force", *QUICK)
    assert "Learned" not in (tmp_path / "m.asd").read_bytes().decode(errors="ignore")
    asd("score", tmp_path / "m.asd", sounds / "train" / "00.wav")


def test_ctrl_c_leaves_nothing_behind(sounds: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    output = tmp_path / "m.asd"
    cache = tmp_path_factory.mktemp("cache")  # where the training would go on
    process = subprocess.Popen(
        [INSTALLED, "fit", *[sounds / "train"], "-o", output, "--frontend", "mel-patch", "--extractor", "identity",
         "--detector", "lenet-dcae", "--detector.train_batch", "4", "--detector.epochs", "100000"],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "ASD_CACHE": str(cache), "ASD_CACHE_SIZE": "1GB"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )  # fmt: skip
    try:
        # It is in the middle of a training that takes far longer.
        until(lambda: [*cache.rglob("*.checkpoint")], "a checkpoint", by=process)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 2
    assert "asd: error: interrupted; nothing was written" in stderr
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []


def test_verbose_shows_the_trace(tmp_path: Path) -> None:
    done = subprocess.run(
        [ASD, "score", tmp_path / "x.asd", tmp_path, "-v"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.rstrip().endswith("make one with 'asd fit DATA -o " + str(tmp_path / "x.asd") + "'")


def test_a_closed_pipe_is_no_error(model: Path, sounds: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{ASD} plugins show gmm | head -1"], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_plugins_lists_and_shows() -> None:
    listed = json.loads(asd("plugins", "--json").stdout)
    squeezenet = next(c for c in listed if c["name"] == "squeezenet1_0")
    assert squeezenet["state"] == "ready"
    assert squeezenet["dimension"] == 2048
    assert "BSD-2-Clause" in squeezenet["licence"]
    assert {c["kind"] for c in json.loads(asd("plugins", "--json", "--kind", "detector").stdout)} == {"detector"}
    shown = asd("plugins", "show", "gmm").stdout
    assert "--detector.n_components" in shown
    assert "80" in shown
    assert "unknown component 'gmmm'; did you mean gmm" in error("plugins", "show", "gmmm")
    assert "No plugins are installed: pip install" in asd("plugins", env={"ASD_PLUGINS": ""}).stdout


@pytest.mark.slow
def test_demo_runs_and_is_honest() -> None:
    done = asd("demo")
    assert "1. Fit: learning from 14 recordings of a healthy fan" in done.stdout
    assert "AUC" in done.stdout
    assert "differs from the healthy one in loudness alone" in done.stdout
    assert "asd fit MY_HEALTHY_RECORDINGS -o machine.asd" in done.stdout
