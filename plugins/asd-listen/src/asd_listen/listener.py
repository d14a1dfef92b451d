"""Listens to machines: sources in threads of their own, one thread that judges what comes from all of them.

A pass takes what has come, at most some seconds of each machine; judges the clips that are complete, of all machines
together; adds them to the monitors; and writes clip, levels, conditions and events into the history in one transaction.
A monitor's own file may lag behind the history, from which it catches up at the next start.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import asd
from asd.command import copy_of_monitor
from asd.errors import AsdError, MonitorError, SourceError
from asd.plugin import Block, Clip, Event
from asd_listen.alerts import Alerts
from asd_listen.conditions import Change
from asd_listen.cutter import TimedClip
from asd_listen.evidence import Evidence
from asd_listen.feed import Arrived, Feed
from asd_listen.feedback import apply
from asd_listen.history import History
from asd_listen.machine import Machine
from asd_listen.outbox import Outbox
from asd_listen.own import CONDITIONS, OwnConditions
from asd_listen.settings import Settings, route_of, source_of

_log = logging.getLogger("asd")
_PASS = 0.05
"""Least seconds from one pass to the next: clips that are judged together cost less."""
_TAKEN = 4.0
"""Seconds of sound of a machine that a pass takes at most, so that none waits for another."""
_TICK = 1.0
_SAVED = 60.0
"""Seconds between two savings of the monitors."""
_FORGOTTEN = 3600.0
"""Seconds between two looks for what is too old to be kept."""
_DRAINED = 20.0
"""Seconds that what came may take at the end; what takes longer is lost."""


class Listener:
    """Listens until all sources have ended, or it is stopped. A context manager, which holds folder and history.

    Parameters
    ----------
    settings : Settings
        What is listened to.
    load : callable
        Returns the model in a file.
    say : callable
        Takes a line for people, with its severity.
    explain : callable, optional
        As for `Evidence`.

    Attributes
    ----------
    machines : list of Machine
        What is known of each.
    outbox : Outbox
        The queues of the sinks.
    latency : float
        Longest time, in the last minute, from the arrival of the sound after which a clip may be judged to its verdict,
        in seconds: of its own last sound, unless a fault of the recording was suspected.
    clips : int
        Clips judged.

    Raises
    ------
    AsdError
        If another listener uses the folder, or a model, a source or a sink cannot be made.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[Path], Any],
        say: Callable[[str, str], None],
        explain: Any = None,
    ) -> None:
        self.settings = settings
        self.machines: list[Machine] = []
        self.latency = 0.0
        self.clips = 0
        self._load, self._say, self._explain = load, say, explain
        self._arrived = threading.Event()
        self._stop = threading.Event()
        self._stack = ExitStack()
        self._trouble: str | None = None
        self._unsaved: str | None = None
        self._slowest: deque[tuple[int, float]] = deque()  # a second, and the longest time of a clip in it
        self._answered: set[int] = set()
        self._watchers: tuple[Callable[[str, Block], None], ...] = ()

    def __enter__(self) -> Listener:
        """Open everything; nothing is read before `run`."""
        folder = Path(self.settings.folder)
        try:
            (folder / "monitors").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AsdError(
                f"{folder}: cannot be used to keep the history ({error.strerror}); choose another folder"
            ) from error
        with contextlib.ExitStack() as stack:
            self.history = stack.enter_context(contextlib.closing(History.open(folder / "history.sqlite")))
            self.alerts = Alerts(self.settings.alerts, self.history)
            self.outbox = Outbox(self.history, [route_of(each) for each in self.settings.sink])
            self._own = OwnConditions(self.history, self.settings.alerts.condition)
            self.evidence = Evidence(folder / "evidence", self.settings.evidence, self.history, self._explain)
            stack.callback(self.evidence.close)
            scorers: dict[tuple[str, float], Any] = {}
            models: dict[str, Any] = {}
            for index, each in enumerate(self.settings.source):
                path, hop = each.model or self.settings.model, each.hop or self.settings.hop
                if not path:
                    raise AsdError(f'{each.name}: no model; give one to all, or to each source: model = "pump.asd"')
                if path not in models:
                    models[path] = self._load(Path(path))
                    stack.callback(models[path].close)
                if (path, hop) not in scorers:
                    seconds = models[path].calibration.clip_seconds
                    scorers[path, hop] = asd.LiveScorer(models[path], hop=min(hop, seconds))
                delay = scorers[path, hop].hop * index / len(self.settings.source)
                self.machines.append(self._machine(each, scorers[path, hop], delay, folder / "monitors", stack))
            self.history.commit()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Release everything."""
        self._stack.close()

    def _machine(self, own: Any, scorer: Any, delay: float, folder: Path, stack: ExitStack) -> Machine:
        file = folder / f"{quote(own.name, safe=' ')}.monitor"
        rate = own.false_alarms or self.settings.false_alarms or None
        former = self._former_monitor(own.name, file, scorer.model)
        if not file.exists():
            self.history.monitor_begun(own.name)
        monitor = stack.enter_context(asd.Monitor.open(file, scorer.model, rate, save_each=False))
        if former:  # what the other model said meanwhile is of another scale
            monitor.state.evidence.last_time = self.history.last_verdict(own.name)
        self._catch_up(own.name, monitor)
        monitor.keep()
        name = Path(own.model or self.settings.model).stem
        self.history.machine(own.name, model=monitor.state.model, monitor=file, model_name=name)
        feed = Feed(own.name, lambda: source_of(own), self._arrived)
        # Machines whose sound comes at its own pace take turns: clips of all at once would wait for each other.
        turn = delay if feed.paced else 0.0
        return Machine(own.name, scorer, monitor, feed, file.with_suffix(".floor"), turn)

    def _former_monitor(self, name: str, file: Path, model: Any) -> bool:
        """Set the monitor of another model aside; return whether one that was set aside before goes on in its place."""
        try:
            own = copy_of_monitor(file).state.model
        except MonitorError:  # there is none, or it is told when it is opened
            return False
        digest = asd.Monitor(model).state.model
        if own == digest:
            return False
        aside = file.parent / "former"
        aside.mkdir(exist_ok=True)
        file.replace(aside / f"{file.stem}.{own[:16]}.monitor")
        kept = aside / f"{file.stem}.{digest[:16]}.monitor"
        again = kept.exists()
        if again:
            kept.replace(file)
        how = "goes on with its monitor from then" if again else "its monitor begins anew"
        self._say(f"{name}: another model than before; {how}", "info")
        return again

    def _catch_up(self, name: str, monitor: Any) -> None:
        """Let a monitor watch what the history has of it and its own file has not: a kill came between the two."""
        last = monitor.state.evidence.last_time
        if last is None and monitor.state.watched:  # somebody has reset it
            return
        for row in self.history.unseen(name, last):
            if row["evidence"] is None:
                continue
            names = ("score", "p_value", "state", "state_p_value")
            verdict: Any = SimpleNamespace(clip=Clip(Path(row["clip"])), **{each: row[each] for each in names})
            with contextlib.suppress(MonitorError):
                monitor.update(verdict, row["time"])

    # ------------------------------------------------------------------------------------------------------ running

    def stop(self) -> None:
        """Let `run` judge what has come, save, and end. Safe in signal handlers."""
        self._stop.set()
        self._arrived.set()

    def watch(self, hear: Callable[[str, Block], None]) -> Callable[[], None]:
        """Let `hear` be called with each block of sound, and the name of its machine; return what ends that.

        It is called by the thread that judges, before the clip is judged: it must return at once, and copy what it
        keeps. What is judged, and what happens, is read from the history. Any thread may call this.
        """
        self._watchers = (*self._watchers, hear)

        def end() -> None:
            self._watchers = tuple(each for each in self._watchers if each is not hear)

        return end

    def run(self) -> None:
        """Listen.

        Raises
        ------
        SourceError
            If a source can never be reached, as its first attempt shows.
        """
        self.outbox.start()
        self._feedback()  # a listener that judges a short recording ends before its first tick
        now = time.time()
        self._told(self.alerts.left([machine.name for machine in self.machines], now))
        for machine in self.machines:
            self._told(self.alerts.said(machine.name, "started", f"{machine.name}: listening", now))
            machine.feed.start()
        self.history.commit()
        ticked = saved = time.monotonic()
        forgotten = -_FORGOTTEN
        try:
            while not (self._stop.is_set() or self._refused() or all(machine.feed.done for machine in self.machines)):
                self._arrived.wait(_TICK)
                self._arrived.clear()
                began = time.monotonic()
                self._pass()
                if began - ticked >= _TICK:
                    ticked = began
                    self._tick()
                    if began - saved >= _SAVED:
                        saved = began
                        self._save()
                    if began - forgotten >= _FORGOTTEN:
                        forgotten = began
                        self.history.forget(time.time() - self.settings.history.keep_days * 86400)
                if not any(machine.feed.held for machine in self.machines):
                    self._stop.wait(max(0.0, began + _PASS - time.monotonic()))
        finally:
            self._end()
        if refused := self._refused():
            raise refused

    def _refused(self) -> SourceError | None:
        """Return why a source can never be reached."""
        for machine in self.machines:
            if machine.feed.refused is not None:
                several = f"{machine.name}: " if len(self.machines) > 1 else ""
                return SourceError(f"{several}{machine.feed.refused}", permanent=True)
        return None

    def _end(self) -> None:
        until = time.monotonic() + _DRAINED
        for machine in self.machines:
            machine.feed.stop()
        while any(machine.feed.held > 0 for machine in self.machines) and time.monotonic() < until:
            self._pass()
        now = time.time()
        rest: list[tuple[Machine, TimedClip, float]] = []
        for machine in self.machines:
            clips, changes = machine.finish(now)
            self._changed(machine, changes)
            rest += [(machine, clip, time.monotonic()) for clip in clips]
        self._judge(rest)
        for machine in self.machines:
            self._keep_levels(machine)
            self._told(self.alerts.said(machine.name, "stopped", f"{machine.name}: no longer listening", now))
        self._save()
        self.outbox.close()

    def _save(self) -> None:
        self.history.commit()
        self._unsaved = None
        for machine in self.machines:
            try:
                machine.monitor.keep()
            except MonitorError as error:
                self._unsaved = str(error)
                self._warn(self._unsaved)

    def _tick(self) -> None:
        now, wall = time.monotonic(), time.time()
        go_on = not all(machine.feed.done for machine in self.machines)
        settled: list[tuple[Machine, TimedClip, float]] = []
        for machine in self.machines:
            self._changed(machine, machine.watch(now, wall, others_go_on=go_on))
            clips, changes = machine.settle(now, wall)
            self._changed(machine, changes)
            settled += [(machine, clip, now) for clip in clips]
        self._judge(settled)
        self._feedback()
        self._told(self.alerts.tick(wall))
        self.history.commit()
        self._warn(self.history.trouble or self.evidence.trouble)
        unsound = (self.history.trouble, self.evidence.trouble, self.evidence.lack, self._unsaved)
        for name, text in zip(CONDITIONS, unsound, strict=True):
            self._told(self._own.take(name, text, wall), said=text is not None)
        while self._slowest and now - self._slowest[0][0] >= 60:
            self._slowest.popleft()
        self.latency = max((each[1] for each in self._slowest), default=0.0)

    def _feedback(self) -> None:
        by_name = {machine.name: machine for machine in self.machines}
        try:
            pending = self.history.feedback_pending()
        except AsdError as error:
            self._warn(str(error))
            return
        for each in pending:
            machine = by_name.get(each["machine"])
            if machine is not None and each["kind"] in ("normal", "undo") and each["id"] not in self._answered:
                self._answered.add(each["id"])  # it stays pending while the history cannot be written
                answer = apply(machine.monitor, each["kind"], each["data"])
                with contextlib.suppress(MonitorError):  # told when all are saved
                    machine.monitor.keep()
                self.history.feedback_done(each["id"], answer)
                self._say(f"{machine.name}: {answer}", "info")

    # ------------------------------------------------------------------------------------------------------- a pass

    def _pass(self) -> None:
        clips: list[tuple[Machine, TimedClip, float]] = []
        for machine in self.machines:
            for item in machine.feed.take(_TAKEN):
                if isinstance(item, Arrived):
                    hear = self._heard(machine)
                    found, changes = machine.take(item.block, item.time, hear)
                    self._changed(machine, changes)
                    clips += [(machine, clip, item.time) for clip in found]
                else:
                    self._changed(machine, machine.lost(str(item), time.time()))
            self._keep_levels(machine)
        self._judge(clips)
        self.history.commit()
        for scorer in {id(machine.scorer): machine.scorer for machine in self.machines}.values():
            scorer.prepare(machine.stream for machine in self.machines if machine.scorer is scorer)
        if any(machine.feed.held for machine in self.machines):
            self._arrived.set()

    def _heard(self, machine: Machine) -> Callable[[Block], None]:
        if not self._watchers:
            return lambda block: self.evidence.sound(machine.name, block)

        def hear(block: Block) -> None:
            self.evidence.sound(machine.name, block)
            for each in self._watchers:
                try:
                    each(machine.name, block)
                except Exception as error:  # who only looks on must not end the listening
                    self._warn(f"sound cannot be shown: {type(error).__name__}: {error}")

        return hear

    def _judge(self, clips: Sequence[tuple[Machine, TimedClip, float]]) -> None:
        for scorer in {id(machine.scorer): machine.scorer for machine, _, _ in clips}.values():
            own = [each for each in clips if each[0].scorer is scorer]
            verdicts = scorer.judge([clip.live for _, clip, _ in own])
            for (machine, clip, arrived), verdict in zip(own, verdicts, strict=True):
                self.clips += 1
                if not isinstance(verdict, asd.Verdict):
                    self._warn(str(verdict.error))
                    continue
                self._judged(machine, clip, verdict)
                self._took(time.monotonic(), arrived)

    def _took(self, now: float, arrived: float) -> None:
        """Take that a clip was judged whose sound arrived then."""
        if not self._slowest or self._slowest[-1][0] != int(now):
            self._slowest.append((int(now), 0.0))
        second, longest = self._slowest.pop()
        self._slowest.append((second, max(longest, now - arrived)))

    def _judged(self, machine: Machine, clip: TimedClip, verdict: Any) -> None:
        machine.verdict = verdict
        if not math.isfinite(verdict.score):
            self._warn(f"{verdict.clip}: its score is {verdict.score!r}, which says nothing; fit the model again")
            return
        self._changed(machine, machine.judged(time.monotonic(), clip.time))
        if not clip.live.apart:
            return
        monitor, moment = machine.monitor, clip.time
        last = monitor.state.evidence.last_time
        if last is not None and moment <= last:
            if clip.of_file:
                return  # a file that was watched before, or is older
            moment = last + 1e-3  # the clock was set back; the sound goes on
        former = machine.status
        try:
            status = machine.status = monitor.update(verdict, moment)
        except MonitorError as error:
            self._changed(machine, machine.conditions.begin("clock", moment, str(error)))
            return
        self._changed(machine, machine.conditions.end("clock", moment))
        self.history.verdict(machine.name, moment, verdict, status)
        drifting = monitor.state.evidence.drifting
        told = self.alerts.judged(machine.name, verdict, status, drifting=drifting, promise=monitor.promise)
        self._told(told)
        self.evidence.judged(machine.name, verdict, status)
        if former is None or former.phase != status.phase:
            self.history.commit()
            with contextlib.suppress(MonitorError):  # told when all are saved
                machine.monitor.keep()

    # ------------------------------------------------------------------------------------------------ what is told

    def _changed(self, machine: Machine, changes: Sequence[Change] | Iterator[Change]) -> None:
        for change in changes:
            events = self.alerts.condition(machine.name, change.name, change.text, change.time, over=change.over)
            if change.name not in ("gap", "clock") or not change.over:
                self._say(f"{machine.name}: {change.text}", "info" if change.over else "warning")
            self._told(events, said=True)

    def _told(self, events: Sequence[Event], *, said: bool = False) -> None:
        for event in events:
            self.evidence.event(event)
            if not said:
                self._say(event.text, event.severity)

    def _keep_levels(self, machine: Machine) -> None:
        for minute in machine.minutes:
            self.history.levels(machine.name, minute.time, minute.seconds, minute.bands, minute.level)
        machine.minutes.clear()

    def _warn(self, text: str | None) -> None:
        if text is not None and text != self._trouble:
            self._say(text, "warning")
        self._trouble = text or self._trouble
