"""``asd weights``: list, fetch, import and verify pretrained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asd.cli.flags import LocalPath, json_option, verbose_option
from asd.cli.output import emphasised, print_json, print_table, reporting
from asd.errors import WeightError
from asd.files.fetch import MEGABYTE
from asd.files.store import store_folder
from asd.files.weights import Entry, State, catalogue, import_file, locate
from asd_registry import WeightFile, did_you_mean

_COLOURS: dict[State, str] = {"embedded": "green", "present": "green", "absent": "yellow", "damaged": "red"}


@click.group()
def weights() -> None:
    """List, fetch, import and verify pretrained weights.

    Downloaded files are kept in the user's cache folder, or in the folder 'weights' of ASD_CACHE. NAME is a weight
    file or a component. ASD_OFFLINE=1 forbids the network.
    """


@weights.command("list")
@json_option
@verbose_option
def list_(as_json: bool, verbose: bool) -> None:
    """List the components' weight files with their state."""
    with reporting(verbose):
        states = [(entry, entry.state()) for entry in catalogue()]
    _show(states, as_json, "No installed component has pretrained weights.")


@weights.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@json_option
@verbose_option
def fetch(names: tuple[str, ...], as_json: bool, verbose: bool) -> None:
    """Download and verify the files that are absent; print the paths."""
    chosen = dict.fromkeys(entry.weight for name in names for entry in _named(name))
    with reporting(verbose):
        found = [locate(weight) for weight in chosen]
    if as_json:
        print_json([str(path) for path in found])
    else:
        click.echo("\n".join(map(str, found)))


@weights.command("import")
@click.argument("name")
@click.argument("file", type=LocalPath())
@click.option("--sha256", metavar="HEX", help="For a file that no component lists: its hash, 8 or more digits.")
@json_option
@verbose_option
def import_(name: str, file: Path, sha256: str | None, as_json: bool, verbose: bool) -> None:
    """Copy FILE, which was fetched by other means, into the store as NAME.

    It is verified first. Prints the path of the copy.
    """
    weight = _one_named(name) if sha256 is None else _unlisted(name, file, sha256)
    with reporting(verbose):
        path = import_file(weight, file)
    if as_json:
        print_json([str(path)])
    else:
        click.echo(path)


@weights.command()
@json_option
@verbose_option
def verify(as_json: bool, verbose: bool) -> None:
    """Hash all files that are there; exit code 2: one is damaged."""
    with reporting(verbose):
        states = [(entry, entry.state()) for entry in catalogue()]
    _show([(entry, state) for entry, state in states if state != "absent"], as_json, "No weight file is here.")
    damaged = [entry.weight.name for entry, state in states if state == "damaged"]
    if damaged:
        raise WeightError(f"damaged: {', '.join(damaged)}; fetch again with 'asd weights fetch {' '.join(damaged)}'")


def _show(states: list[tuple[Entry, State]], as_json: bool, none: str) -> None:
    if as_json:
        print_json([_as_dict(entry, state) for entry, state in states])
    elif states:
        columns = ("state", "component", "size", "file", "licence")
        print_table(columns, [_row(entry, state) for entry, state in states])
    else:
        click.echo(none)
    click.echo(f"asd: the weight store is {store_folder()}", err=True)


def _row(entry: Entry, state: State) -> tuple[Any, ...]:
    components = ", ".join(component.spec.name for component in entry.components)
    size = "" if entry.size is None else f"{entry.size / MEGABYTE:.1f} MB"
    return (emphasised(state, _COLOURS[state]), components, size, entry.weight.name, entry.weight.licence)


def _as_dict(entry: Entry, state: State) -> dict[str, Any]:
    weight = entry.weight
    return {
        "components": [component.qualified_name for component in entry.components],
        "file": weight.name,
        "size": entry.size,
        "licence": weight.licence,
        "state": state,
        "sha256": weight.sha256,
        "url": weight.url,
        "path": str(entry.path),
    }


def _named(name: str) -> list[Entry]:
    """Return the weight files that `name` means: one of this name, or those of a component."""
    entries = catalogue()
    by_file = [entry for entry in entries if entry.weight.name == name]
    found = by_file or [e for e in entries if any(c.answers_to(name) for c in e.components)]
    if found:
        return found
    names = [entry.weight.name for entry in entries]
    names += sorted({component.spec.name for entry in entries for component in entry.components})
    raise WeightError(f"unknown weights {name!r}; {did_you_mean(name, names)} ('asd weights list' lists all)")


def _one_named(name: str) -> WeightFile:
    found = _named(name)
    if len(found) > 1:
        raise WeightError(f"{name} has several weight files: name {' or '.join(e.weight.name for e in found)}")
    return found[0].weight


def _unlisted(name: str, file: Path, sha256: str) -> WeightFile:
    try:
        return WeightFile(name=name, licence="unknown", sha256=sha256.lower(), url=file.absolute().as_uri())
    except ValueError as error:
        raise WeightError(str(error)) from error
