"""examples/cluster: the script runs with a stand-in for SLURM's ``srun``, the manifests are what Kubernetes takes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples" / "cluster"
MANIFESTS = sorted((EXAMPLES / "kubernetes").glob("*.yaml"))


@pytest.mark.slow
def test_the_slurm_script_scores_with_its_own_cluster(tmp_path: Path) -> None:
    """No SLURM here: `srun` starts one task, where the true one starts one for each."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").touch()
    for name, text in (
        ("srun", '#!/bin/sh\nshift\nexec "$@"\n'),
        ("asd", f'#!/bin/sh\nexec {sys.executable} -m asd "$@"\n'),
    ):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    data = ROOT / "examples" / "data"
    quick = ("--extractor", "mel-statistics", "--detector", "mahalanobis", "--no-cache")
    subprocess.run(
        [os.environ.get("ASD_COMMAND", "asd"), "fit", data / "train", *quick, "-o", tmp_path / "a.asd"], check=True
    )
    path = os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {
        **os.environ, "PATH": path, "SLURM_JOB_ID": "7", "ASD_ENVIRONMENT": str(tmp_path), "ASD_CACHE_SIZE": "0",
    }  # fmt: skip
    command = ["bash", EXAMPLES / "asd.sbatch", "score", "a.asd", data / "test", "--json"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode in (0, 1), done.stderr + (tmp_path / "asd-workers-7.log").read_text()
    alone = subprocess.run(
        [os.environ.get("ASD_COMMAND", "asd"), *command[2:], "--no-cache"], cwd=tmp_path, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout) == json.loads(alone.stdout)
    assert "Registered to" in (tmp_path / "asd-workers-7.log").read_text()
    assert not list(tmp_path.glob("asd-job-*"))


def test_the_slurm_script_is_a_script() -> None:
    subprocess.run(["bash", "-n", EXAMPLES / "asd.sbatch"], check=True)
    lines = (EXAMPLES / "asd.sbatch").read_text().splitlines()
    options = [line for line in lines if line.startswith("#SBATCH")]
    assert len(options) >= 5
    assert all(re.fullmatch(r"#SBATCH --[a-z-]+=\S+", option) for option in options)
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert lines.index(options[-1]) < first  # SLURM reads none behind the first command


def documents(path: Path) -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_kubernetes_takes_the_manifests(path: Path) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    for document in documents(path):
        validate.validate(document, validate.latest_version(), strict=True)
    broken = {**documents(path)[0], "specs": {}}
    with pytest.raises(validate.ValidationError):
        validate.validate(broken, validate.latest_version(), strict=True)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_the_manifests_are_tidy(path: Path) -> None:
    linter, config = (pytest.importorskip(f"yamllint.{name}") for name in ("linter", "config"))
    rules = (
        "{extends: default, rules: {line-length: {max: 120}, document-start: disable, braces: {max-spaces-inside: 1}}}"
    )
    assert list(linter.run(path.read_text(encoding="utf-8"), config.YamlLintConfig(rules))) == []


def test_the_parts_find_each_other() -> None:
    scheduler, workers, job = (
        documents(EXAMPLES / "kubernetes" / f"{n}.yaml") for n in ("scheduler", "workers", "job")
    )
    service, deployment, policy = scheduler
    address = f"tcp://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    pods = [each["spec"]["template"] for each in (deployment, workers[0], job[0])]
    containers = [pod["spec"]["containers"][0] for pod in pods]
    assert address in containers[1]["command"]
    assert address in containers[2]["args"]
    assert len({each["image"] for each in containers}) == 1  # and with it the versions
    assert service["spec"]["selector"].items() <= pods[0]["metadata"]["labels"].items()
    for pod in pods:
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
