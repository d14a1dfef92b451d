"""What `asd.embed` costs beside the extraction itself, and once the embeddings are in the cache.

- ``asd.embed`` of 300 clips of 10 s, a cold cache filled and vectors pooled, against the bare loop over
  `Pipeline.embed_all` without a cache. To hold: at most 1.05.
- The bare loop against ``asd.embed`` of the same clips from the cache. To hold: at least 50.
- The same of the command ``asd embed``, start of the process and writing of the file included.

Wall time and processor time are printed: where others use the processor, the ratio of the latter says more.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_embed.py [--clips 300] [--rounds 3] [--extractor NAME]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from timing import installed

import asd
from asd.detection.config import Config
from asd.detection.embedding import branch_to_embed
from asd.detection.pipeline import Pipeline
from asd.sound.finding import find_clips
from asd.sound.machines import write_recordings

ASD = (sys.executable, "-m", "asd")


def extraction(folder: Path, options: dict[str, Any], *, windows: bool = False) -> None:
    """Compute the embeddings and keep nothing."""
    clips = find_clips([folder])
    _, config = branch_to_embed(Config.from_mapping(options), None, windows=windows)
    with Pipeline(config, clips=len(clips)) as pipeline:
        for _ in pipeline.embed_all(clips):
            pass


def cost_of(call: Callable[[], object]) -> tuple[float, float]:
    """Return wall and processor seconds of a call, those of its child processes included."""
    before, began = processor(), time.perf_counter()
    call()
    return time.perf_counter() - began, processor() - before


def processor() -> float:
    """Return the processor's seconds so far."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def command(folder: Path, output: Path, options: dict[str, Any]) -> None:
    """Run ``asd embed``, compiled."""
    given = [item for name, value in options.items() for item in (f"--{name}", value)]
    subprocess.run(
        [*ASD, "embed", folder, "-o", output, "--force", *given], check=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env=installed(output.parent),
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--extractor")
    arguments = parser.parse_args()
    options = {"extractor": arguments.extractor} if arguments.extractor else {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_recordings(folder / "sound", healthy=arguments.clips, faulty=0)
        time.sleep(2.1)  # files that have just changed are not trusted to stay
        sound = folder / "sound" / "train"
        costs: dict[str, list[tuple[float, float]]] = {}
        extraction(sound, options)  # libraries are loaded once
        os.environ["ASD_CACHE"] = str(folder / "first")
        command(sound / "000.wav", folder / "x.npz", options)  # modules are compiled once
        calls = {
            "extraction": lambda: extraction(sound, options),
            "asd.embed, no cache": lambda: asd.embed(sound, cache=False, **options),
            "asd.embed, cold": lambda: asd.embed(sound, **options),
            "asd.embed, warm": lambda: asd.embed(sound, **options),
            "asd.embed, warm, windows": lambda: asd.embed(sound, windows=True, **options),
            "asd embed, warm": lambda: command(sound, folder / "x.npz", options),
        }
        for number in range(arguments.rounds):
            os.environ["ASD_CACHE"] = str(folder / f"cache-{number}")
            for name, call in calls.items():
                costs.setdefault(name, []).append(cost_of(call))
    medians = {name: [statistics.median(each) for each in zip(*own, strict=True)] for name, own in costs.items()}
    for name, (wall, processor) in medians.items():
        ratios = [own / bare for own, bare in zip((wall, processor), medians["extraction"], strict=True)]
        print(f"  {name:<26} {wall:7.3f} s, processor {processor:7.3f} s; of the extraction {ratios[0]:.4f}, "
              f"{ratios[1]:.4f} (1 / {1 / ratios[0]:.0f}, 1 / {1 / ratios[1]:.0f})")  # fmt: skip


if __name__ == "__main__":
    main()
