"""From what a monitor and the recording's conditions say to events that somebody is told."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Collection
from typing import Any

import msgspec

from asd.plugin import Event, Severity
from asd_listen.history import History
from asd_listen.schema import HistoryError
from asd_listen.times import local, minute

_WORDS = {
    "learning": "learning what is healthy: no alarm is possible for now",
    "watching": "watching: an alarm is possible from now on",
}
_CONFIRMED = 60.0
"""Seconds of judged sound after a restart within which a condition that stood before must be found again."""


class AlertSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Table ``[alerts]`` of a listener's settings; all in seconds.

    Parameters
    ----------
    confirm : float
        An alarm is told once it has stood for so long. Default 0: the monitor's evidence is over many clips already.
    cool_down : float
        After an alarm was told, one that comes again within this time is told when it is over, if it still stands.
        Default: 600.
    condition : float
        A condition of the recording is told once it has stood for so long. Default: 10.
    remind : float
        An alarm that stands, and that nobody has acknowledged, is told again after so long. Default 0: never.
    """

    confirm: float = 0.0
    cool_down: float = 600.0
    condition: float = 10.0
    remind: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a number of seconds from 0, got {value}")


class _Condition(msgspec.Struct):
    """A condition of a recording: since when, in what words, and the event by which it was told."""

    began: float
    text: str
    event: str | None = None
    seen: bool = True


class _Machine(msgspec.Struct):
    """What is known of a machine; kept in the history, so that a restart tells nothing twice.

    `alarm` is the alarm that stands; it was told if `told` is set, lastly at `last_told`. `unlike` is the event by
    which it was told that the sound is unlike before.
    """

    phase: str = "learning"
    since: float = 0.0
    drifting: bool = False
    unlike: str | None = None
    alarm: Event | None = None
    told: bool = False
    acknowledged: bool = False
    reminders: int = 0
    last_told: dict[str, float] = {}
    conditions: dict[str, _Condition] = {}


