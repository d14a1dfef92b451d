"""Memory does not grow with the number or the length of recordings, beyond the features that fitting keeps.

Peak resident memory of whole processes: scoring 20 and 200 clips, scoring one clip of 1 and of 60 minutes, and fitting
on 20 and 200 clips, where the growth is compared with the size of the features and of the waveforms.

    python tests/benchmarks/bench_memory.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from asd.detection.config import Config
from asd.detection.pipeline import Pipeline
from asd.records import Clip

ASD = Path(sys.executable).with_name("asd")
SAMPLES = Path(__file__).resolve().parents[2] / "examples" / "data"


def peak_megabytes(*command: str | Path) -> float:
    """Return the peak resident memory of a process in MB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) == 2:
        sys.exit(f"{' '.join(map(str, command))} failed")
    return usage.ru_maxrss / 1024


def copies(folder: Path, count: int) -> Path:
    """Fill `folder` with `count` variants of the sample clips, each with noise of its own."""
    folder.mkdir()
    clips = sorted((SAMPLES / "train").iterdir())
    for i in range(count):
        samples, rate = soundfile.read(clips[i % len(clips)], dtype="float32")
        noise = np.random.default_rng(i).normal(0, 0.002, samples.shape)
        soundfile.write(folder / f"{i:04d}.flac", samples + noise, rate)
    return folder


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        few, many = copies(folder / "few", 20), copies(folder / "many", 200)
        fitted = {name: peak_megabytes(ASD, "fit", data, "-o", folder / f"{name}.asd")
                  for name, data in (("few", few), ("many", many))}  # fmt: skip
        scored = {name: peak_megabytes(ASD, "score", folder / "few.asd", data)
                  for name, data in (("few", few), ("many", many))}  # fmt: skip
        noise = np.random.default_rng(0).normal(0, 0.01, 60 * 16000).astype(np.float32)
        lengths = {}
        for minutes in (1, 60):
            with soundfile.SoundFile(folder / f"{minutes}.wav", "w", 16000, 1) as file:
                for _ in range(minutes):
                    file.write(noise)
            lengths[minutes] = peak_megabytes(ASD, "score", folder / "few.asd", folder / f"{minutes}.wav")
        features = 180 * Pipeline(Config()).embed(Clip(next(few.iterdir()))).values.nbytes
    print(f"score   20 clips {scored['few']:7.0f} MB    200 clips {scored['many']:7.0f} MB")
    print(f"score   1 minute {lengths[1]:7.0f} MB    1 hour    {lengths[60]:7.0f} MB")
    print(f"fit     20 clips {fitted['few']:7.0f} MB    200 clips {fitted['many']:7.0f} MB")
    print(f"score 200 / 20 clips = {scored['many'] / scored['few']:.2f}")
    print(f"score 1 hour / 1 minute = {lengths[60] / lengths[1]:.2f}")
    grown = fitted["many"] - fitted["few"]
    print(f"fit grew by {grown:.0f} MB for 180 clips: their features in float32 are {features / 1e6:.0f} MB, "
          "copied for standardisation and the folds")  # fmt: skip


if __name__ == "__main__":
    main()
