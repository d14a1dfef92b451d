"""How many healthy clips raise the alarm, against how many the model promises: real detectors, real folds.

Every resample trains the detectors by `asd.experiment.learn` and judges healthy clips that neither training nor
calibration saw. The figures of docs/explanation/calibration.md:

- simulated: drawn embeddings, 20, 50 and 200 clips.
- recordings: embeddings of real recordings, drawn without replacement.
- parts: the same recordings cut into six or ten parts.
- lengths: calibrated on 4 s, judged on shorter and longer clips.

    python tests/benchmarks/bench_promise.py simulated [--resamples 1000]
    python tests/benchmarks/bench_promise.py recordings --shared FOLDER [--pipeline default]
"""

from __future__ import annotations

import argparse
import itertools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asd.experiment import Clip, ClipFeatures, Config, Pipeline, learn, pool_scores
from asd.plugin import Runtime

LEVEL = 0.1
SETS = {
    "slider": "dcase2020_few/slider/id_00/normal/*.flac",
    "toycar": "toycar/train/*source*.flac",
    "fan": "fan_id_00/normal/*.flac",
}
PIPELINES: dict[str, dict[str, Any]] = {
    "cheap": {"frontend": "mel-stack", "extractor": "identity", "detector": "mahalanobis"},
    "default": {},
}
DETECTORS: dict[str, dict[str, Any]] = {
    "mahalanobis": {},
    "knn": {"local_density": True},
    "gmm": {"n_components": 2},
}
Sets = dict[str, list[ClipFeatures]]


def simulated_clips(count: int, rng: np.random.Generator, *, windows: int = 6, dimension: int = 12) -> list[Any]:
    """Return clips of a machine in two states: each clip has an offset of its own, each window noise."""
    state = rng.integers(2, size=(count, 1, 1))
    offset = rng.normal(size=(count, 1, dimension)) * np.linspace(0.5, 2, dimension)
    values = 3 * state + offset + rng.normal(size=(count, windows, dimension))
    start = np.arange(windows, dtype=np.float64)
    return [
        ClipFeatures(Clip(Path(f"{i}.wav")), each.astype(np.float32), start, 10.0, 16000, False)
        for i, each in enumerate(values)
    ]


def false_alarms(
    config: Any, train: Sequence[ClipFeatures], test: Sequence[ClipFeatures], level: float = LEVEL
) -> tuple[float, float]:
    """Return the fraction of `test` that alarms and the fraction promised, the largest up to `level`."""
    members, calibration = learn(config, list(train), Runtime())
    count = len(calibration.scores) + 1
    promised = max(1, int(level * count + 1e-9)) / count
    values, ends = np.concatenate([each.values for each in test]), np.cumsum([len(each.values) for each in test])[:-1]
    windows = [np.split(member.score(values), ends) for member in members]
    pooled = [np.array([pool_scores(own, config) for own in clip]) for clip in zip(*windows, strict=True)]
    return float(np.mean([calibration.p_value(scores) <= promised + 1e-12 for scores in pooled])), promised


def report(title: str, resample: Callable[[], tuple[float, float]], resamples: int) -> None:
    """Print the mean over resamples with its 95 % interval, beside what was promised."""
    observed, promised = np.array([resample() for _ in range(resamples)]).T
    half = 1.96 * observed.std(ddof=1) / np.sqrt(resamples)
    mean = observed.mean()
    print(
        f"{title}: promised {promised.mean():.3f}, observed {mean:.3f} ({mean - half:.3f} – {mean + half:.3f}), "
        f"factor {mean / promised.mean():.2f}",
        flush=True,
    )


def simulated(resamples: int, detectors: Sequence[str]) -> None:
    """Print the false alarms of detectors on drawn embeddings."""
    for name, count in itertools.product(detectors, (20, 50, 200)):
        base = {"frontend": "mel-stack", "extractor": "identity", "pca": 0.98}
        config = Config.from_mapping({**base, "detector": {"name": name, **DETECTORS[name]}}).resolved()
        rng = np.random.default_rng(count)

        def resample(config: Any = config, count: int = count, rng: Any = rng) -> tuple[float, float]:
            return false_alarms(config, simulated_clips(count, rng), simulated_clips(20, rng))

        report(f"{name}, {count} clips", resample, resamples)


def embedded(shared: Path, pipeline: str) -> Sets:
    """Return the embeddings of the real recordings."""
    with Pipeline(Config.from_mapping(PIPELINES[pipeline])) as made:
        return {
            name: list(made.embed_all([Clip(p) for p in sorted(shared.glob(pattern))]))  # type: ignore[arg-type]
            for name, pattern in SETS.items()
        }