class Alerts:
    """Makes events of what happens to machines, and decides which of them are told.

    Every event goes into the history at once, which the next `History.commit` writes together with the clip; one that
    is told later, or never, because of `AlertSettings`, too. Ids follow from machine, kind and time.

    Parameters
    ----------
    settings : AlertSettings
        What is told, and how soon.
    history : History
        Where events go, and what was told before a restart.
    """

    def __init__(self, settings: AlertSettings, history: History) -> None:
        self.settings = settings
        self._history = history
        self._machines: dict[str, _Machine] = {}
        self._kept: dict[str, str] = {}
        self._done: set[int] = set()
        self._first_judged: dict[str, float] = {}
        for name, text in history.stored_alerts().items():
            known = msgspec.json.decode(text, type=_Machine)
            for condition in known.conditions.values():
                condition.seen = False
            self._machines[name] = known

    def judged(
        self,
        machine: str,
        verdict: Any,
        status: Any,
        time: float | None = None,
        *,
        drifting: bool = False,
        promise: str = "",
    ) -> list[Event]:
        """Take what the monitor says after a clip, and return the events that follow.

        Parameters
        ----------
        machine : str
            Name of the machine.
        verdict : asd.Verdict
            What the model says of the clip.
        status : asd.Status
            What the monitor says.
        time : float, optional
            Present time by which confirmation and cool-down count; None: the clip's.
        drifting : bool
            Whether the monitor has found a slow change.
        promise : str
            What the monitor promises, such as ``1 false alarm a month``: an alarm says it.
        """
        known, moment = self._of(machine), status.time if time is None else time
        facts = {
            "p_value": verdict.p_value,
            "evidence": status.evidence,
            "threshold": status.threshold,
            "since": status.since,
        }
        events: list[Event] = []
        if status.phase != known.phase or (drifting and not known.drifting and status.phase == "unlike"):
            former, known.phase, known.since, known.drifting = known.phase, status.phase, status.since, drifting
            if former == "alarm":
                events.append(self._over(machine, known, moment, facts, by_itself=status.phase == "cleared"))
            if known.unlike and status.phase not in ("unlike", "alarm"):
                events.append(self._alike(machine, known, moment, facts))
            if not events and status.phase in _WORDS:
                words = f"{machine}: {_WORDS[status.phase]}"
                events.append(self._make(machine, known, "phase", "info", words, moment, facts, tell=True))
            if status.phase == "alarm":
                events.append(self._alarm(machine, known, facts, promise))
            elif status.phase == "unlike":
                events.append(self._unlike(machine, known, moment, facts))
        first = self._first_judged.setdefault(machine, moment)
        for name, condition in list(known.conditions.items()):
            if not condition.seen and not 0 <= moment - first < _CONFIRMED:  # it stood before a restart, and is gone
                events += self.condition(machine, name, condition.text, moment, over=True)
        return [*events, *self._later(machine, known, moment)]

    def condition(self, machine: str, name: str, text: str, time: float, over: bool = False) -> list[Event]:
        """Take that a recording is at fault, or no longer, write it to the history, and return the events that follow.

        Parameters
        ----------
        machine : str
            Name of the machine.
        name : str
            Name of the condition, such as ``"silence"``; may be told again and again while it stands.
        text : str
            One line for people.
        time : float
            Since when, or until when, in seconds since 1970.
        over : bool
            Whether it is over.
        """
        known = self._of(machine)
        if not over:
            condition = known.conditions.setdefault(name, _Condition(time, text))
            condition.text, condition.seen = text, True
            self._history.condition(machine, name, condition.began, None, text)
            return self._later(machine, known, time)
        standing = known.conditions.pop(name, None)
        if standing is None:
            return []
        self._history.condition(machine, name, standing.began, time, text)
        events = []
        if standing.event is not None:
            data = {"condition": name, "began": standing.began, "event": standing.event}
            words = f"{machine}: over since {local(time)}: {standing.text}"
            events = [self._make(machine, known, "condition-over", "info", words, time, data, tell=True)]
        self._keep(machine, known)
        return events

    def said(self, machine: str, kind: str, text: str, time: float) -> list[Event]:
        """Take something that is told at once, such as ``"started"`` or ``"stopped"``."""
        return [self._make(machine, self._of(machine), kind, "info", text, time, {}, tell=True)]

    def left(self, listened: Collection[str], now: float) -> list[Event]:
        """Take which machines are listened to; what stood of others is over, and return the events that follow."""
        events: list[Event] = []
        for machine in [name for name in self._machines if name not in listened]:
            known = self._machines[machine]
            for name, condition in list(known.conditions.items()):
                events += self.condition(machine, name, condition.text, now, over=True)
            if known.alarm is not None:
                words = f"{machine}: no longer listened to; its alarm of {local(known.since)} stood"
                data, known.alarm, known.phase = {"alarm": known.alarm.id}, None, "learning"
                events.append(self._make(machine, known, "cleared", "info", words, now, data, tell=known.told))
            self._keep(machine, known)
            del self._machines[machine]
        return events

    def tick(self, now: float) -> list[Event]:
        """Take that time has passed, and what people acknowledged; return the events that follow."""
        events: list[Event] = []
        with contextlib.suppress(HistoryError):  # told by the commit
            for each in self._history.feedback_pending():
                if each["kind"] == "acknowledge" and each["id"] not in self._done:
                    self._done.add(each["id"])
                    events += self._acknowledged(each)
                elif each["kind"] == "unacknowledge" and each["id"] not in self._done:
                    self._done.add(each["id"])
                    self._unacknowledged(each)
        for machine, known in self._machines.items():
            events += self._later(machine, known, now)
        return events

    def _of(self, machine: str) -> _Machine:
        return self._machines.setdefault(machine, _Machine())

    def _alarm(self, machine: str, known: _Machine, facts: dict[str, Any], promise: str) -> Event:
        sure = f"a healthy machine raises {promise} at most; " if promise else ""
        words = (  # what somebody sees of it on a telephone that is locked comes first
            f"{machine}: the sound has changed since {minute(known.since)}; {sure}evidence {facts['evidence']:.1f}, "
            f"alarm from {facts['threshold']:.1f}"
        )
        event = self._make(machine, known, "alarm", "alarm", words, known.since, facts, tell=False)
        known.alarm, known.told, known.acknowledged, known.reminders = event, False, False, 0
        return event

    def _over(self, machine: str, known: _Machine, moment: float, facts: dict[str, Any], *, by_itself: bool) -> Event:
        words = f"{machine}: the alarm is over {'by itself' if by_itself else 'since somebody said that it was normal'}"
        data = {**facts, "alarm": known.alarm.id if known.alarm else None}
        known.alarm, told = None, known.told
        return self._make(machine, known, "cleared", "info", words, moment, data, tell=told)

    def _unlike(self, machine: str, known: _Machine, moment: float, facts: dict[str, Any]) -> Event:
        kind = "drift" if known.drifting else "unlike"
        words = (
            f"{machine}: the sound has slowly become unlike before: a drift, or a small fault"
            if known.drifting
            else f"{machine}: the sound is steady, but unlike that of the fit; check the machine, its state and place"
        )
        tell = self._is_due(known, kind, moment)
        event = self._make(machine, known, kind, "warning", words, known.since, facts, tell=tell)
        if tell:
            known.last_told[kind], known.unlike = moment, event.id
        return event

    def _alike(self, machine: str, known: _Machine, moment: float, facts: dict[str, Any]) -> Event:
        words = f"{machine}: over: the sound is no longer steadily unlike that of the fit"
        data, known.unlike = {**facts, "event": known.unlike}, None
        return self._make(machine, known, "unlike-over", "info", words, moment, data, tell=True)

    def _later(self, machine: str, known: _Machine, moment: float) -> list[Event]:
        """Tell what has stood for long enough by now."""
        events = []
        if known.alarm and not known.told and self._has_passed(known.since, moment, self.settings.confirm):
            if self._is_due(known, "alarm", moment):
                known.told, known.last_told["alarm"] = True, moment
                self._history.event(known.alarm)
        elif known.alarm and not known.acknowledged and self._remind_now(known, moment):
            events.append(self._remind(machine, known, moment))
        for name, condition in known.conditions.items():
            if condition.event is None and self._has_passed(condition.began, moment, self.settings.condition):
                data = {"condition": name, "began": condition.began}
                condition.event = id_of(machine, f"condition {name}", condition.began)
                words = f"{machine}: {condition.text} (since {local(condition.began)})"
                events.append(
                    self._make(
                        machine,
                        known,
                        "condition",
                        "warning",
                        words,
                        condition.began,
                        data,
                        tell=True,
                        known_as=condition.event,
                    )
                )
        self._keep(machine, known)
        return events

    def _remind_now(self, known: _Machine, moment: float) -> bool:
        every = self.settings.remind
        return known.told and every > 0 and self._has_passed(known.last_told["alarm"], moment, every)

    def _remind(self, machine: str, known: _Machine, moment: float) -> Event:
        known.reminders += 1
        known.last_told["alarm"] = moment
        words = f"{machine}: the alarm of {local(known.since)} still stands, and nobody has acknowledged it"
        data = {"alarm": known.alarm.id if known.alarm else None, "reminder": known.reminders, "since": known.since}
        return self._make(machine, known, "alarm", "alarm", words, moment, data, tell=True)

    def _acknowledged(self, feedback: dict[str, Any]) -> list[Event]:
        seen, by = str(feedback["data"].get("event", "")), str(feedback["data"].get("by", ""))
        machine = str(feedback["machine"])
        known = self._of(machine)
        if known.alarm is not None and known.alarm.id == seen:
            known.acknowledged = True
        self._history.acknowledged(seen, feedback["time"], by)
        self._history.feedback_done(feedback["id"], "acknowledged")
        words = f"{machine}: acknowledged{f' by {by}' if by else ''}: {feedback['data'].get('text') or seen}"
        event = self._make(
            machine, known, "acknowledged", "info", words, feedback["time"], {"event": seen, "by": by}, tell=True
        )
        self._keep(machine, known)
        return [event]

    def _unacknowledged(self, feedback: dict[str, Any]) -> None:
        machine, event = str(feedback["machine"]), str(feedback["data"].get("event", ""))
        known = self._of(machine)
        if known.alarm is not None and known.alarm.id == event:
            known.acknowledged = False
        self._history.acknowledged(event, None, None)
        self._history.feedback_done(feedback["id"], "taken back")
        self._keep(machine, known)

    def _is_due(self, known: _Machine, kind: str, moment: float) -> bool:
        last = known.last_told.get(kind)
        return last is None or self._has_passed(last, moment, self.settings.cool_down)

    @staticmethod
    def _has_passed(since: float, moment: float, seconds: float) -> bool:
        """Return whether so many seconds have passed, or the clock was set back, after which nobody knows."""
        return not 0 <= moment - since < seconds

    def _make(
        self,
        machine: str,
        known: _Machine,
        kind: str,
        severity: Severity,
        text: str,
        time: float,
        data: dict[str, Any],
        *,
        tell: bool,
        known_as: str | None = None,
    ) -> Event:
        """Make an event and note it; `data` of every event says how things stand now."""
        standing = sorted(name for name, condition in known.conditions.items() if condition.event is not None)
        now = {"phase": known.phase, "conditions": standing, "acknowledged": known.acknowledged}
        event = Event(
            known_as or id_of(machine, f"{kind} {data.get('reminder', '')}", time),
            time,
            machine,
            kind,
            severity,
            text,
            {**data, **now},
        )
        self._history.event(event, None if tell else ())
        return event

    def _keep(self, machine: str, known: _Machine) -> None:
        text = msgspec.json.encode(known).decode()
        if self._kept.get(machine) != text:
            self._kept[machine] = text
            self._history.alerts_state(machine, text)


def id_of(machine: str, kind: str, time: float) -> str:
    """Return the id of an event: the same for the same event, after a restart too."""
    return hashlib.blake2b(f"{machine}\0{kind}\0{time:.3f}".encode(), digest_size=8).hexdigest()
