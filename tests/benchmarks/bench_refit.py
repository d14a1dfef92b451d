"""What the embedding cache saves and what it costs, as ratios.

- ``asd fit`` on clips that were embedded before, whole process, against a process that imports what it needs and fits
  and calibrates the detector on the same features from a file. To hold: at most 1.15.
- Embedding clips that the cache has not seen, with a cache against without one: hashing, looking up, storing. To hold:
  at most 1.05.

Both in processor time, which other programs on the machine disturb least; the wall time is printed beside it.

    python tests/benchmarks/bench_refit.py [--clips 60] [--runs 5]
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
from functools import partial
from pathlib import Path

import numpy as np

from asd.detection.config import Config
from asd.detection.embeddings import EmbeddingCache
from asd.detection.pipeline import ClipFeatures, Pipeline
from asd.records import Clip
from asd.sound.machines import write_recordings

Times = tuple[float, float]
"""Processor time and wall time in seconds."""

ASD = Path(sys.executable).with_name("asd")
DETECTORS = ("knn", "gmm")
LEARN = """
import sys
import asd.cli.main, asd.cli.fit, asd.sound.finding, safetensors.numpy, sqlite3
import numpy as np
from pathlib import Path
from asd.experiment import Choice, Clip, ClipFeatures, Config, learn, load_class, registry
from asd.detection.duplicates import find_duplicates
from asd.plugin import Runtime
config = Config(detector=Choice(sys.argv[1])).resolved()
with np.load(sys.argv[2]) as kept:
    features = [ClipFeatures(Clip(Path(name)), values, np.arange(len(values)) / 2, 10.0, 16000, False)
                for name, values in kept.items()]
learn(config, features, Runtime(), find_duplicates(features))
"""


def main() -> None:
    """Measure both and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["ASD_CACHE"] = str(folder / "cache")
        write_recordings(folder / "data", healthy=options.clips, faulty=0)
        clips = [Clip(path) for path in sorted((folder / "data" / "train").iterdir())]
        storing(clips[:20], folder, 6 * options.runs)
        refitting(clips, folder, options.runs)


def storing(clips: list[Clip], folder: Path, runs: int) -> None:
    """Compare embedding with an empty cache and without a cache."""
    pipeline = Pipeline(Config())
    empty = [EmbeddingCache(folder / f"{number}.sqlite") for number in range(runs)]
    for cache in empty:
        cache.recall("")  # makes the file

    def embed(cache: EmbeddingCache | None) -> None:
        for _ in pipeline.embed_all(clips, cache=cache):
            pass

    embed(EmbeddingCache(folder / "first.sqlite"))  # loads and prepares the network
    times = in_turns(
        runs,
        without=lambda: embed(None),
        filling=lambda: embed(empty.pop()),
        taking=lambda: embed(EmbeddingCache(folder / "first.sqlite")),
    )
    for name, taken in times.items():
        processor, wall = (1000 * value / len(clips) for value in median(taken))
        print(f"{name:<8} {processor:6.2f} ms a clip ({wall:.2f} wall)")
    # The machine's drift is larger than what is looked for: compare what followed one another.
    pairs = zip(times["filling"], times["without"], strict=True)
    added = statistics.median(filling[0] - without[0] for filling, without in pairs)
    print(f"filling / without = {1 + added / median(times['without'])[0]:.3f} (to hold: at most 1.05)")


def refitting(clips: list[Clip], folder: Path, runs: int) -> None:
    """Compare a fit on kept embeddings with what it cannot do without."""
    data = folder / "data" / "train"
    embedded = Pipeline(Config()).embed_all(clips, cache=EmbeddingCache())
    np.savez(folder / "kept.npz", **{f.clip.path.name: f.values for f in embedded if isinstance(f, ClipFeatures)})
    for name in DETECTORS:
        refit = (ASD, "fit", data, "-o", folder / "model.asd", "--force", "--detector", name)
        learn = (sys.executable, "-c", LEARN, name, folder / "kept.npz")
        times = in_turns(
            runs,
            learn=partial(subprocess.run, learn, check=True),
            refit=partial(subprocess.run, refit, check=True, capture_output=True),
        )
        needed, taken = median(times["learn"]), median(times["refit"])
        print(f"{name}: start-up and learning {needed[0]:.3f} s ({needed[1]:.3f} wall)")
        print(f"{name}: asd fit again         {taken[0]:.3f} s ({taken[1]:.3f} wall)")
        print(f"{name}: ratio {taken[0] / needed[0]:.2f} (to hold: at most 1.15; wall {taken[1] / needed[1]:.2f})")


def in_turns(runs: int, **functions: Callable[[], object]) -> dict[str, list[Times]]:
    """Return what each call took, in turns so that a drift of the machine meets all alike."""
    times: dict[str, list[Times]] = {name: [] for name in functions}
    for _ in range(runs):
        for name, function in functions.items():
            used, began = processor_time(), time.perf_counter()
            function()
            times[name].append((processor_time() - used, time.perf_counter() - began))
    return times


def median(times: list[Times]) -> Times:
    """Return the median processor time and the median wall time."""
    return statistics.median(processor for processor, _ in times), statistics.median(wall for _, wall in times)


def processor_time() -> float:
    """Return the seconds that this process and those that it started have computed so far."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()
