"""``asd history``: what a listener kept, and what people say of it."""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from asd.command import LocalPath, emphasised, json_option, print_json, print_table, reporting, verbose_option
from asd.errors import ConfigError
from asd_listen.pages import said_of
from asd_listen.reader import TABLES, Reader
from asd_listen.sinks.content import line
from asd_listen.times import local, moment_of

_SHOWN = 20
_COLUMNS = {
    "verdicts": ("time", "machine", "phase", "evidence", "p_value", "score", "clip"),
    "events": ("time", "id", "severity", "kind", "text", "acknowledged"),
    "conditions": ("began", "over", "machine", "name", "text"),
    "levels": ("time", "machine", "seconds", "level"),
    "feedback": ("time", "machine", "kind", "data", "answer"),
    "evidence": ("began", "machine", "kind", "event", "file", "bytes", "reason"),
    "deliveries": ("time", "sink", "state", "attempts", "event", "error"),
    "machines": ("name", "seen", "monitor"),
}
_TIMES = {"time", "began", "over", "acknowledged", "seen"}
_COLOURS = {"alarm": "bold red", "warning": "yellow"}


def _chosen(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose rows."""
    for option in (
        click.option("--until", metavar="TIME", help="Only what was before: as --since."),
        click.option("--since", metavar="TIME", help="Only what is later: 24h, 7d, or 2026-11-26T20:15:00 (local)."),
        click.option("--machine", metavar="NAME", help="Only one machine."),
        click.option("--table", type=click.Choice(TABLES), default="events", show_default=True, help="What of it."),
    ):
        command = option(command)
    return command


@click.group(invoke_without_command=True, no_args_is_help=True)
@click.argument("history", type=LocalPath(), metavar="HISTORY")
@click.pass_context
def history(ctx: click.Context, history: Path) -> None:
    """Show, export and back up what a listener kept; acknowledge and note alarms, say what was normal.

    HISTORY is the file, or the folder, that 'asd listen' keeps; it may be running. Without a command, the last events
    are shown.
    """
    ctx.obj = history
    if ctx.invoked_subcommand is None:
        ctx.invoke(show)


@history.command()
@_chosen
@click.option("--last", type=click.IntRange(min=1), metavar="N", help=f"So many rows.  [default: {_SHOWN}; JSON: all]")
@json_option
@verbose_option
@click.pass_obj
def show(
    path: Path,
    table: str,
    machine: str | None,
    since: str | None,
    until: str | None,
    last: int | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Show events, or another table; the last rows."""
    with reporting(verbose), Reader(path) as reader:
        chosen = _choice(reader, machine, since, until)
        if as_json:
            print_json(list(reader.rows(table, **chosen, last=last)))
            return
        columns = _COLUMNS[table]
        rows = list(reader.rows(table, **chosen, last=last or _SHOWN))
        if table == "events":
            for each in _standing(reader):
                click.echo(each)
        if not rows:
            click.echo(f"No {table}{' in that time' if since or until else ''}.")
            return
        print_table(
            [name.replace("_", " ") for name in columns], [[_cell(row, name) for name in columns] for row in rows]
        )


@history.command()
@_chosen
@click.option("-o", "--output", type=LocalPath(), required=True, help="A new file: .csv or .parquet.")
@verbose_option
@click.pass_obj
def export(
    path: Path, table: str, machine: str | None, since: str | None, until: str | None, output: Path, verbose: bool
) -> None:
    """Write a table to a file, CSV or Parquet by its suffix."""
    from asd_listen.export import export as write

    with reporting(verbose), Reader(path) as reader:
        rows = reader.rows(table, **_choice(reader, machine, since, until))
        count = write(rows, reader.columns(table), output)
    click.echo(f"{output}: {count} rows.")


@history.command()
@click.argument("event")
@click.option("--by", default="", metavar="NAME", help="Who has seen it.")
@verbose_option
@click.pass_obj
def ack(path: Path, event: str, by: str, verbose: bool) -> None:
    """Acknowledge EVENT, by its id or the beginning of it: somebody takes care."""
    from asd_listen.remarks import acknowledge

    with reporting(verbose):
        found = acknowledge(path, event, by)
    click.echo(f"Acknowledged: {line(found['text'])}.")
    _say_when(path)


@history.command()
@click.argument("machine")
@click.option("--clip", metavar="NAME", help="A clip by its name, without the folder.")
@click.option("--from", "since", metavar="TIME", help="The first clip's time, as --since of 'show'.")
@click.option("--to", "until", metavar="TIME", help="The last clip's time.")
@verbose_option
@click.pass_obj
def normal(path: Path, machine: str, clip: str | None, since: str | None, until: str | None, verbose: bool) -> None:
    """Say that clips of MACHINE were normal: those of the last alarm, or the ones named."""
    from asd_listen.remarks import remark

    if clip is not None and (since is not None or until is not None):
        raise ConfigError("--clip and --from … --to exclude each other; choose one")
    now = clock.time()
    data: dict[str, Any] = {}
    if clip is not None:
        data = {"clip": clip}
    elif since is not None or until is not None:
        first = 0.0 if since is None else moment_of("--from", since, now)
        last = now if until is None else moment_of("--to", until, now)
        if first > last:
            raise ConfigError(f"--from {since} is after --to {until}; exchange them")
        data = {"since": first, "until": last}
    with reporting(verbose):
        remark(path, machine, "normal", data)
    click.echo(f"Noted: {'the clips named' if data else 'all clips of the last alarm'} of {line(machine)} were normal.")
    _say_when(path)


@history.command()
@click.argument("event")
@click.option("--by", default="", metavar="NAME", help="Who says so.")
@click.option("--undo", "is_undone", is_flag=True, help="Take it back, or that it was normal.")
@verbose_option
@click.pass_obj
def fault(path: Path, event: str, by: str, is_undone: bool, verbose: bool) -> None:
    """Say that the alarm EVENT, by its id or the beginning of it, was a fault."""
    from asd_listen.remarks import judge, unjudge

    with reporting(verbose):
        found = unjudge(path, event, by) if is_undone else judge(path, event, "fault", by)
    click.echo(f"Noted: {line(found['text'])}: {'its judgement is taken back' if is_undone else 'it was a fault'}.")
    _say_when(path)


@history.command()
@click.argument("event")
@click.argument("text", required=False)
@click.option("--by", default="", metavar="NAME", help="Who writes it.")
@click.option("--withdraw", "number", type=int, metavar="N", help="Take the note of this number back.")
@verbose_option
@click.pass_obj
def note(path: Path, event: str, text: str | None, by: str, number: int | None, verbose: bool) -> None:
    """Write TEXT beside EVENT, by its id or the beginning of it; without TEXT, show what was written."""
    from asd_listen.remarks import note as write
    from asd_listen.remarks import withdraw

    if text is not None and number is not None:
        raise ConfigError("TEXT and --withdraw exclude each other; choose one")
    with reporting(verbose):
        if text is not None:
            click.echo(f"Note {write(path, event, text, by)} is written.")
        elif number is not None:
            withdraw(path, event, number, by)
            click.echo(f"Note {number} is taken back.")
        else:
            _show_notes(path, event)


def _show_notes(path: Path, event: str) -> None:
    with Reader(path) as reader:
        found = reader.find_event(event)["id"]
        notes = said_of(reader, [found])[found].notes
    if not notes:
        click.echo(f"No notes on {found}.")
        return
    rows = [[each["id"], local(each["time"]), line(each["by"]), line(each["text"], 1000)] for each in notes]
    print_table(["note", "time", "by", "text"], rows)


@history.command()
@click.argument("machine")
@verbose_option
@click.pass_obj
def undo(path: Path, machine: str, verbose: bool) -> None:
    """Take the last 'normal' of MACHINE back."""
    from asd_listen.remarks import remark

    with reporting(verbose):
        remark(path, machine, "undo", {})
    click.echo(f"Noted: the last 'normal' of {line(machine)} is taken back.")
    _say_when(path)


@history.command()
@click.argument("file", type=LocalPath())
@verbose_option
@click.pass_obj
def backup(path: Path, file: Path, verbose: bool) -> None:
    """Copy all that is kept to FILE.zip, or the history alone to FILE.sqlite; the listener may be running.

    The archive holds the history, the sound kept around alarms, the monitors and, where 'asd serve' uses the same
    folder, its keys, sessions, models and recordings.
    """
    from asd_listen.archive import back_up_all, is_archive, spoken
    from asd_listen.remarks import back_up

    with reporting(verbose):
        listing = back_up_all(path, file) if is_archive(file) else None
        if listing is None:
            back_up(path, file)
    held = "the history alone; FILE.zip holds all" if listing is None else spoken(listing)
    click.echo(f"{file}: {file.stat().st_size / 1e6:.1f} MB: {held}.")


@history.command()
@click.argument("file", type=LocalPath())
@click.option("--force", is_flag=True, help="Put what is there aside, into a folder 'before-restore-TIME'.")
@verbose_option
@click.pass_obj
def restore(path: Path, file: Path, force: bool, verbose: bool) -> None:
    """Put back what 'backup' wrote to FILE, verified before anything is touched; no listener may be running."""
    from asd_listen.archive import spoken
    from asd_listen.restore import restore as put_back

    with reporting(verbose):
        listing, aside = put_back(path, file, force=force)
    click.echo(f"{path}: put back: {'the history alone' if listing is None else spoken(listing)}.")
    if aside is not None:
        click.echo(f"What was there before is in {aside}.")


@history.command()
@verbose_option
@click.pass_context
def check(ctx: click.Context, verbose: bool) -> None:
    """Look for damage in the whole file; exit code 2 if there is any."""
    with reporting(verbose), Reader(ctx.obj) as reader:
        found = reader.check()
    for each in found:
        click.echo(line(each))
    click.echo(f"{len(found)} faults found; put back a backup: 'restore FILE'." if found else "The history is whole.")
    ctx.exit(2 if found else 0)


def _choice(reader: Reader, machine: str | None, since: str | None, until: str | None) -> dict[str, Any]:
    now = clock.time()
    chosen: dict[str, Any] = {"machine": machine}
    if since is not None:
        chosen["since"] = moment_of("--since", since, now)
    if until is not None:
        chosen["until"] = moment_of("--until", until, now)
    if since is not None and until is not None and chosen["since"] > chosen["until"]:
        raise ConfigError(f"--since {since} is after --until {until}; exchange them")
    if machine is not None and machine not in (known := reader.machines()):
        raise ConfigError(f"--machine {machine!r}: the history knows {', '.join(map(repr, known)) or 'no machine'}")
    return chosen


def _standing(reader: Reader) -> list[str]:
    """Return what is at fault at present, a line each."""
    standing = [row for row in reader.rows("conditions") if row["over"] is None]
    return [line(f"Since {local(row['began'])}: {row['machine'] or 'listener'}: {row['text']}") for row in standing]


def _cell(row: dict[str, Any], name: str) -> Any:
    value = row[name]
    if value is None:
        return ""
    if name in _TIMES:
        return local(value)
    if name == "severity":
        return emphasised(value, _COLOURS.get(value, ""))
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return line(str(value), 1000)


def _say_when(path: Path) -> None:
    from asd_listen.remarks import is_listening

    if not is_listening(path):
        click.echo("No listener is running: it takes effect when 'asd listen' starts.")
