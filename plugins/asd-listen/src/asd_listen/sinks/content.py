"""What sinks say of an event, and where they get secrets from."""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path
from typing import Any

from asd.errors import ConfigError
from asd.plugin import Event
from asd_listen.times import local

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


def as_dict(event: Event) -> dict[str, Any]:
    """Return an event as JSON holds it; ``utc`` is the time in ISO 8601."""
    utc = datetime.datetime.fromtimestamp(event.time, datetime.UTC).isoformat(timespec="milliseconds")
    return {
        "id": event.id,
        "time": event.time,
        "utc": utc.replace("+00:00", "Z"),
        "machine": event.machine,
        "kind": event.kind,
        "severity": event.severity,
        "text": event.text,
        "data": dict(event.data),
    }


def line(text: str, longest: int = 200) -> str:
    """Return a text as one line without control characters: no name can add a header, or turn the writing round."""
    plain = " ".join(_CONTROL.sub(" ", text).split())
    return plain if len(plain) <= longest else f"{plain[: longest - 1]}…"


def title(event: Event) -> str:
    """Return the heading of a message to people."""
    return line(f"[{event.severity}] {event.text}")


def message(event: Event) -> str:
    """Return the text of a message to people."""
    rows = [event.text, "", f"Machine: {line(event.machine) or '(the listener itself)'}"]
    rows += [f"Time: {local(event.time)}", f"Kind: {event.kind}, severity: {event.severity}", f"Event: {event.id}"]
    for each in event.data.get("events", ()):
        rows.append(f"- {local(each['time'])} [{each['severity']}] {line(each['text'])}")
    return "\n".join(_CONTROL.sub(" ", row) for row in rows) + "\n"


def secret(sink: str, what: str, variable: str, file: Path | None) -> str | None:
    """Return a secret from an environment variable or a file; None: neither is named.

    Parameters
    ----------
    sink, what : str
        Names of the sink and of what is secret, for messages.
    variable : str
        Name of the environment variable; empty: none.
    file : Path or None
        A file that holds nothing else.

    Raises
    ------
    ConfigError
        If both are named, or it is not there. No message holds a secret.
    """
    if variable and file is not None:
        raise ConfigError(f"{sink}: {what}_env and {what}_file exclude each other; name one")
    if variable:
        if not (found := os.environ.get(variable, "")):
            raise ConfigError(f"{sink}: the environment variable {variable}, for the {what}, is not set; set it")
        return found
    if file is not None:
        try:
            found = Path(file).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "no text"
            raise ConfigError(f"{sink}: the file {file}, for the {what}, cannot be read ({reason})") from None
        if not found:
            raise ConfigError(f"{sink}: the file {file}, for the {what}, is empty; write it there")
        return found
    return None
