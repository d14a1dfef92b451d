"""Weights, the network and privacy: nothing of ours unpickles, asks anybody, or tells what was recorded."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd.contract.installed import registry
from asd.detection import modelfile
from forging import CLIPS, QUICK, ROOT, six_recordings


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return six_recordings(tmp_path_factory.mktemp("sounds"))


# Weights


def test_published_files_come_by_https_or_inside_the_plugin() -> None:
    weights = [weight for component in registry().of_kind() for weight in component.spec.weights]
    assert len(weights) > 5
    for weight in weights:
        if weight.url is None:
            assert len(weight.sha256) == 64, weight
        else:
            assert weight.url.startswith("https://"), weight


def test_nothing_of_ours_unpickles() -> None:
    sources = [*(ROOT / "core").rglob("*.py"), *(ROOT / "registry").rglob("*.py"), *ROOT.glob("plugins/*/src/**/*.py")]
    # Of the kit's own objects the kit asks whether they can be.
    sources = [source for source in sources if "asd-testing" not in source.parts]
    assert len(sources) > 200
    # Work engines, which the user starts or connects to: what their processes say to each other (SECURITY.md).
    engines = {ROOT / "core/asd/detection" / name for name in ("piece.py", "local_engine.py", "local_worker.py")}
    assert engines <= set(sources)
    for source in set(sources) - engines:
        text = source.read_text(encoding="utf-8")
        modules = {
            alias.name.split(".")[0]
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {
            node.module.split(".")[0]
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.ImportFrom) and node.module
        }
        assert not modules & {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}, source
        assert "allow_pickle=True" not in text, source
        assert all("weights_only=True" in line for line in text.splitlines() if " torch.load(" in line), source


def test_damaged_weight_files_end_in_one_line() -> None:
    """A short run; the long one is ``python tests/fuzz/weightfiles.py``."""
    fuzz = ROOT / "tests" / "fuzz" / "weightfiles.py"
    done = subprocess.run([sys.executable, fuzz, "--count", "150"], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr
    assert "150 weight files" in done.stdout


# Network

GUARD = """
import json, os, sys
asked = []

def guard(event, arguments):
    if event in ("socket.connect", "socket.sendto") and not isinstance(arguments[1], str | bytes):
        asked.append(repr(arguments[1]))
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        asked.append(repr(arguments[:2]))
    else:
        return
    raise ConnectionError("no network in this test")

sys.addaudithook(guard)
"""

EXTRACTORS = """
import numpy as np
import asd.plugin
from pathlib import Path
from asd.contract.create import create, load_class, parameters
from asd.contract.installed import registry
from asd.errors import AsdError

said = {}
for component in registry().of_kind("extractor"):
    if component.plugin.distribution != sys.argv[1] or component.problem:
        continue
    name, known = component.qualified_name, {p.name for p in parameters(component)}
    given = {"weights": "random"} if "weights" in known else load_class(component).example_parameters(Path(sys.argv[2]))
    trials = {"local": given, "default": {}, **json.loads(sys.argv[3])}
    for trial, given in trials.items():
        try:
            extractor = create("extractor", name, given)
            taken = extractor.consumes
            shape = [length or (96000 if taken.kind == "waveform" else 64) for length in taken.shape]
            extractor.weight_hashes()
            said[f"{name} {trial}"] = list(extractor.embed(np.zeros((1, *shape), np.float32)).shape)
        except AsdError as error:
            said[f"{name} {trial}"] = str(error)
print(json.dumps({"asked": asked, "said": said}))
"""


def guarded(script: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run a script in a process that may not connect to anything, and return what it says."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GUARD + script, *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert not done.returncode, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.slow
@pytest.mark.parametrize(
    "distribution", sorted({c.plugin.distribution for c in registry().of_kind("extractor") if not c.problem})
)
def test_extractors_ask_nobody(distribution: str, tmp_path: Path) -> None:
    more: dict[str, Any] = {}
    if distribution == "asd-transformers":
        more = {"hub": {"model": "owner/name"}, "code": {"model": "owner/name", "trust_remote_code": True}}
    environment = {"ASD_OFFLINE": "1", "ASD_CACHE": str(tmp_path / "cache"), "HF_HOME": str(tmp_path / "hf")}
    answer = guarded(EXTRACTORS, distribution, str(tmp_path), json.dumps(more), **environment)
    assert answer["asked"] == []
    assert answer["said"]
    for trial, said in answer["said"].items():
        if trial.endswith(" local"):
            assert isinstance(said, list), said
        elif isinstance(said, str):
            assert "\n" not in said
            assert "network is forbidden" in said or "needs --extractor." in said, said


COMMANDS = """
import contextlib, io
from asd.cli.main import cli
from asd.errors import AsdError
from click.exceptions import ClickException

