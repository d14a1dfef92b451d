"""``asd new-plugin``: what it writes builds, installs beside the framework alone, and passes its tests and the kit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
import yaml

from asd.scaffold import OFFERS

_COMPONENTS = [kind for kind in OFFERS if kind != "command"]

ASD = Path(os.environ["ASD_COMMAND"])
ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path, code: int = 0) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_names_are_filled_in_everywhere(tmp_path: Path) -> None:
    said = run(ASD, "new-plugin", "belt-squeal", "--kind", "detector", cwd=tmp_path)
    assert "asd check belt-squeal" in said
    folder = tmp_path / "asd-belt-squeal"
    assert "class BeltSqueal(CheckedDetector)" in (folder / "src" / "asd_belt_squeal" / "detector.py").read_text()
    assert "${{ matrix.python }}" in (folder / ".github" / "workflows" / "ci.yml").read_text()
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {"asd.plugins": {"belt-squeal": "asd_belt_squeal.plugin"}}
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert len(written) == 12
    assert not [path for path in written if "$" in path.read_text().replace("${{", "")]


def test_the_distribution_may_be_named_too_and_json_lists_the_files(tmp_path: Path) -> None:
    told = json.loads(run(ASD, "new-plugin", "asd-hum", "--kind", "dataset", "--json", "-o", "sub", cwd=tmp_path))
    assert told["folder"] == "sub/asd-hum"
    assert "sub/asd-hum/src/asd_hum/dataset.py" in told["files"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("Belt_Squeal", "--kind", "detector"),
            "lower-case words with hyphens, such as belt-squeal, got 'Belt_Squeal'",
        ),
        (("gmm", "--kind", "detector"), "detector 'gmm' is offered by asd-sklearn already: choose another name"),
        (("there", "--kind", "detector"), "exists already; choose another name or --output"),
        (("new", "--kind", "detector", "-o", "file"), "cannot write here (Not a directory); choose another --output"),
        (("score", "--kind", "command"), "command 'score' is offered by asd-framework already: choose another name"),
        (("new", "--kind", "sensor"), "'sensor' is not one of 'frontend', 'extractor', 'detector', 'dataset'"),
    ],
)
def test_what_cannot_be_written_is_told(tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    (tmp_path / "asd-there").mkdir()
    (tmp_path / "file").touch()
    assert text in run(ASD, "new-plugin", *arguments, cwd=tmp_path, code=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["asd-there", "file"]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one plugin of each kind, all installed beside the framework in `clean/`: nothing else is."""
    folder = tmp_path_factory.mktemp("scaffold")
    for kind in OFFERS:
        run(ASD, "new-plugin", f"my-{kind}", "--kind", kind, cwd=folder)
    for source in (ROOT, ROOT / "plugins" / "asd-testing", *folder.glob("asd-*")):
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "wheels", cwd=source)
    wheels = sorted((folder / "wheels").glob("*.whl"))
    assert len(wheels) == len(OFFERS) + 2
    venv.create(folder / "clean", with_pip=True)
    install = ("-m", "pip", "install", "--quiet", "--no-compile")  # Python compiles what is used
    run(folder / "clean" / "bin" / "python", *install, *wheels, "pytest", cwd=folder)
    return folder


@pytest.mark.slow
def test_plugins_of_every_kind_are_listed(clean: Path) -> None:
    listed = json.loads(run(clean / "clean" / "bin" / "asd", "plugins", "--json", cwd=clean))
    no_front_end = "its front end: frontend 'mel-patch' is not installed: pip install asd-frontends"
    states = dict.fromkeys(_COMPONENTS, "ready") | {"extractor": no_front_end}
    states |= {kind: f"needs --{kind}.path" for kind in ("source", "sink")}
    found = {(c["kind"], c["name"], c["state"]) for c in listed}
    assert found == {("engine", "local", "ready"), *((k, f"my-{k}", states[k]) for k in _COMPONENTS)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", _COMPONENTS)
def test_a_new_plugin_passes_its_tests_and_the_kit(clean: Path, kind: str) -> None:
    binaries = clean / "clean" / "bin"
    tested = run(binaries / "python", "-m", "pytest", "-q", cwd=clean / f"asd-my-{kind}")
    assert "passed" in tested
    assert "failed" not in tested
    checked = run(binaries / "asd", "check", f"my-{kind}", cwd=clean)
    assert "skipped" not in checked


@pytest.mark.slow
def test_a_new_command_passes_its_tests_and_stands_in_the_help(clean: Path) -> None:
    binaries = clean / "clean" / "bin"
    assert "3 passed" in run(binaries / "python", "-m", "pytest", "-q", cwd=clean / "asd-my-command")
    assert "Print the level of recordings." in run(binaries / "asd", "--help", cwd=clean)
    assert "Print the level of recordings in dB" in run(binaries / "asd", "my-command", "--help", cwd=clean)


@pytest.mark.parametrize("kind", ["detector", "command"])
def test_the_workflows_are_valid_and_publish_without_a_password(tmp_path: Path, kind: str) -> None:
    run(ASD, "new-plugin", "new-thing", "--kind", kind, cwd=tmp_path)
    folder = tmp_path / "asd-new-thing" / ".github" / "workflows"
    ci, publish = (yaml.safe_load((folder / name).read_text()) for name in ("ci.yml", "publish.yml"))
    trial = "asd new-thing --help" if kind == "command" else "asd check new-thing"
    assert {"run": trial} in ci["jobs"]["test"]["steps"]
    assert publish["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    assert publish["jobs"]["publish"]["needs"] == "build"
    assert "asd-new-thing" in (folder / "publish.yml").read_text()


EXAMPLE = ROOT / "examples" / "asd-example-detector"


def test_the_example_takes_20_lines_of_python_and_10_of_toml() -> None:
    written = [line for path in (EXAMPLE / "src").rglob("*.py") for line in path.read_text().splitlines()]
    assert len(written) <= 20
    assert len((EXAMPLE / "pyproject.toml").read_text().splitlines()) <= 10


@pytest.mark.slow
def test_the_example_installs_and_passes_as_a_stranger_s_plugin(clean: Path) -> None:
    binaries = clean / "clean" / "bin"
    run(binaries / "python", "-m", "pip", "install", "--quiet", EXAMPLE, cwd=clean)
    assert "median-deviation" in run(binaries / "asd", "plugins", cwd=clean)
    checked = run(binaries / "asd", "check", "asd-example-detector", cwd=clean)
    assert "passed" in checked
    assert "skipped" not in checked
    assert "passed" in run(binaries / "python", "-m", "pytest", "-q", EXAMPLE / "tests", cwd=clean)
