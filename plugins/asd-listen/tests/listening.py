"""What the tests of the listener share: a small machine, a model of it, and the command."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import asd
from asd.experiment import Machine
from asd.plugin import Float32

RATE = 16000
CLIP = 1.0
MACHINE = Machine(seed=5, sample_rate=RATE)
START = "2026-11-01T00:00:00"


def healthy(seconds: float, seed: int = 0) -> Float32:
    """Return healthy sound, float32 (n,), in recordings of 20 s one after the other."""
    return _recorded(seconds, seed, None)


def faulty(seconds: float, seed: int = 0) -> Float32:
    """Return the sound of a faulty machine."""
    return _recorded(seconds, seed, "whine")


def _recorded(seconds: float, seed: int, anomaly: Any) -> Float32:
    count = int(np.ceil(seconds / 20))
    parts = [
        MACHINE.record(20.0, seed=1000 * seed + i, anomaly=anomaly, frequency=3500.0 if anomaly else None, level=3.0)
        for i in range(count)
    ]
    return np.concatenate([each.audio.samples[0] for each in parts])[: round(seconds * RATE)]


def write(path: Path, *parts: Float32, rate: int = RATE) -> Path:
    """Write parts one after the other as a recording."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate(parts), rate, subtype="FLOAT")
    return path


def fitted(folder: Path) -> Path:
    """Fit a model on clips of a second of the healthy machine, and return its file."""
    sound = healthy(60.0, seed=77)
    for i in range(30):
        write(folder / "train" / f"{i:02d}.wav", sound[2 * i * RATE : (2 * i + 1) * RATE])
    model = asd.fit(folder / "train", extractor="band-levels", detector="deviation", embedding_pooling="mean", cache=False)
    model.save(folder / "machine.asd")
    return folder / "machine.asd"


def command(*arguments: object, code: int = 0, cwd: Path, stdin: Any = None) -> subprocess.CompletedProcess[str]:
    """Run ``asd`` as a user does."""
    words = [os.environ["ASD_COMMAND"], *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd, stdin=stdin, timeout=240)
    assert done.returncode == code, done.stdout + done.stderr
    return done
