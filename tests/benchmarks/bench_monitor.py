"""The monitor's promise and its delay, measured: run lengths without a fault, months, faults, dependence, cost.

The figures of docs/explanation/alarms.md:

- lengths: clips to the first false alarm at R >= A, where the monitor asks for fourteen times as much; 400 runs each.
- quiet: the chance of a period without a false alarm; the p-values of exchangeable clips are uniform, that is all.
- months: false alarms of the monitor itself in simulated months of 10 s clips, promised one a month.
- delays: clips to the alarm after an hour of healthy watching.
- members: the same with scores of five trained members.
- dependence: false alarms and delays where neighbouring clips resemble each other; a false alarm is answered with
  "that was normal".
- unanswered: alarms and slow changes, promised one a month, where neighbours resemble each other and nobody answers.
- states: dependence where the monitor knows the states.
- accepted: how often a sound that was taken for healthy raises the alarm again, and when faults beside it do.
- drifts: what a slow drift, and a small fault, come out as.
- cost: time of an update after a million clips, and size of the file.

    python tests/benchmarks/bench_monitor.py [WHAT ...]
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from asd.detection.calibration import Calibration
from asd.detection.evidence import BETS, log_bets, shiryaev_roberts, staked
from asd.detection.feedback import last_alarm_was_normal
from asd.detection.monitor import MARGIN, Monitor
from asd.detection.monitor_state import hold
from asd.detection.states import States
from asd.experiment import Clip, Config, learn
from asd.plugin import Float64, Runtime

SECONDS = 10.0
MONTH = 30 * 86400 / SECONDS
_BLOCK = 512
_STATES = ("idle", "load")
_FEW = 100


def online_p_values(scores: Float64, rng: np.random.Generator) -> Float64:
    """Return the p-value of each score among all scores before it; no two are equal."""
    count = len(scores)
    place = np.empty(count, np.int64)
    place[np.argsort(scores)] = np.arange(count)
    above = np.zeros(count, np.int64)
    seen = np.zeros(count, bool)
    for start in range(0, count, _BLOCK):
        own = place[start : start + _BLOCK]
        above[start : start + _BLOCK] += (start - np.cumsum(seen))[own]
        above[start : start + _BLOCK] += np.tril(own[np.newaxis] > own[:, np.newaxis], -1).sum(axis=1)
        seen[own] = True
    return (above + 1 - rng.random(count)) / (np.arange(count) + 1)


def first_alarm(p_values: Float64, threshold: float) -> int | None:
    """Return the number of the clip that raises the alarm, counted from 1."""
    above = shiryaev_roberts(log_bets(p_values)) >= math.log(threshold)
    return int(above.argmax()) + 1 if above.any() else None


def run_length(threshold: float, rng: np.random.Generator) -> int:
    """Return the clips to the first false alarm."""
    scores = rng.normal(size=int(4 * threshold))
    while True:
        if found := first_alarm(online_p_values(scores, np.random.default_rng(0)), threshold):
            return found
        scores = np.concatenate([scores, rng.normal(size=len(scores))])


def interval(values: Sequence[float]) -> str:
    """Return the mean with its 95 % interval."""
    mean, half = float(np.mean(values)), 1.96 * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return f"{mean:,.0f} ({mean - half:,.0f} – {mean + half:,.0f})"


def lengths(runs: int) -> None:
    """Print mean run lengths beside the promised ones."""
    for threshold in (100, 1000, 10_000):
        rng = np.random.default_rng(threshold)
        found = [run_length(threshold, rng) for _ in range(runs)]
        print(f"A = {threshold:,}: mean run length {interval(found)}, median {np.median(found):,.0f}", flush=True)


def quiet(runs: int) -> None:
    """Print how many periods are quiet, by how much more evidence is asked for than the promise needs."""
    shares = np.exp(staked([0.0] * BETS))
    for clips in (1000, 8640):
        rng, evidence, highest = np.random.default_rng(clips), np.zeros((runs, BETS)), np.zeros(runs)
        for _ in range(clips):
            evidence = (1 + evidence) * np.exp(log_bets(1 - rng.random(runs)))
            highest = np.maximum(highest, evidence @ shares)
        found = ", ".join(f"{margin} A {np.mean(highest < margin * clips):.1%}" for margin in (10, 12, MARGIN, 20))
        print(f"quiet periods of {clips:,} clips, {runs:,} runs, by the evidence asked for: {found}", flush=True)


def fake_model(rng: np.random.Generator, count: int = 20) -> Any:
    """Return what a monitor asks of a model: a calibration of drawn scores by one member."""
    calibration = Calibration(rng.normal(size=count), np.zeros(count, np.int64), SECONDS, count)
    return SimpleNamespace(calibration=calibration, decision=calibration.decide())


def verdicts(model: Any, scores: Float64) -> Iterator[Any]:
    """Yield verdicts on clips of these scores."""
    clip = Clip(Path("machine-20261126-201500.wav"))
    known = np.sort(model.calibration.scores)
    p_values = (1 + len(known) - np.searchsorted(known, scores)) / (len(known) + 1)
    for score, p_value in zip(scores.tolist(), p_values.tolist(), strict=True):
        yield SimpleNamespace(clip=clip, score=score, p_value=p_value, state=None, state_p_value=None)


def months(number: int, seed: int = 1) -> None:
    """Print the false alarms of the monitor itself in months of healthy clips, one month after another."""
    rng = np.random.default_rng(seed)
    model = fake_model(rng)
    monitor, at = Monitor(model, "1/month"), 0.0
    for month in range(number):
        for verdict in verdicts(model, rng.normal(size=int(MONTH))):
            at += SECONDS
            monitor.update(verdict, at)
        alarms = sum(event.kind == "alarm" for event in monitor.state.history)
        print(f"{month + 1} months: {alarms} false alarms, {alarms / (month + 1):.2f} a month", flush=True)


def delay(shift: float, rng: np.random.Generator, *, calibration: int = 20, healthy: int = 360) -> float:
    """Return the clips to the alarm of a fault that follows `healthy` clips; infinity: missed within 360."""
    model = fake_model(rng, calibration)
    scores = rng.normal(size=healthy + 360)
    scores[healthy:] += shift
    monitor = Monitor(model, "1/month")
    for clip, verdict in enumerate(verdicts(model, scores), start=1):
        if monitor.update(verdict, clip * SECONDS).alarm:
            return clip - healthy
    return math.inf


def delays(runs: int) -> None:
    """Print the median and 90 % of delays."""
    for calibration, healthy in ((20, 360), (20, 90)):
        for shift in (0.7, 1.0, 1.5, 2.0, 3.0):
            rng = np.random.default_rng(round(10 * shift))
            found = [delay(shift, rng, calibration=calibration, healthy=healthy) for _ in range(runs)]
            found = [each for each in found if each > 0]  # an alarm before the fault
            print(
                f"{calibration} calibration clips, {healthy} watched, shift {shift:g}: median {np.median(found):g}, "
                f"90 % {np.quantile(found, 0.9, method='higher'):g} clips, {np.mean(np.isinf(found)):.1%} missed",
                flush=True,
            )


def member_scores(rng: np.random.Generator, count: int, windows: int = 6) -> Float64:
    """Return the scores of new clips by five trained members, float64[n_members, count]."""
    from bench_promise import simulated_clips

    base = {"frontend": "mel-stack", "extractor": "identity", "pca": 0.98}
    config = Config.from_mapping({**base, "detector": {"name": "mahalanobis"}}).resolved()
    members, _ = learn(config, simulated_clips(20, rng), Runtime())
    new = np.concatenate([each.values for each in simulated_clips(count, rng)])
    return np.stack([member.score(new).reshape(count, windows).mean(axis=1) for member in members])


def members(runs: dict[int, int]) -> None:
    """Print run lengths where the scores of clips are means over trained members."""
    for threshold, number in runs.items():
        rng, found = np.random.default_rng(threshold), []
        while len(found) < number:
            scores = member_scores(rng, 20 * threshold)
            p_values = online_p_values(scores.mean(axis=0), rng)
            found.append(first_alarm(p_values, threshold) or len(p_values))
        print(f"A = {threshold:,}, 5 trained members, 20 clips: mean run length {interval(found)}", flush=True)


def correlated(count: int, rng: np.random.Generator, rho: float) -> Float64:
    """Return an autoregressive process of order 1 with deviation 1."""
    scores = rng.normal(size=count) * math.sqrt(1 - rho**2)
    for i in range(1, count):
        scores[i] += rho * scores[i - 1]
    return scores


def alternating(count: int, rng: np.random.Generator, apart: float) -> Float64:
    """Return scores of a machine that changes between two states every 5 to 60 minutes."""
    state, i = np.empty(count), 0
    while i < count:
        dwell = int(rng.integers(300, 3601) / SECONDS)
        state[i : i + dwell] = 0 if i and state[i - 1] else 1
        i += dwell
    return apart * state + rng.normal(size=count)


PROCESSES: dict[str, Any] = {
    "independent": lambda count, rng: rng.normal(size=count),
    "AR(1), 0.5": lambda count, rng: correlated(count, rng, 0.5),
    "AR(1), 0.9": lambda count, rng: correlated(count, rng, 0.9),
    "two states, 1 deviation apart": lambda count, rng: alternating(count, rng, 1),
    "two states, 2 deviations apart": lambda count, rng: alternating(count, rng, 2),
}


def dependence(runs: int, days: int = 5) -> None:
    """Print false alarms a day, promised one, and the delay of a fault of 2 deviations after a day."""
    day = int(86400 / SECONDS)
    for name, process in PROCESSES.items():
        alarms, delayed, steps = [], [], []
        for run in range(runs):
            rng = np.random.default_rng(run)
            known = np.concatenate([process(day, rng)[rng.integers(day, size=1)] for _ in range(20)])
            healthy = process(days * day, rng)
            monitor, _ = _watched(known, healthy)
            alarms.append(sum(event.kind == "alarm" for event in monitor.state.history) / days)
            steps.append(monitor.state.step)
            faulty = process(2 * day, rng)
            faulty[day:] += 2
            _, raised = _watched(known, faulty)
            delayed.append(next((clip - day for clip in raised if clip > day), math.inf))
        print(
            f"{name}: {np.mean(alarms):.2f} false alarms a day, bets on {np.median(steps):g} clips, "
            f"median delay {np.median(delayed):g} clips, {np.mean(np.isinf(delayed)):.0%} missed within a day",
            flush=True,
        )


def unanswered(runs: int, days: int = 10) -> None:
    """Print alarms and slow changes told, promised one a month, if nobody answers."""
    for name in ("AR(1), 0.5", "AR(1), 0.9"):
        kinds: Counter[str] = Counter()
        for run in range(runs):
            rng = np.random.default_rng(run)
            model = fake_model(rng)
            monitor = Monitor(model, "1/month")
            _further(monitor, model, PROCESSES[name](int(days * 86400 / SECONDS), rng), to_alarm=False)
            kinds.update(event.kind for event in monitor.state.history)
        print(f"{name}: {kinds['alarm']} alarms, {kinds['drift']} slow changes in {runs * days} days", flush=True)


def states(runs: int, days: int = 5) -> None:
    """Print the same for a machine of two states that the monitor knows."""
    day = int(86400 / SECONDS)
    for apart in (1.0, 2.0):
        alarms, delayed, steps = [], [], []
        for run in range(runs):
            rng = np.random.default_rng(run)
            known, healthy = _in_states(40, rng, apart), _in_states(days * day, rng, apart)
            monitor, _ = _watched(known[0], *healthy, own=known[1])
            alarms.append(sum(event.kind in ("alarm", "drift") for event in monitor.state.history) / days)
            steps.append(monitor.state.step)
            scores, state = _in_states(2 * day, rng, apart)
            scores[day:] += 2
            _, raised = _watched(known[0], scores, state, own=known[1])
            delayed.append(next((clip - day for clip in raised if clip > day), math.inf))
        print(
            f"two known states, {apart:g} deviations apart: {np.mean(alarms):.2f} false alarms a day, bets on "
            f"{np.median(steps):g} clips, median delay {np.median(delayed):g} clips",
            flush=True,
        )


def _in_states(count: int, rng: np.random.Generator, apart: float) -> tuple[Float64, Any]:
    """Return the scores of an alternating machine, and its states."""
    state = np.arange(count) % 2 if count < _FEW else (alternating(count, rng, 1e9) > 5e8).astype(np.int64)
    return rng.normal(size=count) + apart * state, state


def drifts(runs: int) -> None:
    """Print what a slow drift comes out as."""
    for clips, rise in ((12_000, 2.5), (12_000, 1.5), (4000, 1.5)):
        found = []
        for run in range(runs):
            rng = np.random.default_rng(run)
            model = fake_model(rng)
            monitor, phases, at = Monitor(model, "1/month"), [], 0.0
            for verdict in verdicts(model, rng.normal(size=clips) + np.linspace(0, rise, clips)):
                at += SECONDS
                phases.append(monitor.update(verdict, at).phase)
            found.append((phases[-1] == "unlike", "alarm" in phases))
        told, alarmed = np.array(found).mean(axis=0)
        print(
            f"drift by {rise:g} in {clips:,} clips: {told:.0%} end as unlike, {alarmed:.0%} raised an alarm", flush=True
        )


def small_faults(runs: int) -> None:
    """Print what a small fault after an hour comes out as, within an hour."""
    for shift in (0.36, 0.5, 0.7):
        found = []
        for run in range(runs):
            rng = np.random.default_rng(run)
            model, scores = fake_model(rng), rng.normal(size=720)
            scores[360:] += shift
            monitor = Monitor(model, "1/day")
            phases = {monitor.update(each, at * SECONDS).phase for at, each in enumerate(verdicts(model, scores), 1)}
            found.append(("alarm" in phases, "unlike" in phases))
        alarmed, told = np.array(found).mean(axis=0)
        print(f"fault of {shift:g}, 1/day: {alarmed:.0%} raised the alarm, {told:.0%} were unlike", flush=True)


def _watched(known: Float64, scores: Float64, state: Any = None, own: Any = None) -> tuple[Monitor, list[int]]:
    """Return a monitor, promised one false alarm a day, after these clips, and which of them raised the alarm."""
    kept = None if own is None else States(_STATES, own, np.zeros((2, 1)), np.ones(1))
    calibration = Calibration(known, np.zeros(len(known), np.int64), SECONDS, len(known), states=kept)
    model: Any = SimpleNamespace(calibration=calibration, decision=calibration.decide())
    monitor, raised = Monitor(model, "1/day"), []
    for clip, verdict in enumerate(verdicts(model, scores), start=1):
        if state is not None:
            verdict.state = _STATES[state[clip - 1]]
            verdict.state_p_value = calibration.p_value(scores[clip - 1 : clip], verdict.state)
        if monitor.update(verdict, clip * SECONDS).alarm:
            raised.append(clip)
            last_alarm_was_normal(monitor)
    return monitor, raised


def _answered(shift: float, seed: int, healthy: int, waited: int) -> tuple[Monitor, Any, np.random.Generator]:
    """Return a monitor whose alarm about a change was answered with "that was normal" after `waited` more clips."""
    rng = np.random.default_rng(seed)
    model = fake_model(rng)
    monitor = Monitor(model, "1/month")
    _further(monitor, model, rng.normal(size=healthy))
    _further(monitor, model, shift + rng.normal(size=2000))
    _further(monitor, model, shift + rng.normal(size=waited), to_alarm=False)
    last_alarm_was_normal(monitor)
    return monitor, model, rng


def _further(monitor: Monitor, model: Any, scores: Float64, *, to_alarm: bool = True) -> float:
    """Watch clips, to the alarm if told so, and return how many it took; infinity: there was none."""
    for clip, verdict in enumerate(verdicts(model, scores), start=1):
        at = (monitor.state.evidence.last_time or 0.0) + SECONDS
        if monitor.update(verdict, at).alarm and to_alarm:
            return clip
    return math.inf


def accepted(runs: int, clips: int = 8640) -> None:
    """Print how often a sound that was taken for healthy raises the alarm again, and when faults beside it do."""
    for healthy, waited in ((360, 60), (3000, 60), (360, 0)):
        for shift in (1.0, 2.0, 4.0):
            again = []
            for seed in range(runs):
                monitor, model, rng = _answered(shift, seed, healthy, waited)
                again.append(_further(monitor, model, shift + rng.normal(size=clips)))
            found = [int(each) for each in again if each < math.inf]
            print(
                f"{healthy} healthy clips, a change of {shift:g}, answered {waited} clips after the alarm: in "
                f"{clips:,} clips of it after the answer {len(found)} of {runs} raised the alarm again {found or ''}",
                flush=True,
            )
    for shift, goes_on, fault in (
        (4, True, 5),
        (4, True, 6),
        (4, True, 7),
        (4, False, 2),
        (4, False, 8),
        (2, False, 4),
    ):
        found = []
        for seed in range(5 * runs):
            monitor, model, rng = _answered(shift, 100 + seed, 360, 60)
            if _further(monitor, model, shift * goes_on + rng.normal(size=100)) == math.inf:
                found.append(_further(monitor, model, fault + rng.normal(size=360)))
        print(
            f"taken for healthy: {shift}; watched then: {shift * goes_on}; fault: {fault}: median "
            f"{np.median(found):g}, 90 % {np.quantile(found, 0.9, method='higher'):g} clips, "
            f"{np.mean(np.isinf(found)):.0%} missed in an hour",
            flush=True,
        )


def cost() -> None:
    """Print what an update and a saving take after a million clips, and after a year, with accepted sounds and without.

    Seconds of the processor: those of the clock say what else is running.
    """
    for clips, sounds in ((1_000_000, 0), (1_000_000, 4), (3_153_600, 0)):
        rng = np.random.default_rng(0)
        model = fake_model(rng)
        monitor = Monitor(model)
        drawn = np.bincount([monitor.bag.bin_of(score) for score in rng.standard_t(4, 100_000).tolist()])
        for number in drawn.nonzero()[0].tolist():
            monitor.bag.add(number, math.ceil(drawn[number] * clips / 100_000))
        for sound in range(sounds):
            near = [monitor.bag.bin_of(score) for score in (6 * (sound + 1) + rng.normal(size=1000)).tolist()]
            monitor.accepted.accept(Counter(near))
        some = list(verdicts(model, rng.normal(size=20_000)))
        began, wall, at = time.process_time(), time.perf_counter(), 0.0
        for i, verdict in enumerate(some):
            monitor.update(verdict, at + SECONDS * (i + 1))
        taken, wall = (time.process_time() - began) / len(some), (time.perf_counter() - wall) / len(some)
        with tempfile.TemporaryDirectory() as folder, hold(Path(folder) / "machine.monitor") as file:
            began = time.perf_counter()
            monitor.save(file)
            saving = time.perf_counter() - began
            size = file.path.stat().st_size
        print(
            f"{monitor.bag.total:,} clips in the bag, {sounds} accepted sounds: {1e6 * taken:.0f} µs of the processor "
            f"an update ({1e6 * wall:.0f} µs by the clock), {1e3 * saving:.0f} ms a saving, {size / 1000:.0f} kB",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    measured = {
        "lengths": lambda: lengths(400),
        "quiet": lambda: quiet(10_000),
        "delays": lambda: delays(400),
        "members": lambda: members({100: 200, 1000: 40}),
        "dependence": lambda: dependence(12),
        "unanswered": lambda: unanswered(6),
        "states": lambda: states(12),
        "accepted": lambda: accepted(10),
        "drifts": lambda: (drifts(20), small_faults(200)),
        "cost": cost,
        "months": lambda: months(24),
    }
    parser.add_argument("what", nargs="*", choices=measured, default=list(measured))
    for name in parser.parse_args().what:
        measured[name]()


if __name__ == "__main__":
    main()
