"""What ``asd bench`` costs beside the work itself, as ratios measured in one run.

1. A further detector, embeddings cached, against its own fit and score. To hold: at most 1.05.
2. A warm re-run of an unchanged recipe (whole process) against the cold run. To hold: at least 50 times as fast.
3. The same seed gives the same table: two cold runs. To hold: every score the same, bit for bit.

Kills are tested in ``plugins/asd-bench/tests/test_bench_run.py``.

    python tests/benchmarks/bench_bench.py [--data FOLDER --dataset folder]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from asd.detection.embeddings import EmbeddingCache
from asd_bench import recipe as recipes
from asd_bench.runner import Row, Run, read_data
from asd_bench.store import Store

ROOT = Path(__file__).resolve().parents[2]
TOYCAR = ROOT.parent / "shared" / "data" / "toycar"

RECIPE = """
dataset = "{dataset}"
metric = "{metric}"

[[grid]]
extractors = ["squeezenet1_0"]
detectors = ["mahalanobis", {{ name = "gmm", n_components = 20 }}, "knn", "isolation-forest"]
"""


def command(recipe: Path, data: Path, folder: Path) -> tuple[float, dict[str, Any]]:
    """Run ``asd bench`` as a process; return its seconds and what it printed."""
    arguments = ["bench", str(recipe), "--data", str(data), "-o", str(folder), "--json"]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "asd.cli.main", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - began, json.loads(done.stdout)


def further_detectors(recipe: Path, data: Path, folder: Path) -> dict[str, float]:
    """Return, by detector, the time of its cell against its own fit and score; the first one loads the embeddings."""
    chosen = recipes.read(recipe)
    recordings, channel = read_data(chosen, data)
    run = Run(chosen, recordings, Store(folder), EmbeddingCache(), channel=channel)
    ratios: dict[str, float] = {}
    last = time.perf_counter()

    def observe(row: Row, done: int, total: int) -> None:
        nonlocal last
        now, record = time.perf_counter(), row.cell.record
        if "fit_seconds" in record:
            own = record["fit_seconds"] - record["transform_seconds"] + record["score_seconds"]
            ratios[row.label] = (now - last) / own
        last = time.perf_counter()

    run.rows(observe)
    del ratios[next(iter(ratios))]
    return ratios


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=TOYCAR if TOYCAR.is_dir() else ROOT / "examples" / "data")
    parser.add_argument("--dataset", default="dcase2023" if TOYCAR.is_dir() else "folder")
    options = parser.parse_args()
    metric = "dcase2022" if options.dataset.startswith("dcase") else "auc"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        recipe = folder / "grid.toml"
        recipe.write_text(RECIPE.format(dataset=options.dataset, metric=metric))
        os.environ["ASD_CACHE"] = str(folder / "cache")
        cold, first = command(recipe, options.data, folder / "first")
        warm = min(command(recipe, options.data, folder / "first")[0] for _ in range(3))
        print(f"cold {cold:.1f} s, unchanged again {warm:.2f} s: {cold / warm:.0f} times as fast (to hold: 50)")
        for label, ratio in further_detectors(recipe, options.data, folder / "second").items():
            print(f"further detector, {label}: {ratio:.3f} of its own fit and score (to hold: 1.05)")
        os.environ["ASD_CACHE"] = str(folder / "other-cache")
        _, again = command(recipe, options.data, folder / "third")
        same = [(row["pipeline"], row["score"]) for row in first["rows"]]
        same_again = [(row["pipeline"], row["score"]) for row in again["rows"]]
        print(f"two cold runs with one seed: {'the same' if same == same_again else 'different'} scores")


if __name__ == "__main__":
    main()
