"""``asd`` with two real workers of a cluster: the results are those without; what dies, lacks or disturbs is told."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import acting
import numpy as np
import psutil
import pytest
import soundfile
from dask_cluster import Cluster

from waiting import PATIENCE, until

ASD = Path(sys.executable).parent / "asd"
HERE = Path(__file__).resolve().parent
pytestmark = pytest.mark.slow
PIPELINE = ("--extractor", "spectrum", "--detector", "mahalanobis")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with healthy and other recordings of 2 s, one of which is poisoned."""
    folder = tmp_path_factory.mktemp("plant")
    rng = np.random.default_rng(7)
    for name, count in (("train", 24), ("today", 40)):
        (folder / name).mkdir()
        for number in range(count):
            soundfile.write(folder / name / f"{number:02}.wav", 0.1 * rng.normal(size=16_000), 8000)
    (folder / "poisoned").mkdir()
    for number in range(8):
        (folder / "poisoned" / f"{number:02}.wav").symlink_to(folder / "today" / f"{number:02}.wav")
    (folder / "poisoned" / "03.wav").unlink()
    soundfile.write(folder / "poisoned" / "03.wav", np.full(16_000, 0.99), 8000)
    acting.installed(folder / "site")
    return folder


@pytest.fixture(scope="module")
def environment(plant: Path) -> dict[str, str]:
    paths = [str(plant / "site"), str(HERE), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "ASD_TEST_ACT": str(plant / "act"),
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),  # as Dask sets them
        "ASD_CACHE": str(plant / "cache"),
        "ASD_CACHE_SIZE": "1GB",
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": f"{PATIENCE}s",
    }


@pytest.fixture(scope="module")
def run(plant: Path, environment: dict[str, str]) -> Run:
    """Return what runs ``asd`` in the plant's folder."""

    def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [os.environ.get("ASD_COMMAND", ASD), *words], cwd=plant, env={**environment, **variables}, text=True,
            capture_output=True, check=False, timeout=PATIENCE,
        )  # fmt: skip

    return run


@contextlib.contextmanager
def two_workers(folder: Path, plant: Path, environment: dict[str, str], cache: Path) -> Iterator[Cluster]:
    """Have a cluster of two workers that keep embeddings in a folder of theirs."""
    started = Cluster(folder)
    try:
        for name in ("first", "second"):
            started.worker(
                path=(plant / "site",),
                environment={
                    "ASD_TEST_ACT": environment["ASD_TEST_ACT"],
                    "ASD_TEST_WORKER": name,
                    "ASD_CACHE": str(cache),
                },
            )
        until(lambda: started.logged().count("Registered to") >= 2, started.logged)
        yield started
    finally:
        started.close()


