"""What schemathesis makes of the description: requests that fit it and that do not, for every path of a real server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import teaching_plant

from asd_serve.limits import Limits

_FREE = Limits(rate=1e6, burst=10**6, open_rate=1e6, open_burst=10**6, wrong_keys=10**6)
_LEFT_OUT = "positive_data_acceptance,negative_data_rejection"
"""What it cannot judge here: the description cannot say that since comes before until, and a name in a path that it
takes for a wrong one is replaced by one that there is."""


@pytest.mark.slow
def test_schemathesis_finds_nothing(server: Any, plant: Path, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    own = teaching_plant.copied(plant.parent, tmp_path / "plant")
    models = {each.stem: each for each in (own / "models").glob("*.asd")}
    running = server(models, history=own / "history", limits=_FREE)
    known = {"machine": "fan", "model": "fan", "event": teaching_plant.alarm_of(own)}
    lines = [f'"path.{name}" = "{value}"' for name, value in known.items()]
    (tmp_path / "schemathesis.toml").write_text("\n".join(("[parameters]", *lines)))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{running.url}/api/openapi.json"),
            *("-H", f"Authorization: Bearer {running.key('administer')}", "--max-examples", "12", "--seed", "17"),
            *("--phases", "coverage,fuzzing,stateful"),  # test_serve_curl.py asks the description's own examples
            *("--exclude-checks", _LEFT_OUT, "--suppress-health-check", "all", "--no-color"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    tested = re.search(r"Tested: (\d+)", done.stdout)
    assert tested is not None, done.stdout[-2000:]
    assert int(tested[1]) > 30
    generated = re.search(r"(\d+) generated, \1 passed", done.stdout)
    assert generated is not None, done.stdout[-2000:]
    assert int(generated[1]) > 900
    print(f"operations: {tested[1]}; requests: {generated[1]}, none with a finding")  # for docs/results.md
