"""``asd score``: score recordings, normal or anomalous."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

from asd.cli.flags import (
    MONITOR_IS_HERE,
    LocalPath,
    by_option,
    cache_option,
    json_option,
    named_path,
    strict_option,
    trust_option,
    verbose_option,
)
from asd.cli.judging import Given, Judge, judged_by_machine, judged_here, judged_there
from asd.cli.options import false_alarms_option, hourly, runtime_from, runtime_options
from asd.cli.output import emphasised, print_json, print_table, reporting, say
from asd.cli.watch import FIELDS, Watch
from asd.detection.rate import Rate
from asd.errors import AsdError, ConfigError, DataError
from asd.files.address import shared_folder
from asd_registry.text import counted

STATE_FIELDS = ("state", "state_p_value")


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@false_alarms_option
@click.option(
    "--segment",
    default="auto",
    show_default=True,
    metavar="SECONDS|none|auto",
    help="Cut recordings into clips; auto: as the model was fitted, and what is over twice as long as its clips.",
)
@click.option(
    "--monitor",
    "monitor_file",
    type=LocalPath("a monitor", MONITOR_IS_HERE),
    metavar="STATE",
    help="Add up evidence over clips, in the order of time, in this file; --false-alarms is then of the monitor.",
)
@click.option(
    "--state",
    metavar="COLUMN|folder",
    help="What names the operating state of each clip, where the model was fitted with --group; its sound tells, else.",
)
@by_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV to stdout, a row as soon as it is known.")
@runtime_options
@cache_option
@strict_option
@trust_option
@verbose_option
@click.pass_context
def score(
    ctx: click.Context,
    /,
    model: str,
    data: tuple[str, ...],
    false_alarms: Rate | None,
    false_alarms_per_hour: float | None,
    segment: str,
    monitor_file: Path | None,
    state: str | None,
    by: str | None,
    as_json: bool,
    as_csv: bool,
    device: str,
    precision: str,
    batch_size: str,
    workers: int,
    cache: bool,
    strict: bool,
    trust: bool,
    verbose: bool,
) -> None:
    """Score recordings with a model: exit code 0 if all are normal, 1 if one is anomalous, 2 on an error.

    MODEL is a file, here or elsewhere (s3://…; https://… that ends with .asd), a folder of models of many machines (asd
    fit --by), or an address on a server of 'asd serve', such as http://host:8787/pump, whose key ASD_KEY holds.
    DATA is files, folders, glob patterns, here or by address (s3://…), or a CSV manifest with a column 'path'. A clip
    that cannot be read is reported and left out; --strict stops there. With --monitor the exit code is 1 if the monitor
    raised the alarm, or it still stands, and clips that it has watched before are left out.
    """
    if as_json and as_csv:
        raise ConfigError("--json and --csv exclude each other; choose one")
    with reporting(verbose):
        watch = None if monitor_file is None else Watch(monitor_file, false_alarms)
        rate = hourly(None if watch else false_alarms, false_alarms_per_hour)
        from asd.detection.cutting import segment_from
        from asd.files.address import is_server

        given: Given = {"data": data, "segment": segment_from(segment), "state": state, "rate": rate}
        if is_server(model):
            judging: AbstractContextManager[Judge] = judged_there(ctx, model, **given)
        else:
            loading = {"runtime": runtime_from(device, precision, batch_size), "cache": cache, "trust": trust}
            judging = _judged(named_path(model), by, watch, workers, loading, given)
        with judging as judge:
            fields = _fields(judge, watch)
            rows = (_row(result, strict, watch, fields) for result in judge.results)
            written = _write_csv(rows, fields) if as_csv else list(rows)
    if as_json:
        _write_json(written, judge, watch)
    elif not as_csv:
        _write_table(written, watch, judge)
    if written and all(row["error"] for row in written):
        raise DataError(f"no clip could be {judge.verb}: {written[0]['error']}")
    if watch.alarm if watch else any(row["anomalous"] for row in written):
        ctx.exit(1)


def _judged(
    model: Path, by: str | None, watch: Watch | None, workers: int, loading: dict[str, Any], given: Given
) -> AbstractContextManager[Judge]:
    """Return who judges on this computer."""
    if model.is_dir():
        return judged_by_machine(model, by, watch, workers, loading, **given)
    if by is not None:
        raise ConfigError(f"--by tells the machines of a folder of models; {model} is one model: leave it out")
    return judged_here(model, watch, workers, loading, **given)


def _row(result: Any, strict: bool, watch: Watch | None, fields: tuple[str, ...]) -> dict[str, Any]:
    from asd.detection.pipeline import Failure

    if isinstance(result, Failure):
        if strict:
            raise result.error
        click.echo(f"asd: left out: {result.error}", err=True)
        return {**dict.fromkeys(fields), "notes": [], "unusual_in": [], "branches": [], **result.as_dict()}
    row = {**result.as_dict(), "error": None}
    return watch.added(row, result) if watch else row


def _fields(judge: Judge, watch: Watch | None) -> tuple[str, ...]:
    """Return the columns of CSV output."""
    own = (
        *(("machine",) if judge.machines else ()),
        "clip",
        "score",
        "p_value",
        "anomalous",
        "peak_seconds",
        "notes",
        "error",
    )
    added = (*(("unusual_in",) if judge.several else ()), *(STATE_FIELDS if judge.states else ()))
    return (*own, *added, *(FIELDS if watch else ()))


def _write_csv(rows: Iterable[dict[str, Any]], fields: tuple[str, ...]) -> list[dict[str, Any]]:
    """Write each row when it is known; keep only what the exit code needs."""
    writer = csv.DictWriter(sys.stdout, fields, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    kept = []
    try:
        for row in rows:
            writer.writerow({**row, "notes": "; ".join(row["notes"]), "unusual_in": "; ".join(row["unusual_in"])})
            sys.stdout.flush()
            kept.append({"anomalous": row["anomalous"], "error": row["error"]})
    except KeyboardInterrupt:
        raise AsdError(f"interrupted; the rows of {counted(len(kept), 'clip')} were written") from None
    return kept


def _write_json(rows: list[dict[str, Any]], judge: Judge, watch: Watch | None) -> None:
    monitor = {"monitor": watch.summary()} if watch else {}
    decision = {"decisions" if judge.machines else "decision": judge.decision()}
    print_json({"clips": rows, "summary": _counts(rows), **decision, **monitor})


def _write_table(rows: list[dict[str, Any]], watch: Watch | None, judge: Judge) -> None:
    # Fused scores say no more than their p-values, and those of several machines cannot be compared.
    score = () if judge.several or judge.machines else ("score",)
    unusual = ("at", "unusual in") if judge.several else ("most unusual at",)
    titles, cells = watch.columns(rows) if watch and rows else ((), [()] * len(rows))
    rows, folder = _without_folder(rows)
    if judge.machines:
        titles, cells = ("machine",), [(row.get("machine") or "?",) for row in rows]
    if folder:
        say(f"Recordings in {folder}:")
    if rows:
        print_table(
            ("verdict", "p-value", "clip", *titles, *score, *unusual, "notes"),
            [_cells(row, judge.several, added, len(score)) for row, added in zip(rows, cells, strict=True)],
        )
    counts = _counts(rows)
    left_out = f", {counts['left_out']} left out" if counts["left_out"] else ""
    named = {row.get("machine") for row in rows} - {None}
    clips = counted(counts["clips"], "clip") + (f" of {counted(len(named), 'machine')}" if judge.machines else "")
    say(f"{clips}: {counts['anomalous']} anomalous, {counts['normal']} normal{left_out}.")
    for line in (watch.sentences() if watch else ()) or (_of_machines(rows) if judge.machines else ()):
        say(line)


def _of_machines(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield which machines have anomalous clips, and how many."""
    all_of, anomalous = (Counter(row.get("machine") for row in rows if test(row)) for test in (bool, _is_anomalous))
    if anomalous:
        yield (
            "Anomalous: " + ", ".join(f"{name} ({count} of {all_of[name]})" for name, count in anomalous.items()) + "."
        )


def _is_anomalous(row: dict[str, Any]) -> bool:
    return bool(row["anomalous"])


def _without_folder(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """Return rows whose clips are named without the folder that all are in, and that folder; "" if there is none."""
    folder = shared_folder(row["clip"] for row in rows)
    cut = len(folder) + 1 if folder else 0
    return [{**row, "clip": row["clip"][cut:]} for row in rows], folder


def _cells(row: dict[str, Any], several: bool, added: tuple[Any, ...], scores: int) -> tuple[Any, ...]:
    """Return the cells of a row; `added` are those of a monitor or the machine, `scores`: how many show the score."""
    if row["error"]:
        reason = row["error"].rpartition(f"{row['clip']}: ")[2]
        return (emphasised("left out", "yellow"), "", row["clip"], *added, *[""] * (scores + 1 + several), reason)
    verdict = emphasised("ANOMALOUS", "bold red") if row["anomalous"] else emphasised("normal", "green")
    peak = f"{row['peak_seconds']:.1f} s"
    score = (f"{row['score']:.4g}",) * scores
    unusual = (peak, ", ".join(row["unusual_in"])) if several else (peak,)
    notes = "; ".join([*_reasons(row), *row["notes"]])
    return (verdict, f"{row['p_value']:.3f}", row["clip"], *added, *score, *unusual, notes)


def _reasons(row: dict[str, Any]) -> list[str]:
    """Return the foremost reason of each branch that an anomalous clip is unusual in, the only branch's too."""
    if not row["anomalous"]:
        return []
    named = row["unusual_in"] or [branch["name"] for branch in row["branches"]]
    return [branch["reasons"][0]["text"] for branch in row["branches"] if branch["name"] in named and branch["reasons"]]


def _counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    left_out = sum(row["error"] is not None for row in rows)
    anomalous = sum(bool(row["anomalous"]) for row in rows)
    return {
        "clips": len(rows),
        "anomalous": anomalous,
        "normal": len(rows) - anomalous - left_out,
        "left_out": left_out,
    }
