"""``asd bench`` on work engines: two workers against one, on a grid of eight groups of trials that share embeddings.

python tests/benchmarks/cluster_grid.py [--engines local:1 local:2] [--rounds 2] [--clips 60]

To hold: efficiency of two single-thread workers at least 0.9. By the clock it is (seconds with one) / (2 * seconds
with two). On a computer with other load, processor time says more: (seconds of the one) / (2 * of the busier of two).
Each worker has one core, for decoding, too, and has loaded what it needs before.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import soundfile
from bench_cluster import THREADS, give_cores, ratios, spread

from asd.detection.engines import engine_from
from asd.experiment import EmbeddingCache, using_engine
from asd.plugin import WorkEngine
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


def bench_grid(engine: WorkEngine, data: Path, folder: Path) -> tuple[float, list[float], list[float]]:
    """Run the grid from nothing; return its seconds, those of the processor of each worker, and the scores."""
    recipe = recipes.read(recipes.RecipeFile(folder.name, "grid.toml", RECIPE))  # its name makes it another's
    own = shutil.copytree(data, folder / "data", copy_function=os.link)
    engine.everywhere(exec, f"import os; os.environ['ASD_CACHE'] = {str(folder / 'cache')!r}")
    recordings, channel = read_data(recipe, own)
    before = engine.everywhere(time.process_time)
    began = time.perf_counter()
    with using_engine(engine):
        run = Run(recordings, Store(folder), TrialRunner(recipe, EmbeddingCache(), channel))
        results = run.results()
    seconds = time.perf_counter() - began
    workers = [after - before[name] for name, after in engine.everywhere(time.process_time).items()]
    assert not any(result.reason for result in results)
    return seconds, workers, [result.record["score"] for result in results]


def efficiency(engines: Sequence[str], rounds: int, clips: int) -> None:
    """Measure in turns and print: all engines are open, and have loaded what they need."""
    taken: dict[str, list[tuple[float, float]]] = {engine: [] for engine in engines}
    opened = {engine: engine_from(engine) for engine in engines}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        data = write_machines(Path(name) / "data", clips)
        few = write_machines(Path(name) / "few", 12)
        for engine, used in opened.items():
            stack.callback(used.close)
            used.start()
            give_cores(used)
            (folder := Path(name) / f"few-{engine.replace(':', '-')}").mkdir()
            bench_grid(used, few, folder)
        first: list[float] = []
        for turn in range(rounds):
            for engine in engines if turn % 2 else reversed(engines):
                (folder := Path(name) / f"{turn}-{engine.replace(':', '-')}").mkdir()
                seconds, workers, scores = bench_grid(opened[engine], data, folder)
                first = first or scores
                assert scores == first, f"{engine}: other scores"
                taken[engine].append((seconds, max(workers)))
                shown = ", ".join(f"{each:.1f}" for each in workers)
                print(f"{engine}: {seconds:.1f} s, processor of each worker {shown} s", flush=True)
    for one, two in zip(engines[::2], engines[1::2], strict=True):
        clock, processor = ratios(taken[one], taken[two])
        print(f"efficiency of {two} against {one}: {spread(clock / 2)} by the clock, {spread(processor / 2)} by "
              "processor time (to hold: 0.9); all scores equal")  # fmt: skip


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", default=["local:1", "local:2"], help="pairs of one worker and two")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clips", type=int, default=60, help="healthy clips to learn from, of each machine")
    options = parser.parse_args()
    os.environ.update(dict.fromkeys(THREADS, "1"))
    efficiency(options.engines, options.rounds, options.clips)


if __name__ == "__main__":
    main()
