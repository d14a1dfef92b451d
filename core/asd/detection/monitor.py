"""A monitor: evidence over time that a machine has changed, with so many false alarms a month.

A clip's p-value ranks its score among those of all clips watched before it, of its operating state if the model knows
states: all are means over the same members, so that nothing but their order is assumed. The calibration clips of the
fit say something else: whether the sound is like theirs at all. Evidence adds up as `asd.detection.evidence` describes.
While the alarm stands, clips are set aside; so are those that raised it. The alarm is over by itself once as much
evidence has gone as had raised it.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import math
import time as clock
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from asd.detection.accepted import Accepted
from asd.detection.bag import BINS, Bag, usual
from asd.detection.change import is_slow, is_unlike
from asd.detection.dependence import next_step
from asd.detection.evidence import (
    BETS,
    POWER_BETS,
    healthy_clips_needed,
    log_bets_on,
    log_mean,
    log_sum,
    log_total,
    staked,
)
from asd.detection.monitor_state import (
    Event,
    Evidence,
    Phase,
    State,
    StateFile,
    clip_name,
    date,
    digest_of,
    hold,
)
from asd.detection.rate import Rate
from asd.detection.recent import Rows, Watched
from asd.detection.status import Status
from asd.errors import MonitorError

if TYPE_CHECKING:
    from asd.detection.model import Model
    from asd.detection.verdict import Verdict

DEFAULT_RATE = "1/month"
MARGIN = 14
"""Times the evidence that the promise needs. A mean time to a false alarm of a day lets every second day of a healthy
machine raise one. With fourteen times the evidence 95 of 100 are quiet: p-values of exchangeable clips are uniform, so
that the chance of a quiet period can be computed, 0.953 for one of 1,000 clips and 0.954 for one of 8,640
(tests/benchmarks/bench_monitor.py quiet)."""
_DAY = 86400.0
_RANDOM_BITS = 53
_EVERY = 64
"""Clips after which it is judged again how long neighbours resemble each other. Until that is known first, nothing is
bet: neighbours that do would raise an alarm in the first hour."""
_SMALL = POWER_BETS
"""The bet that rises with the smallest faults."""
_MIDDLE = 2
"""One that rises with small and with large ones, and with healthy clips for a short time alone."""
_NAMED = 5
_REASONS = ("they do not resemble each other", "they resemble each other, and a fault is found later")


class Monitor:
    """Watches clips of one machine in the order of time.

    Parameters
    ----------
    model : Model
        Whose verdicts will be watched.
    false_alarms : str or Rate
        Rate of false alarms in sound that is watched, such as ``"1/month"``.

    Attributes
    ----------
    state : State
        All that it knows; `bag` stands for its counts until it is saved.
    bag : Bag
        The healthy scores watched.
    accepted : Accepted
        Those of sound that somebody took for healthy.
    now : callable
        Gives the present time in seconds since 1970.

    Raises
    ------
    ConfigError
        If the rate is none.
    MonitorError
        If it would be an alarm with every clip.
    """

    def __init__(self, model: Model, false_alarms: str | Rate = DEFAULT_RATE) -> None:
        calibration = model.calibration
        centre, width = usual(calibration)
        states = calibration.states
        known = len(calibration.scores) if states is None else min(states.counts())
        known = known if model.decision.promise == "calibrated" else 0
        self._begin(
            State(
                model=digest_of(model),
                rate=str(Rate.of(false_alarms)),
                clip_seconds=calibration.clip_seconds,
                calibration=known,
                centre=centre,
                width=width,
                states=[] if states is None else list(states.names),
            )
        )

    def _begin(self, state: State) -> None:
        self.state = state
        self.now: Callable[[], float] = clock.time
        self._file: StateFile | None = None
        self._save_each = True
        self.bag = Bag(state.centre, state.width, state.bags)
        for number, count in state.bag.items():
            self.bag.add(number, count)
        self.accepted = Accepted(state)
        self._set_threshold()

    @classmethod
    def from_state(cls, state: State) -> Monitor:
        """Return a monitor that goes on where a state was left."""
        monitor = cls.__new__(cls)
        monitor._begin(state)
        return monitor

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, path: str | Path, model: Model, false_alarms: str | Rate | None = None, *, save_each: bool = True
    ) -> Iterator[Monitor]:
        """Go on with the monitor in a file, or start one there; inside the block, each clip is saved.

        Parameters
        ----------
        path : str or Path
            File of the monitor's state; no other process can use it inside the block.
        model : Model
            Whose verdicts will be watched.
        false_alarms : str, Rate or None
            As for `Monitor`; None: the monitor's own, or once a month for a new one.
        save_each : bool
            Whether each clip is saved at once; otherwise `keep` saves, by whoever can replay what came since.

        Raises
        ------
        MonitorError
            If the file cannot be locked, read or written, or is of another model.
        """
        with hold(Path(path)) as file:
            if not Path(path).exists():
                monitor = cls(model, false_alarms or DEFAULT_RATE)
                monitor.note("started", f"{Rate.of(monitor.state.rate).words} promised", monitor.now())
            else:
                monitor = cls.from_state(file.read())
                if monitor.state.model != digest_of(model):
                    raise MonitorError(
                        f"{path}: belongs to another model; give the model that it was started with, or start a new "
                        "monitor under another name"
                    )
                if false_alarms is not None:
                    monitor.change_rate(Rate.of(false_alarms))
            monitor._file, monitor._save_each = file, save_each
            yield monitor

    def keep(self) -> None:
        """Save what it knows now, if it was opened in a file; errors as for `update`."""
        if self._file:
            self.save(self._file)

    def save(self, file: StateFile) -> None:
        """Write the state; errors as for `asd.detection.monitor_state.StateFile.write`."""
        filled = self.bag.counts.nonzero()[0]
        self.state.bag = dict(zip(filled.tolist(), self.bag.counts[filled].tolist(), strict=True))
        self.accepted.kept()
        self.state.trim()
        file.write(self.state)

    def update(self, verdict: Verdict, time: float | datetime.datetime) -> Status:
        """Watch a clip and return what is to be said now; a monitor that was opened in a file saves itself.

        Parameters
        ----------
        verdict : Verdict
            The model's verdict on the clip.
        time : float or datetime
            When the clip was recorded: seconds since 1970, or a date, local if it names no zone.

        Raises
        ------
        MonitorError
            If the clip was watched before, is older than the last one, or comes from the future; nothing is changed.
        """
        moment = time.timestamp() if isinstance(time, datetime.datetime) else float(time)
        clip = clip_name(verdict.clip)
        if not math.isfinite(verdict.score):
            raise MonitorError(f"{clip}: its score is {verdict.score!r}: a monitor takes finite scores only")
        self.check_time(clip, moment)
        notes = self._gap(moment)
        number = self.bag.bin_of(verdict.score, self._state_of(verdict))
        sound = self.accepted.of_next(number // BINS)
        p_value = self._p_value(number)
        state, evidence = self.state, self.state.evidence
        counted = evidence.phase != "alarm"
        if counted:
            (self.accepted.watch(sound, number) if sound else self.bag.add(number))
        else:
            evidence.set_aside[number] = evidence.set_aside.get(number, 0) + 1
        state.watched += 1
        evidence.last_time = moment
        evidence.since = moment if evidence.since is None else evidence.since
        of_fit = verdict.p_value if verdict.state_p_value is None else verdict.state_p_value
        state.recent.append(Watched(moment, clip, number, p_value, of_fit, counted, sound))
        self._bet(log_bets_on(p_value), moment)
        state.trim()
        if self._save_each:
            self.keep()
        evidence = self.state.evidence  # another one, if the alarm is over
        return Status(
            moment,
            p_value,
            self.evidence,
            self.threshold,
            evidence.phase,
            evidence.since or moment,
            self.needed,
            notes,
        )

    @property
    def threshold(self) -> float:
        """Evidence at which the alarm is raised, as in `Status`."""
        return log_sum(0.0, self.log_threshold) / math.log(10)

    @property
    def evidence(self) -> float:
        """Decimal logarithm of the evidence, as in `Status`."""
        return log_sum(0.0, self.log_evidence) / math.log(10)

    @property
    def promise(self) -> str:
        """The promise in words, such as ``1 false alarm a month``."""
        return Rate.of(self.state.rate).words

    @property
    def needed(self) -> int:
        """Healthy clips to be watched before any fault can raise the alarm; of several states, of the best known."""
        return max(0, self._wanted - max(self.bag.totals), _EVERY - self.state.watched)

    def check_time(self, clip: str, moment: float) -> None:
        """Refuse a clip that does not follow the last one; errors as for `update`."""
        last, now = self.state.evidence.last_time, self.now()
        if not math.isfinite(moment):
            raise MonitorError(f"{clip}: its time is {moment!r}; give seconds since 1970, or a date")
        if moment > now + _DAY:
            raise MonitorError(
                f"{clip}: recorded at {date(moment)}, in the future (now: {date(now)}); set the clock of the recorder, "
                "or of this computer"
            )
        if last is None or moment > last:
            return
        self.check_clock()
        rows = self.state.recent.rows
        if clip in rows["clip"][rows["time"] == moment].tolist():
            raise MonitorError(f"{clip}: of {date(moment)}, was watched before; give each clip once")
        if moment < last:
            raise MonitorError(
                f"{clip}: of {date(moment)}, is older than the last clip watched ({date(last)}); give clips in the "
                "order of time"
            )

    def check_clock(self) -> None:
        """Refuse to go on if the last clip is from the future: no clip could follow it.

        Raises
        ------
        MonitorError
            If the clock was set back, or was wrong before.
        """
        last, now = self.state.evidence.last_time, self.now()
        if last is not None and last > now + _DAY:
            raise MonitorError(
                f"the last clip watched is of {date(last)}, in the future (now: {date(now)}): was the clock set back? "
                "'asd monitor STATE reset' lets the monitor go on from here"
            )

    def _gap(self, moment: float) -> tuple[str, ...]:
        last = self.state.evidence.last_time
        if last is None or moment - last <= _DAY:
            return ()
        text = f"{(moment - last) / _DAY:.1f} days without a clip; the promise counts clips, not days"
        self.note("gap", text, moment)
        return (text,)

    def _p_value(self, number: int) -> float:
        state = self.state
        above, ties, known = self.bag.rank(number)
        drawn = hashlib.blake2b(f"{state.model} {state.watched}".encode(), digest_size=8).digest()
        uniform = ((int.from_bytes(drawn) >> (64 - _RANDOM_BITS)) + 1) / 2**_RANDOM_BITS
        p_value = float((above + uniform * (1 + ties)) / (known + 1))
        return self.accepted.p_value(number, p_value, uniform, 2 * self._wanted)

    def _bet(self, log_e: list[float], moment: float) -> None:
        """Add the e-values of a clip to those of its step, and the step, if it is complete, to the evidence."""
        evidence = self.state.evidence
        if self.state.watched <= _EVERY:
            self._look(1, moment)
            return
        if self.state.step == 1 and not evidence.step_clips:  # most often; fast
            clips, means, mean_log = 1, log_e, log_mean(log_e[:POWER_BETS])
        else:
            evidence.step_bets = [log_sum(total, e) for total, e in zip(evidence.step_bets, log_e, strict=True)]
            evidence.step_log += log_mean(log_e[:POWER_BETS])
            evidence.step_clips += 1
            if evidence.step_clips < self.state.step:
                return
            clips = evidence.step_clips
            means, mean_log = [each - math.log(clips) for each in evidence.step_bets], evidence.step_log / clips
            evidence.step_bets, evidence.step_log, evidence.step_clips = [-math.inf] * BETS, 0.0, 0
        if evidence.phase == "alarm":  # the mean of logarithms falls as fast as that of single clips
            evidence.left = min(evidence.left + mean_log, self.log_threshold)
            if evidence.left < 0:
                self._clear(moment)
            return
        rising = zip(evidence.rising, evidence.rise, strict=True)
        evidence.rising = [clips + (count if rise > 0 else 0) for count, rise in rising]
        evidence.rise = [max(rise, 0.0) + e for rise, e in zip(evidence.rise, means, strict=True)]
        log_clips = math.log(clips)
        evidence.bets = [log_sum(log_clips, r) + e for r, e in zip(evidence.bets, means, strict=True)]
        if self.log_evidence >= self.log_threshold:
            risen = evidence.rising[int(np.argmax(staked(evidence.bets)))]  # for so many clips, by the leading bet
            if is_slow(self.state, risen):
                self._tell_drift(risen, moment)
            else:
                self._raise_alarm(risen, moment)
        else:
            self._look(clips, moment)

    def needed_by_state(self) -> dict[str, int]:
        """Return the same for each operating state."""
        return {
            name: max(0, self._wanted - total)
            for name, total in zip(self.state.states, self.bag.totals, strict=False)  # unknown states have the last
        }

    def _state_of(self, verdict: Verdict) -> int:
        names = self.state.states
        return names.index(verdict.state) if verdict.state in names else len(names)

    @property
    def log_evidence(self) -> float:
        """Natural logarithm of R; in alarm, of what is left of it."""
        evidence = self.state.evidence
        return evidence.left if evidence.phase == "alarm" else log_total(staked(evidence.bets))

    def _look(self, clips: int, moment: float) -> None:
        """Look whether enough clips are known, and now and then at the last ones together."""
        if self.state.evidence.phase == "learning" and not self.needed:
            self._turn("watching", moment)
        if self.state.watched % _EVERY < clips:
            self._judge_recent(moment)

    def _judge_recent(self, moment: float) -> None:
        """Look at the last clips together: whether neighbours resemble each other, and all those of the fit."""
        outside, healthy = _since_answer(self._healthy(_SMALL)), _since_answer(self._healthy())
        step = next_step(outside["p_value"], healthy["p_value"], self.state.step)
        if step != self.state.step:
            self.note("step", f"bets are on {step} neighbouring clips: {_REASONS[step > 1]}", moment)
            self.state.step = step
            self._set_threshold()
            if self.needed and self.state.evidence.phase in ("watching", "unlike"):
                self._turn("learning", moment)
        of_fit = self._healthy(_MIDDLE)["of_fit"]
        if self.state.evidence.phase != "watching" or self.state.accepted:
            return
        if is_unlike(of_fit, self.state.calibration, self.state.step):
            self.note(
                "unlike",
                f"the clips have been unlike those of the fit{self._in_states()}, p-values {of_fit.mean():.2f} on "
                "average",
                moment,
            )
            self._turn("unlike", moment)

    def _healthy(self, bet: int | None = None) -> Rows:
        """Return the last healthy clips, without those of the present rise by a bet: a fault makes clips alike, too."""
        rows = self.state.recent.rows
        if bet is not None:
            rows = rows[: max(0, len(rows) - self.state.evidence.rising[bet])]
        healthy: Rows = rows[rows["counted"]]
        return healthy

    def _in_states(self) -> str:
        names = self.state.states
        shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
        return f" in all known states ({shown})" if names else ""

    def _turn(self, phase: Phase, moment: float) -> None:
        self.state.evidence.phase, self.state.evidence.since = phase, moment

    def _tell_drift(self, rising: int, moment: float) -> None:
        """Say that the sound changed slowly, and go on from the clips since then: it will not be as before again."""
        rows = self.state.recent.rows
        since = _last(rows, rising)
        states = rows["number"] // BINS
        for state in np.unique(states[since]).tolist():
            self.bag.clear(state)
            self.accepted.forget(state)
            rows["counted"][states == state] = False
        for number in rows["number"][since].tolist():
            self.bag.add(number)
        rows["counted"][since], rows["sound"][since] = True, 0
        self.state.undoable.clear()  # these are of clips that are forgotten
        self.restart("unlike", moment)
        self.state.evidence.drifting = True
        self.note(
            "drift",
            f"slowly unlike before since about {date(rows['time'][since[0]])}: a drift, or a small fault",
            moment,
        )

    def _raise_alarm(self, rising: int, moment: float) -> None:
        evidence = self.state.evidence
        evidence.phase, evidence.since, evidence.set_aside = "alarm", moment, {}
        evidence.left = self.log_threshold
        rows = self.state.recent.rows
        raised = _last(rows, rising)
        for sound, number in rows[["sound", "number"]][raised].tolist():
            (self.accepted.unwatch(sound, number) if sound else self.bag.add(number, -1))
            evidence.set_aside[number] = evidence.set_aside.get(number, 0) + 1
        rows["counted"][raised] = False
        first = min(rows["time"][raised].tolist(), default=moment)
        evidence.aside_since = first
        self.note("alarm", f"unlike before since about {date(first)}", moment)

    def _clear(self, moment: float) -> None:
        began = self.state.evidence.since or moment
        drifting = self.state.evidence.drifting
        self.restart("cleared", moment)
        self.state.evidence.drifting = drifting
        self.note("cleared", f"the alarm of {date(began)} is over: the sound is as before it", moment)

    def restart(self, phase: Phase, moment: float | None) -> None:
        """Forget the evidence, not the clips."""
        old = self.state.evidence
        phase = "learning" if self.needed else phase
        self.state.evidence = Evidence(phase, moment, last_time=old.last_time, aside_since=old.aside_since)
        self.state.evidence.set_aside = dict(old.set_aside)

    def change_rate(self, rate: Rate) -> None:
        """Promise another rate from now on; errors as for `Monitor`."""
        if str(rate) == self.state.rate:
            return
        former, self.state.rate = self.state.rate, str(rate)
        self._set_threshold()
        self.note("rate", f"{rate.words} promised, {Rate.of(former).words} before", self.now())

    def _set_threshold(self) -> None:
        rate, seconds, step = Rate.of(self.state.rate), self.state.clip_seconds, self.state.step
        if rate.seconds <= seconds:
            raise MonitorError(
                f"{rate.words} would be an alarm with every clip of {seconds:.3g} s; give a lower rate, such as 1/month"
            )
        self.log_threshold = math.log(MARGIN * rate.seconds / seconds)
        self._wanted = step * healthy_clips_needed(max(self.log_threshold - math.log(step), 0.0))

    def note(self, kind: str, text: str, moment: float) -> None:
        """Add a line to the history."""
        self.state.history.append(Event(moment, kind, text))


def _since_answer(rows: Rows) -> Rows:
    """Return the clips after the last one that somebody took for healthy: p-values before are ranks in other bags."""
    taken = np.flatnonzero(rows["taken"])
    return rows[taken[-1] + 1 :] if len(taken) else rows


def _last(rows: Rows, count: int) -> npt.NDArray[np.intp]:
    """Return the places of those of the last clips that a bag holds."""
    before = max(0, len(rows) - count)
    return np.flatnonzero(rows["counted"][before:]) + before
