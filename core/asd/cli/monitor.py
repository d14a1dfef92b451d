"""``asd monitor``: show what a monitor has seen, and tell it what was normal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from asd.cli.flags import MONITOR_IS_HERE, LocalPath, json_option, verbose_option
from asd.cli.output import print_json, print_table, reporting, say
from asd.errors import ConfigError, MonitorError

_SHOWN = 20
LOUD = ("alarm", "unlike")
_FAR = 32503680000.0
"""The year 3000."""


@click.group(invoke_without_command=True, no_args_is_help=True)
@click.argument("state", type=LocalPath("a monitor", MONITOR_IS_HERE), metavar="STATE")
@click.pass_context
def monitor(ctx: click.Context, state: Path) -> None:
    """Show what a monitor has seen, and tell it what was normal.

    STATE is the file that 'asd score MODEL DATA --monitor STATE' keeps. Without a command, it is shown.
    """
    ctx.obj = state
    if ctx.invoked_subcommand is None:
        ctx.invoke(show)


@monitor.command()
@json_option
@verbose_option
@click.pass_obj
def show(state: Path, as_json: bool, verbose: bool) -> None:
    """Show the evidence and the history."""
    from asd.detection.monitor import Monitor
    from asd.detection.monitor_state import StateFile, date

    with reporting(verbose):
        watching = Monitor.from_state(StateFile(state).read())
    if as_json:
        print_json({**summary(watching), "history": _history(watching)})
        return
    for line in described(watching):
        say(line)
    history = watching.state.history[-_SHOWN:]
    if history:
        print_table(("time", "what", "details"), [(date(each.time), each.kind, each.text) for each in history])
    if hidden := len(watching.state.history) - len(history):
        say(f"{hidden} older lines of the history: see --json.")


@monitor.command()
@click.option("--last-alarm", is_flag=True, help="All clips of the last alarm (so without any option, too).")
@click.option("--clip", metavar="NAME", help="A clip by its name, without the folder.")
@click.option("--from", "since", metavar="TIME", help="The first clip's time, such as 2026-11-26T20:15:00.")
@click.option("--to", "until", metavar="TIME", help="The last clip's time.")
@json_option
@verbose_option
@click.pass_obj
def normal(
    state: Path,
    last_alarm: bool,
    clip: str | None,
    since: str | None,
    until: str | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Say that clips were normal: they count as healthy from now on, and the evidence starts afresh."""
    if (last_alarm + (clip is not None) + (since is not None or until is not None)) > 1:
        raise ConfigError("--last-alarm, --clip and --from … --to exclude each other; choose one")
    span = None if since is None and until is None else _span(since, until)
    with reporting(verbose), _changing(state) as watching:
        from asd.detection.feedback import clips_were_normal, last_alarm_was_normal

        if clip is None and span is None:
            last_alarm_was_normal(watching)
        else:
            clips_were_normal(watching, clip=clip, span=span)
    _say(watching, as_json)


@monitor.command()
@click.option("--forget", is_flag=True, help="Forget the healthy clips that were watched, too.")
@json_option
@verbose_option
@click.pass_obj
def reset(state: Path, forget: bool, as_json: bool, verbose: bool) -> None:
    """Start the evidence afresh; the next clip may be of any time."""
    with reporting(verbose), _changing(state) as watching:
        from asd.detection.feedback import reset as restart

        restart(watching, forget=forget)
    _say(watching, as_json)


@monitor.command()
@json_option
@verbose_option
@click.pass_obj
def undo(state: Path, as_json: bool, verbose: bool) -> None:
    """Take the last 'normal' or 'reset' back; repeated, the one before."""
    with reporting(verbose), _changing(state) as watching:
        from asd.detection.feedback import undo as take_back

        take_back(watching)
    _say(watching, as_json)


