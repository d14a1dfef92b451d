"""The weight store among processes: two at once, one killed, one on a full disk, one without permission."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from asd.files import weights
from waiting import PATIENCE, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits")

_LOCATE = """
import sys
from asd.files import weights
from asd_registry import WeightFile
print(weights.locate(WeightFile(name="net.pth", licence="MIT", sha256=sys.argv[2], url=sys.argv[1])))
"""


def start(weight: Any, *, first: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", first + _LOCATE, weight.url, weight.sha256]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def files_in(store: Path) -> set[str]:
    return {path.name for path in store.iterdir() if path.is_file()}


def wait_for(part: Path, size: int, by: subprocess.Popen[str]) -> None:
    until(lambda: part.exists() and part.stat().st_size >= size, f"{part} of {size} bytes", by=by)


def test_one_of_two_processes_fetches_and_both_get_the_file(server: Any, store: Path) -> None:
    both = [start(server.weight("slow")) for _ in range(2)]
    results = [process.communicate(timeout=PATIENCE) for process in both]
    assert [out.strip() for out, _ in results] == [str(store / "net.pth")] * 2, results
    assert (store / "net.pth").read_bytes() == server.content
    assert server.requests == [("slow", None)]
    assert files_in(store) == {"net.pth"}


def test_a_killed_download_leaves_its_part_and_goes_on_from_there(server: Any, store: Path) -> None:
    process = start(server.weight("slow"))
    wait_for(store / "net.pth.part", 500_000, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert files_in(store) == {"net.pth.part"}
    here = (store / "net.pth.part").stat().st_size
    assert 500_000 <= here < len(server.content)
    assert weights.locate(server.weight("whole")).read_bytes() == server.content
    assert server.requests == [("slow", None), ("whole", f"bytes={here}-")]


def test_a_process_that_waits_says_so_and_takes_over_from_one_that_is_killed(server: Any, store: Path) -> None:
    first = start(server.weight("very-slow"))
    wait_for(store / "net.pth.part", 100_000, first)
    second = start(server.weight("whole"), first="import logging; logging.basicConfig(level=logging.INFO)\n")
    assert second.stderr is not None
    line = f"INFO:asd.files:another process is fetching net.pth into {store}; waiting for it\n"
    assert second.stderr.readline() == line
    first.kill()
    first.communicate()
    out, err = second.communicate(timeout=PATIENCE)
    assert out.strip() == str(store / "net.pth"), err
    assert server.requests[0] == ("very-slow", None)
    assert server.requests[1][1] is not None
    assert (store / "net.pth").read_bytes() == server.content


def test_a_full_disk_leaves_old_files_whole_and_takes_no_space(server: Any, store: Path) -> None:
    store.mkdir(parents=True)
    (store / "net.pth").write_bytes(b"an older version")
    (store / "other.pth").write_bytes(b"another file")
    # A limit on the size of files stands in for a full disk: writing fails in the middle in the same way.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
    process = start(server.weight("whole"), first=limit)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    mend = "free some, or set ASD_CACHE to a folder on another disk"
    assert f"WeightError: no space left for net.pth in {store} (File too large); {mend}\n" in err
    assert (store / "net.pth").read_bytes() == b"an older version"
    assert files_in(store) == {"net.pth", "other.pth"}


# Root may do anything, so it becomes nobody, after importing what it needs.
_NOBODY = "import os, requests, urllib3, filelock, asd.files.weights\nif os.getuid() == 0: os.setuid(65534)\n"


def test_a_store_that_may_not_be_written_is_named(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as cache:  # pytest's own folders may not even be entered by nobody
        Path(cache).chmod(0o555)
        monkeypatch.setenv("ASD_CACHE", cache)
        process = start(server.weight("whole"), first=_NOBODY)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    mend = "set ASD_CACHE to a folder that you may write to"
    assert f"WeightError: net.pth cannot be kept in {cache}/weights (Permission denied); {mend}\n" in err
    assert server.requests == []


def test_a_file_that_may_not_be_read_is_named(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as cache:
        Path(cache).chmod(0o755)
        file = Path(cache, "weights", "net.pth")
        file.parent.mkdir(mode=0o755)
        file.write_bytes(server.content)
        file.chmod(0o000)
        monkeypatch.setenv("ASD_CACHE", cache)
        process = start(server.weight("whole"), first=_NOBODY)
        _, err = process.communicate(timeout=PATIENCE)
    assert f"WeightError: {file}: cannot read it (Permission denied); check its permissions and its drive\n" in err
    assert server.requests == []
