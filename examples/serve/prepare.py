"""Make what compose.yaml needs, unless it is there: a model, the sound of the sample stream, and the settings.

python prepare.py data
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from demo_plant import RATE, hum

import asd

HEALTHY, FAULTY = 480, 120
"""Seconds of the sample stream in which the pump is healthy, and in which it then whines."""


def prepare(folder: Path) -> None:
    """Fill a folder with what is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "pump.wav").exists():
        sound = np.concatenate([hum(HEALTHY, 97.0, 1), hum(FAULTY, 97.0, 2, fault_from=0.0)])
        _write(folder / "pump.wav", sound)
    if not (folder / "pump.asd").exists():
        with tempfile.TemporaryDirectory() as training:
            for clip, sound in enumerate(np.split(hum(120, 97.0, 0), 60)):
                _write(Path(training) / f"{clip:02d}.wav", sound)
            asd.fit(training, quality="fast", cache=False).save(folder / "pump.asd")
    if not (folder / "plant.toml").exists():
        shutil.copy(Path(__file__).with_name("plant.toml"), folder / "plant.toml")


def _write(path: Path, sound: object) -> None:
    part = path.with_suffix(".part")
    soundfile.write(part, sound, RATE, format="WAV")
    part.replace(path)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
