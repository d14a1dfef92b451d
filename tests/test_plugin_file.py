"""A plugin that is one file: found, used, named in the model, and never run because a model says so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asd_registry import PluginError, Registry

ASD = Path(os.environ["ASD_COMMAND"])
ROOT = Path(__file__).resolve().parent.parent
CLIPS = ROOT / "examples" / "data"
DETECTOR = ROOT / "examples" / "own_detector.py"
QUICK = ("--frontend", "mel-stack", "--extractor", "identity")


def asd(*arguments: str | Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([ASD, *arguments], capture_output=True, text=True, check=False)
    assert code in (None, done.returncode), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.asd"
    asd("fit", CLIPS / "train", "-o", path, "--detector", "distance", "--plugin-file", DETECTOR, *QUICK)
    return path


@pytest.mark.parametrize("before", [True, False])
def test_a_file_is_a_plugin_wherever_it_is_named_on_the_line(before: bool) -> None:
    line = [f"--plugin-file={DETECTOR}", "plugins"] if before else ["plugins", "--plugin-file", str(DETECTOR)]
    listed = json.loads(asd(*line, "--json").stdout)
    distance = next(component for component in listed if component["name"] == "distance")
    assert distance["distribution"] == "own_detector.py"
    assert distance["version"].startswith("sha256:")
    assert any(component["name"] == "gmm" for component in listed)


def test_a_model_names_its_file_and_asks_for_it(model: Path) -> None:
    refused = asd("score", model, CLIPS / "test", code=2).stderr
    assert "needs the plugin own_detector.py sha256:" in refused
    assert "add --plugin-file own_detector.py" in refused
    scored = asd("score", model, CLIPS / "test" / "normal", "--json", "--plugin-file", DETECTOR)
    assert len(json.loads(scored.stdout)["clips"]) == 6
    evaluated = asd(
        "evaluate", model, "--normal", CLIPS / "test" / "normal", "--anomalous", CLIPS / "test" / "anomalous",
        "--plugin-file", DETECTOR, "--json",
    )  # fmt: skip
    assert json.loads(evaluated.stdout)["auc"] > 0.7


def test_a_file_beside_the_model_does_not_run_unasked(model: Path, tmp_path: Path) -> None:
    (tmp_path / "own_detector.py").write_text("raise SystemExit('this must not run')")
    (tmp_path / "m.asd").write_bytes(model.read_bytes())
    done = subprocess.run(
        [ASD, "score", "m.asd", CLIPS / "test"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "add --plugin-file own_detector.py" in done.stderr
    assert "this must not run" not in done.stderr


def test_another_state_of_the_file_is_told(model: Path, tmp_path: Path) -> None:
    changed = tmp_path / "own_detector.py"
    changed.write_text(DETECTOR.read_text() + "# changed\n")
    done = asd("score", model, CLIPS / "test" / "normal", "--plugin-file", changed)
    assert "own_detector.py was changed since" in done.stderr


def test_python_takes_it_too(tmp_path: Path) -> None:
    script = (
        f"import asd; asd.use_plugin_file({str(DETECTOR)!r}); asd.use_plugin_file({str(DETECTOR)!r})\n"
        f"model = asd.fit({str(CLIPS / 'train')!r}, detector='distance', frontend='mel-stack', extractor='identity')\n"
        "print(model.config.detector.name)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "distance\n"


SPREAD = """
from typing import ClassVar

from asd import Detector
from asd_registry import ComponentSpec, hookimpl


@hookimpl
def asd_components():
    yield ComponentSpec(kind="detector", name="{name}", aliases={aliases}, summary="s", licence="MIT",
                        target="renamed_detector:Spread")


class Spread(Detector):
    renamed: ClassVar = {renamed}

    def __init__(self, *, {parameter}: float = 1.0) -> None:
        self.{parameter} = {parameter}

    def fit(self, features):
        self.mean_ = features.mean(axis=0)
        return self

    def score(self, features):
        return (abs(features - self.mean_) ** self.{parameter}).sum(axis=1)
