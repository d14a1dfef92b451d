"""Wheels of this repository and clean environments to install them into: what the checks of the wheels share."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path, codes: Sequence[int] = (0,), errors: bool = False) -> str:
    """Run a command, show it when it ends with another code, and return what it printed, or its `errors`."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in codes:
        sys.exit(f"{' '.join(map(str, command))} failed ({done.returncode}):\n{done.stdout}\n{done.stderr}")
    return done.stderr if errors else done.stdout


def build(distributions: Sequence[Path], folder: Path) -> list[Path]:
    """Build the wheel of each distribution into ``folder/wheels`` and return them."""
    for distribution in distributions:
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "wheels", cwd=distribution)
    wheels = sorted((folder / "wheels").glob("*.whl"))
    assert len(wheels) == len(distributions), wheels
    return wheels


def clean_environment(folder: Path) -> Path:
    """Make a virtual environment in ``folder/clean`` and return the folder of its commands."""
    venv.create(folder / "clean", with_pip=True, symlinks=os.name != "nt")  # as "python -m venv" makes it
    return folder / "clean" / "bin"
