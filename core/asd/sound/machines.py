"""Generated machine sound with known anomalies: for the conformance kit, the documentation and tests.

A machine emits harmonics of its rotation in factory noise: pink noise with impulses. An anomaly of known kind, time and
frequency is added::

    fan = Machine(seed=3)
    healthy = fan.record(10.0, seed=1)
    faulty = fan.record(10.0, seed=2, anomaly="bearing-knocks")
    faulty.audio, faulty.anomalies[0].start, faulty.anomalies[0].frequency

It serves to test programs. That a detector finds these anomalies says nothing about those of a real machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from asd.errors import ConfigError
from asd.records import Audio, Float64

AnomalyKind = Literal["harmonics", "bearing-knocks", "whine", "valve-clicks", "belt-squeal", "drop-outs"]
ANOMALY_KINDS: tuple[AnomalyKind, ...] = get_args(AnomalyKind)

_PEAK = 0.7
"""Largest sample of a recording, so that none clips."""


@dataclass(frozen=True)
class Anomaly:
    """What is wrong in a recording.

    Parameters
    ----------
    kind : str
        One of `ANOMALY_KINDS`.
    start : float
        Second at which it begins.
    duration : float
        Seconds that it lasts.
    frequency : float
        Hz: of a whine or squeal the tone, of knocks, clicks and drop-outs how many there are in a second, of harmonics
        the lowest.
    """

    kind: AnomalyKind
    start: float
    duration: float
    frequency: float


@dataclass(frozen=True)
class Sound:
    """A recording with its ground truth: no anomalies, or what they are."""

    audio: Audio
    anomalies: tuple[Anomaly, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine that can be recorded.

    Parameters
    ----------
    seed : int
        Which machine: its rotation, the strength of its harmonics.
    sample_rate : int
        Of the recordings, in Hz.
    """

    seed: int = 0
    sample_rate: int = 16000

    def record(
        self,
        seconds: float = 10.0,
        *,
        seed: int = 0,
        anomaly: AnomalyKind | None = None,
        start: float = 0.0,
        duration: float | None = None,
        frequency: float | None = None,
        level: float = 0.0,
        snr: float = 10.0,
    ) -> Sound:
        """Return a recording; the same arguments give the same samples.

        Parameters
        ----------
        seconds : float
            Length.
        seed : int
            Which recording of this machine: phases, noise.
        anomaly : str or None
            One of `ANOMALY_KINDS`; None: the machine is healthy.
        start, duration : float, float or None
            When the anomaly begins and how long it lasts, in seconds; None: to the end.
        frequency : float or None
            In Hz, see `Anomaly`; None: what suits the kind, drawn by `seed`.
        level : float
            Strength of the anomaly in dB over the machine's own sound while it lasts; drop-outs have none.
        snr : float
            Machine over factory noise, in dB.

        Raises
        ------
        ConfigError
            If the anomaly is unknown, or begins or ends outside the recording.
        """
        rng = np.random.default_rng([self.seed, seed])
        time: Float64 = np.arange(round(seconds * self.sample_rate)) / self.sample_rate
        noise = _scaled(_factory(rng, len(time), self.sample_rate), -snr)
        machine = self._healthy(time, rng)
        anomalies: tuple[Anomaly, ...] = ()
        if anomaly is not None:
            what = _described(anomaly, start, duration, frequency, seconds, self.sample_rate, rng)
            machine = _with(machine, time, what, level, rng)
            anomalies = (what,)
        mixed = 0.1 * (machine + noise)
        samples = (mixed * min(1.0, _PEAK / np.abs(mixed).max())).astype(np.float32)
        name = f"machine {self.seed}, recording {seed}" + (f", {anomaly}" if anomaly else "")
        return Sound(Audio(samples[np.newaxis], self.sample_rate, name), anomalies)

    def _healthy(self, time: Float64, rng: np.random.Generator) -> Float64:
        """Return hum and harmonics of unit power; the rotation varies a little from recording to recording."""
        own = np.random.default_rng(self.seed)
        rotation = own.uniform(24.0, 30.0) * rng.uniform(0.995, 1.005)
        strength = own.uniform(0.3, 1.0, 24) / np.arange(1, 25) ** 0.7
        hum = np.sin(2 * np.pi * 50.0 * time + rng.uniform(0, 2 * np.pi))
        phases = rng.uniform(0, 2 * np.pi, len(strength))
        for order, (power, phase) in enumerate(zip(strength, phases, strict=True), start=1):
            if 4 * order * rotation < self.sample_rate / 2:
                hum += power * np.sin(2 * np.pi * 4 * order * rotation * time + phase)
        sway = 1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.2, 0.5) * time + rng.uniform(0, 2 * np.pi))
        return _scaled(hum * sway, 0.0)