def summary(watching: Any) -> dict[str, Any]:
    """Return what JSON output says of a monitor."""
    from asd.detection.evidence import log_sum

    state, evidence = watching.state, watching.state.evidence
    return {
        "phase": evidence.phase,
        "alarm": evidence.phase == "alarm",
        "since": evidence.since,
        "evidence": log_sum(0.0, watching.log_evidence) / math.log(10),
        "threshold": watching.threshold,
        "false_alarms": state.rate,
        "clip_seconds": state.clip_seconds,
        "clips_to_a_bet": state.step,
        "watched": state.watched,
        "healthy_watched": watching.bag.total + watching.accepted.total,
        "accepted_sounds": len(watching.accepted.bags),
        "needed": watching.needed,
        "last_time": evidence.last_time,
    } | ({"needed_by_state": watching.needed_by_state()} if state.states else {})


def described(watching: Any) -> Iterator[str]:
    """Yield what is to be said of a monitor, in sentences."""
    from asd.detection.monitor_state import date
    from asd.detection.rate import Rate

    facts = summary(watching)
    since = "" if facts["since"] is None else f" since {date(facts['since'])}"
    phase = facts["phase"]
    yield (
        f"{phase.upper() if phase in LOUD else phase.capitalize()}{since}: evidence of a change "
        f"{facts['evidence']:.1f}, alarm at {facts['threshold']:.1f} (decimal logarithms)."
    )
    if facts["needed"]:
        seconds = facts["needed"] * facts["clip_seconds"]
        sound = f"{seconds:.3g} seconds" if seconds < 90 else f"{seconds / 60:.3g} minutes"
        yield (
            f"Still learning: after {facts['needed']} more clips ({sound} of sound) a fault can raise "
            "the alarm. A fault that is there already will be taken for healthy."
        )
    lacking = {} if facts["needed"] else {k: n for k, n in facts.get("needed_by_state", {}).items() if n}
    if lacking:
        shown = ", ".join(f"{name} ({count} clips)" for name, count in lacking.items())
        yield f"No fault can be found yet in the states that it has hardly watched; healthy clips lacking: {shown}."
    if facts["clips_to_a_bet"] > 1:
        yield (
            f"Neighbouring clips resemble each other: evidence is taken from {facts['clips_to_a_bet']} clips at a "
            "time, and a fault is found later."
        )
    if facts["phase"] == "unlike":
        yield (
            "The sound is steady, but unlike that of the fit, or has changed slowly: a fault that was there from the "
            "start, a slow drift, or another state or place. Check the machine; if it is healthy, say 'normal'."
        )
    if facts["phase"] == "alarm":
        yield (
            "The sound has changed: a fault, or a state that the monitor does not know. Check the machine; if it is "
            "healthy, say 'normal'."
        )
    if facts["phase"] == "cleared":
        yield "An alarm is over by itself; it may come again."
    held, watched = facts["healthy_watched"], facts["watched"]
    yield f"Taken for healthy: {held} of {watched} clips watched: all outside alarms, whatever the machine was like."
    yield f"At most {Rate.of(facts['false_alarms']).words} of healthy sound that is watched, on average."


def _history(watching: Any) -> list[dict[str, Any]]:
    return [{"time": each.time, "kind": each.kind, "text": each.text} for each in watching.state.history]


def _say(watching: Any, as_json: bool) -> None:
    last = watching.state.history[-1].text
    if as_json:
        print_json({**summary(watching), "done": last})
        return
    say(f"{last[0].upper()}{last[1:]}.")
    for line in described(watching):
        say(line)


@contextmanager
def _changing(state: Path) -> Iterator[Any]:
    """Read a monitor, let it be changed inside the block, and keep it if that succeeded."""
    from asd.detection.monitor import Monitor
    from asd.detection.monitor_state import StateFile, hold

    StateFile(state).read()  # before a lock is made beside a file that is not there
    with hold(state) as file:
        watching = Monitor.from_state(file.read())
        yield watching
        watching.save(file)


def _span(since: str | None, until: str | None) -> tuple[float, float]:
    from asd.sound.times import time_from

    times = []
    for option, text, default in (("--from", since, 0.0), ("--to", until, _FAR)):
        try:
            times.append(default if text is None else time_from(text))
        except (ValueError, OverflowError, OSError):
            raise ConfigError(
                f"{option} takes a time such as 2026-11-26T20:15:00, or seconds since 1970; got {text!r}"
            ) from None
    first, last = times
    if first > last:
        raise MonitorError(f"--from {since} is after --to {until}; exchange them")
    return first, last
