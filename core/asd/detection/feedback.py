"""What people tell a monitor: "that was normal", "start afresh", and "take that back"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from asd.detection.monitor import Monitor
from asd.detection.monitor_state import Feedback, Watched, date
from asd.errors import MonitorError

Span = tuple[float, float]
"""First and last time, in seconds since 1970."""


def last_alarm_was_normal(monitor: Monitor) -> int:
    """Take all clips of the last alarm for healthy, restart the evidence, and return their number.

    Sound that is unlike that of the fit is then healthy, too.

    Raises
    ------
    MonitorError
        If there was no alarm, or its clips were taken for healthy already.
    """
    evidence = monitor.state.evidence
    if evidence.phase == "unlike":
        _change(monitor, "normal", {}, (), "sound unlike that of the fit was taken for healthy")
        monitor.state.accepted = True
        return 0
    if not evidence.set_aside:
        raise MonitorError("no alarm was raised, or its clips were taken for healthy already: nothing to change")
    since = evidence.aside_since or 0.0
    moved = [each for each in monitor.state.recent if each.time >= since and not each.counted]
    return _accept(monitor, evidence.set_aside, moved, "the last alarm")


def clips_were_normal(monitor: Monitor, *, clip: str | None = None, span: Span | None = None) -> int:
    """Take clips for healthy, restart the evidence, and return how many the monitor had not taken for healthy before.

    Parameters
    ----------
    monitor : Monitor
        Whose clips they are.
    clip : str, optional
        Name of a clip, without its folder.
    span : tuple of float, optional
        First and last time, instead of a name.

    Raises
    ------
    MonitorError
        If the monitor does not remember such clips.
    """
    recent = monitor.state.recent
    if span is not None:
        found = [each for each in recent if span[0] <= each.time <= span[1]]
        meant = f"between {date(span[0])} and {date(span[1])}"
    else:
        found = [each for each in recent if each.clip == clip]
        meant = f"called {clip!r}"
    if not found:
        known = f"those from {date(recent[0].time)} to {date(recent[-1].time)}" if recent else "none"
        raise MonitorError(
            f"no clip {meant} is remembered one by one, only {known}; --last-alarm means all clips of the last alarm"
        )
    moved = [each for each in found if not each.counted]
    return _accept(monitor, Counter(each.number for each in moved), moved, clip or f"those {meant}")


def reset(monitor: Monitor, *, forget: bool = False) -> None:
    """Restart the evidence, and let the next clip be of any time.

    Parameters
    ----------
    monitor : Monitor
        Which to restart.
    forget : bool
        Forget the healthy clips that were watched, too: the machine has changed for good.
    """
    counts = monitor.bag.counts
    change = {number: -int(counts[number]) for number in counts.nonzero()[0].tolist()} if forget else {}
    moved = [each for each in monitor.state.recent if each.counted] if forget else []
    text = f"the evidence was restarted{', and all clips watched were forgotten' if forget else ''}"
    _change(monitor, "reset", change, moved, text)
    evidence = monitor.state.evidence
    evidence.last_time, evidence.set_aside, evidence.aside_since = None, {}, None


def undo(monitor: Monitor) -> str:
    """Take the last feedback or reset back, and return what it was; clips watched since then stay watched.

    Raises
    ------
    MonitorError
        If there is none.
    """
    state = monitor.state
    if not state.undoable:
        raise MonitorError("nothing to undo: no feedback was given, or all of it was undone")
    last = state.undoable.pop()
    for number, count in last.change.items():
        monitor.bag.add(number, -count)
    moved = set(last.moved)
    for each in state.recent:
        if each.time in moved:
            each.counted = last.kind != "normal"
    later = state.evidence.last_time
    state.evidence, state.accepted = last.evidence, last.accepted
    if last.kind == "normal":
        state.evidence.last_time = later
    monitor.note("undo", f"taken back: {last.text}", monitor.now())
    return last.text


def _accept(monitor: Monitor, change: Mapping[int, int], moved: Sequence[Watched], what: str) -> int:
    count = sum(change.values())
    since = monitor.state.evidence.aside_since
    of_alarm = Counter(each.number for each in moved if since is not None and each.time >= since)
    left = {} if what == "the last alarm" else monitor.state.evidence.set_aside
    left = {number: count - of_alarm[number] for number, count in left.items()}
    _change(monitor, "normal", change, moved, f"{count} clip{'s' * (count != 1)} taken for healthy: {what}")
    monitor.state.evidence.set_aside = {number: count for number, count in left.items() if count > 0}
    return count


def _change(monitor: Monitor, kind: str, change: Mapping[int, int], moved: Sequence[Watched], text: str) -> None:
    """Change the bag, restart the evidence, and remember how to take that back."""
    state = monitor.state
    state.undoable.append(
        Feedback(kind, text, dict(change), [each.time for each in moved], state.evidence, state.accepted)
    )
    for number, count in change.items():
        monitor.bag.add(number, count)
    for each in moved:
        each.counted = kind == "normal"
    monitor.restart("watching", state.evidence.last_time)
    monitor.note(kind, text, monitor.now())
