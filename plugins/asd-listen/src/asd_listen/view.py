"""What a listener shows: a table that lives on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import datetime
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import click

from asd_listen.machine import Machine
from asd_listen.times import span

_EVENTS = 8
_REFRESHED = 0.25
_REPORTED = 3600.0
"""Seconds between two reports where lines are shown."""
_LOUD = {"alarm": "bold red", "warning": "yellow", "info": ""}
_PHASES = {"alarm": "bold red", "unlike": "yellow", "watching": "green", "cleared": "green", "learning": "cyan"}
_BAR = 10
_QUIETEST = -90.0


class Listening(Protocol):
    """What is shown of a listener."""

    machines: list[Machine]
    latency: float
    clips: int

    @property
    def outbox(self) -> Any:
        """The queues of the sinks."""


class Said:
    """The last lines for people; several threads may add some."""

    def __init__(self, *, echo: bool) -> None:
        self._echo = echo
        self._lines: deque[tuple[float, str, str]] = deque(maxlen=_EVENTS)
        self._lock = threading.Lock()

    def __call__(self, text: str, severity: str) -> None:
        """Add a line."""
        with self._lock:
            self._lines.append((time.time(), text, severity))
        if self._echo:
            mark = {"alarm": "ALARM: ", "warning": "warning: "}.get(severity, "")
            with contextlib.suppress(OSError):  # a full disk or a closed pipe must not end the listening
                click.echo(f"{_clock(time.time(), date=True)} {mark}{printable(text)}")

    def last(self) -> list[tuple[float, str, str]]:
        """Return the last lines, the oldest first."""
        with self._lock:
            return list(self._lines)


def printable(text: str) -> str:
    """Return text without what would move a terminal's cursor."""
    return "".join(each if each.isprintable() else " " for each in text)


def opening(machines: Sequence[Machine], latency: float) -> Iterator[str]:
    """Yield what is said at the start: what is listened to, how soon it is judged, what is promised, and the phase."""
    for machine in machines:
        scorer, monitor = machine.scorer, machine.monitor
        clip = f"clips of {scorer.seconds:.3g} s, one every {scorer.hop:.3g} s"
        yield f"{machine.name}: {machine.feed.source.origin or type(machine.feed.source).__name__}; {clip}"
        yield (
            f"  decision: {latency:.1f} s after a clip ends; the evidence counts clips that share no sound, one every "
            f"{scorer.seconds:.3g} s"
        )
        yield f"  promise: {promise_of(monitor)}"
        yield f"  phase: {phase_of(machine)}"


def promise_of(monitor: Any) -> str:
    """Return the promise in words."""
    return f"{monitor.promise} in sound that is watched"


def phase_of(machine: Machine) -> str:
    """Return the monitor's phase in words."""
    monitor = machine.monitor
    phase = monitor.state.evidence.phase
    if phase == "learning" and monitor.needed:
        seconds = monitor.needed * machine.scorer.seconds
        return f"learning: {monitor.needed} more healthy clips, {span(seconds)}, until an alarm is possible"
    return str(phase)


def lines(listener: Listening, stop: threading.Event) -> None:
    """Write a report each hour until `stop` is set; events are written as they come."""
    until = time.monotonic() + _REPORTED
    while not stop.wait(0.2):
        if time.monotonic() >= until:
            until += _REPORTED
            for machine in listener.machines:
                click.echo(f"{_clock(time.time(), date=True)} {printable(machine.name)}: {report_of(machine)}")


def report_of(machine: Machine) -> str:
    """Return level, evidence and phase of a machine in a line."""
    level = "no sound yet" if machine.second is None else f"{machine.second.level:.0f} dB"
    found = machine.conditions.standing
    if found:
        return f"{level}, {'; '.join(found.values())}"
    monitor = machine.monitor
    evidence = f"evidence {evidence_of(monitor):.1f} of {monitor.threshold:.1f}"
    return f"{level}, {evidence}, {phase_of(machine)}"


def evidence_of(monitor: Any) -> float:
    """Return the evidence as `asd.Status` states it."""
    return float(max(0.0, monitor.evidence))


def live(listener: Listening, said: Said, stop: threading.Event) -> None:
    """Show a table on the terminal until `stop` is set."""
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(), auto_refresh=False, transient=True) as shown:
        while True:
            shown.update(table(listener, said), refresh=True)
            if stop.wait(_REFRESHED):
                return


def table(listener: Listening, said: Said) -> Any:
    """Return the table: a row for each machine, and the last events below."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    rows.add_column("machine", overflow="fold", ratio=2)
    rows.add_column("level", no_wrap=True)
    rows.add_column("evidence", no_wrap=True)
    rows.add_column("state", overflow="fold", ratio=3)
    for machine in listener.machines:
        rows.add_row(Text(printable(machine.name)), _level(machine), _evidence(machine), _state(machine))
    parts: list[Any] = [rows]
    for moment, text, severity in said.last():
        parts.append(Text(f"{_clock(moment)} {printable(text)}", style=_LOUD[severity]))
    parts += [Text(each, style="yellow") for each in _sinks(listener)]
    parts.append(Text(f"{_clock(time.time())}  {listener.clips} clips judged, Ctrl-C ends", style="dim"))
    return Group(*parts)


def _level(machine: Machine) -> Any:
    from rich.text import Text

    if machine.second is None:
        return Text("–")
    share = max(0.0, min(1.0, 1 - machine.second.level / _QUIETEST))
    return Text(f"{_bar(share)} {max(machine.second.level, -99):3.0f} dB")


def _evidence(machine: Machine) -> Any:
    from rich.text import Text

    monitor = machine.monitor
    evidence = evidence_of(monitor)
    style = _PHASES.get(monitor.state.evidence.phase, "")
    return Text(f"{_bar(min(1.0, evidence / monitor.threshold))} {evidence:.1f}/{monitor.threshold:.1f}", style=style)


def _state(machine: Machine) -> Any:
    from rich.text import Text

    found = machine.conditions.standing
    if found:
        return Text(printable("; ".join(found.values())), style="yellow")
    phase = machine.monitor.state.evidence.phase
    text = phase.upper() if phase == "alarm" else phase
    if phase == "learning" and machine.monitor.needed:
        text = f"learning, {span(machine.monitor.needed * machine.scorer.seconds)} to go"
    verdict = machine.verdict
    clip = "" if verdict is None else f", p = {verdict.p_value:.2f}"
    return Text(f"{text}{clip}", style=_PHASES.get(phase, ""))


def _sinks(listener: Listening) -> Iterator[str]:
    for each in listener.outbox.states():
        if each.error:
            yield f"sink {each.name}: {each.waiting} events wait: {printable(each.error)}"


def _bar(share: float) -> str:
    filled = round(share * _BAR)
    return "█" * filled + "·" * (_BAR - filled)


def _clock(moment: float, *, date: bool = False) -> str:
    local = datetime.datetime.fromtimestamp(moment)
    return f"{local:%Y-%m-%d %H:%M:%S}" if date else f"{local:%H:%M:%S}"
