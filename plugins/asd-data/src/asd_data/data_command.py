"""``asd data``: list, fetch, verify and show data sets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from asd.command import (
    DottedCommand,
    LocalPath,
    create,
    given_parameters,
    json_option,
    offline_option,
    print_json,
    print_table,
    registry,
    reporting,
    verbose_option,
)
from asd.errors import DataError
from asd.plugin import Dataset, RemoteFile, is_offline
from asd_data import fetch as fetching
from asd_data.checks import LABELS, Part, absent_from, parts_of, problems_of

_PATH = LocalPath()


class DatasetCommand(DottedCommand):
    """A command that takes ``--dataset.PARAMETER VALUE`` for each parameter of the data set."""

    kinds = ("dataset",)
    hint = (
        "The data set's parameters: --dataset.NAME followed by a value, such as --dataset.machines fan,pump; "
        "'asd plugins show DATASET' lists them."
    )


def _dataset(ctx: click.Context, name: str) -> Dataset:
    return create("dataset", name, given_parameters(ctx).get("dataset", {}))


@click.group()
def data() -> None:
    """List, fetch, verify and show data sets.

    DATASET is a name of 'asd data list'. Choose its machines, subset or noise level by --dataset.NAME VALUE.
    """


@data.command("list")
@json_option
@verbose_option
def list_(as_json: bool, verbose: bool) -> None:
    """List the installed data sets with their licences."""
    with reporting(verbose):
        specs = [component.spec for component in registry().of_kind("dataset")]
    if as_json:
        print_json([{"name": s.name, "summary": s.summary, "licence": s.licence} for s in specs])
    else:
        print_table(("data set", "what", "licence"), [(s.name, s.summary, s.licence) for s in specs])


@data.command(cls=DatasetCommand)
@click.argument("name", metavar="DATASET")
@click.argument("folder", required=False, type=_PATH)
@json_option
@verbose_option
@click.pass_context
def show(ctx: click.Context, name: str, folder: Path | None, as_json: bool, verbose: bool) -> None:
    """Show a data set and the recordings of it in FOLDER.

    Shows its licence, layout and downloads. With FOLDER also counts the clips in it.
    """
    with reporting(verbose):
        dataset = _dataset(ctx, name)
        spec = registry().find("dataset", name).spec
        described = {
            "name": spec.name,
            "summary": spec.summary,
            "licence": spec.licence,
            "source": getattr(dataset, "source", None),
            "channel": dataset.channel,
            "protocol": getattr(dataset, "protocol", None),
            "parameters": dataset.get_params(),
            "downloads": [_remote(remote) for remote in dataset.downloads()],
        }
        parts = None if folder is None else parts_of(dataset.recordings(folder))
    if as_json:
        print_json(described if parts is None else {**described, "parts": [part.as_dict() for part in parts]})
        return
    _print_described(described, (type(dataset).__doc__ or "").partition("\n\n    Parameters")[0])
    if parts is not None:
        _print_parts(parts)


@data.command(cls=DatasetCommand)
@click.argument("name", metavar="DATASET")
@click.argument("folder", type=_PATH)
@click.option("--keep", is_flag=True, help="Keep the archives after unpacking them.")
@offline_option
@json_option
@verbose_option
@click.pass_context
def fetch(ctx: click.Context, name: str, folder: Path, keep: bool, as_json: bool, verbose: bool) -> None:
    """Download, verify and unpack the files that FOLDER lacks.

    An interrupted download goes on where it stopped. Archives that lie in FOLDER are used, wherever they come from.
    Offline, the command lists what to download and where to put it.
    """
    with reporting(verbose):
        remotes = _dataset(ctx, name).downloads()
        if not remotes:
            raise DataError(f"{name} has nothing to download: it reads recordings of your own")
        missing = [remote for remote in fetching.missing(remotes, folder) if not (folder / remote.name).exists()]
        if is_offline() and missing:
            _refuse(name, folder, missing)
        fetched = fetching.fetch(remotes, folder, keep=keep)
    if as_json:
        print_json({"folder": str(folder), "fetched": [_remote(remote) for remote in fetched]})
        return
    click.echo(f"{len(fetched)} of {len(remotes)} files fetched, {len(remotes) - len(fetched)} were there: {folder}")
    for first in sorted({remote.name for remote in remotes if remote.name.endswith(".7z.001")}):
        click.echo(f"Unpack with 7-Zip: 7z x {folder / first} -o{folder}")
    click.echo(f"Next: asd data verify {name} {folder}")


@data.command(cls=DatasetCommand)
@click.argument("name", metavar="DATASET")
@click.argument("folder", type=_PATH)
@json_option
@verbose_option
@click.pass_context
def verify(ctx: click.Context, name: str, folder: Path, as_json: bool, verbose: bool) -> None:
    """Check the recordings of a data set in FOLDER.

    Checks the layout, the numbers of clips, the labels, that each file can be read, and that no content occurs twice.
    Exit code 2: something is wrong.
    """
    with reporting(verbose):
        dataset = _dataset(ctx, name)
        recordings = dataset.recordings(folder)
        problems = problems_of(dataset, recordings)
        parts, absent = parts_of(recordings), absent_from(dataset, recordings)
    if as_json:
        print_json({"parts": [part.as_dict() for part in parts], "absent": absent, "problems": problems})
    else:
        _print_parts(parts)
        if absent:
            click.echo(f"Not here: {', '.join(absent)}.")
        for problem in problems:
            click.echo(f"Wrong: {problem}")
    if problems:
        raise DataError(f"{folder}: {len(problems)} problem(s) with {name}; the first: {problems[0]}")
    if not as_json:
        click.echo(f"{len(recordings)} recordings of {name}: nothing wrong.")


def _refuse(name: str, folder: Path, missing: list[RemoteFile]) -> None:
    print_table(("download", "checksum", "to"), [(r.url, r.checksum or "not known", folder / r.name) for r in missing])
    raise DataError(
        f"the network is forbidden (ASD_OFFLINE or --offline) and {len(missing)} file(s) of {name} are missing: "
        f"download them elsewhere, put them into {folder} and run the command again"
    )


def _remote(remote: RemoteFile) -> dict[str, Any]:
    return {"name": remote.name, **asdict(remote)}


def _print_described(described: dict[str, Any], layout: str) -> None:
    click.echo(f"{described['name']}: {described['summary']}")
    for label in ("licence", "source", "protocol", "channel"):
        if described[label] is not None:
            click.echo(f"  {label + ':':<10} {described[label]}")
    click.echo("\n" + " ".join(layout.replace("``", "'").split()) + "\n")
    if described["downloads"]:
        rows = [(d["url"], d["checksum"] or "not known: trusted at first use") for d in described["downloads"]]
        print_table(("download", "checksum"), rows)


def _print_parts(parts: Iterable[Part]) -> None:
    rows = [
        (part.machine, part.section, split, *(part.counts[split, label] for label in LABELS.values()))
        for part in parts
        for split in dict.fromkeys(split for split, _ in part.counts)
    ]
    print_table(("machine", "section", "split", *LABELS.values()), rows)