ended = {}
for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            end = cli.main(arguments, standalone_mode=False) or 0
        except (AsdError, ClickException) as error:
            end = str(error)
        except SystemExit as error:
            end = error.code or 0
    ended[" ".join(arguments)] = end
print(json.dumps({"asked": asked, "ended": ended}))
"""


def test_commands_ask_nobody(tmp_path: Path, sounds: Path) -> None:
    model = str(tmp_path / "m.asd")
    healthy, faulty = str(CLIPS / "healthy.flac"), str(CLIPS / "faulty.flac")
    commands = [
        ["--help"],
        ["plugins"],
        ["fit", str(sounds), "-o", model, *QUICK],
        ["score", model, healthy],
        ["evaluate", model, "--normal", healthy, "--anomalous", faulty],
        ["weights", "list"],
        ["weights", "verify"],
        ["weights", "fetch", "yamnet.h5"],
        ["cache"],
        ["data", "list"],
        ["data", "fetch", "dcase2020", str(tmp_path / "data")],
        ["bench", "--help"],
        ["new-plugin", str(tmp_path / "asd-own")],
    ]
    answer = guarded(COMMANDS, json.dumps(commands), ASD_OFFLINE="1", ASD_CACHE=str(tmp_path / "cache"))
    assert answer["asked"] == []
    ended = answer["ended"]
    assert "network is forbidden" in ended["weights fetch yamnet.h5"]
    assert ended[" ".join(commands[3])] in (0, 1)
    assert [ended[" ".join(command)] for command in commands[:6]] == [0, 0, 0, ended[" ".join(commands[3])], 0, 0]


# Privacy


def test_a_model_file_holds_no_sound_and_no_folders(tmp_path: Path, sounds: Path) -> None:
    path = tmp_path / "m.asd"
    asd.fit(sounds, frontend="mel-stack", extractor="identity", detector="knn", false_alarms_per_hour=500.0).save(path)
    manifest, arrays = modelfile.read(path)
    assert str(sounds) not in json.dumps(manifest)
    assert {entry["name"] for entry in manifest["training"]} == {file.name for file in sounds.iterdir()}
    assert all(set(entry) == {"name", "sha256"} for entry in manifest["training"])
    assert all(re.match(r"(calibration|reference)\.|\d\.(transform|detector)\.", name) for name in arrays)
    for file in sounds.iterdir():
        for dtype in ("int16", "float32", "float64"):
            samples, _ = soundfile.read(file, dtype=dtype)
            assert samples[1000:1100].tobytes() not in path.read_bytes()


def test_levels_in_a_model_file_do_not_tell_when(tmp_path: Path, sounds: Path) -> None:
    path = tmp_path / "m.asd"
    asd.fit(sounds, frontend="mel-stack", extractor="identity", detector="knn", false_alarms_per_hour=500.0).save(path)
    _, arrays = modelfile.read(path)
    shapes = {name: array.shape for name, array in arrays.items() if name.startswith("reference.")}
    bands = len(arrays["reference.edges"]) - 1
    by_clip = {
        "content": (6, 32),
        "place": (6, 2),
        "mean": (6, bands),
        "extremes": (6, 2, 3, bands),
        "strengths": (6, 2),
    }
    of_all = {"edges": (bands + 1,), "usual": (2, 3, bands)}
    assert shapes == {f"reference.{name}": shape for name, shape in (by_clip | of_all).items()}
    assert bands < 60


def test_groups_in_a_model_file_are_ends_of_paths(tmp_path: Path) -> None:
    for name in ("plant/a", "plant/b"):
        (tmp_path / name).mkdir(parents=True)
        for i in range(4):
            samples = np.random.default_rng(i + 10 * (name == "plant/b")).normal(0, 0.1, 2 * 16000)
            soundfile.write(tmp_path / name / f"{i}.wav", samples, 16000)
    how: dict[str, Any] = {"frontend": "mel-stack", "extractor": "identity", "detector": "knn", "group": "folder"}
    asd.fit(tmp_path / "plant", false_alarms_per_hour=900.0, **how).save(tmp_path / "m.asd")
    manifest, _ = modelfile.read(tmp_path / "m.asd")
    assert {group for entry in manifest["training"] for group in entry["groups"]} == {"a", "b"}
    assert "plant" not in json.dumps(manifest)
