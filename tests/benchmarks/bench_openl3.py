"""OpenL3 by asd-openl3 against the openl3 package (TensorFlow), from samples to embeddings, as ratios in one run.

Both get the same noise, weights and windows (mel256, 512 values, every half second), all processor cores and their
own batch sizes, and take turns. To hold: at least 4 times the package's throughput in `auto` on a processor with
bfloat16 units; embeddings' cosine similarity to the package's at least 0.9995 in the same run.

The package needs TensorFlow, and so lives in an environment of its own, whose interpreter is named:

    python tests/benchmarks/bench_openl3.py --python ~/openl3/bin/python [--rounds 5] [--seconds 10]

or in the variable ASD_OPENL3_PYTHON. (How to install openl3 0.4.2: plugins/asd-openl3/README.md.) Without it there is
nothing to compare with; the script says so and ends well.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from asd.contract.create import create
from asd.contract.interfaces import Runtime
from asd.records import Audio
from asd_torch import plan

TESTS = Path(__file__).resolve().parents[2] / "plugins" / "asd-openl3" / "tests"
HOP = 0.5

REFERENCE = """
import json, os, sys, time
os.environ["TF_USE_LEGACY_KERAS"], os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1", "3"
answers = os.fdopen(os.dup(1), "w"); os.dup2(2, 1)  # TensorFlow prints
weights, sound, result, hop = sys.argv[1:]
import numpy, openl3, tensorflow
from openl3 import models
model = models.load_audio_embedding_model_from_path(weights, "mel256", 512)
sound = numpy.load(sound)
for line in sys.stdin:
    began, busy = time.perf_counter(), time.process_time()
    values, _ = openl3.get_audio_embedding(sound, 48000, model=model, center=False, hop_size=float(hop), verbose=0)
    times = time.perf_counter() - began, time.process_time() - busy
    numpy.save(result, values)
    print(json.dumps([*times, tensorflow.__version__]), file=answers, flush=True)
"""


class Reference:
    """The openl3 package in a process of its own."""

    def __init__(self, python: str, folder: Path) -> None:
        self._result = folder / "reference.npy"
        arguments = [folder / "weights.h5", folder / "sound.npy", self._result, str(HOP)]
        self._process = subprocess.Popen(
            [python, "-c", REFERENCE, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __call__(self) -> tuple[float, float]:
        """Return the wall and processor seconds of one call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            sys.exit("bench_openl3: the openl3 package failed; run its interpreter with 'import openl3' to see why")
        wall, busy, self.version = json.loads(line)
        return wall, busy

    def embeddings(self) -> Any:
        """Return what the last call computed."""
        return np.load(self._result)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def ours(weights: Path, precision: Any) -> Callable[[Audio], Any]:
    """Return front end and extractor as one function."""
    frontend = create("frontend", "openl3-mel", {"center": False, "hop": HOP})
    extractor = create("extractor", "openl3-env", {"weights": str(weights)})
    frontend.runtime = extractor.runtime = Runtime(precision=precision)
    return lambda audio: extractor.embed(frontend(audio).values)


def timed(function: Callable[[Audio], Any], audio: Audio) -> tuple[float, float]:
    """Return the wall and processor seconds of a call."""
    began, busy = time.perf_counter(), time.process_time()
    function(audio)
    return time.perf_counter() - began, time.process_time() - busy


def prepare(folder: Path, seconds: int) -> Audio:
    """Write the weights and the sound that both get."""
    found = importlib.util.spec_from_file_location("openl3_test_data", TESTS / "conftest.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    module.write_keras(folder / "weights.h5", module.seeded_tensors())
    sound = np.random.default_rng(0).normal(0, 0.1, 48000 * seconds).astype(np.float32)
    np.save(folder / "sound.npy", sound)
    return Audio(sound[np.newaxis], 48000)


def measure(reference: Reference, folder: Path, audio: Audio, rounds: int) -> None:
    """Print and check the ratios."""
    functions = {precision: ours(folder / "weights.h5", precision) for precision in ("auto", "fp32")}
    for function in functions.values():  # the first call loads and warms up
        function(audio)
    reference()
    times: dict[str, list[tuple[float, float]]] = {"package": [], "auto": [], "fp32": []}
    for _ in range(rounds):
        times["package"].append(reference())
        for name, function in functions.items():
            times[name].append(timed(function, audio))
    theirs = reference.embeddings()
    print(f"TensorFlow {reference.version}; auto: {plan(Runtime()).reason}; {len(theirs)} windows, {rounds} rounds")
    print(f"{'package':8} {len(theirs) / statistics.median(w for w, _ in times['package']):6.2f} windows/s")
    for name, function in functions.items():
        wall, busy = (
            statistics.median(p[i] / o[i] for p, o in zip(times["package"], times[name], strict=True)) for i in (0, 1)
        )
        speed = len(theirs) / statistics.median(w for w, _ in times[name])
        values = function(audio)
        cosine = (values * theirs).sum(1) / np.linalg.norm(values, axis=1) / np.linalg.norm(theirs, axis=1)
        print(
            f"{name:8} {speed:6.2f} windows/s, {wall:.2f} times the package's (processor time: {busy:.2f}); "
            f"cosine >= {cosine.min():.6f}"
        )
        assert cosine.min() >= 0.9995, "the embeddings differ"
        if name == "auto" and "bfloat16" in str(plan(Runtime()).dtype):
            assert wall >= 4, "less than 4 times the package's throughput"


def main() -> None:
    """Parse the options and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", default=os.environ.get("ASD_OPENL3_PYTHON"), help="interpreter that has openl3")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10, help="of sound")
    options = parser.parse_args()
    if not options.python:
        print("skipped: name an interpreter that has the openl3 package by --python or ASD_OPENL3_PYTHON")
        return
    with tempfile.TemporaryDirectory() as name:
        audio = prepare(Path(name), options.seconds)
        reference = Reference(options.python, Path(name))
        try:
            measure(reference, Path(name), audio, options.rounds)
        finally:
            reference.close()


if __name__ == "__main__":
    main()
