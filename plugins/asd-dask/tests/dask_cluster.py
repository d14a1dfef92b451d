"""A real scheduler and real workers, each a process of its own, started and killed by the tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """``dask scheduler`` and ``dask worker`` processes below a folder, in which they write what they log."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port), *self._quietly)

    _quietly = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")

    def _start(
        self, *words: str, path: tuple[Path, ...] = (), environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        folder = self.folder / f"process-{len(self.processes)}"
        folder.mkdir()
        paths = [*map(str, path), str(HERE), os.environ.get("PYTHONPATH", "")]
        variables = {
            **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONWARNINGS": "",
            "OMP_NUM_THREADS": "1", **(environment or {}),
        }  # fmt: skip
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *words], stdout=log, stderr=log, env=variables, cwd=folder,
                start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def worker(
        self,
        *words: str,
        count: int = 1,
        path: tuple[Path, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start workers that a nanny starts again when they die."""
        own = () if "--nthreads" in words else ("--nthreads", "1")
        return self._start(
            "worker", self.address, "--nworkers", str(count), "--no-dashboard", "--memory-limit", "0", *own, *words,
            path=path, environment=environment,
        )  # fmt: skip

    def logged(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("process-*/log")))

    def log_of(self, process: subprocess.Popen[bytes]) -> str:
        return (self.folder / f"process-{self.processes.index(process)}" / "log").read_text(errors="replace")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process with all its children, and forget it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        for process in self.processes:
            self.kill(process)


def scheduler_file(folder: Path, address: str) -> Path:
    path = folder / "scheduler.json"
    path.write_text(json.dumps({"address": address}))
    return path
