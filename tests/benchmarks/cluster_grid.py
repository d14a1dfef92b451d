"""``asd bench`` on work engines: two workers against one, on a grid of eight groups of trials that share embeddings.

python tests/benchmarks/cluster_grid.py [--engines local:1 local:2] [--rounds 2] [--clips 60]

To hold: efficiency of two single-thread workers at least 0.9. By the clock it is (seconds with one) / (2 * seconds
with two). On a computer with other load, processor time says more: (seconds of the one) / (2 * of the busier of two).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from asd.experiment import EmbeddingCache, using_engine
from asd_bench import recipe as recipes
from asd_bench.compute import TrialRunner
from asd_bench.runner import Run, read_data
from asd_bench.store import Store

RECIPE = """
dataset = "folder"
metric = "auc"
seeds = [0, 1]

[[grid]]
extractors = ["efficientat-mn04", "tonality", "envelope", "mel-statistics"]
detectors = ["knn", "kde", "mahalanobis", "isolation-forest", { name = "gmm", n_components = 8 }, "pca-residual"]
"""


def write_machines(folder: Path, clips: int) -> Path:
    """Write two machines; an anomaly is a tone in the noise."""
    rng = np.random.default_rng(0)
    moment = np.arange(160000) / 16000
    for machine in ("fan", "pump"):
        for split, label, count in (
            ("train", "normal", clips),
            ("test", "normal", clips // 4),
            ("test", "abnormal", clips // 4),
        ):
            own = folder / machine / split / label
            own.mkdir(parents=True)
            for i in range(count):
                tone = 0.02 * np.sin(2 * np.pi * 3000 * moment) * (label == "abnormal")
                soundfile.write(own / f"{i}.wav", rng.normal(0, 0.1, len(moment)) + tone, 16000)
    return folder


def bench_grid(engine: str, data: Path, folder: Path) -> tuple[float, list[float], list[float]]:
    """Run the grid from nothing; return its seconds, those of the processor of each worker, and the scores."""
    os.environ["ASD_CACHE"] = str(folder / "cache")
    recipe = recipes.read(recipes.RecipeFile("grid", "grid.toml", RECIPE))
    recordings, channel = read_data(recipe, data)
    began = time.perf_counter()
    with using_engine(engine) as used:
        assert used is not None
        run = Run(recordings, Store(folder), TrialRunner(recipe, EmbeddingCache(), channel))
        results = run.results()
        seconds = time.perf_counter() - began
        workers = [float(each) for each in used.everywhere(time.process_time).values()]
    assert not any(result.reason for result in results)
    return seconds, workers, [result.record["score"] for result in results]


def efficiency(engines: Sequence[str], rounds: int, clips: int) -> None:
    """Measure in turns and print."""
    clock: dict[str, list[float]] = {engine: [] for engine in engines}
    busiest: dict[str, list[float]] = {engine: [] for engine in engines}
    with tempfile.TemporaryDirectory() as name:
        data = write_machines(Path(name) / "data", clips)
        first: list[float] = []
        for turn in range(rounds):
            for engine in engines:
                (folder := Path(name) / f"{turn}-{engine.replace(':', '-')}").mkdir()
                seconds, workers, scores = bench_grid(engine, data, folder)
                first = first or scores
                assert scores == first, f"{engine}: other scores"
                clock[engine].append(seconds)
                busiest[engine].append(max(workers))
                shown = ", ".join(f"{each:.1f}" for each in workers)
                print(f"{engine}: {seconds:.1f} s, processor of each worker {shown} s", flush=True)
    one, two = engines[:2]
    by_clock, by_processor = (min(taken[one]) / (2 * min(taken[two])) for taken in (clock, busiest))
    print(
        f"efficiency of {two} against {one}: {by_clock:.2f} by the clock, {by_processor:.2f} by processor time (to "
        "hold: 0.9); all scores equal"
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", default=["local:1", "local:2"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clips", type=int, default=60, help="healthy clips to learn from, of each machine")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    efficiency(options.engines, options.rounds, options.clips)


if __name__ == "__main__":
    main()
