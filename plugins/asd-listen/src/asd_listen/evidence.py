"""Sound that is kept: before and after each alarm, and a few healthy clips a day to compare it with.

Beside each recording (FLAC) lie a JSON file of the same name, with what is known of it, and maybe a picture (PNG).
"""

from __future__ import annotations

import logging
import math
import time as clock
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from asd.plugin import Block, Event, Float32
from asd_listen.history import History
from asd_listen.keeping import Keeper, encoded
from asd_listen.memory import give_back
from asd_listen.ring import Ring

_log = logging.getLogger("asd")
_SPARE = 15.0
"""Seconds that are held beyond those before an alarm: the clip that raised it began so long ago."""
_DAY = 86400.0
_RATE = 16000
Explain = Callable[[str, Path, Path], Mapping[str, Any]]
"""Explains a recording: called with the machine, the recording, and where a picture (PNG) may be written."""


class EvidenceSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Table ``[evidence]`` of a listener's settings.

    Parameters
    ----------
    before, after : float
        Seconds of sound that are kept before and after an alarm. Default: 15 each; both 0: none is kept.
    healthy_per_day : int
        Healthy clips that are kept a day, at equal distances. Default: 4.
    healthy_seconds : float
        Seconds of such a clip. Default: 10.
    keep_days : float
        Age in days at which evidence goes. Default: 90.
    keep_gb : float
        Gigabytes (10⁹ bytes) above which the oldest evidence goes. Default: 5.
    keep_free_mb : float
        Megabytes (10⁶ bytes) that are left free on the disk; with less, the oldest evidence goes. Default: 200.
    """

    before: float = 15.0
    after: float = 15.0
    healthy_per_day: int = 4
    healthy_seconds: float = 10.0
    keep_days: float = 90.0
    keep_gb: float = 5.0
    keep_free_mb: float = 200.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a number from 0, got {value}")


@dataclass
class _Take:
    """A recording under way."""

    event: Event
    began: float
    until: float
    sample_rate: int
    parts: list[Float32] = field(default_factory=list)

    def samples(self) -> Float32:
        """Return its sound so far."""
        return np.concatenate(self.parts) if len(self.parts) > 1 else self.parts[0]


class Evidence:
    """Keeps the last seconds of each machine in memory, and writes them where they are evidence.

    Writing, and explaining, is done by a thread of its own. What was before an alarm is written at once, so that a kill
    does not take it; what comes after it, once it is there.

    Parameters
    ----------
    folder : Path
        Where recordings are kept, in a folder for each machine; made if it is not there.
    settings : EvidenceSettings
        What is kept, and for how long.
    history : History
        Where it is written down what is kept; its disk shares the space (`History.make_room`).
    explain : callable, optional
        What explains a recording.

    Attributes
    ----------
    trouble : str or None
        Why the last recording could not be kept, as one line for people.
    """

    def __init__(
        self, folder: Path, settings: EvidenceSettings, history: History, explain: Explain | None = None
    ) -> None:
        self.settings = settings
        self.trouble: str | None = None
        self._keeper = Keeper(folder, history, settings.keep_days, settings.keep_gb, settings.keep_free_mb)
        self._explain = explain
        self._rings: dict[str, Ring] = {}
        self._takes: dict[str, list[_Take]] = {}
        self._healthy: dict[str, float] = self._keeper.last_healthy()
        self._disturbed: set[str] = set()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="evidence")
        self._worker.submit(self._guarded, self._begin)

    @property
    def lack(self) -> str | None:
        """Why the oldest evidence goes, if the disk lacks space; see `Keeper.lack`."""
        return self._keeper.lack

    def sound(self, machine: str, block: Block) -> None:
        """Take sound of a machine, in the order of time."""
        if not len(block.samples):
            return
        ring = self._rings.setdefault(machine, Ring(self.settings.before + _SPARE))
        takes = self._takes.get(machine, [])
        if takes and not ring.follows(block):
            self._finish(machine, takes)
            takes = []
        ring.add(block)
        for take in takes:
            take.parts.append(np.array(block.samples, dtype=np.float32))
        self._finish(machine, [take for take in takes if ring.end >= take.until])

    def event(self, event: Event) -> None:
        """Take an event; of an alarm, the sound before and after it is kept."""
        if event.kind in ("condition", "condition-over"):
            (self._disturbed.add if event.data.get("conditions") else self._disturbed.discard)(event.machine)
        ring = self._rings.get(event.machine)
        wanted = event.kind == "alarm" and "reminder" not in event.data
        if not wanted or ring is None or not (self.settings.before or self.settings.after):
            return
        began, samples = ring.since(min(event.time, ring.end) - self.settings.before)
        take = _Take(event, began, ring.end + self.settings.after, ring.sample_rate, [samples])
        self._write(take, final=not self.settings.after)
        if self.settings.after:
            self._takes.setdefault(event.machine, []).append(take)

    def judged(self, machine: str, verdict: Any, status: Any) -> None:
        """Take what was said of a clip; of healthy ones, a few a day are kept."""
        ring, daily = self._rings.get(machine), self.settings.healthy_per_day
        healthy = status.phase == "watching" and not verdict.anomalous and machine not in self._disturbed
        if ring is None or not daily or not healthy or self._takes.get(machine):
            return
        last = self._healthy.get(machine)
        if last is not None and 0 <= status.time - last < _DAY / daily:
            return
        self._healthy[machine] = status.time
        began, samples = ring.since(ring.end - self.settings.healthy_seconds)
        event = Event(f"healthy{int(status.time):x}", status.time, machine, "healthy", "info", "kept to compare with")
        self._write(_Take(event, began, ring.end, ring.sample_rate, [samples]))

    def close(self) -> None:
        """Write what is under way, and end."""
        for machine, takes in list(self._takes.items()):
            self._finish(machine, list(takes))
        self._worker.shutdown()

    def _begin(self) -> None:
        """Try what the first alarm will need, rather than find out at night that it is not there."""
        self._keeper.tidy()
        encoded(np.zeros((_RATE, 1), np.float32), _RATE)

    def _finish(self, machine: str, takes: list[_Take]) -> None:
        for take in takes:
            self._takes[machine].remove(take)
            self._write(take)

    def _write(self, take: _Take, *, final: bool = True) -> None:
        samples = take.samples()
        if len(samples):
            self._worker.submit(self._guarded, self._keep, take, samples, final)
            self._worker.submit(give_back)  # after the sound, which the work before holds to its end

    def _keep(self, take: _Take, samples: Float32, final: bool) -> None:
        recording = self._keeper.keep(take.event, samples, take.sample_rate, take.began)
        facts: dict[str, Any] = {}
        if self._explain is not None and final and take.event.kind == "alarm":
            try:
                facts = dict(self._explain(take.event.machine, recording, recording.with_suffix(".png")))
            except Exception as error:  # whatever fails in a model or a picture, the sound is kept
                _log.warning("%s: cannot be explained: %s: %s", recording, type(error).__name__, error)
                facts = {"failed": f"{type(error).__name__}: {error}"}
        self._keeper.describe(recording, take.event, take.began, len(samples) / take.sample_rate, facts)
        self._keeper.tidy(clock.time())

    def _guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        """Do work of the thread; what fails is told, and the next is tried all the same."""
        try:
            work(*arguments)
            self.trouble = None
        except Exception as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            text = f"{self._keeper.folder}: evidence cannot be kept ({reason}); free space, or let it be written there"
            if text != self.trouble:
                _log.warning("%s", text)
            self.trouble = text
