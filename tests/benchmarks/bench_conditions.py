"""How soon a changed gain or microphone is told, and what is taken for one that is none.

``python tests/benchmarks/bench_conditions.py [--shared FOLDER] [--runs 4]`` makes streams of healthy sound, generated
and real (clips in random order), learns the noise floor of each from 11 minutes, and changes something: the gain, the
microphone (a random frequency response and its own noise), the noise of the place (generated, or another real machine),
or the machine (generated and real faults, pauses, other speed). Printed are, for each change, how many were told, after
how many seconds, and the conditions that are false: all but ``quiet`` in a pause, which is one, and of a less sensitive
microphone, of which it asks. Levels are those of the recording; nothing is judged.
"""

from __future__ import annotations

import argparse
import copy
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from asd_listen.conditions import LEARNING, Conditions
from asd_listen.levels import LevelMeter

RATE = 16000
BEFORE, AFTER = LEARNING + 60, 180


def noise(rng: np.random.Generator, seconds: int, slope: float) -> np.ndarray:
    """Return noise of unit level whose power falls by `slope` times 3 dB an octave."""
    count = seconds * RATE
    spectrum = np.fft.rfft(rng.normal(size=count))
    spectrum /= np.maximum(np.arange(len(spectrum)), 20.0) ** (slope / 2)
    found = np.fft.irfft(spectrum, count)
    return found / found.std()


