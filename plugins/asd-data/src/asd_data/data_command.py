"""``asd data``: what data sets there are, which are here, and how to bring the others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from asd.command import json_option, offline_option, print_json, print_table, registry, reporting, verbose_option
from asd.errors import DataError
from asd.plugin import RemoteFile
from asd_data.checks import Part, absent_from, parts_of, problems_of
from asd_data.data_command_options import DatasetCommand, dataset_from

_LABELS = ("normal", "anomalous", "unlabelled")


@click.group()
def data() -> None:
    """List, fetch, verify and show data sets.

    DATASET is one of 'asd data list'. Its machines, its set, its noise level … are chosen by --dataset.NAME VALUE.
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
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@json_option
@verbose_option
@click.pass_context
def show(ctx: click.Context, name: str, folder: Path | None, as_json: bool, verbose: bool) -> None:
    """Show a data set, and what FOLDER holds of it.

    Its licence, layout and publisher's files; with FOLDER also the numbers of clips that are there.
    """
    with reporting(verbose):
        dataset = dataset_from(ctx, name)
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
        if folder is not None:
            described["parts"] = [_as_dict(part) for part in parts_of(dataset.recordings(folder))]
    if as_json:
        print_json(described)
    else:
        _print_described(described, (type(dataset).__doc__ or "").partition("\n\n    Parameters")[0])


@data.command(cls=DatasetCommand)
@click.argument("name", metavar="DATASET")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--keep", is_flag=True, help="Keep the archives after unpacking them.")
@offline_option
@json_option
@verbose_option
@click.pass_context
def fetch(ctx: click.Context, name: str, folder: Path, keep: bool, as_json: bool, verbose: bool) -> None:
    """Download, verify and unpack what FOLDER lacks.

    An interrupted download goes on where it stopped. Archives that were brought by other means are taken from FOLDER.
    Offline, it says what to download and where to put it.
    """
    from asd.plugin import is_offline
    from asd_data import fetch as fetching

    with reporting(verbose):
        remotes = dataset_from(ctx, name).downloads()
        if not remotes:
            raise DataError(f"{name} has nothing to download: it reads recordings of your own")
        wanted = fetching.missing(remotes, folder)
        to_bring = [remote for remote in wanted if not (folder / remote.name).exists()]
        if is_offline() and to_bring:
            _refuse(name, folder, to_bring)
        brought = fetching.fetch(remotes, folder, keep=keep)
    if as_json:
        print_json({"folder": str(folder), "fetched": [_remote(remote) for remote in brought]})
        return
    click.echo(f"{len(brought)} of {len(remotes)} files fetched, {len(remotes) - len(brought)} were there: {folder}")
    for first in sorted({remote.name for remote in remotes if remote.name.endswith(".7z.001")}):
        click.echo(f"Unpack with 7-Zip: 7z x {folder / first} -o{folder}")
    click.echo(f"Next: asd data verify {name} {folder}")


@data.command(cls=DatasetCommand)
@click.argument("name", metavar="DATASET")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
@verbose_option
@click.pass_context
def verify(ctx: click.Context, name: str, folder: Path, as_json: bool, verbose: bool) -> None:
    """Check what FOLDER holds of a data set.

    Its layout, numbers of clips, labels, readability, and contents that occur twice. Exit code 2: something is wrong.
    """
    with reporting(verbose):
        dataset = dataset_from(ctx, name)
        recordings = dataset.recordings(folder)
        problems = problems_of(dataset, recordings)
        parts, absent = parts_of(recordings), absent_from(dataset, recordings)
    if as_json:
        print_json({"parts": [_as_dict(part) for part in parts], "absent": absent, "problems": problems})
    else:
        _print_parts([_as_dict(part) for part in parts])
        if absent:
            click.echo(f"Not here: {', '.join(absent)}.")
        for problem in problems:
            click.echo(f"Wrong: {problem}")
    if problems:
        raise DataError(f"{folder}: {len(problems)} problem(s) with {name}; the first: {problems[0]}")
    if not as_json:
        click.echo(f"{len(recordings)} recordings of {name}: nothing wrong.")


def _refuse(name: str, folder: Path, to_bring: list[RemoteFile]) -> None:
    rows = [(remote.url, remote.checksum or "not known", folder / remote.name) for remote in to_bring]
    print_table(("download", "checksum", "to"), rows)
    raise DataError(
        f"the network is forbidden (ASD_OFFLINE or --offline) and {len(to_bring)} file(s) of {name} are missing: "
        f"download them elsewhere, put them into {folder} and run the command again"
    )


def _remote(remote: RemoteFile) -> dict[str, Any]:
    return {
        "name": remote.name,
        "url": remote.url,
        "folder": remote.folder,
        "checksum": remote.checksum,
        "size": remote.size,
    }


def _as_dict(part: Part) -> dict[str, Any]:
    return {
        "machine": part.machine,
        "section": part.section,
        "clips": [{"split": split or None, "label": label, "count": n} for (split, label), n in part.counts.items()],
    }


def _print_described(described: dict[str, Any], layout: str) -> None:
    click.echo(f"{described['name']}: {described['summary']}")
    for label in ("licence", "source", "protocol", "channel"):
        if described[label] is not None:
            click.echo(f"  {label + ':':<10} {described[label]}")
    click.echo("\n" + " ".join(layout.replace("``", "'").split()) + "\n")
    if described["downloads"]:
        rows = [(d["url"], d["checksum"] or "not known: trusted at first use") for d in described["downloads"]]
        print_table(("download", "checksum"), rows)
    if "parts" in described:
        _print_parts(described["parts"])


def _print_parts(parts: Iterable[dict[str, Any]]) -> None:
    columns = ("machine", "section", "split", *_LABELS)
    rows = []
    for part in parts:
        for split in dict.fromkeys(clips["split"] for clips in part["clips"]):
            counts = {c["label"]: c["count"] for c in part["clips"] if c["split"] == split}
            rows.append((part["machine"], part["section"], split or "", *(counts.get(label, 0) for label in _LABELS)))
    print_table(columns, rows)
