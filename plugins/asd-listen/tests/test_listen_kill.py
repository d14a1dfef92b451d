"""A listener that is killed: see tests/benchmarks/bench_kill.py, which kills it a hundred times."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "tests" / "benchmarks" / "bench_kill.py"


@pytest.mark.slow
def test_kills_at_random_moments_lose_no_more_than_the_clip_under_way() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "20"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    assert found["clips"] > 100
    assert found["events"] > 5
