"""MusiCNN by asd-essentia in torch against Essentia itself, from samples to embeddings, as ratios in one run.

Both get the same sound and give the same layer (mean-pool, 753) of the same windows (1 s every 0.5 s), with all
processor cores. Essentia is called as usual, on the whole sound at once, in a process of its own with TensorFlow's own
threads, and with the best of several batch sizes. They take turns. To hold: at least 5 times Essentia's throughput in
`auto` on a processor with bfloat16 units, 2.5 times in float32; largest difference in float32 at most 1e-3.

    python tests/benchmarks/bench_musicnn.py [--rounds 5] [--seconds 30]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asd.contract.create import create
from asd.contract.interfaces import Runtime
from asd.files.weights import locate
from asd.records import Audio
from asd_essentia.plugin import GRAPHS
from asd_torch import plan

RATE, HOP, PATCH, PATCH_HOP, SIZE = 16000, 256, 62, 31, 753
BATCHES = (1, 4, 16, 40)

REFERENCE = """
import json, os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
answers = os.fdopen(os.dup(1), "w"); os.dup2(2, 1)  # TensorFlow prints
import numpy as np, essentia
essentia.log.infoActive = False
from essentia import standard
graph, sound, result = sys.argv[1:]
sound = np.load(sound)
networks = {}
for line in sys.stdin:
    batch = int(line)
    if batch not in networks:
        networks[batch] = standard.TensorflowPredictMusiCNN(
            graphFilename=graph, output="model/moments/Squeeze", patchSize=62, patchHopSize=31, batchSize=batch)
    began, busy = time.perf_counter(), time.process_time()
    values = networks[batch](sound)
    times = time.perf_counter() - began, time.process_time() - busy
    np.save(result, values)
    print(json.dumps([*times, essentia.__version__]), file=answers, flush=True)
"""


class Reference:
    """Essentia in a process of its own."""

    def __init__(self, folder: Path, sound: np.ndarray) -> None:
        self._result = folder / "result.npy"
        # The second patch is the first window: Essentia's first frame lies half before the sound.
        np.save(folder / "sound.npy", np.concatenate([np.zeros((PATCH_HOP - 1) * HOP, np.float32), sound]))
        command = [sys.executable, "-c", REFERENCE, str(locate(GRAPHS["mtt"])), str(folder / "sound.npy")]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([*command, str(self._result)], stdin=pipe, stdout=pipe, text=True)

    def run(self, batch: int) -> tuple[float, float]:
        """Return the seconds by the clock and of the processor that a call took."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(batch, file=self.process.stdin, flush=True)
        clock, processor, self.version = json.loads(self.process.stdout.readline())
        return clock, processor

    def values(self, count: int) -> np.ndarray:
        """Return the embeddings of the last call."""
        return np.load(self._result).reshape(-1, SIZE)[1 : count + 1]


class Ours:
    """Front end and extractor, as the pipeline calls them: 30 s at a time."""

    def __init__(self, precision: Any, sound: np.ndarray) -> None:
        self._frontend = create("frontend", "musicnn-mel")
        self._extractor = create("extractor", "musicnn-mtt-torch")
        self._extractor.runtime = Runtime(device="cpu", precision=precision)
        self._audio = Audio(sound[np.newaxis], RATE)

    def run(self) -> tuple[float, float]:
        """Return the seconds by the clock and of the processor that a call took."""
        began, busy = time.perf_counter(), time.process_time()
        self.values = self._extractor.embed(self._frontend(self._audio).values)
        return time.perf_counter() - began, time.process_time() - busy


def show(name: str, times: list[tuple[float, float]], seconds: float) -> None:
    """Print what a second of the clock and of the processor does."""
    clock, processor = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"{name:>18}: {seconds / clock:7.1f} s of sound a second, {seconds / processor:7.1f} a processor-second")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    if importlib.util.find_spec("essentia") is None:
        print("bench_musicnn: skipped: essentia-tensorflow is not installed, there is nothing to compare with")
        return
    sound = np.random.default_rng(0).normal(size=int(arguments.seconds * RATE)).astype(np.float32) * 0.1
    with tempfile.TemporaryDirectory() as folder:
        compare(Reference(Path(folder), sound), sound, arguments.rounds)


def compare(reference: Reference, sound: np.ndarray, rounds: int) -> None:
    """Let both take turns; print throughputs, ratios and differences."""
    seconds = len(sound) / RATE
    ours = {precision: Ours(precision, sound) for precision in ("fp32", "auto")}
    times: dict[str, list[tuple[float, float]]] = {}
    for round_ in range(rounds + 1):
        turn = {f"essentia, batch {batch}": reference.run(batch) for batch in BATCHES}
        turn |= {f"torch, {precision}": own.run() for precision, own in ours.items()}
        if round_:  # the first is for warming up
            for name, taken in turn.items():
                times.setdefault(name, []).append(taken)
    expected = reference.values(len(ours["fp32"].values))
    reference.process.kill()
    reference.process.wait()
    chosen = plan(Runtime(device="cpu"))
    print(f"Essentia {reference.version}, {torch.get_num_threads()} threads, auto is {chosen.dtype} ({chosen.reason})")
    for name, taken in times.items():
        show(name, taken, seconds)
    middle = {name: [statistics.median(c) for c in zip(*taken, strict=True)] for name, taken in times.items()}
    fastest = [min(middle[f"essentia, batch {batch}"][kind] for batch in BATCHES) for kind in (0, 1)]
    for precision, least in (("fp32", 2.5), ("auto", 5.0)):
        ratios = [best / own for best, own in zip(fastest, middle[f"torch, {precision}"], strict=True)]
        print(f"{precision}: {ratios[0]:.1f} times as fast as Essentia at its best batch size by the clock, "
              f"{ratios[1]:.1f} by processor time (to hold: {least})")  # fmt: skip
    own, auto = ours["fp32"].values, ours["auto"].values
    cosine = (auto * expected).sum(1) / np.linalg.norm(auto, axis=1) / np.linalg.norm(expected, axis=1)
    print(f"largest difference in float32: {np.abs(own - expected).max():.1e} (to hold: 1e-3)")
    print(f"lowest cosine similarity in auto: {cosine.min():.5f}")


if __name__ == "__main__":
    main()