def spoil(
    audio: Audio,
    anomaly: AnomalyKind,
    *,
    level: float = 0.0,
    seed: int = 0,
    start: float = 0.0,
    duration: float | None = None,
) -> Sound:
    """Return a real recording of a healthy machine with an anomaly.

    Parameters
    ----------
    audio : Audio
        The recording; one channel of it is taken.
    anomaly : str
        One of `ANOMALY_KINDS`.
    level : float
        Strength of the anomaly in dB over the recording; drop-outs have none.
    seed : int
        Decides the anomaly's frequency and phases.
    start, duration : float, float or None
        When the anomaly begins and how long it lasts, in seconds; default: from beginning to end.

    Raises
    ------
    ConfigError
        If the anomaly is unknown, or begins or ends outside the recording.
    """
    rng = np.random.default_rng(seed)
    healthy = audio.samples[0].astype(np.float64)
    time: Float64 = np.arange(len(healthy)) / audio.sample_rate
    seconds = len(healthy) / audio.sample_rate
    what = _described(anomaly, start, duration, None, seconds, audio.sample_rate, rng)
    own_level = 10 * np.log10(max(float(np.mean(healthy**2)), 1e-20))
    spoiled = _with(healthy, time, what, own_level + level, rng)
    samples = (spoiled * min(1.0, 1.0 / np.abs(spoiled).max())).astype(np.float32)
    return Sound(Audio(samples[np.newaxis], audio.sample_rate, f"{audio.source}, {anomaly}"), (what,))


def write_recordings(
    folder: Path, *, healthy: int = 20, faulty: int = 10, seconds: float = 10.0, seed: int = 0
) -> None:
    """Write recordings of a machine as WAV files: ``train``, ``test/normal``, ``test/anomalous`` and ``truth.csv``.

    Parameters
    ----------
    folder : Path
        Where to write; created if absent.
    healthy, faulty : int
        Number of training recordings, and of test recordings of each class.
    seconds : float
        Length of each.
    seed : int
        Which machine.
    """
    import soundfile

    machine = Machine(seed=seed)
    lines = ["path,kind,start,duration,frequency"]
    kinds = [ANOMALY_KINDS[index % len(ANOMALY_KINDS)] for index in range(faulty)]
    plan: list[tuple[str, AnomalyKind | None]] = [("train", None) for _ in range(healthy)]
    plan += [("test/normal", None) for _ in range(faulty)]
    plan += [("test/anomalous", kind) for kind in kinds]
    for number, (place, kind) in enumerate(plan):
        sound = machine.record(seconds, seed=number, anomaly=kind)
        path = folder / place / f"{number:03d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound.audio.samples[0], machine.sample_rate)
        lines += [f"{place}/{path.name},{a.kind},{a.start},{a.duration},{a.frequency}" for a in sound.anomalies]
    (folder / "truth.csv").write_text("\n".join(lines) + "\n")


def _described(
    kind: AnomalyKind,
    start: float,
    duration: float | None,
    frequency: float | None,
    seconds: float,
    sample_rate: int,
    rng: np.random.Generator,
) -> Anomaly:
    if kind not in ANOMALY_KINDS:
        raise ConfigError(f"unknown anomaly {kind!r}; known: {', '.join(ANOMALY_KINDS)}")
    length = seconds - start if duration is None else duration
    if not (0 <= start < seconds and 0 < length <= seconds - start):
        raise ConfigError(
            f"an anomaly from second {start:g} for {length:g} s lies outside a recording of {seconds:g} s"
        )
    low, high = _USUAL[kind]
    usual = float(rng.uniform(low, min(high, 0.45 * sample_rate)))
    return Anomaly(kind, start, length, usual if frequency is None else frequency)


