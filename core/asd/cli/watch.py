"""``asd score --monitor``: the part of scoring that adds up evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asd.cli.monitor import LOUD, described, summary
from asd.cli.output import emphasised
from asd.detection.rate import Rate
from asd.errors import MonitorError
from asd.records import Clip

if TYPE_CHECKING:
    from asd.detection.monitor import Monitor

FIELDS = ("time", "evidence", "phase", "alarm")


class Watch:
    """A monitor that watches the clips of one command.

    Parameters
    ----------
    path : Path
        The monitor's file.
    false_alarms : Rate or None
        As for `asd.detection.monitor.Monitor.open`.

    Attributes
    ----------
    alarm : bool
        Whether the alarm was raised, or stands, or the sound is unlike that of the fit.
    """

    def __init__(self, path: Path, false_alarms: Rate | None) -> None:
        self.path = path
        self.alarm = False
        self._false_alarms = false_alarms
        self._times: dict[Clip, float] = {}
        self._monitor: Monitor | None = None

    @contextmanager
    def opened(self, model: Any, data: Iterable[str], clips: Sequence[Clip]) -> Iterator[list[Clip]]:
        """Open the monitor inside the block, and give the clips to watch, in the order of time."""
        from asd.detection.monitor import Monitor
        from asd.sound.times import in_time_order

        timed, source = in_time_order(data, clips)
        with Monitor.open(self.path, model, self._false_alarms) as monitor:
            self._monitor = monitor
            self.alarm = monitor.state.evidence.phase in LOUD
            click.echo(f"asd: clips in the order of {source}", err=True)
            last = monitor.state.evidence.last_time
            monitor.check_clock()
            older = [each for each in timed if last is not None and each.time <= last]
            if older:
                click.echo(
                    f"asd: {len(older)} of {len(timed)} clips are not newer than the last clip watched: left out",
                    err=True,
                )
            self._times = {each.clip: each.time for each in timed[len(older) :]}
            for clip, time in list(self._times.items()):
                try:
                    monitor.check_time(str(clip), time)
                except MonitorError as error:
                    click.echo(f"asd: left out: {error}", err=True)
                    del self._times[clip]
            yield list(self._times)

    def added(self, row: dict[str, Any], verdict: Any) -> dict[str, Any]:
        """Watch a clip, and return its row with the fields of the monitor."""
        assert self._monitor is not None
        status = self._monitor.update(verdict, self._times[verdict.clip])
        self.alarm = self.alarm or status.phase in LOUD
        return {
            **row,
            "notes": [*row["notes"], *status.notes],
            "time": status.time,
            "evidence": status.evidence,
            "phase": status.phase,
            "alarm": status.alarm,
        }

    def summary(self) -> dict[str, Any]:
        """Return what JSON output says of the monitor."""
        return {"file": str(self.path), **summary(self._monitor)}

    def sentences(self) -> Iterator[str]:
        """Yield what is to be said of the monitor."""
        yield from described(self._monitor)
        if summary(self._monitor)["phase"] in LOUD:
            yield f"If that was normal: asd monitor {self.path} normal"

    @staticmethod
    def columns(rows: Sequence[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Return the titles and the cells of the monitor's columns of the table."""
        from asd.detection.monitor_state import date

        states = any(row.get("state") for row in rows)
        cells: list[tuple[Any, ...]] = []
        for row in rows:
            if row["error"]:
                cells.append(("",) * (3 + states))
                continue
            phase = emphasised(row["phase"].upper(), "bold red") if row["phase"] in LOUD else row["phase"]
            state = (row["state"],) if states else ()
            cells.append((phase, f"{row['evidence']:.1f}", date(row["time"]), *state))
        return ("monitor", "evidence", "time", *(("state",) if states else ())), cells
