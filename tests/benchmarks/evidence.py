"""Which pipeline should `asd fit` take by itself? Chosen on generated faults, then measured on real ones.

1. Choosing uses healthy training clips alone. A quarter of them is held out; each of those also gets two generated
   faults (`asd.sound.machines.spoil`: harmonics, knocks, whine, clicks, squeal, drop-outs, 15 to 35 dB below the
   machine). Every pipeline whose weights are embedded learns from the other clips, and the official DCASE score ranks
   them: the harmonic mean of AUC on source and target clips and of the partial AUC.
2. Cars: a second comparison without faults. Each of ToyCar's cars B, C, D is left out once; its healthy clips stand for
   anomalous ones, a quarter of the other cars' for normal ones, and the AUC measures how well a pipeline detects the
   change.
3. Measuring runs the recipe `dcase2023` on the official test clips, once, for all pipelines.

    python tests/benchmarks/evidence.py choose TOYCAR [-o FOLDER]  # TOYCAR: a folder with train/ and test/
    python tests/benchmarks/evidence.py cars TOYCAR [-o FOLDER]
    python tests/benchmarks/evidence.py measure TOYCAR [-o FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from asd.records import Clip
from asd.sound.machines import ANOMALY_KINDS, spoil
from asd.sound.reading import read
from asd_bench.recipe import shipped

HELD_OUT = 4
FAULTS_EACH = 2
LEVELS = (-35.0, -15.0)


def write_faults(toycar: Path, folder: Path, seed: int = 0) -> Path:
    """Write held-out clips with generated faults and a manifest of all; return the manifest."""
    rng = np.random.default_rng(seed)
    rows = []
    for domain in ("source", "target"):
        clips = sorted((toycar / "train").glob(f"*_{domain}_*"))
        held_out = set(rng.permutation(len(clips))[: -(-len(clips) // HELD_OUT)].tolist())
        for number, path in enumerate(clips):
            split = "test" if number in held_out else "train"
            rows.append((path.resolve(), split, "normal", domain))
            for _ in range(FAULTS_EACH if number in held_out else 0):
                kind = ANOMALY_KINDS[len(rows) % len(ANOMALY_KINDS)]
                spoiled = spoil(read(Clip(path)), kind, level=rng.uniform(*LEVELS), seed=int(rng.integers(2**31)))
                made = folder / f"{path.stem}_{kind}_{len(rows)}.flac"
                soundfile.write(made, spoiled.audio.samples[0], spoiled.audio.sample_rate)
                rows.append((made.resolve(), "test", "anomalous", domain))
    return _written(folder, ("path", "split", "label", "domain"), rows)


def write_cars(toycar: Path, folder: Path, seed: int = 0) -> Path:
    """Write a manifest in which each car is anomalous once; return it."""
    rng = np.random.default_rng(seed)
    clips = {car: sorted((toycar / "train").glob(f"*_source_*_car_{car}*")) for car in "BCD"}
    rows = []
    for absent in clips:
        section = f"without car {absent}"
        (folder / section).mkdir(exist_ok=True)

        def linked(path: Path, section: str = section) -> Path:  # a manifest names each path once
            link = folder / section / path.name
            link.unlink(missing_ok=True)
            link.symlink_to(path.resolve())
            return link.absolute()

        rows += [(linked(path), "test", "anomalous", section) for path in clips[absent]]
        known = [path for car, paths in clips.items() if car != absent for path in paths]
        held_out = set(rng.permutation(len(known))[: len(known) // HELD_OUT].tolist())
        for number, path in enumerate(known):
            split = "test" if number in held_out else "train"
            rows.append((linked(path), split, "normal", section))
    return _written(folder, ("path", "split", "label", "section"), rows)


def _written(folder: Path, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> Path:
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return manifest


def write_recipe(folder: Path, units: str, metric: str) -> Path:
    """Write the first grid of the recipe `dcase2023` for a manifest; return the recipe."""
    text = shipped()["dcase2023"].text
    grid = text[text.index("[[grid]]") : text.rindex("[[grid]]")]
    recipe = folder / "recipe.toml"
    recipe.write_text(f'dataset = "manifest"\nsplit = "official"\nunits = ["{units}"]\nmetric = "{metric}"\n\n{grid}')
    return recipe


def main() -> int:
    """Choose, look at cars, or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("choose", "cars", "measure"))
    parser.add_argument("toycar", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("evidence"))
    arguments = parser.parse_args()
    folder = arguments.output / arguments.what
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.what == "choose":
        (folder / "faults").mkdir(exist_ok=True)
        recipe = str(write_recipe(folder, "machine", "dcase2022"))
        data = write_faults(arguments.toycar, folder / "faults")
    elif arguments.what == "cars":
        recipe, data = str(write_recipe(folder, "section", "auc")), write_cars(arguments.toycar, folder)
    else:
        recipe, data = "dcase2023", arguments.toycar
    command = [str(Path(sys.executable).parent / "asd"), "bench", recipe, "--data", str(data)]
    return subprocess.run([*command, "-o", str(folder / "results")], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
