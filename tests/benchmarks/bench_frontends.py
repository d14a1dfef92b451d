"""From files to the windows of pretrained networks, and on to embeddings with the default network.

1. Of each front end: seconds of sound a second of processor time, from arrays at its own rate and from files on disk,
   which are decoded and resampled.
2. Files to embeddings with efficientat-mn04, against the network alone that is fed ready windows: wall and processor
   time. To hold: at least 1,000 seconds of sound a second on two cores.

On a busy machine compare processor times, or ratios of one run.

    python tests/benchmarks/bench_frontends.py [--clips FOLDER] [--rounds 5] [--workers 1]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from asd.contract.create import create
from asd.contract.interfaces import Frontend, Runtime
from asd.detection.config import Config
from asd.detection.pipeline import Pipeline
from asd.records import Clip
from asd.sound.finding import find_clips
from asd.sound.reading import ClipReader, duration_of, read

SAMPLES = Path(__file__).resolve().parents[2] / "examples" / "data"
FRONTENDS = ("efficientat-mel", "yamnet-mel", "musicnn-mel", "aisfx-mel", "mel-image", "mel-patch")


def fastest(rounds: int, **functions: Callable[[], object]) -> dict[str, tuple[float, float]]:
    """Return the least (wall, processor) seconds of each function, called in turns."""
    best = dict.fromkeys(functions, (float("inf"), float("inf")))
    for _ in range(rounds + 1):
        for name, function in functions.items():
            wall, processor = time.perf_counter(), time.process_time()
            function()
            taken = time.perf_counter() - wall, time.process_time() - processor
            best[name] = min(best[name][0], taken[0]), min(best[name][1], taken[1])
    return best


def drain(clips: list[Clip], rate: int) -> None:
    """Decode and resample, and keep nothing."""
    for clip in clips:
        for _ in ClipReader(clip, sample_rate=rate):
            pass


def measure(frontend: Frontend, name: str, clips: list[Clip], seconds: float, rounds: int) -> None:
    """Print how fast one front end is."""
    sounds = [read(clip, sample_rate=frontend.sample_rate) for clip in clips]
    times = fastest(
        rounds,
        arrays=lambda: [frontend(sound) for sound in sounds],
        reading=lambda: drain(clips, frontend.sample_rate),
        files=lambda: [frontend(read(clip, sample_rate=frontend.sample_rate)) for clip in clips],
    )
    speeds = ", ".join(f"{each} {seconds / processor:.0f}" for each, (_, processor) in times.items())
    print(f"  {name:<16} {frontend.sample_rate:>5} Hz  {speeds}")


def whole(clips: list[Clip], seconds: float, rounds: int, workers: int) -> None:
    """Print how fast files become embeddings, and how fast ready windows do."""
    chain = Pipeline(Config.from_mapping({"extractor": "efficientat-mn04"}), Runtime(device="cpu"))
    ready = [chain.frontend(read(clip, sample_rate=chain.sample_rate)).values for clip in clips]
    times = fastest(
        rounds,
        network=lambda: [chain.extractor.embed(values) for values in ready],
        whole=lambda: list(chain.embed_all(clips, workers=workers)),
    )
    for name, (wall, processor) in times.items():
        print(f"  {name:<8} {seconds / wall:6.0f} s of sound a second; {1000 * processor / seconds:.3f} s of "
              "processor time for 1,000 s")  # fmt: skip
    wall, processor = (times["network"][i] / times["whole"][i] for i in (0, 1))
    print(f"  network / whole: {wall:.2f} in wall time, {processor:.2f} in processor time")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", default=str(SAMPLES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    clips = find_clips([arguments.clips])[:29]
    seconds = sum(duration_of(clip.path) for clip in clips)
    print(f"{len(clips)} clips, {seconds:.0f} s; seconds of sound a second of processor time")
    for name in FRONTENDS:
        measure(create("frontend", name), name, clips, seconds, arguments.rounds)
    print("files to embeddings with efficientat-mn04")
    whole(clips, seconds, arguments.rounds, arguments.workers)


if __name__ == "__main__":
    main()
