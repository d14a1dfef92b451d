"""Sound that is kept: before and after each alarm, and a few healthy clips a day to compare it with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from asd.plugin import Block, Event
from asd_listen.history import History

Explain = Callable[[str, Path, Path], Mapping[str, Any]]
"""Explains a recording: called with the machine, the recording, and where a picture (PNG) may be written."""


class EvidenceSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Table ``[evidence]`` of a listener's settings.

    Parameters
    ----------
    before, after : float
        Seconds of sound that are kept before and after an alarm. Default: 15 each; 0 after: only what was before.
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


class Evidence:
    """Keeps the last seconds of each machine in memory, and writes them where they are evidence.

    Parameters
    ----------
    folder : Path
        Where recordings are kept, in a folder for each machine.
    settings : EvidenceSettings
        What is kept, and for how long.
    history : History
        Where it is written down what is kept.
    explain : callable, optional
        What explains a recording.
    """

    def __init__(
        self, folder: Path, settings: EvidenceSettings, history: History, explain: Explain | None = None
    ) -> None:
        self.folder, self.settings = folder, settings
        self._history, self._explain = history, explain

    def sound(self, machine: str, block: Block) -> None:
        """Take sound of a machine, in the order of time."""

    def event(self, event: Event) -> None:
        """Take an event; of an alarm, the sound before and after it is kept."""

    def judged(self, machine: str, verdict: Any, status: Any) -> None:
        """Take what was said of a clip; of healthy ones, a few a day are kept."""

    def close(self) -> None:
        """Write what is under way, and end."""