def _with(machine: Float64, time: Float64, what: Anomaly, level: float, rng: np.random.Generator) -> Float64:
    rate = round(1 / (time[1] - time[0]))
    first, stop = round(what.start * rate), round((what.start + what.duration) * rate)
    part = slice(first, stop)
    since = time[part] - time[first]  # not what.start, which may lie between two samples
    if what.kind == "drop-outs":
        kept = np.ones(len(machine))
        kept[part] = _gate(since, what.frequency)
        return machine * kept
    sound = _SOUNDS[what.kind](since, what.frequency, rng)
    changed = machine.copy()
    changed[part] += _scaled(sound, level)
    return changed


def _harmonics(time: Float64, frequency: float, rng: np.random.Generator) -> Float64:
    orders = [order for order in range(1, 40, 2) if order * frequency < 0.45 / (time[1] - time[0])]
    phases = rng.uniform(0, 2 * np.pi, len(orders))
    tones = [np.sin(2 * np.pi * o * frequency * time + p) for o, p in zip(orders, phases, strict=True)]
    return np.asarray(sum(tones))


def _whine(time: Float64, frequency: float, rng: np.random.Generator) -> Float64:
    wavering = 0.001 * frequency * np.sin(2 * np.pi * rng.uniform(2, 4) * time) / 3
    return np.asarray(np.sin(2 * np.pi * frequency * time + wavering))


def _squeal(time: Float64, frequency: float, rng: np.random.Generator) -> Float64:
    """Return a rough tone with overtones that comes and goes with the belt."""
    turns = np.clip(np.sin(2 * np.pi * rng.uniform(1.5, 3.0) * time) + 0.3, 0, None)
    rough = frequency * time + 0.3 * np.cumsum(rng.normal(size=len(time))) * np.sqrt(time[1] - time[0])
    return np.asarray(turns * (np.sin(2 * np.pi * rough) + 0.5 * np.sin(4 * np.pi * rough)))


def _knocks(time: Float64, frequency: float, rng: np.random.Generator) -> Float64:
    ring = rng.uniform(2500.0, 3500.0)
    since = _since_last(time, frequency, rng)
    return np.asarray(np.exp(-since * 150.0) * np.sin(2 * np.pi * ring * since))


def _clicks(time: Float64, frequency: float, rng: np.random.Generator) -> Float64:
    since = _since_last(time, frequency, rng)
    return np.asarray(np.exp(-since * 300.0) * rng.normal(size=len(time)))


def _since_last(time: Float64, frequency: float, rng: np.random.Generator) -> Float64:
    """Return the seconds since the last of `frequency` events a second, at slightly irregular times."""
    period = 1 / frequency
    slip = rng.uniform(0, 0.05 * period, int(time[-1] / period) + 1)
    events = np.arange(len(slip)) * period + slip
    events[0] = 0.0
    return np.asarray(time - events[np.searchsorted(events, time, side="right") - 1])


def _gate(time: Float64, frequency: float) -> Float64:
    """Return 1 where the machine sounds and 0 where it drops out: two fifths of each period."""
    return np.where((time * frequency) % 1.0 < 0.4, 0.0, 1.0)


_USUAL: dict[AnomalyKind, tuple[float, float]] = {
    "harmonics": (60.0, 75.0),
    "bearing-knocks": (8.0, 16.0),
    "whine": (3000.0, 6000.0),
    "valve-clicks": (4.0, 10.0),
    "belt-squeal": (1500.0, 3000.0),
    "drop-outs": (4.0, 8.0),
}
_SOUNDS: dict[AnomalyKind, Callable[[Float64, float, np.random.Generator], Float64]] = {
    "harmonics": _harmonics,
    "bearing-knocks": _knocks,
    "whine": _whine,
    "valve-clicks": _clicks,
    "belt-squeal": _squeal,
}


def _factory(rng: np.random.Generator, count: int, sample_rate: int) -> Float64:
    """Return pink noise with impulses at random times."""
    spectrum = np.fft.rfft(rng.normal(size=count))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(count, 1 / sample_rate), 20.0))
    noise = _scaled(np.fft.irfft(spectrum, count), 0.0)
    for _ in range(rng.poisson(0.2 * count / sample_rate)):
        first = int(rng.integers(count))
        since = np.arange(count - first) / sample_rate
        noise[first:] += 2 * np.exp(-since * 20.0) * rng.normal(size=len(since))
    return noise


def _scaled(values: npt.NDArray[np.float64], level: float) -> Float64:
    """Return `values` with a power of `level` dB."""
    power = float(np.mean(values**2))
    return np.asarray(values * (10 ** (level / 20) / np.sqrt(max(power, 1e-30))))