def generated(rng: np.random.Generator, kind: str, seconds: int) -> np.ndarray:
    """Return a machine: ``steady``, ``cycling`` (works and idles), ``wandering`` (its level does)."""
    moment = np.arange(seconds * RATE) / RATE
    speed = rng.uniform(40, 110)
    hum = sum(np.sin(2 * np.pi * speed * k * moment + rng.uniform(0, 6)) / k for k in (1, 2, 3, 5, 8))
    rush = noise(rng, seconds, rng.uniform(0, 1))
    if kind == "cycling":
        works = (moment + rng.uniform(0, 60)) % rng.uniform(30, 60) < rng.uniform(12, 25)
        gain = np.where(works, 1.0, 10 ** (-rng.uniform(6, 14) / 20))
        hum, rush = hum * gain, rush * np.where(works, 1.0, 10 ** (-rng.uniform(3, 12) / 20))
    if kind == "wandering":
        drift = np.interp(moment, np.arange(0, seconds + 20, 10), rng.normal(0, 2.5, seconds // 10 + 2))
        hum, rush = hum * 10 ** (drift / 20), rush * 10 ** (drift / 20)
    return 0.02 * hum + 0.01 * rush + 0.001 * noise(rng, seconds, 1.0)


@functools.cache
def first_channel(path: Path) -> np.ndarray:
    """Return what a recording holds."""
    samples: np.ndarray = soundfile.read(path, dtype="float32", always_2d=True)[0][:, 0]
    return samples


def of_clips(rng: np.random.Generator, paths: list[Path], seconds: int) -> np.ndarray:
    """Return real clips in random order, one after the other."""
    clips = [first_channel(path) for path in paths]
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < seconds * RATE:
        parts.append(clips[rng.integers(len(clips))])
    return np.concatenate(parts)[: seconds * RATE].astype(np.float64)


def filtered(rng: np.random.Generator, sound: np.ndarray) -> np.ndarray:
    """Return what another microphone makes of a sound: other sensitivity and response, and its own noise."""
    spectrum = np.fft.rfft(sound)
    hertz = np.fft.rfftfreq(len(sound), 1 / RATE)
    points = np.array([20, 60, 180, 500, 1400, 3500, 8000.0])
    response = rng.choice([-1, 1]) * rng.uniform(10, 18) + rng.normal(0, 4, len(points))
    spectrum *= 10 ** (np.interp(np.log(np.maximum(hertz, 20)), np.log(points), response) / 20)
    changed = np.fft.irfft(spectrum, len(sound))
    return changed + 10 ** (-rng.uniform(10, 30) / 20) * changed.std() * noise(rng, len(sound) // RATE, 0.5)


def high_shelf(rng: np.random.Generator, seconds: int, level: float) -> np.ndarray:
    """Return a leak's noise, which is above 2 kHz."""
    spectrum = np.fft.rfft(rng.normal(size=seconds * RATE))
    spectrum[np.fft.rfftfreq(seconds * RATE, 1 / RATE) < 2000] *= 0.1
    found = np.fft.irfft(spectrum)
    return level * found / found.std()


def knocks(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return what a broken bearing sounds like: impacts, 20 to 90 a second, of which each lets something ring."""
    found = np.zeros(count)
    found[:: int(RATE / rng.uniform(20, 90))] = 1.0
    ring, moment = rng.uniform(1500, 6000), np.arange(400) / RATE
    found = np.convolve(found, np.exp(-moment * rng.uniform(200, 800)) * np.sin(2 * np.pi * ring * moment))[:count]
    return found / found.std()


def bursts(rng: np.random.Generator, seconds: int, longest: int) -> np.ndarray:
    """Return a mask, second by second, of bursts of 3 s to so many."""
    mask = np.zeros(seconds, bool)
    at = 5
    while at < seconds - 5:
        length = int(rng.integers(3, longest + 1))
        mask[at : at + length] = True
        at += length + int(rng.integers(15, 45))
    return np.repeat(mask, RATE)


Change = Callable[[np.random.Generator, np.ndarray], np.ndarray]
TRUE: dict[str, tuple[str, Change]] = {
    "gain 8 dB up": ("gain", lambda rng, x: x * 10 ** (8 / 20)),
    "gain 8 dB down": ("gain", lambda rng, x: x * 10 ** (-8 / 20)),
    "gain 15 dB up": ("gain", lambda rng, x: x * 10 ** (15 / 20)),
    "gain 15 dB down": ("gain", lambda rng, x: x * 10 ** (-15 / 20)),
    "microphone": ("microphone", filtered),
}
FALSE: dict[str, Change] = {
    "nothing": lambda rng, x: x,
    "louder place": lambda rng, x: x + x.std() * rng.uniform(0.3, 2) * noise(rng, len(x) // RATE, 1.0),
    "passing lorries": lambda rng, x: (
        x + x.std() * rng.uniform(1, 4) * noise(rng, len(x) // RATE, 1.0) * bursts(rng, len(x) // RATE, 20)
    ),
    "leak": lambda rng, x: x + high_shelf(rng, len(x) // RATE, x.std()),
    "leak at times": lambda rng, x: x + high_shelf(rng, len(x) // RATE, x.std()) * bursts(rng, len(x) // RATE, 25),
    "pauses": lambda rng, x: np.where(
        bursts(rng, len(x) // RATE, 20), 0.1 * x.std() * noise(rng, len(x) // RATE, 1.0), x
    ),
    "more load": lambda rng, x: x * 10 ** (4 / 20),
    "runs faster": lambda rng, x: np.interp(np.arange(len(x)) * 1.2 % (len(x) - 1), np.arange(len(x)), x) * 1.4,
    "lorries close by": lambda rng, x: (
        x + x.std() * rng.uniform(4, 10) * noise(rng, len(x) // RATE, 1.0) * bursts(rng, len(x) // RATE, 40)
    ),
    "grinds": lambda rng, x: x + x.std() * rng.uniform(1, 8) * noise(rng, len(x) // RATE, rng.uniform(0, 1)),
    "knocks": lambda rng, x: x + x.std() * rng.uniform(1, 4) * knocks(rng, len(x)),
    "stops": lambda rng, x: x.std() * 10 ** (-rng.uniform(12, 30) / 20) * noise(rng, len(x) // RATE, 1.0),
}
RIGHT = {"pauses": ("quiet",), "stops": ("quiet",), "microphone": ("gain", "microphone", "quiet")}
"""Conditions that are true of a change, where there are others than a gain or a microphone."""


def begun(conditions: Conditions, sound: np.ndarray) -> list[tuple[str, int]]:
    """Return the conditions that begin in a sound, with the seconds from its start."""
    found: list[tuple[str, int]] = []
    for at, second in enumerate(LevelMeter().add(sound.astype(np.float32), RATE, 0.0), start=1):
        found += [(change.name, at) for change in conditions.second(second) if not change.over]
    return found


def sources(shared: Path | None) -> dict[str, Callable[[np.random.Generator, int], np.ndarray]]:
    """Return what makes healthy sound, by name."""
    found: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
        kind: lambda rng, seconds, kind=kind: generated(rng, kind, seconds)
        for kind in ("steady", "cycling", "wandering")
    }
    folders = {
        "fan": "fan_id_00/normal/*.flac",
        "slider": "dcase2020_few/slider/id_00/normal/*.flac",
        "ToyCar": "toycar/train/*source*normal*.flac",
    }
    for name, pattern in folders.items():
        paths = sorted(shared.glob(pattern)) if shared else []
        if paths:
            found[name] = lambda rng, seconds, paths=paths[:40]: of_clips(rng, paths, seconds)
    return found


def real_changes(shared: Path | None, source: str) -> dict[str, Change]:
    """Return changes that are recordings: another machine begins beside it, or goes by; the machine is faulty."""
    found: dict[str, Change] = {}
    for name, make in sources(shared).items():
        if name not in ("steady", "cycling", "wandering", source):
            found[f"beside a {name}"] = lambda rng, x, make=make: x + rng.uniform(0.5, 4) * like(x, make(rng, AFTER))
            found[f"at times a {name}"] = lambda rng, x, make=make: (
                x + rng.uniform(1, 4) * like(x, make(rng, AFTER)) * bursts(rng, AFTER, 20)
            )
    faulty = {
        "fan": "fan_id_00/abnormal/*.flac",
        "slider": "dcase2020_few/slider/id_00/anomalous/*.flac",
        "ToyCar": "toycar/test/*source*anomaly*.flac",
    }
    paths = sorted(shared.glob(faulty[source])) if shared and source in faulty else []
    if paths:
        found["real fault"] = lambda rng, x: of_clips(rng, paths, AFTER)
    return found


def like(sound: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return another sound, as loud as this one."""
    return other * (sound.std() / other.std())


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    told: dict[str, list[int | None]] = {name: [] for name in TRUE}
    false: dict[str, list[str]] = {}
    runs: dict[str, int] = {}
    before = 0
    for number, (source, make) in enumerate(sources(options.shared).items()):
        for run in range(options.runs):
            rng = np.random.default_rng([options.seed, number, run])
            sound = make(rng, BEFORE + AFTER)
            learned, rest = Conditions(levels=(-200.0, 0.0)), sound[BEFORE * RATE :]
            before += len(begun(learned, sound[: BEFORE * RATE]))
            changes = {**{name: own[1] for name, own in TRUE.items()}, **FALSE, **real_changes(options.shared, source)}
            for name, change in changes.items():
                late = begun(copy.deepcopy(learned), change(rng, rest))
                runs[name] = runs.get(name, 0) + 1
                right = RIGHT.get(name, ("gain", "microphone") if name in TRUE else ())
                if name in TRUE:
                    told[name].append(next((at for kind, at in late if kind in right), None))
                false.setdefault(name, []).extend(f"{source}: {kind}" for kind, _ in late if kind not in right)
    print(f"{before} conditions before any change")
    for name, moments in told.items():
        found = [each for each in moments if each is not None]
        middle = f"{np.median(found):.0f} s ({min(found):.0f} to {max(found):.0f})" if found else "-"
        print(f"{name}: told in {len(found)} of {runs[name]}, after {middle}; others: {len(false[name])}")
    for name in [each for each in runs if each not in TRUE]:
        print(f"{name}: {len(false[name])} false in {runs[name]} {sorted(set(false[name])) or ''}")


if __name__ == "__main__":
    main()
