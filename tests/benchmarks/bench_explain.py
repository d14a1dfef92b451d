"""Explanations measured: generated faults of known time and frequency, put into generated and real machine sound.

Each fault of `asd.experiment.ANOMALY_KINDS` sets in for a part of a healthy clip, at 0 dB or -10 dB of the recording's
power while it lasts. The top place of the explanation counts as right

- in time if its interval and the true one overlap with an intersection over union of 0.5 or more,
- in frequency if half of its band or more lies where the fault stands out: in the twelfths of an octave where the
  power added exceeds the healthy power by at most 10 dB less than where it does most, widened by a sixth of an octave
  on either side (a tone has no width). Drop-outs take all frequencies away: for them any band is right, so that bands
  are also given without them.

A clip of which nothing stands out counts as a miss.

Healthy clips that no model has seen are explained, too: how many have places that stand out?

    python tests/benchmarks/bench_explain.py SHARED [--seed N] [--clips N] [--quality fast|default|best]

SHARED is the folder with fan_id_00, dcase2020_few and toycar. Seed 0 was used for development, 1 for docs/results.md.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import asd
from asd.experiment import ANOMALY_KINDS, AnomalyKind, Machine, read, spoil
from asd.plugin import Audio, Clip, Float32, power_spectrogram

LEVELS = (0.0, -10.0)
_QUIETER = 0.1
"""Recordings are made quieter, so that knocks on top of them do not clip."""
_N_FFT = 4096
_WITHIN = 10.0
_TOLERANCE = 1 / 6

Bands = list[tuple[float, float]]


@dataclass(frozen=True)
class Machinery:
    """Healthy recordings of a machine: to learn from, and to spoil."""

    name: str
    train: list[Audio]
    test: list[Audio]


def machines(shared: Path, seed: int, clips: int) -> Iterator[Machinery]:
    """Yield three generated machines and three real ones; another seed has other recordings, where there are enough."""
    for number in range(3):
        machine = Machine(seed=50 + 100 * seed + number)
        recordings = [_quieter(machine.record(10.0, seed=i).audio) for i in range(20 + clips)]
        yield Machinery(f"generated {number + 1}", recordings[:20], recordings[20:])
    folders = {
        "fan": "fan_id_00/normal/*.flac",
        "slider": "dcase2020_few/slider/id_00/normal/*",
        "ToyCar": "toycar/train/*source*",
    }
    for name, pattern in folders.items():
        paths = sorted(shared.glob(pattern))
        first = 40 * seed if len(paths) >= 40 * (seed + 1) else 0
        own = [_quieter(read(Clip(path))) for path in paths[first : first + 40]]
        order = np.random.default_rng(7 + seed).permutation(len(own)).tolist()
        yield Machinery(name, [own[i] for i in order[:-clips]], [own[i] for i in order[-clips:]])


def true_bands(healthy: Float32, spoiled: Float32, rate: int, kind: AnomalyKind) -> Bands:
    """Return where a fault stands out in Hz; see the module."""
    if kind == "drop-outs":
        return [(20.0, rate / 2)]
    before, added = (
        power_spectrogram(np.ascontiguousarray(each), n_fft=_N_FFT, hop_length=_N_FFT // 4).mean(axis=1)
        for each in (healthy, spoiled - healthy)
    )
    frequency = np.fft.rfftfreq(_N_FFT, 1 / rate)
    ratios: dict[tuple[float, float], float] = {}
    for middle in 1000 * 2 ** (np.arange(-60, 56) / 12):
        low, high = middle * 2 ** (-1 / 24), middle * 2 ** (1 / 24)
        inside = (frequency >= low) & (frequency < high)
        if low > 25 and high < rate / 2 and inside.any():
            ratios[low * 2**-_TOLERANCE, high * 2**_TOLERANCE] = added[inside].sum() / max(before[inside].sum(), 1e-20)
    least = max(ratios.values()) / 10 ** (_WITHIN / 10)
    found: Bands = []
    for (low, high), ratio in ratios.items():
        if ratio < least:
            continue
        if found and low <= found[-1][1]:
            low = found.pop()[0]
        found.append((low, high))
    return found


def is_right_in_time(place: asd.Finding, start: float, end: float) -> bool:
    """Return whether intersection over union is 0.5 or more."""
    both = min(place.end, end) - max(place.start, start)
    return both / (max(place.end, end) - min(place.start, start)) >= 0.5


def is_right_in_frequency(place: asd.Finding, bands: Bands) -> bool:
    """Return whether half of the place's band or more, in octaves, lies in the bands."""
    parts = [(max(place.low, low), min(place.high, high)) for low, high in bands]
    inside = sum(math.log2(high / low) for low, high in parts if low < high)
    return inside / math.log2(place.high / place.low) >= 0.5


