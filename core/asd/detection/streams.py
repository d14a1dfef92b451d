"""How a monitor does in time: streams of healthy clips, some with a fault that sets in, drawn from labelled clips."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from asd.detection.feedback import last_alarm_was_normal
from asd.detection.metrics import binomial_interval, percentile_interval
from asd.detection.model import Model
from asd.detection.monitor import Monitor
from asd.detection.rate import SECONDS, Rate
from asd.detection.verdict import Verdict
from asd.errors import DataError
from asd.progress import track
from asd.records import Float64

_HOUR = 3600.0
"""Seconds of healthy sound before the fault sets in; and the longest time that is waited for the alarm."""
_MOST_CLIPS = 720
"""The same in clips, at most: where clips are short, the hours are shorter, too."""
_QUANTILES = (0.1, 0.5, 0.9)
_RESAMPLES = 1000


@dataclass(frozen=True)
class StreamEvaluation:
    """How often a monitor raised false alarms, and how soon it found faults.

    Parameters
    ----------
    rate : str
        The promise, such as ``"1/month"``.
    clip_seconds : float
        Length of a clip.
    streams : int
        Streams of each kind.
    healthy_clips : int
        Healthy clips watched in streams without a fault.
    false_alarms : int
        Alarms that these raised, and slow changes that were told. Each alarm was answered with "that was normal".
    quiet_streams : int
        Streams without a fault that raised none.
    false_alarm_rate : float
        False alarms in the unit of the promise.
    false_alarm_interval : tuple of float
        Its 95 % interval over streams.
    delays : tuple of (int or None)
        Clips from the fault to the alarm, for each stream with a fault; None: missed within `onset` clips.
    delay_median, delay_90 : float or None
        Quantiles of the delays in clips; None: missed.
    delay_interval : tuple of (float or None)
        95 % bootstrap interval of the median.
    missed : int
        Faults without an alarm within `onset` clips.
    missed_interval : tuple of float
        95 % interval of their fraction.
    onset : int
        Clips before the fault, and clips that are waited for the alarm: an hour of them, 720 at most.
    evidence : float64 array of shape (3, n_clips)
        Evidence over a stream with a fault: 10 %, median, 90 % of the streams.
    threshold : float
        Evidence at which the alarm is raised.
    """

    rate: str
    clip_seconds: float
    streams: int
    healthy_clips: int
    false_alarms: int
    quiet_streams: int
    false_alarm_rate: float
    false_alarm_interval: tuple[float, float]
    delays: tuple[int | None, ...]
    delay_median: float | None
    delay_90: float | None
    delay_interval: tuple[float | None, float | None]
    missed: int
    missed_interval: tuple[float, float]
    onset: int
    evidence: Float64 = field(repr=False, compare=False)
    threshold: float

    @property
    def contradicts_promise(self) -> bool:
        """Whether there were more false alarms than promised, beyond chance."""
        return self.false_alarm_interval[0] > Rate.of(self.rate).alarms


def evaluate_streams(
    model: Model,
    healthy: Sequence[Verdict],
    faulty: Sequence[Verdict],
    false_alarms: str | Rate,
    *,
    streams: int = 100,
    healthy_clips: int = 2000,
    seed: int = 0,
) -> StreamEvaluation:
    """Let a new monitor watch each of many streams whose clips are drawn from labelled ones, with replacement.

    Drawn clips are independent of each other, and the sound is that of the labelled clips for ever: this measures what
    the model can tell apart, not what a plant will do.

    Parameters
    ----------
    model : Model
        Whose verdicts they are.
    healthy, faulty : sequence of Verdict
        On clips that the model did not learn from.
    false_alarms : str or Rate
        What the monitors promise.
    streams : int
        Streams without a fault, and as many with one that sets in after an hour (720 clips at most).
    healthy_clips : int
        Length of the streams without a fault.
    seed : int
        Seed of the drawing.

    Raises
    ------
    DataError
        If a class is empty.
    """
    if not (healthy and faulty):
        raise DataError("streams need healthy and faulty clips, at least one of each")
    seconds = model.calibration.clip_seconds
    hour = min(_MOST_CLIPS, max(1, round(_HOUR / seconds)))
    rng = np.random.default_rng(seed)
    alarms: list[int] = []
    delays: list[int | None] = []
    evidence = np.empty((streams, 2 * hour))
    for number in track(range(streams), "watching"):
        monitor = Monitor(model, false_alarms)
        alarms.append(_false_alarms(monitor, _drawn(healthy, healthy_clips, rng)))
        monitor = Monitor(model, false_alarms)
        _false_alarms(monitor, _drawn(healthy, hour, rng), evidence[number])
        delays.append(_delay(monitor, _drawn(faulty, hour, rng), evidence[number, hour:]))
    return _summary(monitor, alarms, delays, evidence, healthy_clips, rng)


def _summary(
    monitor: Monitor,
    alarms: list[int],
    delays: list[int | None],
    evidence: Float64,
    length: int,
    rng: np.random.Generator,
) -> StreamEvaluation:
    state, streams = monitor.state, len(alarms)
    unit = SECONDS[Rate.of(state.rate).unit] / (length * state.clip_seconds)
    values = np.array([math.inf if each is None else each for each in delays])
    means = rng.choice(np.array(alarms), (_RESAMPLES, streams)).mean(axis=1)
    medians = np.quantile(rng.choice(values, (_RESAMPLES, streams)), 0.5, axis=1, method="higher")
    missed = int(np.isinf(values).sum())
    # No event in so many streams: the exact bound of a Poisson mean; resampling would give 0.
    low, high = percentile_interval(means) if any(alarms) else (0.0, -math.log(0.025) / streams)
    return StreamEvaluation(
        rate=state.rate,
        clip_seconds=state.clip_seconds,
        streams=streams,
        healthy_clips=streams * length,
        false_alarms=sum(alarms),
        quiet_streams=alarms.count(0),
        false_alarm_rate=float(np.mean(alarms)) * unit,
        false_alarm_interval=(low * unit, high * unit),
        delays=tuple(delays),
        delay_median=_finite(np.quantile(values, 0.5, method="higher")),
        delay_90=_finite(np.quantile(values, 0.9, method="higher")),
        delay_interval=(
            _finite(np.quantile(medians, 0.025, method="lower")),
            _finite(np.quantile(medians, 0.975, method="higher")),
        ),
        missed=missed,
        missed_interval=binomial_interval(missed, streams),
        onset=evidence.shape[1] // 2,
        evidence=np.quantile(evidence, _QUANTILES, axis=0),
        threshold=monitor.threshold,
    )


def _drawn(verdicts: Sequence[Verdict], count: int, rng: np.random.Generator) -> Iterator[Verdict]:
    for index in rng.integers(len(verdicts), size=count).tolist():
        yield verdicts[index]


def _next_time(monitor: Monitor) -> float:
    return (monitor.state.evidence.last_time or 0.0) + monitor.state.clip_seconds


def _false_alarms(monitor: Monitor, stream: Iterator[Verdict], evidence: Float64 | None = None) -> int:
    """Return how many alarms healthy clips raise, each answered with "that was normal", and slow changes are told."""
    count = 0
    for i, verdict in enumerate(stream):
        status = monitor.update(verdict, _next_time(monitor))
        if evidence is not None:
            evidence[i] = status.evidence
        if status.alarm:
            count += 1
            last_alarm_was_normal(monitor)
    return count + sum(event.kind == "drift" for event in monitor.state.history)


def _delay(monitor: Monitor, stream: Iterator[Verdict], evidence: Float64) -> int | None:
    """Return the clips to the alarm; None: there is none."""
    found = None
    for i, verdict in enumerate(stream):
        status = monitor.update(verdict, _next_time(monitor))
        evidence[i] = status.evidence
        if status.alarm and found is None:
            found = i + 1
    return found


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