@pytest.fixture(scope="module")
def cluster(plant: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with two_workers(tmp_path_factory.mktemp("cluster"), plant, environment, plant / "theirs") as started:
        yield started


@pytest.fixture
def mortal(plant: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[Cluster]:
    """Return a cluster that the test may end."""
    (tmp_path / "cluster").mkdir()
    with two_workers(tmp_path / "cluster", plant, environment, tmp_path / "theirs") as started:
        yield started


@pytest.fixture(scope="module")
def local(plant: Path, run: Run) -> dict[str, str]:
    """Return what this computer alone makes of the recordings: its model is ``local.asd``."""
    done = run("fit", "train", *PIPELINE, "-o", "local.asd", "--no-cache")
    assert done.returncode == 0, done.stderr
    return {name: run("score", "local.asd", name, "--json", "--no-cache").stdout for name in ("today", "poisoned")}


@pytest.fixture
def acts(plant: Path) -> Iterator[Callable[[str], object]]:
    """Return what sets how the components behave during the test."""
    yield (plant / "act").write_text
    for name in ("act", "act-log", "act-go"):
        (plant / name).unlink(missing_ok=True)


def read(plant: Path) -> list[list[str]]:
    """Return which processes, of which workers, have read a recording each since the test began."""
    log = plant / "act-log"
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def test_the_results_are_those_without_a_cluster(
    plant: Path, run: Run, cluster: Cluster, local: dict[str, str]
) -> None:
    there = ("--engine", "dask", "--scheduler", cluster.address)
    done = run("score", "local.asd", "today", "--json", "--no-cache", *there)
    assert (done.stdout, done.returncode) == (local["today"], 0 if '"anomalous": true' not in done.stdout else 1)
    assert "distributed" not in done.stderr
    for command in (("embed", "train", "--extractor", "spectrum", "--windows"), ("fit", "train", *PIPELINE)):
        kind = "npz" if command[0] == "embed" else "asd"
        for name, words in (("here", ()), ("there", there)):
            done = run(*command, "-o", f"{name}.{kind}", "--force", "--no-cache", *words)
            assert done.returncode == 0, done.stderr
    here, there_too = (np.load(plant / f"{name}.npz") for name in ("here", "there"))
    measured = [name for name in here.files if here[name].dtype.kind == "f"]
    assert all(np.array_equal(here[name], there_too[name], equal_nan=True) for name in measured)
    scored = [run("score", f"{name}.asd", "today", "--json", "--no-cache").stdout for name in ("here", "there")]
    assert scored[0].replace("here.asd", "there.asd") == scored[1]


def test_a_poisoned_recording_is_a_failed_row_and_the_others_are_judged(
    run: Run, cluster: Cluster, local: dict[str, str], acts: Callable[[str], object]
) -> None:
    acts("die of poison")
    done = run("score", "local.asd", "poisoned", "--json", "--no-cache", "--scheduler", cluster.address)
    judged, whole = (json.loads(text)["clips"] for text in (done.stdout, local["poisoned"]))
    failed = next(row for row in judged if row["clip"] == "poisoned/03.wav")
    assert "poisoned/03.wav: the process that worked on it died twice" in failed["error"]
    assert [row for row in judged if row is not failed] == [row for row in whole if row["clip"] != "poisoned/03.wav"]
    assert "distributed" not in done.stderr


def test_a_worker_killed_in_the_middle_changes_nothing(
    run: Run,
    plant: Path,
    environment: dict[str, str],
    cluster: Cluster,
    local: dict[str, str],
    acts: Callable[[str], object],
) -> None:
    acts("stop at the tenth")
    command = [ASD, "score", "local.asd", "today", "--json", "--no-cache", "--scheduler", cluster.address]
    with subprocess.Popen(command, cwd=plant, env=environment, text=True, stdout=-1, stderr=-1) as process:
        until(lambda: len(read(plant)) >= 10, cluster.logged, by=process)
        os.kill(int(read(plant)[-1][0]), signal.SIGKILL)
        (plant / "act-go").touch()
        out, err = process.communicate(timeout=PATIENCE)
    assert out == local["today"], err
    assert "distributed" not in err


def workers_below(process: int) -> list[int]:
    """Return the worker processes that a nanny, or a command with processes of its own, has started."""
    below = psutil.Process(process).children(recursive=True)
    return [each.pid for each in below if "spawn_main" in " ".join(each.cmdline())]


def test_a_worker_with_another_version_of_a_plugin_is_refused_at_the_start(
    run: Run, plant: Path, cluster: Cluster, local: dict[str, str]
) -> None:
    other = cluster.worker("--no-nanny", path=(acting.installed(plant / "other", "2.0"),))
    until(lambda: "Registered to" in cluster.log_of(other))
    done = run("score", "local.asd", "today", "--no-cache", "--scheduler", cluster.address)
    cluster.kill(other)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(
        r"worker tcp://\S+: has acting 2.0, the process that asks for the work has 1.0: pip inst", done.stderr
    )


def test_a_straggler_holds_nobody_up(
    run: Run, plant: Path, cluster: Cluster, local: dict[str, str], acts: Callable[[str], object]
) -> None:
    acts("one is slow")
    done = run("score", "local.asd", "today", "--json", "--no-cache", "--scheduler", cluster.address)
    assert done.stdout == local["today"]
    by = [worker for _, worker in read(plant)]
    assert by.count("second") < by.count("first")


def test_weights_that_a_worker_lacks_are_sent_to_it(
    run: Run, plant: Path, cluster: Cluster, local: dict[str, str]
) -> None:
    here, there = (plant / folder / "weights" / acting.WEIGHT.name for folder in ("cache", "theirs"))
    here.parent.mkdir(parents=True, exist_ok=True)
    here.write_bytes(acting.CONTENT)
    assert not there.exists()
    done = run("score", "local.asd", "today", "--json", "--no-cache", "--scheduler", cluster.address)
    assert done.stdout == local["today"], done.stderr
    assert there.read_bytes() == acting.CONTENT


TLS = "DASK_DISTRIBUTED__COMM__TLS__"


@pytest.mark.parametrize(
    ("address", "variables", "expected"),
    [
        (
            "tcp://127.0.0.1:1",
            {},
            r"no scheduler answered within 5 s \(.*\); is 'dask scheduler'",
        ),
        ("tls://127.0.0.1:1", {}, r"the certificates that Dask's configuration names .* cannot be used: .*TLS expects"),
        (
            "tls://127.0.0.1:1",
            {f"{TLS}CA_FILE": "/nowhere.pem", f"{TLS}CLIENT__CERT": "/nowhere.pem"},
            r"the certificates that Dask's configuration names .* cannot be used: .*No such file",
        ),
        (
            "http://127.0.0.1:1",
            {},
            r"scheduler must be local:N .*, an address such as tcp://HOST:8786 .*, got 'http://",
        ),
        ("local:0", {}, r"scheduler must be local:N .*, got 'local:0'"),
        ("nowhere.json", {}, r"scheduler nowhere.json: no address could be read from it within 5 s .*No such file"),
    ],
    ids=["refused", "no certificates", "lost certificates", "scheme", "none", "no file"],
)
def test_a_scheduler_that_is_not_there_is_one_line(
    run: Run, local: dict[str, str], address: str, variables: dict[str, str], expected: str
) -> None:
    variables = {**variables, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s"}
    done = run("score", "local.asd", "today", "--engine", "dask", "--scheduler", address, **variables)
    assert done.returncode == 2, done.stderr
    assert re.search(expected, done.stderr), done.stderr
    assert done.stderr.count("\n") <= 2
    assert done.stdout == ""


def test_ctrl_c_ends_the_processes_of_this_computer_and_keeps_what_is_done(
    plant: Path, environment: dict[str, str], local: dict[str, str], acts: Callable[[str], object]
) -> None:
    acts("stop at the tenth")
    command = [ASD, "embed", "today", "-o", "stopped.npz", "--extractor", "spectrum", "--scheduler", "local:2"]
    process = subprocess.Popen(
        command, cwd=plant, env=environment, text=True, stdout=-1, stderr=-1, start_new_session=True
    )
    until(lambda: len(read(plant)) >= 10, by=process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert err.endswith("asd: error: interrupted; nothing was written\n"), err
    assert not [line for line in err.splitlines() if "Traceback" in line or "distributed" in line], err
    until(lambda: not group(process.pid))
    assert not (plant / "stopped.npz").exists()


def test_processes_of_this_computer_end_with_a_command_that_is_killed(
    plant: Path, environment: dict[str, str], local: dict[str, str], acts: Callable[[str], object]
) -> None:
    acts("stop at the tenth")
    command = [ASD, "score", "local.asd", "today", "--no-cache", "--scheduler", "local:1"]
    process = subprocess.Popen(command, cwd=plant, env=environment, stdout=-3, stderr=-3, start_new_session=True)
    until(lambda: workers_below(process.pid), by=process)
    process.kill()
    process.wait()
    until(lambda: not group(process.pid))


def group(leader: int) -> list[int]:
    """Return the processes of a process group that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def test_a_scheduler_that_dies_is_one_line_and_what_is_done_is_kept(
    run: Run,
    plant: Path,
    environment: dict[str, str],
    mortal: Cluster,
    tmp_path: Path,
    acts: Callable[[str], object],
) -> None:
    acts("stop at the tenth")
    lost = tmp_path / "lost.npz"
    command = [ASD, "embed", "today", "-o", lost, "--extractor", "spectrum", "--scheduler", mortal.address]
    theirs = {"ASD_CACHE": str(tmp_path / "theirs")}
    own = {
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s",  # so long it tries to reach the scheduler again
        "ASD_CACHE": str(tmp_path / "cache"),
    }
    with subprocess.Popen(command, cwd=plant, env={**environment, **own}, text=True, stdout=-1, stderr=-1) as process:
        until(lambda: len(read(plant)) >= 10, mortal.logged, by=process)
        until(lambda: json.loads(run("cache", "show", "--json", **theirs).stdout)["pipelines"])  # one is kept
        mortal.close()
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert re.search(
        rf"asd: error: scheduler {mortal.address}: lost while it was at work .*; what is done is kept: start the", err
    )
    assert "Traceback" not in err
    assert "distributed" not in err
    assert not lost.exists()
    before = len(read(plant))
    (plant / "act-go").touch()
    done = run("embed", "today", "-o", lost, "--extractor", "spectrum", **theirs)
    assert done.returncode == 0
    assert 0 < len(read(plant)) - before < 40  # the others are in the workers' cache