def wilson(right: int, count: int) -> str:
    """Return a share with its 95 % interval (Wilson)."""
    if not count:
        return "–"
    p, z = right / count, 1.96
    middle = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return f"{right} of {count}, {p:.0%} ({middle - half:.0%}–{middle + half:.0%})"


def trials(machinery: Machinery, model: asd.Model, folder: Path, seed: int) -> Iterator[dict[str, Any]]:
    """Yield what comes of each fault in each test recording, and of each that has none."""
    rng = np.random.default_rng([100 + seed, len(machinery.train)])
    path = folder / "clip.wav"
    for audio in machinery.test:
        soundfile.write(path, audio.samples[0], audio.sample_rate, subtype="FLOAT")
        found = asd.explain(model, path)
        own = {"machine": machinery.name, "anomalous": found.verdict.anomalous, "places": len(found.findings)}
        yield {**own, "kind": None}
    for level in LEVELS:
        for kind in ANOMALY_KINDS:
            for number, audio in enumerate(machinery.test):
                seconds, rate = audio.samples.shape[1] / audio.sample_rate, audio.sample_rate
                duration = float(rng.uniform(1.5, 6.0))
                start = float(rng.uniform(0.0, seconds - duration))
                sound = spoil(audio, kind, level=level, seed=1000 * seed + number, start=start, duration=duration)
                part = slice(round(start * rate), round((start + duration) * rate))
                bands = true_bands(audio.samples[0, part], sound.audio.samples[0, part], rate, kind)
                soundfile.write(path, sound.audio.samples[0], rate, subtype="FLOAT")
                began = time.perf_counter()
                found = asd.explain(model, path)
                took = time.perf_counter() - began
                top = found.findings[0] if found.findings else None
                yield {
                    "machine": machinery.name,
                    "kind": kind,
                    "level": level,
                    "anomalous": found.verdict.anomalous,
                    "time": top is not None and is_right_in_time(top, start, start + duration),
                    "band": top is not None and is_right_in_frequency(top, bands),
                    "seconds": took,
                    "said": top.text(found.healthy_clips) if top else "nothing stands out",
                    "true": f"{start:.1f}–{start + duration:.1f} s, "
                    + ", ".join(f"{low:.0f}–{high:.0f}" for low, high in bands),
                }


def _quieter(audio: Audio) -> Audio:
    return Audio(audio.samples * np.float32(_QUIETER), audio.sample_rate, audio.source)


def _report(rows: Sequence[dict[str, Any]]) -> None:
    faults = [row for row in rows if row["kind"]]
    for level in LEVELS:
        own = [row for row in faults if row["level"] == level]
        _line(f"{level:+.0f} dB, all", own)
        for key in ("machine", "kind"):
            for name in dict.fromkeys(row[key] for row in own):
                _line(f"  {name}", [row for row in own if row[key] == name])
        _line("  bands without drop-outs", [row for row in own if row["kind"] != "drop-outs"])
        _line("  clips that the model calls anomalous", [row for row in own if row["anomalous"]])
    healthy = [row for row in rows if row["kind"] is None]
    quiet = sum(row["places"] == 0 for row in healthy)
    print(f"healthy clips of which nothing stands out: {wilson(quiet, len(healthy))}")
    print(f"seconds for an explanation: median {np.median([row['seconds'] for row in faults]):.1f}")


def _line(name: str, rows: Sequence[dict[str, Any]]) -> None:
    right = [wilson(sum(row[key] for row in rows), len(rows)) for key in ("time", "band")]
    print(f"{name}: interval {right[0]}; band {right[1]}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=int, default=4, help="test recordings of each machine")
    parser.add_argument("--quality", default="default", choices=("fast", "default", "best"))
    parser.add_argument("--verbose", action="store_true", help="print each miss")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        for machinery in machines(given.shared, given.seed, given.clips):
            folder = Path(name) / machinery.name
            (folder / "train").mkdir(parents=True)
            for number, audio in enumerate(machinery.train):
                path = folder / "train" / f"{number:03d}.wav"
                soundfile.write(path, audio.samples[0], audio.sample_rate, subtype="FLOAT")
            with asd.fit(folder / "train", quality=given.quality, cache=False) as model:
                for row in trials(machinery, model, folder, given.seed):
                    rows.append(row)
                    if given.verbose and row["kind"] and not (row["time"] and row["band"]):
                        print(row, flush=True)
            print(f"{machinery.name}: done", flush=True)
    _report(rows)


if __name__ == "__main__":
    main()
