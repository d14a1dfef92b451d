"""How fast the command starts, as ratios to what cannot be avoided, and how much memory it takes.

- ``asd --help`` and ``asd plugins``, whole process, against importing click, rich.table, pluggy, importlib.metadata
  and numpy. To hold: at most 1.5.
- ``asd score`` of one clip from cold start, default pipeline, whole process, without the embedding cache and with it,
  against importing numpy, soundfile, soxr and onnxruntime. To hold: at most 3.0, and 220 MB of memory at the peak.

The commands run in turns, so that a drift of the machine meets all alike. Where others use the processor, the ratio of
the processor's times says more than that of the wall times: it is printed too.

    python tests/benchmarks/bench_startup.py [--runs 15]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from timing import installed

ASD = Path(sys.executable).with_name("asd")
LISTING = "import click, rich.table, pluggy, importlib.metadata, numpy"
SCORING = "import numpy, soundfile, soxr, onnxruntime"

RATIOS = {"asd --help": ("listing imports", 1.5), "asd plugins": ("listing imports", 1.5)}
RATIOS |= dict.fromkeys(("asd score --no-cache", "asd score, first", "asd score, again"), ("scoring imports", 3.0))
MOST_MEMORY = 220


@dataclass
class Cost:
    """What a process took: seconds on the clock, seconds of the processor, megabytes at the peak."""

    wall: float
    processor: float
    memory: float


def cost_of(command: tuple[str | Path, ...], cache: Path, environment: dict[str, str]) -> Cost:
    """Run a command and return what it took."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**environment, "ASD_CACHE": str(cache)}
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        sys.exit(f"{' '.join(map(str, command))} failed")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def measured(runs: int, folder: Path) -> dict[str, Cost]:
    """Return the medians of each command's costs (of memory: the most)."""
    samples = Path(__file__).resolve().parents[2] / "examples" / "data"
    model, clip = folder / "fan.asd", next((samples / "test" / "normal").iterdir())
    subprocess.run([ASD, "fit", samples / "train", "-o", model], check=True, capture_output=True)
    commands: dict[str, tuple[str | Path, ...]] = {
        "listing imports": (sys.executable, "-c", LISTING),
        "asd --help": (ASD, "--help"),
        "asd plugins": (ASD, "plugins"),
        "scoring imports": (sys.executable, "-c", SCORING),
        "asd score --no-cache": (ASD, "score", "--no-cache", model, clip),
        "asd score, first": (ASD, "score", model, clip),  # into a cache that is empty
        "asd score, again": (ASD, "score", model, clip),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    environment = installed(folder)
    for run in range(runs + 1):
        for name, command in commands.items():
            cost = cost_of(command, folder / f"cache{run}", environment)
            if run:  # the first fills the system's caches, and compiles
                costs[name].append(cost)
    return {
        name: Cost(
            statistics.median(each.wall for each in own),
            statistics.median(each.processor for each in own),
            max(each.memory for each in own),
        )
        for name, own in costs.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=15)
    with tempfile.TemporaryDirectory() as folder:
        costs = measured(parser.parse_args().runs, Path(folder))
    for name, cost in costs.items():
        print(f"{name:<22} {cost.wall:6.3f} s   {cost.processor:6.3f} s of processor   {cost.memory:4.0f} MB")
    for name, (floor, most) in RATIOS.items():
        wall, processor = costs[name].wall / costs[floor].wall, costs[name].processor / costs[floor].processor
        print(f"{name} / {floor} = {wall:.2f} (processor {processor:.2f}; to hold: at most {most})")
    memory = max(cost.memory for name, cost in costs.items() if name.startswith("asd score"))
    print(f"peak memory of asd score = {memory:.0f} MB (to hold: at most {MOST_MEMORY})")


if __name__ == "__main__":
    main()
