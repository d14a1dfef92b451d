"""The history of a listener: written whole or not at all, read meanwhile, brought up to date, refused where it must."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asd.plugin import Clip, Event
from asd_listen.alerts import Alerts, AlertSettings
from asd_listen.history import History
from asd_listen.outbox import Outbox, OutboxLimits, Route
from asd_listen.reader import Reader

NOON = 1_800_000_000.0
CLIP = Clip(Path("clip.wav"))


@dataclass(frozen=True)
class Verdict:
    """What `History.verdict` reads of an `asd.Verdict`."""

    clip: Clip = CLIP
    score: float = 1.0
    p_value: float = 0.5
    anomalous: bool = False
    state: str | None = None
    state_p_value: float | None = None


@dataclass(frozen=True)
class Status:
    """What it reads of a monitor's status."""

    time: float = NOON
    p_value: float = 0.5
    evidence: float = 0.0
    threshold: float = 5.0
    phase: str = "watching"
    since: float = NOON


class Heap:
    """A sink that keeps what it gets."""

    origin = ""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def send(self, event: Event) -> None:
        self.events.append(event)


def test_a_clip_and_its_events_are_written_together_and_told(tmp_path: Path) -> None:
    heap: Any = Heap()
    with History.open(tmp_path) as history:
        outbox = Outbox(history, [Route("heap", heap)], OutboxLimits(first_pause=0.01))
        outbox.start()
        alerts = Alerts(AlertSettings(), history)
        history.machine("pump 1")
        history.verdict("pump 1", NOON, Verdict(), Status(phase="alarm"))
        alerts.judged("pump 1", Verdict(), Status(phase="alarm", evidence=5.2))
        history.commit()
        outbox.close(5)
        with Reader(tmp_path) as reader:
            assert [row["machine"] for row in reader.rows("verdicts")] == ["pump 1"]
            assert [row["kind"] for row in reader.rows("events")] == ["alarm"]
            assert [row["state"] for row in reader.rows("deliveries")] == ["delivered"]
    assert [event.kind for event in heap.events] == ["alarm"]
