"""What people tell a monitor: "that was normal", "start afresh", and "take that back"."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from asd.detection.bag import BINS, Bag
from asd.detection.monitor import Monitor
from asd.detection.monitor_state import Feedback, date
from asd.errors import MonitorError

Span = tuple[float, float]
"""First and last time, in seconds since 1970."""
Chosen = npt.NDArray[np.bool_]
"""Which of the clips that are remembered one by one."""
_LAST = "the last alarm"


def last_alarm_was_normal(monitor: Monitor, *, mark: str = "") -> int:
    """Take all clips of the last alarm for healthy, restart the evidence, and return their number.

    Sound that is unlike that of the fit is then healthy, too.

    Parameters
    ----------
    monitor : Monitor
        Whose alarm it is.
    mark : str
        What `undo` can name it by, such as the id of the alarm.

    Raises
    ------
    MonitorError
        If there was no alarm, or its clips were taken for healthy already.
    """
    evidence = monitor.state.evidence
    if evidence.phase == "unlike":
        none = np.zeros(len(monitor.state.recent), np.bool_)
        _change(monitor, "normal", {}, none, "sound unlike that of the fit was taken for healthy", mark=mark)
        monitor.state.accepted = True
        return 0
    if not evidence.set_aside:
        raise MonitorError("no alarm was raised, or its clips were taken for healthy already: nothing to change")
    since = evidence.aside_since or 0.0
    rows = monitor.state.recent.rows
    moved = (rows["time"] >= since) & ~rows["counted"]
    return _accept(monitor, evidence.set_aside, moved, _LAST, mark)


def clips_were_normal(monitor: Monitor, *, clip: str | None = None, span: Span | None = None, mark: str = "") -> int:
    """Take clips for healthy, restart the evidence, and return how many the monitor had not taken for healthy before.

    Parameters
    ----------
    monitor : Monitor
        Whose clips they are.
    clip : str, optional
        Name of a clip, without its folder.
    span : tuple of float, optional
        First and last time, instead of a name.
    mark : str
        As for `last_alarm_was_normal`.

    Raises
    ------
    MonitorError
        If the monitor does not remember such clips.
    """
    rows = monitor.state.recent.rows
    if span is not None:
        found = (span[0] <= rows["time"]) & (rows["time"] <= span[1])
        meant = f"between {date(span[0])} and {date(span[1])}"
    else:
        found = rows["clip"] == clip
        meant = f"called {clip!r}"
    if not found.any():
        known = f"those from {date(rows['time'][0])} to {date(rows['time'][-1])}" if len(rows) else "none"
        raise MonitorError(
            f"no clip {meant} is remembered one by one, only {known}; --last-alarm means all clips of the last alarm"
        )
    moved = found & ~rows["counted"]
    return _accept(monitor, Counter(rows["number"][moved].tolist()), moved, clip or f"those {meant}", mark)


def reset(monitor: Monitor, *, forget: bool = False) -> None:
    """Restart the evidence, and let the next clip be of any time.

    Parameters
    ----------
    monitor : Monitor
        Which to restart.
    forget : bool
        Forget the healthy clips that were watched, too: the machine has changed for good.
    """
    change = _taken_out(monitor.bag) if forget else {}
    moved = monitor.state.recent.rows["counted"] & forget
    sounds: dict[int, dict[int, int]] = {}
    if forget:
        for number, (sound, bag) in monitor.accepted.bags.items():
            monitor.accepted.settle(number)
            sounds[number] = {bin_ + sound.state * BINS: count for bin_, count in _taken_out(bag).items()}
            for bin_, count in sounds[number].items():
                monitor.accepted.add(number, bin_, count)
    text = f"the evidence was restarted{', and all clips watched were forgotten' if forget else ''}"
    _change(monitor, "reset", change, moved, text, sounds)
    evidence = monitor.state.evidence
    evidence.last_time, evidence.set_aside, evidence.aside_since = None, {}, None


def undo(monitor: Monitor, *, mark: str | None = None) -> str:
    """Take the last feedback or reset back, and return what it was; clips watched since then stay watched.

    Parameters
    ----------
    monitor : Monitor
        To whom it was given.
    mark : str, optional
        Take back the feedback with this mark. If it is not the last, the evidence stays as it is, which others have
        restarted since.

    Raises
    ------
    MonitorError
        If there is none.
    """
    state = monitor.state
    marked = [i for i, each in enumerate(state.undoable) if mark is None or each.mark == mark]
    if not marked:
        raise MonitorError("nothing to undo: no feedback was given, or all of it was undone")
    is_last = marked[-1] == len(state.undoable) - 1
    last = state.undoable.pop(marked[-1])
    for number, count in last.change.items():
        monitor.bag.add(number, -count)
    for sound, own in last.sounds.items():
        for number, count in own.items():
            monitor.accepted.add(sound, number, -count)
    for sound in last.opened:
        monitor.accepted.drop(sound)
    rows = state.recent.rows
    moved = np.isin(rows["time"], last.moved)
    rows["counted"][np.isin(rows["sound"], last.opened) & ~moved] = False
    rows["counted"][moved], rows["taken"][moved] = last.kind != "normal", False
    later = state.evidence.last_time
    if is_last:
        state.evidence, state.accepted = last.evidence, last.accepted
    if last.kind == "normal":
        state.evidence.last_time = later
    monitor.note("undo", f"taken back: {last.text}", monitor.now())
    return last.text


def _accept(monitor: Monitor, change: Mapping[int, int], moved: Chosen, what: str, mark: str) -> int:
    """Take clips for healthy by their counts; `moved` says which of those that are remembered one by one they are."""
    rows = monitor.state.recent.rows
    count = sum(change.values())
    since = monitor.state.evidence.aside_since
    aside = moved & (rows["time"] >= (math.inf if since is None else since))
    of_alarm = Counter(rows["number"][aside].tolist())
    left = {} if what == _LAST else monitor.state.evidence.set_aside
    left = {number: count - of_alarm[number] for number, count in left.items()}
    sounds, opened = monitor.accepted.accept(change)
    sound_of = {number: sound for sound, own in sounds.items() for number in own}
    rows["sound"][moved] = [sound_of.get(number, 0) for number in rows["number"][moved].tolist()]
    rows["taken"][moved] = True
    text = f"{count} clip{'s' * (count != 1)} taken for healthy: {what}"
    _change(monitor, "normal", {}, moved, text, sounds, opened, mark)
    monitor.state.accepted |= bool(count)
    monitor.state.evidence.set_aside = {number: count for number, count in left.items() if count > 0}
    return count


def _taken_out(bag: Bag) -> dict[int, int]:
    """Return the change that empties a bag."""
    filled = bag.counts.nonzero()[0]
    return dict(zip(filled.tolist(), (-bag.counts[filled]).tolist(), strict=True))


def _change(
    monitor: Monitor,
    kind: str,
    change: Mapping[int, int],
    moved: Chosen,
    text: str,
    sounds: Mapping[int, dict[int, int]] | None = None,
    opened: Sequence[int] = (),
    mark: str = "",
) -> None:
    """Change the bag, restart the evidence, and remember how to take that back, and the changes of accepted sounds."""
    state = monitor.state
    rows = state.recent.rows
    times = rows["time"][moved].tolist()
    given = dict(sounds or {})
    state.undoable.append(
        Feedback(kind, text, dict(change), times, state.evidence, state.accepted, given, list(opened), mark)
    )
    for number, count in change.items():
        monitor.bag.add(number, count)
    rows["counted"][moved] = kind == "normal"
    monitor.restart("watching", state.evidence.last_time)
    monitor.note(kind, text, monitor.now())