"""
BEFORE = SPREAD.format(name="spread", aliases=(), parameter="power", renamed={})
AFTER = SPREAD.format(name="dispersion", aliases=("spread",), parameter="exponent", renamed={"power": "exponent"})
SAID = (
    "asd: warning: detector 'spread' is now called 'dispersion'\n",
    "asd: warning: detector 'spread': parameter 'power' is now called 'exponent'\n",
)


@pytest.fixture(scope="module")
def renamed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a plugin whose detector and its parameter were renamed, and a model from before that."""
    folder = tmp_path_factory.mktemp("renamed")
    (folder / "renamed_detector.py").write_text(BEFORE)
    line = ("fit", CLIPS / "train", "-o", folder / "m.asd", "--plugin-file", folder / "renamed_detector.py", *QUICK)
    assert "is now called" not in asd(*line, "--detector", "spread", "--detector.power", "3").stderr
    (folder / "renamed_detector.py").write_text(AFTER)
    return folder


def fit_renamed(folder: Path, output: Path, *more: str | Path, code: int = 0) -> str:
    line = ("fit", CLIPS / "train", "-o", output, "--plugin-file", folder / "renamed_detector.py", *QUICK)
    return asd(*line, *more, code=code).stderr


def scores(folder: Path, model: Path, plugin: str = "renamed_detector.py") -> list[float]:
    line = ("score", model, CLIPS / "test" / "normal", "--json", "--plugin-file", folder / plugin)
    done = asd(*line, code=None)
    assert "is now called" not in done.stderr  # a model file's names are nobody's mistake
    return [clip["score"] for clip in json.loads(done.stdout)["clips"]]


def test_former_names_are_warned_of_once_and_a_former_model_scores_the_same(renamed: Path, tmp_path: Path) -> None:
    said = fit_renamed(renamed, tmp_path / "m.asd", "--detector", "spread", "--detector.power", "3")
    assert [said.count(line) for line in SAID] == [1, 1]
    assert scores(renamed, tmp_path / "m.asd") == scores(renamed, renamed / "m.asd")


def test_a_model_finds_its_detector_where_it_has_moved_to(renamed: Path, tmp_path: Path) -> None:
    moved = AFTER.replace("'spread',", "'renamed_detector.py:spread',").replace("renamed_detector:", "moved_detector:")
    (tmp_path / "moved_detector.py").write_text(moved)
    file = ("--plugin-file", tmp_path / "moved_detector.py")
    assert scores(tmp_path, renamed / "m.asd", "moved_detector.py") == scores(renamed, renamed / "m.asd")
    line = ("fit", CLIPS / "train", "-o", tmp_path / "m.asd", *QUICK, "--detector", "renamed_detector.py:spread")
    said = "asd: warning: detector 'renamed_detector.py:spread' is now called 'moved_detector.py:dispersion'\n"
    assert asd(*line, "--detector.exponent", "3", *file).stderr.count(said) == 1
    assert scores(tmp_path, tmp_path / "m.asd", "moved_detector.py") == scores(renamed, renamed / "m.asd")
    (tmp_path / "moved_detector.py").write_text(moved.replace("renamed_detector.py:spread", "elsewhere:spread"))
    refused = asd("score", renamed / "m.asd", CLIPS / "test" / "normal", *file, code=2).stderr
    assert "needs the plugin renamed_detector.py sha256:" in refused


