"""What people say of a machine while it is listened to: "that was normal", and "take that back"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asd.command import clips_were_normal, last_alarm_was_normal, undo_feedback
from asd.errors import MonitorError


def apply(monitor: Any, kind: str, data: Mapping[str, Any]) -> str:
    """Tell a monitor, and return what is to be told of it.

    Parameters
    ----------
    monitor : asd.Monitor
        Of the machine.
    kind : {"normal", "undo"}
        What was said.
    data : mapping of str to Any
        ``clip``, or ``since`` and ``until`` in seconds since 1970; nothing: the last alarm. ``event``: the id of the
        event that was judged, by which it can be taken back.
    """
    mark = str(data.get("event") or "")
    try:
        if kind == "undo":
            return f"taken back: {undo_feedback(monitor, mark=mark or None)}"
        if data.get("clip"):
            count = clips_were_normal(monitor, clip=str(data["clip"]), mark=mark)
        elif data.get("since") is not None:
            until = data.get("until")
            span = (float(data["since"]), monitor.now() if until is None else float(until))
            count = clips_were_normal(monitor, span=span, mark=mark)
        else:
            count = last_alarm_was_normal(monitor, mark=mark)
    except MonitorError as error:
        return f"nothing changed: {error}"
    return f"{count} clip{'s' * (count != 1)} taken for healthy; watching"
