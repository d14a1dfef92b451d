"""How fast every installed extractor is, from files on disk to embeddings, with its own front end and defaults.

Decoding, resampling, front end and network run as in `asd fit`, in `auto` precision. Extractors whose weights are not
here get seeded random ones where they offer them: the speed does not depend on the values. What cannot run is listed
with its reason. The table in docs/extractors.md comes from this.

    python tests/benchmarks/bench_extractors.py [--clips FOLDER] [--rounds 3] [NAME ...]
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from pathlib import Path

from asd.contract.create import load_class
from asd.contract.installed import registry
from asd.contract.parameters import parameters_of
from asd.detection.config import Config
from asd.detection.pipeline import ClipFeatures, Failure, Pipeline
from asd.errors import AsdError
from asd.sound.finding import find_clips
from asd.sound.reading import duration_of
from asd_registry import Component

SAMPLES = Path(__file__).resolve().parents[2] / "examples" / "data" / "train"
COUNT = 4


def pipeline(component: Component) -> Pipeline:
    """Return the extractor's pipeline, with random weights where its own would have to be fetched."""
    spec = component.spec
    fetched = any(weight.url for weight in spec.weights)
    offers_random = "weights" in parameters_of(load_class(component))
    options = {"weights": "random"} if fetched and offers_random else {}
    return Pipeline(Config.from_mapping({"extractor": {"name": spec.name, **options}}))


def measure(component: Component, clips: list, rounds: int) -> tuple[int, float]:
    """Return the dimension and the seconds of sound that are embedded in a second (median of the rounds)."""
    chain = pipeline(component)
    seconds = sum(duration_of(clip.path) for clip in clips)
    speeds = []
    for _ in range(rounds + 1):  # the first loads weights and warms up
        began = time.perf_counter()
        results = list(chain.embed_all(clips))
        speeds.append(seconds / (time.perf_counter() - began))
        for result in results:
            if isinstance(result, Failure):
                raise result.error
    first = results[0]
    assert isinstance(first, ClipFeatures)
    return first.values.shape[1], statistics.median(speeds[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--clips", default=str(SAMPLES))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    logging.getLogger("asd").setLevel(logging.ERROR)
    clips = find_clips([arguments.clips])[:COUNT]
    for component in registry().of_kind("extractor"):
        name = component.spec.name
        if arguments.names and name not in arguments.names:
            continue
        try:
            dimension, speed = measure(component, clips, arguments.rounds)
            print(f"{name:<28} {dimension:>6} values  {speed:8.0f} s of sound a second", flush=True)
        except AsdError as error:
            print(f"{name:<28} not measured: {error}", flush=True)


if __name__ == "__main__":
    main()
