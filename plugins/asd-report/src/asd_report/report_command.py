"""``asd report``: one page about a clip, a folder, a day, or an evaluation."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import click

from asd.command import (
    LocalPath,
    PathOrUrl,
    json_option,
    print_json,
    reporting,
    runtime_from,
    runtime_options,
    trust_option,
    verbose_option,
)
from asd.errors import ConfigError
from asd.plugin import as_path
from asd_report.output import check_output, write_output


@click.command()
@click.argument("model_file", type=PathOrUrl(), metavar="MODEL")
@click.argument("data", nargs=-1, metavar="[DATA...]")
@click.option("-o", "--output", type=PathOrUrl(), required=True, metavar="FILE.html", help="The page.")
@click.option("--normal", multiple=True, metavar="DATA", help="Recordings that are known to be healthy.")
@click.option("--anomalous", multiple=True, metavar="DATA", help="Recordings that are known to be faulty.")
@click.option(
    "--monitor",
    "monitor_file",
    type=LocalPath("a monitor", "it is locked while it is used"),
    metavar="STATE",
    help="Go on from this monitor's evidence; its file is only read.",
)
@click.option("--day", metavar="YYYY-MM-DD", help="Only clips of this day.")
@click.option(
    "--healthy", multiple=True, metavar="DATA", help="As for 'asd explain'; healthy clips can be played, too."
)
@click.option(
    "--details",
    type=click.IntRange(0),
    default=12,
    show_default=True,
    help="How many of the most unusual clips to explain.",
)
@click.option("--title", metavar="TEXT", help="Heading; default: the names of what is reported on.")
@click.option("--no-audio", is_flag=True, help="Put no sound into the page.")
@click.option("--force", is_flag=True, help="Overwrite an existing page.")
@json_option
@runtime_options
@trust_option
@verbose_option
def report(
    model_file: Path,
    data: tuple[str, ...],
    output: Path,
    normal: tuple[str, ...],
    anomalous: tuple[str, ...],
    monitor_file: Path | None,
    day: str | None,
    healthy: tuple[str, ...],
    details: int,
    title: str | None,
    no_audio: bool,
    force: bool,
    as_json: bool,
    device: str,
    precision: str,
    batch_size: str,
    workers: int,
    trust: bool,
    verbose: bool,
) -> None:
    """Write a page about recordings: evidence over time, verdicts, explanations, calibration, and the model.

    DATA is files, folders, glob patterns or CSV manifests. With --normal and --anomalous it is an evaluation. The page
    is one file that needs no network, and holds the sound of the clips that it explains.
    """
    if not (data or normal or anomalous):
        raise ConfigError("no recordings were given; name files or folders, or --normal and --anomalous")
    check_output(output, (".html", ".htm"), force=force)
    chosen = None if day is None else _day(day)
    with reporting(verbose):
        import asd
        from asd_report.gather import Wish, gather
        from asd_report.sheet import render

        model = asd.load(model_file, runtime=runtime_from(device, precision, batch_size), trust=trust)
        wish = Wish(
            {None: data, "healthy": normal, "faulty": anomalous},
            healthy,
            chosen,
            monitor_file,
            details,
            workers=workers,
        )
        found = gather(model, model_file.name, wish)
        heading = title or _heading(data or (*normal, *anomalous), chosen)
        content = render(found, heading, audio=not no_audio).encode()
        write_output(output, content)
    left_out = len(found.rows) - len(found.judged)
    if as_json:
        print_json(_summary(output, found, left_out, len(content)))
        return
    click.echo(
        f"Wrote {output} ({len(content) / 1e6:.1f} MB): {found.anomalous} of {len(found.judged)} clips are anomalous"
        + (f", {left_out} could not be read." if left_out else ".")
    )


def _summary(output: Path, found: Any, left_out: int, size: int) -> dict[str, Any]:
    return {
        "file": str(output),
        "bytes": size,
        "clips": len(found.judged),
        "anomalous": found.anomalous,
        "left_out": left_out,
        "explained": sum(row.explanation is not None for row in found.explained),
    }


def _day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--day takes a date such as 2026-11-27, got {text!r}") from None


def _heading(data: tuple[str, ...], day: datetime.date | None) -> str:
    names = [as_path(each).name or each for each in data[:3]]
    return ", ".join(names) + (", …" if len(data) > len(names) else "") + (f", {day}" if day else "")