def whole(sets: Sets, config: Any, resamples: int) -> None:
    """Print the false alarms where each recording is a clip."""
    for (name, clips), count in itertools.product(sets.items(), (10, 20, 50)):
        rng = np.random.default_rng(count)
        if len(clips) > count:

            def resample(clips: Any = clips, count: int = count, rng: Any = rng) -> tuple[float, float]:
                order = rng.permutation(len(clips))[: count + 20]
                return false_alarms(config, [clips[i] for i in order[:count]], [clips[i] for i in order[count:]])

            report(f"{name}, {count} recordings", resample, resamples)


def parts(sets: Sets, config: Any, resamples: int) -> None:
    """Print the false alarms where few recordings are cut into parts."""
    for (name, clips), count in itertools.product(sets.items(), (1, 2, 5, 10, 20, 40)):
        rng, number = np.random.default_rng(count), 10 if count < 5 else 6
        for level in (LEVEL, 1 / (count * number + 1)):

            def resample(clips: Any = clips, count: int = count, level: float = level) -> tuple[float, float]:
                order = rng.permutation(len(clips))[: count + 20]  # noqa: B023  # used at once
                pieces = [_cut(clips[i], number) for i in order]  # noqa: B023
                test = [each[rng.integers(number)] for each in pieces[count:]]  # noqa: B023
                return false_alarms(config, [part for each in pieces[:count] for part in each], test, level)

            if len(clips) > count:
                report(f"{name}, {count} recordings in {number} parts, level {level:.3g}", resample, resamples)


def lengths(sets: Sets, config: Any, resamples: int) -> None:
    """Print the false alarms of clips that are shorter or longer than those of the calibration."""
    for (name, clips), ratio in itertools.product(sets.items(), (0.5, 0.6, 0.75, 0.9, 1, 1.1, 1.25, 1.5, 1.8, 2.2)):
        rng = np.random.default_rng(0)

        def resample(clips: Any = clips, ratio: float = ratio, rng: Any = rng) -> tuple[float, float]:
            order = rng.permutation(len(clips))
            count = min(40, len(clips) - 8)
            train = [_stretch(clips[i], 4.0, rng) for i in order[:count]]
            return false_alarms(config, train, [_stretch(clips[i], 4.0 * ratio, rng) for i in order[count:][:20]])

        report(f"{name}, {ratio:g} times as long", resample, resamples)


def _cut(clip: ClipFeatures, number: int) -> list[ClipFeatures]:
    """Return parts of a clip: each window belongs to one."""
    seconds = clip.seconds / number
    return [
        ClipFeatures(Clip(clip.clip.path, i * seconds, seconds), values, start, seconds, clip.file_rate, False)
        for i, (values, start) in enumerate(
            zip(np.array_split(clip.values, number), np.array_split(clip.start, number), strict=True)
        )
    ]


def _stretch(clip: ClipFeatures, seconds: float, rng: np.random.Generator) -> ClipFeatures:
    """Return a stretch of a clip that begins anywhere."""
    hop = clip.start[1] - clip.start[0]
    window = clip.seconds - clip.start[-1]
    count = max(1, round((seconds - window) / hop) + 1)
    first = rng.integers(max(1, len(clip.values) - count + 1))
    chosen = slice(first, first + count)
    return ClipFeatures(clip.clip, clip.values[chosen], clip.start[:count], seconds, clip.file_rate, False)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["simulated", "recordings", "parts", "lengths"])
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--detectors", nargs="*", choices=DETECTORS, help="Of the simulation; default: all.")
    parser.add_argument("--shared", type=Path, help="Folder with the real recordings.")
    parser.add_argument("--pipeline", choices=PIPELINES, default="cheap")
    parser.add_argument("--pooling", default="mean")
    options = parser.parse_args()
    logging.getLogger("asd").setLevel(logging.ERROR)
    if options.what == "simulated":
        simulated(options.resamples, options.detectors or list(DETECTORS))
        return
    sets = embedded(options.shared, options.pipeline)
    if options.pipeline == "cheap":  # windows every 32 ms: a sixth of them says the same
        for clip in itertools.chain(*sets.values()):
            clip.values, clip.start = clip.values[::6], clip.start[::6]
    config = Config.from_mapping({**PIPELINES[options.pipeline], "pooling": options.pooling}).resolved()
    measured = {"recordings": whole, "parts": parts, "lengths": lengths}[options.what]
    measured(sets, config, options.resamples)


if __name__ == "__main__":
    main()
