"""How fast the command starts, as ratios to what cannot be avoided.

- ``asd --help`` and ``asd plugins``, whole process, against importing click, rich.table, pluggy, importlib.metadata
  and numpy. To hold: at most 1.5.
- ``asd score`` of one clip from cold start, default pipeline, against importing torch, which is all of PyTorch that it
  needs, plus the bare forward pass of the same windows. To hold: at most 1.3.

    python tests/benchmarks/bench_startup.py [--runs 7]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from timing import in_turns

ASD = Path(sys.executable).with_name("asd")
LIGHT = "import click, rich.table, pluggy, importlib.metadata, numpy"
TORCH = "import torch"
FORWARD = """
import time
from asd.records import Clip
from asd.sound.reading import read
from asd.detection.config import Config
from asd.detection.pipeline import Pipeline
from pathlib import Path
import sys
pipeline = Pipeline(Config())
clip = Clip(Path(sys.argv[1]))
pipeline.embed(clip)  # loads and prepares the network
windows = pipeline.frontend(read(clip, sample_rate=pipeline.frontend.sample_rate)).values
began = time.perf_counter()
pipeline.extractor.embed(windows)
print(time.perf_counter() - began)
"""


def main() -> None:
    """Measure in turns, so that a drift of the machine meets all alike; print medians and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    samples = Path(__file__).resolve().parents[2] / "examples" / "data"
    with tempfile.TemporaryDirectory() as folder:
        model, clip = Path(folder) / "fan.asd", next((samples / "test" / "normal").iterdir())
        subprocess.run([ASD, "fit", samples / "train", "-o", model], check=True, capture_output=True)
        commands: dict[str, tuple[str | Path, ...]] = {
            "light imports": (sys.executable, "-c", LIGHT),
            "asd --help": (ASD, "--help"),
            "asd plugins": (ASD, "plugins"),
            "torch imports": (sys.executable, "-c", TORCH),
            "asd score": (ASD, "score", "--no-cache", model, clip),
        }
        processes = {
            name: partial(subprocess.run, command, check=False, capture_output=True)
            for name, command in commands.items()
        }
        median = in_turns(runs, **processes)
        done = subprocess.run([sys.executable, "-c", FORWARD, clip], check=True, capture_output=True, text=True)
    forward = float(done.stdout)
    for name, value in median.items():
        print(f"{name:<15} {value:6.3f} s")
    print(f"{'bare forward':<15} {forward:6.3f} s")
    for name in ("asd --help", "asd plugins"):
        print(f"{name} / light imports = {median[name] / median['light imports']:.2f} (to hold: at most 1.5)")
    ratio = median["asd score"] / (median["torch imports"] + forward)
    print(f"asd score / (torch imports + bare forward) = {ratio:.2f} (to hold: at most 1.3)")


if __name__ == "__main__":
    main()
