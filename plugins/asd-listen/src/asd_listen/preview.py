"""What "that was normal" would change, before anybody says it: said to copies of the monitor, which save nothing."""

from __future__ import annotations

import contextlib
import time as clock
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from asd.command import copy_of_monitor
from asd.errors import MonitorError
from asd.plugin import Clip
from asd_listen.feedback import apply
from asd_listen.reader import Reader, Row
from asd_listen.remarks import clips_of
from asd_listen.schema import HistoryError

DAYS = 30
"""Days that are looked back."""
_MOST = 20_000
"""Clips that are watched again at most: some seconds."""


def preview_normal(reader: Reader, event: Mapping[str, Any]) -> dict[str, Any]:
    """Return what it would change to say that an alarm was normal.

    Parameters
    ----------
    reader : Reader
        The history.
    event : mapping
        The alarm, or a change that was told, as `asd_listen.event_with_id` returns it.

    Returns
    -------
    dict
        ``clips`` that would count as healthy; ``before`` and ``after``, how the monitor stands; ``alarms_not_raised``,
        alarms of the last 30 days that would not have been, had the sound been known as healthy; ``text``, a sentence.

    Raises
    ------
    HistoryError
        If the machine has no monitor that can be read.
    """
    machine, file = str(event["machine"]), _file(reader, str(event["machine"]))
    try:
        former, later = copy_of_monitor(file), copy_of_monitor(file)
    except MonitorError as error:
        raise HistoryError(str(error)) from error
    for monitor in (former, later):
        _catch_up(reader, machine, monitor)
    before = _facts(former)
    answer = apply(later, "normal", {"event": event["id"], **clips_of(reader, event)})
    after = _facts(later)
    clips = after["accepted_clips"] - before["accepted_clips"]
    spared = [] if answer.startswith("nothing changed") else _spared(reader, machine, later)
    return {
        "event": event["id"],
        "clips": clips,
        "before": before,
        "after": after,
        "alarms_not_raised": spared,
        "text": _sentence(answer, clips, before, after, spared),
    }


def _file(reader: Reader, machine: str) -> Path:
    found = reader.ask("SELECT monitor FROM machines WHERE name = ?", (machine,))
    name = Path(found[0][0]).name if found and found[0][0] else None
    if name is None:
        raise HistoryError(f"{machine}: has no monitor yet; it begins with the first clip that is watched")
    return reader.path.parent / "monitors" / name


def _facts(monitor: Any) -> dict[str, Any]:
    return {
        "phase": monitor.state.evidence.phase,
        "evidence": round(monitor.evidence, 2),
        "threshold": round(monitor.threshold, 2),
        "healthy_clips": monitor.bag.total + monitor.accepted.total,
        "accepted_sounds": len(monitor.accepted.bags),
        "accepted_clips": monitor.accepted.total,
    }


def _catch_up(reader: Reader, machine: str, monitor: Any) -> None:
    """Let a copy watch what the history has and its file has not yet: a listener saves once a minute."""
    last = monitor.state.evidence.last_time
    if last is not None:
        _watch(monitor, reader.verdicts_after(machine, last)[-_MOST:])


def _watch(monitor: Any, rows: list[Row]) -> list[float]:
    """Watch clips again, and return the times of those during an alarm."""
    alarmed = []
    for row in rows:
        if row["evidence"] is None:
            continue
        names = ("score", "p_value", "state", "state_p_value")
        verdict: Any = SimpleNamespace(clip=Clip(Path(row["clip"])), **{each: row[each] for each in names})
        with contextlib.suppress(MonitorError):
            if monitor.update(verdict, row["time"]).alarm:
                alarmed.append(float(row["time"]))
    return alarmed


def _spared(reader: Reader, machine: str, monitor: Any) -> list[dict[str, Any]]:
    """Return the alarms during which a monitor that knows the sound raises none when it watches the same clips."""
    since = clock.time() - DAYS * 86400
    rows = list(reader.rows("verdicts", machine, since, last=_MOST))
    events = [each for each in reader.rows("events", machine, since) if each["kind"] in ("alarm", "cleared")]
    monitor.restart("watching", None)
    monitor.state.evidence.last_time = None
    alarmed = _watch(monitor, rows)
    first = rows[0]["time"] if rows else 0.0
    spared = []
    for own, following in pairwise([*events, None]):
        assert own is not None
        if own["kind"] != "alarm" or own["data"].get("alarm") or own["time"] < first:
            continue
        until = following["time"] if following is not None else float("inf")
        if not any(own["time"] <= each <= until for each in alarmed):
            spared.append({name: own[name] for name in ("id", "time", "text")})
    return spared


def _sentence(
    answer: str, clips: int, before: Mapping[str, Any], after: Mapping[str, Any], spared: list[dict[str, Any]]
) -> str:
    if answer.startswith("nothing changed"):
        return f"Nothing would change: {answer.removeprefix('nothing changed: ')}."
    found = [f"{clips} clip{'s' * (clips != 1)} would count as healthy"]
    if before["phase"] != after["phase"]:
        found.append(f"the machine would be {after['phase']!r} instead of {before['phase']!r}")
    alarms = f"{len(spared)} alarm{'s' * (len(spared) != 1)}"
    found.append(f"{alarms} of the last {DAYS} days would not have been raised" if spared else "no past alarm changes")
    return "; ".join(found) + ". It can be undone."
