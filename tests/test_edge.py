"""The light set on a small machine, and in a container."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "examples" / "data"
LIGHT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["light"]
GIGABYTE = 2**30


def test_every_list_of_the_light_set_is_the_same() -> None:
    requirements = (ROOT / "requirements-light.txt").read_text()
    assert re.findall(r"^-e (\S+)", requirements, re.MULTILINE) == [".[light]", *(f"./plugins/{n}" for n in LIGHT)]
    assert re.findall(r"/source/plugins/(\S+)", (ROOT / "Dockerfile").read_text()) == LIGHT


def test_nothing_of_the_light_set_depends_on_pytorch_or_on_what_is_not_in_it() -> None:
    for name in LIGHT:
        project = tomllib.loads((ROOT / "plugins" / name / "pyproject.toml").read_text())["project"]
        needed = {re.match(r"[\w-]+", requirement)[0] for requirement in project["dependencies"]}  # type: ignore[index]
        assert "torch" not in needed
        assert {each for each in needed if each.startswith("asd-")} <= {"asd-framework", *LIGHT}


def test_the_default_pipeline_is_in_the_light_set() -> None:
    from asd.detection.defaults import DEFAULTS
    from asd_registry.known import distribution_of

    assert {distribution_of(name, kind) for kind, name in DEFAULTS.items()} <= set(LIGHT)


@pytest.mark.skipif(sys.platform != "linux", reason="limits one core and the address space as Linux does")
def test_fit_and_score_on_one_core_with_a_gigabyte(tmp_path: Path) -> None:
    code = (
        "import os, resource, sys\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({GIGABYTE}, {GIGABYTE}))\n"
        "from asd.cli.main import main\n"
        "main()"
    )
    environment = {**os.environ, "ASD_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def limited(*arguments: str | Path) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    limited("fit", SAMPLES / "train", "-o", "fan.asd")
    scored = json.loads(limited("score", "fan.asd", SAMPLES / "test" / "normal", "--json"))
    assert len(scored["clips"]) == len(list((SAMPLES / "test" / "normal").iterdir()))
    assert all(row["error"] is None for row in scored["clips"])


def daemon_answers() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0


@pytest.mark.slow
def test_the_container_fits_and_scores(tmp_path: Path) -> None:
    if not daemon_answers():
        pytest.skip("no docker daemon answers; tests/check_light.py takes the same steps in a bare environment")
    subprocess.run(["docker", "build", "--quiet", "-t", "asd-test", ROOT], check=True)
    shutil.copytree(SAMPLES, tmp_path / "data")
    tmp_path.chmod(0o777)

    def contained(*arguments: str) -> subprocess.CompletedProcess[str]:
        limits = ("--memory", "1g", "--cpus", "1", "--network", "none")
        return subprocess.run(
            ["docker", "run", "--rm", *limits, "-v", f"{tmp_path}:/data", "asd-test", *arguments],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    fitted = contained("fit", "data/train", "-o", "fan.asd")
    assert fitted.returncode == 0, fitted.stderr
    scored = contained("score", "fan.asd", "data/test/normal", "--json")
    assert scored.returncode in (0, 1), scored.stderr
    assert all(row["error"] is None for row in json.loads(scored.stdout)["clips"])
