"""The embedded networks in ONNX Runtime against PyTorch and Essentia, as ratios in one run.

All get the same ready windows and give the same embeddings, on all processor cores; they take turns, so that what else
the machine does meets each of them. Plain torch is the network as its authors run it: float32, channels first, all
windows at once, all cores on each operation; the same in channels last; and the engine ``torch``, which also folds
batch norms and gives each core windows of its own. On a machine that others use, too, OMP_NUM_THREADS=1 gives ratios
that hold still. Essentia runs the same sound, in a process of its own, with the best of its batch sizes;
our front end counts there, too. To hold:

    efficientat-mn04 at least 2.5 times plain torch, and 1.5 times torch in channels last
    squeezenet1_0    at least 3 times plain torch
    musicnn-mtt      at least 3 times Essentia
    loading efficientat-mn04 at most 50 ms

    python tests/benchmarks/bench_onnx.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_musicnn import BATCHES, RATE, Reference

from asd.plugin import Audio, Float32, Runtime, create

SHAPES = {"efficientat-mn04": (128, 128, 100), "squeezenet1_0": (16, 3, 224, 224), "musicnn-mtt": (64, 62, 96)}
SECONDS = 30


def extractor(name: str, engine: Any) -> Any:
    """Return an extractor in float32 on the processor."""
    component = create("extractor", name)
    component.runtime = Runtime(device="cpu", precision="fp32", engine=engine)
    return component


def plain(name: str, windows: Float32, layout: torch.memory_format) -> Callable[[], object]:
    """Return the network as its authors run it."""
    values = torch.from_numpy(windows).unsqueeze(1) if name == "efficientat-mn04" else torch.from_numpy(windows)
    values = values.to(memory_format=layout)
    component = extractor(f"{name}-torch", "auto")
    network = component._cut(component._loaded()).eval().to(memory_format=layout)

    def run() -> object:
        with torch.inference_mode():
            return network(values)

    return run


def turns(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every function in every round but the first."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for round_ in range(rounds + 1):
        for name, function in functions.items():
            began = time.perf_counter()
            function()
            if round_:
                times[name].append(time.perf_counter() - began)
    return times


def ratio(slower: list[float], faster: list[float]) -> float:
    """Return the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))


def network(name: str, rounds: int) -> None:
    """Compare the engines on ready windows."""
    windows = np.random.default_rng(0).standard_normal(SHAPES[name]).astype(np.float32)
    own, engine_torch = extractor(name, "onnx"), extractor(name, "torch")
    functions: dict[str, Callable[[], object]] = {
        "onnx": lambda: own.embed(windows),
        "engine torch": lambda: engine_torch.embed(windows),
    }
    if name != "musicnn-mtt":
        functions["torch, plain"] = plain(name, windows, torch.contiguous_format)
        functions["torch, channels last"] = plain(name, windows, torch.channels_last)
    times = turns(functions, rounds)
    print(name)
    for engine, taken in times.items():
        speed = len(windows) / statistics.median(taken)
        print(f"  {engine:>20}: {speed:7.0f} windows a second, onnx is {ratio(taken, times['onnx']):.2f} times as fast")


def essentia(rounds: int) -> None:
    """Compare MusiCNN with Essentia, from samples to embeddings."""
    if importlib.util.find_spec("essentia") is None:
        print("essentia-tensorflow is not installed: nothing to compare musicnn-mtt with")
        return
    sound = np.random.default_rng(0).normal(size=SECONDS * RATE).astype(np.float32) * 0.1
    frontend, own = create("frontend", "musicnn-mel"), extractor("musicnn-mtt", "onnx")
    with tempfile.TemporaryDirectory() as folder:
        reference = Reference(Path(folder), sound)
        functions: dict[str, Callable[[], object]] = {
            "onnx": lambda: own.embed(frontend(Audio(sound[np.newaxis], RATE)).values)
        }
        for batch in BATCHES:
            functions[f"essentia, batch {batch}"] = lambda batch=batch: reference.run(batch)  # type: ignore[misc]
        times = turns(functions, rounds)
        reference.process.kill()
        reference.process.wait()
    fastest = min((name for name in times if name != "onnx"), key=lambda name: statistics.median(times[name]))
    for name in ("onnx", fastest):
        print(f"  {name:>20}: {SECONDS / statistics.median(times[name]):7.0f} s of sound a second")
    print(f"  onnx is {ratio(times[fastest], times['onnx']):.2f} times as fast")


def loading() -> None:
    """Print what it takes from the file to the first embedding of one window."""
    for name, shape in (*SHAPES.items(), ("yamnet", (1, 96, 64)), ("aisfx", (1, 100, 96))):
        taken = []
        for _ in range(5):
            component = extractor(name, "onnx")
            began = time.perf_counter()
            component.embed(np.zeros((1, *shape[1:]), np.float32))
            taken.append(time.perf_counter() - began)
            component.close()
        print(f"  {name:>20}: {1e3 * statistics.median(taken):4.0f} ms")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for name in SHAPES:
        network(name, rounds)
    print("musicnn-mtt with its front end against Essentia")
    essentia(rounds)
    print("from the file to the first embedding")
    loading()


if __name__ == "__main__":
    main()
