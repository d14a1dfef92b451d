"""How each machine stands, from a history: the same for a page, a program and an assistant."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from asd_listen.reader import Reader
from asd_listen.remarks import is_listening

NOT_LISTENED_TO = "not listened to"
_KEPT = ("phase", "since", "alarm", "conditions")


@dataclass(frozen=True)
class MachineState:
    """How a machine stands.

    Parameters
    ----------
    name : str
        Its name.
    phase : str
        ``"learning"``, ``"watching"``, ``"unlike"``, ``"alarm"`` or ``"cleared"``, as `asd.Status` has them, or
        ``"not listened to"``: no listener is running that hears it.
    last_phase : str or None
        The phase when it was heard last.
    evidence, threshold : float or None
        After the last clip; an alarm is raised where the evidence reaches the threshold.
    since : float or None
        When the phase began, in seconds since 1970.
    seen : float or None
        When it was last heard: the last clip, or the last minute whose levels are known.
    last_alarm : dict or None
        The last alarm: ``id``, ``time``, ``text``, ``acknowledged``.
    conditions : list of dict
        Faults of the recording that stand: ``name``, ``began``, ``text``.
    model : str or None
        Name of its model's file, without the suffix.
    digest : str or None
        The first 12 characters of the model's digest.
    level : float or None
        Level of the last minute in dB of full scale.
    listening : bool
        Whether a listener hears it.
    """

    name: str
    phase: str
    last_phase: str | None
    evidence: float | None
    threshold: float | None
    since: float | None
    seen: float | None
    last_alarm: dict[str, Any] | None
    conditions: list[dict[str, Any]]
    model: str | None
    digest: str | None
    level: float | None
    listening: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return asdict(self)


def machine_states(reader: Reader, *, listening: bool | None = None, name: str | None = None) -> list[MachineState]:
    """Return how each machine stands, by name.

    Parameters
    ----------
    reader : Reader
        The history.
    listening : bool, optional
        Whether a listener has the history open; None: look.
    name : str, optional
        Only this machine; none is returned if the history does not know it.

    Raises
    ------
    HistoryError
        If the history cannot be read.
    """
    if listening is None:
        listening = is_listening(reader.path)
    rows = reader.ask(
        "SELECT id, name, model_name, model, alerts FROM machines WHERE :name IS NULL OR name = :name ORDER BY name",
        {"name": name},
    )
    heard = _heard(reader) if listening else set()
    return [_state(reader, row, listening=row[1] in heard) for row in rows]


def _heard(reader: Reader) -> set[str]:
    """Return the machines of the last listener that started: it tells of all of them with the same time."""
    last = reader.ask("SELECT machine, max(time) FROM events WHERE kind = 'started' GROUP BY machine")
    newest = max((time for _, time in last), default=None)
    return {machine for machine, time in last if time == newest}


def _state(reader: Reader, row: tuple[Any, ...], *, listening: bool) -> MachineState:
    number, name, model, digest, alerts = row
    known: dict[str, Any] = json.loads(alerts) if alerts else {}
    clip = _first(
        reader,
        "SELECT time, evidence, threshold, phase FROM verdicts WHERE machine = ? ORDER BY time DESC, clip DESC LIMIT 1",
        number,
    )
    minute = _first(
        reader, "SELECT time + seconds, level FROM levels WHERE machine = ? ORDER BY time DESC LIMIT 1", number
    )
    alarm = _first(
        reader,
        "SELECT id, time, text, acknowledged FROM events WHERE machine = ? AND kind = 'alarm' "
        "AND json_extract(data, '$.reminder') IS NULL ORDER BY time DESC, number DESC LIMIT 1",
        name,
    )
    standing = reader.ask(
        "SELECT name, began, text FROM conditions WHERE machine = ? AND over IS NULL ORDER BY began, id", (number,)
    )
    phase = clip[3] if clip else None
    return MachineState(
        name=name,
        phase=(phase or "learning") if listening else NOT_LISTENED_TO,
        last_phase=phase,
        evidence=clip[1] if clip else None,
        threshold=clip[2] if clip else None,
        since=known.get("since") or None,
        seen=max((row[0] for row in (clip, minute) if row), default=None),
        last_alarm=dict(zip(("id", "time", "text", "acknowledged"), alarm, strict=True)) if alarm else None,
        conditions=[{"name": name, "began": began, "text": text} for name, began, text in standing],
        model=model,
        digest=digest[:12] if digest else None,
        level=minute[1] if minute else None,
        listening=listening,
    )


def _first(reader: Reader, query: str, value: Any) -> tuple[Any, ...] | None:
    found = reader.ask(query, (value,))
    return found[0] if found else None
