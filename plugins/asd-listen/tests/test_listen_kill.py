"""A listener that is killed: see tests/benchmarks/bench_kill.py and bench_kill_listener.py, which do it longer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "tests" / "benchmarks"


def killed(script: str, times: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), str(times)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    return found


@pytest.mark.slow
def test_kills_at_random_moments_lose_no_more_than_the_clip_under_way() -> None:
    found = killed("bench_kill.py", 20)
    assert found["most_lost_by_a_kill"] <= 1
    assert found["clips"] > 100
    assert found["events"] > 5


@pytest.mark.slow
def test_a_whole_listener_goes_on_after_kills() -> None:
    assert killed("bench_kill_listener.py", 8)["verdicts"] > 50
