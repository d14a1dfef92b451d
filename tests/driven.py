"""The command ``asd`` driven as a user would: what tests of commands share."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ASD = Path(os.environ["ASD_COMMAND"])


def asd(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command and check its exit code; there must be no traceback."""
    done = subprocess.run([ASD, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def error(*arguments: str | Path) -> str:
    """Return the one line of an error with exit code 2."""
    lines = [line for line in asd(*arguments, code=2).stderr.splitlines() if line.startswith("asd: error: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("asd: error: ")