def test_a_present_name_on_the_line_overrides_a_former_one_in_the_file(renamed: Path, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("[detector]\nname = 'spread'\npower = 2\n")
    said = fit_renamed(renamed, tmp_path / "m.asd", "--config", tmp_path / "p.toml", "--detector.exponent", "3")
    assert [said.count(line) for line in SAID] == [1, 1]
    assert scores(renamed, tmp_path / "m.asd") == scores(renamed, renamed / "m.asd")


def test_both_names_on_the_line_are_refused(renamed: Path, tmp_path: Path) -> None:
    twice = ("--detector", "dispersion", "--detector.power", "3", "--detector.exponent", "3")
    said = fit_renamed(renamed, tmp_path / "m.asd", *twice, code=2)
    assert "detector 'dispersion': 'exponent' and 'power' are the same parameter: give 'exponent' only" in said


def test_present_names_are_listed_and_former_ones_shown(renamed: Path) -> None:
    file = ("--plugin-file", renamed / "renamed_detector.py")
    assert not {"spread"} & {row["name"] for row in json.loads(asd("plugins", "--json", *file).stdout)}
    shown = asd("plugins", "show", "spread", *file)
    assert "former names:       spread" in shown.stdout
    assert "--detector.exponent" in shown.stdout
    assert "power" not in shown.stdout
    assert shown.stderr == SAID[0]


BAD = {
    "absent.py": (None, "no such plugin file"),
    "my-detector.py": ("", "name a plugin file like a Python module: letters, digits and underscores"),
    "decimal.py": ("", "another Python module is called 'decimal': rename the file"),
    "raises.py": ("raise RuntimeError('no licence key')", "does not load: RuntimeError: no licence key"),
    "empty.py": ("x = 1", "offers nothing: give it a function asd_components marked with @hookimpl"),
    "syntax.py": ("def broken(:", "does not load: SyntaxError"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_told_in_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    source, text = BAD[name]
    if source is not None:
        (tmp_path / name).write_text(source)
    registry = Registry([])
    with pytest.raises(PluginError) as raised:
        registry.add_file(tmp_path / name)
    assert text in str(raised.value)
    assert registry.components == []


GOOD = """
from asd_registry import ComponentSpec, hookimpl

@hookimpl
def asd_components():
    yield ComponentSpec(kind="detector", name="mended", summary="s", target="decimal:Decimal", licence="MIT")
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two states within a second would have one cached module
    yield tmp_path / "under_work.py"
    sys.modules.pop("under_work", None)


@pytest.mark.parametrize(
    "source",
    [
        "x = 1",
        "def broken(:",
        "raise RuntimeError('x')",
        GOOD.replace("yield", "raise RuntimeError('x')\n    yield"),
        GOOD.replace('"mended"', "3"),
        GOOD.replace("def asd_components", "def asd_komponents"),
    ],
)
def test_a_bad_file_is_refused_each_time_and_can_be_mended(source: str, file: Path) -> None:
    registry = Registry([])
    file.write_text(source)
    told = []
    for _ in range(2):
        with pytest.raises(PluginError) as raised:
            registry.add_file(file)
        told.append(str(raised.value))
    assert told[0] == told[1]
    assert (registry.plugins, registry.components) == ([], [])
    file.write_text(GOOD)
    assert registry.add_file(file).error is None
    assert registry.find("detector", "mended").plugin.distribution == "under_work.py"


def test_an_edited_file_asks_for_a_restart_and_harms_nothing(file: Path) -> None:
    registry = Registry([])
    file.write_text(GOOD)
    first = registry.add_file(file)
    assert registry.add_file(file) == first  # the same state is no matter
    for edited in (f"{GOOD}# better\n", "raise RuntimeError('x')"):
        file.write_text(edited)
        with pytest.raises(PluginError, match=r"another state of this plugin file is loaded.*: restart Python to load"):
            registry.add_file(file)
        assert registry.plugins == [first]
        assert [component.qualified_name for component in registry.components] == ["under_work.py:mended"]
        assert registry.components[0].plugin == first
    file.write_text(GOOD)
    assert registry.add_file(file) == first


UNMAKABLE = """
import sys
from asd import Detector, Frontend
from asd.plugin import Representation
from asd_registry import ComponentSpec, hookimpl

@hookimpl
def asd_components():
    usual = {"summary": "s", "licence": "MIT"}
    yield ComponentSpec(kind="detector", name="unmakable", target=f"{__name__}:Unmakable", **usual)
    yield ComponentSpec(kind="frontend", name="rateless", target=f"{__name__}:Rateless", **usual)

class Unmakable(Detector):
    def __init__(self):
        RAISES
    def fit(self, features): return self
    def score(self, features): return features.sum(axis=1)

class Rateless(Frontend):
    produces = Representation("vector", (1,), 8000)
    window_length = window_hop = 100
    def __call__(self, audio): ...
"""


@pytest.mark.parametrize(
    ("raises", "told"),
    [
        ("raise ValueError('no such gear')", "ValueError: no such gear"),
        ("sys.exit(0)", "SystemExit: 0"),
        ("raise GeneratorExit", "GeneratorExit"),
        (r"raise OSError('\x1b[31m')", r"OSError: \u001b[31m"),
    ],
)
def test_what_a_constructor_raises_is_the_plugin_s(raises: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "unmakable.py").write_text(UNMAKABLE.replace("RAISES", raises))
    line = ("fit", CLIPS / "train", "-o", tmp_path / "m.asd", "--plugin-file", tmp_path / "unmakable.py")
    done = asd(*line, *QUICK, "--detector", "unmakable", code=2)
    begin, _, place = done.stderr.partition(f": cannot be made: {told} (")
    assert re.fullmatch(r"asd: error: detector 'unmakable' of unmakable\.py sha256:\w+", begin)
    assert re.fullmatch(
        rf"{re.escape(str(tmp_path))}/unmakable\.py, line \d+\); report it to the plugin's author\n", place
    )


def test_a_front_end_without_a_rate_is_named(tmp_path: Path) -> None:
    (tmp_path / "unmakable.py").write_text(UNMAKABLE.replace("RAISES", "pass"))
    line = ("fit", CLIPS / "train", "-o", tmp_path / "m.asd", "--plugin-file", tmp_path / "unmakable.py")
    done = asd(*line, "--frontend", "rateless", "--extractor", "identity", code=2)
    told = "a front end needs an attribute sample_rate in Hz, a whole number above 0, got None"
    assert done.stderr == f"asd: error: unmakable.py:rateless: {told}\n"


def test_a_bad_file_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "raises.py").write_text("raise RuntimeError('no licence key')")
    done = asd("plugins", "--plugin-file", tmp_path / "raises.py", code=2)
    assert done.stderr.startswith("asd: error: ")
    assert done.stdout == ""


def test_an_own_network_embeds(tmp_path: Path) -> None:
    output = tmp_path / "m.asd"
    extractor = ROOT / "examples" / "own_extractor.py"
    done = asd(
        "fit", CLIPS / "train", "-o", output, "--plugin-file", extractor, "--extractor", "my-network",
        "--extractor.channels", "8", "--detector", "knn",
    )  # fmt: skip
    assert "Pipeline: mel-patch → my-network (channels 8) → knn." in done.stdout
    asd("score", output, CLIPS / "test" / "normal" / "fan_id_00_normal_12.flac", "--plugin-file", extractor)


def test_an_own_dataset_knows_its_recordings(tmp_path: Path) -> None:
    from asd.errors import DataError

    registry = Registry([])
    registry.add_file(ROOT / "examples" / "own_dataset.py")
    dataset = sys.modules["own_dataset"].Workshop()
    for split, label in (("train", "normal"), ("test", "anomalous")):
        folder = tmp_path / "fan" / split / label
        folder.mkdir(parents=True)
        (folder / "1.flac").touch()
    found = [(r.machine, r.split, r.anomalous) for r in dataset.recordings(tmp_path)]
    assert found == [("fan", "test", True), ("fan", "train", False)]
    with pytest.raises(DataError, match="name the folder above MACHINE"):
        dataset.recordings(tmp_path / "fan")
