"""Cost of fitting many machines in one run, against the same fits one by one, and of judging and of running it again.

Run: OMP_NUM_THREADS=1 python tests/benchmarks/bench_fleet.py [--machines 1000] [--clips 10] [--pipeline light|fast]

Recordings of 1 s are generated, ten of a machine. Both ways fit all machines into files and use no cache:
`asd.fit(by=…)` into a folder, and `Model.fit` and `save` for each machine in one process, so that start-up counts in
neither. They take turns, a share of the machines at a time, as the load of a computer changes.

Goal: one run takes at most 1.3 times the sum of the single fits, and its memory does not grow with the machines.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import asd
from asd.experiment import Clip, Config, Model

RATE = 16000
PIPELINES: dict[str, dict[str, Any]] = {
    "light": {"extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"},
    "fast": {"quality": "fast"},
}


def record(folder: Path, machines: int, clips: int) -> None:
    """Write recordings of machines that hum, each at its own frequency, in noise."""
    rng, moment = np.random.default_rng(0), np.arange(RATE) / RATE
    for number in range(machines):
        place = folder / f"machine {number:04d}"
        place.mkdir(parents=True)
        hum = 0.1 * np.sin(2 * np.pi * rng.uniform(50, 500) * moment)
        for clip in range(clips):
            soundfile.write(place / f"{clip}.wav", hum + rng.normal(0, 0.03, RATE), RATE)


def singly(folders: list[Path], target: Path, config: Config) -> float:
    """Fit and save a model for each folder, as a script would; return the seconds."""
    target.mkdir()
    began = time.perf_counter()
    for folder in folders:
        Model.fit([Clip(path) for path in sorted(folder.iterdir())], config, cache=False).save(
            target / f"{folder.name}.asd"
        )
    return time.perf_counter() - began


def together(folders: list[Path], target: Path, options: dict[str, Any]) -> float:
    """Fit all in one run; return the seconds."""
    began = time.perf_counter()
    models = asd.fit(folders, by="folder", folder=target, cache=False, **options)
    assert len(models) >= len(folders), models.errors
    return time.perf_counter() - began


def peak() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=200)
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--pipeline", choices=PIPELINES, default="light")
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    pipeline = PIPELINES[options.pipeline]
    logging.getLogger("asd").setLevel(logging.ERROR)
    print(f"load {os.getloadavg()[0]:.1f}, {len(os.sched_getaffinity(0))} processors")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        record(place / "plant", options.machines, options.clips)
        folders = sorted((place / "plant").iterdir())
        config = Config.from_mapping(pipeline)
        singly(folders[:2], place / "warm", config)  # imports, and the network's first run
        together(folders[:2], place / "warm too", pipeline)
        single, fleet, memory = [], [], [peak()]
        for part in range(options.rounds):
            share = folders[part :: options.rounds]
            single.append(singly(share, place / f"single {part}", config))
            fleet.append(together(share, place / f"fleet {part}", pipeline))
            memory.append(peak())
        ratios = [f / s for f, s in zip(fleet, single, strict=True)]
        print(f"{options.machines} machines of {options.clips} clips of 1 s, {options.pipeline}:")
        print(f"  one by one {sum(single):.1f} s, in one run {sum(fleet):.1f} s: {sum(fleet) / sum(single):.3f} times")
        print(
            f"  {options.rounds} rounds: median {statistics.median(ratios):.3f}, {min(ratios):.3f} – {max(ratios):.3f}"
        )
        before = peak()
        whole = together(folders, place / "whole", pipeline)
        print(f"  all in one folder: {whole:.1f} s; peak memory {before:.0f} MB before, {peak():.0f} MB after")
        print(f"  again, nothing changed: {together(folders, place / 'whole', pipeline):.2f} s")
        began = time.perf_counter()
        count = sum(verdict.ok for verdict in asd.score(place / "whole", place / "plant", cache=False))
        judged = time.perf_counter() - began
        print(f"  judged {count} clips by their machines' models: {judged:.1f} s, peak {peak():.0f} MB")


if __name__ == "__main__":
    main()
