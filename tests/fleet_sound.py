"""Recordings of many machines, and the command on them, for the tests of fleets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import asd

ASD = Path(os.environ["ASD_COMMAND"])
INSTALLED = Path(sys.executable).with_name("asd")
PIPELINE: dict[str, Any] = {"extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"}
OPTIONS = [item for name, value in PIPELINE.items() for item in (f"--{name.replace('_', '-')}", value)]
RATE = 8000


def run(*arguments: str | Path, code: int = 0, **how: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([ASD, *arguments], capture_output=True, text=True, check=False, **how)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def error(*arguments: str | Path, **how: Any) -> str:
    """Return the one line of an error with exit code 2."""
    done = run(*arguments, code=2, **how)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("asd: error: ")]
    return line.removeprefix("asd: error: ")


def hum(path: Path, frequency: float, seed: int, *, whine: float = 0.0, gain: float = 1.0) -> Path:
    moment = np.arange(RATE) / RATE
    sound = 0.1 * np.sin(2 * np.pi * frequency * moment) + np.random.default_rng(seed).normal(0, 0.02, RATE)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, gain * (sound + whine * np.sin(2 * np.pi * 2500 * moment)), RATE)
    return path


def plant(folder: Path, machines: dict[str, float], clips: int = 6) -> Path:
    for number, (name, frequency) in enumerate(machines.items()):
        for clip in range(clips):
            hum(folder / name / f"{clip}.wav", frequency, 100 * number + clip)
    return folder


def same_arrays(one: asd.Model, other: asd.Model) -> bool:
    """Return whether two models hold the same, bit for bit."""
    first, second = one.content()[1], other.content()[1]
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.asd")}
