"""From samples to embeddings with efficientat-mn04-torch, whose real weights are embedded.

1. Seconds of sound a second with default windows (1 s every 0.5 s), front end and network one after the other, in
   float32 (what `auto` takes) and bfloat16. To hold: at least 300 on two cores.
2. From files on disk, which are decoded and resampled ahead of the network.
3. The lowest cosine similarity of an embedding in `auto` to one in float32. To hold: at least 0.999.

    python tests/benchmarks/bench_audioset.py [--clips FOLDER] [--rounds 5]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import in_turns

from asd.contract.create import create
from asd.contract.interfaces import Runtime
from asd.detection.config import Config
from asd.detection.pipeline import Pipeline
from asd.records import Audio, Clip
from asd.sound.finding import find_clips
from asd.sound.reading import read

SAMPLES = Path(__file__).resolve().parents[2] / "examples" / "data"
WINDOWS = ((1.0, 0.5), (2.0, 1.0), (10.0, 10.0))


def extractor(precision: Any) -> Any:
    """Return efficientat-mn04-torch on the processor."""
    component = create("extractor", "efficientat-mn04-torch")
    component.runtime = Runtime(device="cpu", precision=precision)
    return component


def measure(sound: Audio, window: float, hop: float, rounds: int) -> None:
    """Print how fast `sound` becomes embeddings, and how far the number formats differ."""
    frontend = create("frontend", "efficientat-mel", {"window": window, "hop": hop})
    networks = {precision: extractor(precision) for precision in ("auto", "fp32", "bf16")}
    values = frontend(sound).values
    exact = networks["fp32"].embed(values)
    times = in_turns(
        rounds,
        frontend=lambda: frontend(sound),
        auto=lambda: networks["auto"].embed(frontend(sound).values),
        bf16=lambda: networks["bf16"].embed(frontend(sound).values),
    )
    seconds = sound.samples.shape[1] / sound.sample_rate
    speeds = ", ".join(f"{name} {seconds / value:.0f}" for name, value in times.items())
    goal = " (auto to hold: at least 300 on two cores)" if (window, hop) == WINDOWS[0] else ""
    print(f"window {window:g} s, hop {hop:g} s: seconds of sound a second: {speeds}{goal}")
    for precision in ("auto", "bf16"):
        other = networks[precision].embed(values)
        cosine = (exact * other).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(other, axis=1)
        print(f"  {precision}: lowest cosine to float32 {cosine.min():.5f}")


def from_files(clips: list[Clip], rounds: int) -> None:
    """Print how fast files become embeddings."""
    pipeline = Pipeline(Config.from_mapping({"extractor": "efficientat-mn04-torch"}), Runtime(device="cpu"))
    seconds = sum(features.seconds for features in pipeline.embed_all(clips))
    times = in_turns(rounds, files=lambda: list(pipeline.embed_all(clips)))
    print(f"from {len(clips)} files, decoded and resampled: {seconds / times['files']:.0f} seconds of sound a second")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", default=str(SAMPLES))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    clips = find_clips([arguments.clips])[:12]
    sound = np.concatenate([read(clip, sample_rate=32000).samples for clip in clips], axis=1)[:, : 30 * 32000]
    print(f"{torch.get_num_threads()} threads, {sound.shape[1] / 32000:g} s of sound")
    for window, hop in WINDOWS:
        measure(Audio(sound, 32000), window, hop, arguments.rounds)
    from_files(clips, arguments.rounds)


if __name__ == "__main__":
    main()
