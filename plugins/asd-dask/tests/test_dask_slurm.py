"""examples/cluster/asd.sbatch on a real SLURM: a controller and a node on this computer, started by the tests."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dask_cluster import free_port

from waiting import until

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "examples" / "cluster" / "asd.sbatch"
CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
SwitchType=switch/none
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=64000 State=UNKNOWN
PartitionName=tests Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("slurmctld") and shutil.which("slurmd")), reason="needs SLURM (Debian: slurm-wlm)"
    ),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start SLURM; return the environment of its commands."""
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    text = CONFIGURATION.format(
        folder=folder, host=socket.gethostname().partition(".")[0], user=getpass.getuser(),
        ports=(free_port(), free_port()),
    )  # fmt: skip
    (folder / "slurm.conf").write_text(text)
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    started = []
    for name in ("slurmctld", "slurmd"):
        with (folder / f"{name}.log").open("wb") as log:
            started.append(subprocess.Popen([name, "-D"], env=environment, stdout=log, stderr=log))
    try:
        until(lambda: "idle" in said_by(["sinfo", "--noheader"], environment), "a node is idle", by=started[1])
        yield environment
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


def said_by(words: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout


def test_slurm_takes_the_script(slurm: dict[str, str]) -> None:
    """As far as one node can: the script asks for two, by its first option but one."""
    for nodes, expected in (("1", "to start at"), ("2", "Requested node configuration is not available")):
        words = ["sbatch", "--test-only", "--nodes", nodes, SCRIPT, "score", "a.asd", "data"]
        done = subprocess.run(words, env=slurm, capture_output=True, text=True, check=False)
        assert expected in done.stderr
    assert "using 8 processors" in said_by(["sh", "-c", f"sbatch --test-only -N 1 {SCRIPT} x 2>&1"], slurm)


def test_the_script_scores_as_without_slurm(slurm: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").write_text(f"PATH={tmp_path / 'bin'}:{Path(sys.executable).parent}:$PATH\n")
    (tmp_path / "bin" / "asd").write_text(f'#!/bin/sh\nexec {sys.executable} -m asd "$@"\n')
    (tmp_path / "bin" / "asd").chmod(0o755)
    asd = [sys.executable, "-m", "asd"]
    data = ROOT / "examples" / "data"
    quick = ("--extractor", "mel-statistics", "--detector", "mahalanobis", "--no-cache")
    subprocess.run([*asd, "fit", data / "train", *quick, "-o", tmp_path / "a.asd"], check=True, capture_output=True)
    words = ["--wait", "--nodes", "1", "--ntasks-per-node", "2", "--mem-per-cpu", "1G", "-o", "out", "-e", "err"]
    environment = {**slurm, "ASD_ENVIRONMENT": str(tmp_path), "ASD_CACHE_SIZE": "0"}
    subprocess.run(
        ["sbatch", *words, SCRIPT, "score", "a.asd", data / "test", "--json"], cwd=tmp_path, env=environment,
        check=False, capture_output=True,
    )  # fmt: skip
    alone = subprocess.run(
        [*asd, "score", "a.asd", data / "test", "--json", "--no-cache"], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (tmp_path / "out").read_text() == alone.stdout, (tmp_path / "err").read_text()
    (log,) = tmp_path.glob("asd-workers-*.log")
    assert log.read_text().count("Registered to") == 2
    assert not list(tmp_path.glob("asd-job-*"))
